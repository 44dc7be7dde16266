/* An actor that writes to standard error before it has had a message: its host may end the process
 * at that. */
#include "driftwood_guest.h"

typedef struct bytes_to_write {
    const char *data;
    uint32_t count;
} bytes_to_write;

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) int32_t
wasi_fd_write(int32_t fd, const bytes_to_write *pieces, uint32_t count, uint32_t *written);

__attribute__((constructor)) static void begin(void)
{
    static const bytes_to_write piece = {"!", 1};
    uint32_t written;
    (void)wasi_fd_write(2, &piece, 1, &written);
}

DW_ACTOR_RECEIVE
{
    return 0;
}
