/* Files of contexts under names, of any bytes: what is taken is whole, and fits its file. Input: a
 * digit, then with 0 the file as it is; with 1 a head, whose hash and sizes are made to fit, so
 * that what lies behind them is reached. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "contexts/context_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX ((size_t)1 << 20)

static void must_write(int fd, const void *bytes, size_t count)
{
    dw_error error;
    DW_ASSERT(dw_os_write_at(fd, 0, bytes, count, &error) == DW_OK);
}

/* A head with tokens, and records behind it. */
static unsigned char *sealed(const uint8_t *data, size_t size, size_t *bytes)
{
    dw__context_head head = {.version = 0};
    memcpy(&head, data, size < sizeof head ? size : sizeof head);
    memcpy(head.magic, DW__CONTEXT_MAGIC, sizeof head.magic);
    head.version = DW__CONTEXT_VERSION;
    head.length %= 20000;
    head.record_bytes %= 64;
    head.adapter_count %= DW_ADAPTERS_MAX;
    head.head_bytes = (sizeof head + head.adapter_count * sizeof(dw__context_adapter) +
                       head.length * sizeof(int32_t) + DW__CONTEXT_UNIT - 1) /
                      DW__CONTEXT_UNIT * DW__CONTEXT_UNIT;
    memset(head.hash, 0, sizeof head.hash);
    *bytes = (size_t)dw__context_file_bytes(&head);
    unsigned char *file = dw_alloc(1, *bytes + 1);
    DW_ASSERT(file != NULL);
    memcpy(file, &head, sizeof head);
    if (size > sizeof head) {
        const size_t more = size - sizeof head;
        memcpy(file + sizeof head, data + sizeof head,
               more < *bytes - sizeof head ? more : *bytes - sizeof head);
    }
    dw_hash128_of(head.hash, file, (size_t)head.head_bytes);
    memcpy(file, &head, sizeof head);
    return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dw_error error;
    dw__context_head head;
    dw__context_rest rest = {.tokens = NULL};
    int fd = -1;
    if (size < 1 || size > INPUT_MAX) {
        return 0;
    }
    size_t bytes = size - 1;
    unsigned char *file = data[0] % 2 == 1 ? sealed(data + 1, size - 1, &bytes) : NULL;
    DW_ASSERT(dw_os_memfd(&fd, "fuzz", bytes, &error) == DW_OK);
    if (bytes > 0) {
        must_write(fd, file != NULL ? file : data + 1, bytes);
    }
    if (dw__context_read(fd, &head, &rest, &error) == DW_OK) {
        DW_ASSERT(rest.tokens != NULL && dw__context_file_bytes(&head) == bytes);
        DW_ASSERT(strlen(head.name) <= DW_NAME_MAX && strlen(head.tenant) <= DW_TENANT_NAME_MAX);
        for (uint32_t i = 1; i < head.length; i++) { /* all of them can be looked at */
            DW_ASSERT(rest.tokens[i] != INT32_MIN || rest.tokens[i - 1] <= INT32_MAX);
        }
        for (uint32_t i = 0; i < head.adapter_count; i++) {
            DW_ASSERT(strlen(rest.adapters[i].fingerprint) < DW__CONTEXT_MODEL_BYTES);
        }
        dw__context_rest_release(&rest);
    } else {
        DW_ASSERT(rest.tokens == NULL && error.message[0] != '\0');
    }
    dw_os_close(fd);
    dw_free(file);
    return 0;
}
