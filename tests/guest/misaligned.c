/* Logits at a multiple of 4 and not of 64: exits with 1 where that is refused (DW_E_ALIGN), with 0
 * where a step takes them, with 2 where something else is wrong. */
#include "driftwood_guest.h"

static DW_ALIGNED float room[(1 << 18) + 1];
static DW_ALIGNED int32_t tokens[] = {1};

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_model_open(NULL, 0);
    if (dw_model_info(model, &info) < 0 || info.vocab_count > 1 << 18) {
        return 2;
    }
    int32_t result = dw_forward(dw_context_create(model, 16), tokens, 1, room + 1);
    return result == DW_E_ALIGN ? 1 : result < 0 ? 2 : 0;
}
