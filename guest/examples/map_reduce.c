/* Map and reduce: a long text in parts, each of which a fork of the same instruction looks at, all
 * together; what they say is put together by one more. Standard input, or a text of its own. */
#include <driftwood_helpers.h>

#define PARTS_MAX 15

static const char instruction[] = "Sum up the text in a few words.\nText: ";
static const char own[] =
    "The ship left the harbour at dawn, and the crew sang while the sails were set. "
    "At noon a storm came from the west; the mast broke, and two boats were lost. "
    "For nine days they drifted without water, until a fisherman found them near the cape. "
    "He towed them home, and the whole town came down to the quay to see them land.";

int main(void)
{
    static char text[1 << 20];
    static dw_branch parts[PARTS_MAX];
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t room = dw_setting("TOKENS", 16);
    uint32_t part_tokens = dw_setting("PART", 24);
    size_t bytes = fread(text, 1, sizeof text - 1, stdin);
    text[bytes] = '\0';
    const char *whole = bytes > 0 ? text : own;
    uint32_t count;
    uint32_t ahead;
    uint32_t behind;
    int32_t *tokens = dw_tokens_of(model, whole, 0, &count);
    int32_t *first = dw_tokens_of(model, instruction, DW_TOKENIZE_SPECIAL, &ahead);
    int32_t *ask = dw_tokens_of(model, "\nIn a few words:", 0, &behind);
    uint32_t n = part_tokens > 0 ? (count + part_tokens - 1) / part_tokens : 0;
    if (n < 1 || n > PARTS_MAX) {
        dw_die("PART: 1 to 15 parts are possible");
    }
    int32_t root = dw_must(dw_context_create(model, 0), "context");
    dw_must(dw_forward(root, first, ahead, NULL), "instruction");
    double from = dw_seconds();
    static dw_forward_step steps[PARTS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t its = i + 1 < n ? part_tokens : count - i * part_tokens;
        int32_t *part = dw_aligned(its + behind, sizeof *part);
        memcpy(part, tokens + i * part_tokens, its * sizeof *part);
        memcpy(part + its, ask, behind * sizeof *part);
        parts[i] =
            dw_branch_of(dw_fork_of(root), dw_sampler_of(model, 0.0, 1), ask[behind - 1], room);
        steps[i] = (dw_forward_step){
            .context = parts[i].context, .tokens = part, .token_count = its + behind - 1};
    }
    dw_forward_all(steps, n);
    uint32_t said = dw_branches_grow(model, parts, n);
    size_t length = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *sum = dw_text_of(model, parts[i].tokens, parts[i].count);
        length += (size_t)snprintf(text + length, sizeof text - length, "%.*s. ",
                                   (int)strcspn(sum, "\n"), sum);
    }
    int32_t *all = dw_turn_of(model, "Sum up the text in one sentence.", text, &count);
    dw_branch one = dw_branch_of(dw_context_of(model, all, count, 64), dw_sampler_of(model, 0.0, 1),
                                 all[count - 1], 48);
    said += dw_branches_grow(model, &one, 1);
    double took = dw_seconds() - from;
    printf("%s\nmap and reduce: %u parts, %u tokens, %.2f s\n",
           dw_text_of(model, one.tokens, one.count), n, said, took);
    return 0;
}
