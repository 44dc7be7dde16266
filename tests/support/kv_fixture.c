#include "kv_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "kv/kv_pool.h"
#include "support.h"

void kv_fixture_open(dw_device *device, uint64_t limit_bytes)
{
    const char *wanted = getenv("DW_TEST_KV");
    dw_error err = {0};
    if (wanted == NULL || strcmp(wanted, "ranges") != 0) {
        return;
    }
    /* Where there is such memory it is used without being asked for, beyond the limit. */
    dw_vram *own = NULL;
    if (dw_vram_open(&own, device, NULL) == DW_OK) {
        dw_vram_close(own);
        return;
    }
    dw_kv_pool_options options = {.emulation = {.granularity_bytes = dw_os_page_bytes()},
                                  .allocation_bytes_max = 16 * dw_os_page_bytes(),
                                  .buffer_bytes = (size_t)64 << 10,
                                  .threads = 3,
                                  .limit_bytes = limit_bytes,
                                  .takes_all = true};
    if (dw_kv_pool_open(device, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}
