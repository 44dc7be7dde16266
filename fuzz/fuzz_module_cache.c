/* An entry of the module cache from any bytes: nothing outside of them is read, and what is taken
 * is what was written. What goes to Wasmtime is guarded by the hash; here it is not called. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "wasm/module_cache.h"
#include "wasm/wasm_binary.h"

#define HEAD_BYTES 80
#define DIGEST_AT 64
#define KEY_AT 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const uint8_t *bytes, size_t size, const uint8_t key[DW_SHA256_BYTES])
{
    dw_module_entry entry;
    const char *why = NULL;
    if (!dw_module_entry_read(&entry, bytes, size, key, &why)) {
        DW_ASSERT(why != NULL);
        return;
    }
    DW_ASSERT(entry.beside == bytes + HEAD_BYTES);
    DW_ASSERT(entry.code == entry.beside + entry.beside_bytes);
    DW_ASSERT(entry.code + entry.code_bytes == bytes + size);
    dw_wasm_layout *layout = dw_wasm_layout_unpack(entry.beside, entry.beside_bytes);
    if (layout != NULL) {
        size_t packed_bytes;
        unsigned char *packed = dw_wasm_layout_pack(layout, &packed_bytes);
        DW_ASSERT(packed != NULL && packed_bytes == entry.beside_bytes);
        dw_free(packed);
    }
    dw_wasm_layout_destroy(layout);
}

/* As it is, and with the key and a digest that fit, so that what is behind them is reached. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t key[DW_SHA256_BYTES] = {0};
    look(data, size, key);
    dw_wasm_layout_destroy(dw_wasm_layout_unpack(data, size));
    dw_hash128 *hash = size >= HEAD_BYTES ? dw_hash128_create() : NULL;
    uint8_t *mended = hash != NULL ? dw_alloc(size, 1) : NULL;
    if (mended != NULL) {
        memcpy(mended, data, size);
        memcpy(mended + KEY_AT, key, sizeof key);
        dw_hash128_add(hash, mended, DIGEST_AT);
        dw_hash128_add(hash, mended + HEAD_BYTES, size - HEAD_BYTES);
        dw_hash128_finish(hash, mended + DIGEST_AT);
        look(mended, size, key);
        dw_free(mended);
    }
    dw_hash128_destroy(hash);
    return 0;
}
