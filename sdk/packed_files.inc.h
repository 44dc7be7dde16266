/* The program that is packed into an interpreter's guest, of the guests `python` and `javascript`.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FILES_BYTES_MAX (4 << 20)

/* What `driftwood build` packs: it looks for the mark, puts files at `place`, and writes how many
 * bytes they are. Each is: bytes of its name, bytes of it (both uint32_t), its name, itself. */
static unsigned char packed_files[FILES_BYTES_MAX];
static volatile const struct {
    char mark[16];
    unsigned char *place;
    uint32_t room;
    uint32_t bytes;
    uint32_t unused;
} packed = {"driftwood-files", packed_files, FILES_BYTES_MAX, 0, 0};

/* A packed file; *bytes is its length. NULL: there is none of that name. NULL as name: the first,
 * whose name goes to `found`. */
static const char *packed_file(const char *name, uint32_t *bytes, char found[256])
{
    for (uint32_t at = 0; at + 8 <= packed.bytes;) {
        uint32_t name_bytes, size;
        memcpy(&name_bytes, packed_files + at, 4);
        memcpy(&size, packed_files + at + 4, 4);
        const char *own = (const char *)packed_files + at + 8;
        if (name == NULL || (strlen(name) == name_bytes && memcmp(name, own, name_bytes) == 0)) {
            snprintf(found, 256, "%.*s", (int)name_bytes, own);
            *bytes = size;
            return own + name_bytes;
        }
        at += 8 + name_bytes + size;
    }
    return NULL;
}
