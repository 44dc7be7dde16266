/* Compiled modules in a folder, for the next process that wants them.
 *
 * What lies there is machine code that is run as it is, so that whoever can write it can do what
 * the host can. Nothing is taken from a folder, or a file in it, that anybody but its owner, who
 * is this process's user, or root can write or put another in the place of; and no guest is granted
 * a folder through which it could (dw_module_cache_is_reached). The hash in a file finds damage,
 * no malice: who may write the file may write the hash.
 *
 * An entry's name is its key: the SHA-256 of the module as it was given, of all settings that make
 * other code of it, of the limits under which it may be compiled, and of what this processor,
 * Wasmtime and Driftwood are (their files' sizes and times). A hit is therefore what compiling
 * would make, and needs no check of the limits.
 *
 * A file is written beside its place and renamed there. So any number of processes may share the
 * folder; none waits for another.
 * Thread: any. */
#ifndef DW_WASM_MODULE_CACHE_H
#define DW_WASM_MODULE_CACHE_H

#include <wasmtime.h>

#include "base/hash.h"
#include "base/status.h"

#define DW_MODULE_CACHE_BYTES (UINT64_C(512) << 20) /* unless it is told otherwise */

typedef struct dw_module_cache dw_module_cache;

/* `path`: the folder, which is made where it is missing. `settings`: what the engine's code depends
 * on, as text. Errors: DW_E_DENIED (others can write there: who, where), DW_E_IO, DW_E_NOT_FOUND
 * (Wasmtime's file), DW_E_MEMORY. */
dw_status dw_module_cache_open(dw_module_cache **out, const char *path, uint64_t bytes_max,
                               const char *settings, dw_error *err);
void dw_module_cache_close(dw_module_cache *cache);

/* The key of a module with that SHA-256. `limits` [limit_count]: under which it is compiled. */
void dw_module_cache_key(const dw_module_cache *cache, const uint8_t hash[DW_SHA256_BYTES],
                         const uint64_t *limits, size_t limit_count, uint8_t key[DW_SHA256_BYTES]);
/* The module under `key`, and what was kept beside it, [*beside_bytes], for the caller to dw_free.
 * false: it is not there, or is not to be trusted, or damaged, which the log tells. */
bool dw_module_cache_find(dw_module_cache *cache, const uint8_t key[DW_SHA256_BYTES],
                          wasm_engine_t *engine, wasmtime_module_t **module, unsigned char **beside,
                          size_t *beside_bytes);
/* Keep it, and let go what was not used for longest where there is more than bytes_max. What goes
 * wrong is told to the log. */
void dw_module_cache_keep(dw_module_cache *cache, const uint8_t key[DW_SHA256_BYTES],
                          const wasmtime_module_t *module, const unsigned char *beside,
                          size_t beside_bytes);
/* What is under `key` was no good after all. */
void dw_module_cache_drop(dw_module_cache *cache, const uint8_t key[DW_SHA256_BYTES],
                          const char *why);

/* Whether what can be written in the folder `host_path` can be in the cache: one lies in the other,
 * or they are the same. Where that cannot be told, it is so. */
bool dw_module_cache_is_reached(const dw_module_cache *cache, const char *host_path);
const char *dw_module_cache_path(const dw_module_cache *cache);

/* An entry's bytes, untrusted: whether they are whole and of `key`. *why: what is wrong. */
typedef struct dw_module_entry {
    const unsigned char *beside;
    size_t beside_bytes;
    const unsigned char *code;
    size_t code_bytes;
} dw_module_entry;
bool dw_module_entry_read(dw_module_entry *entry, const unsigned char *bytes, size_t count,
                          const uint8_t key[DW_SHA256_BYTES], const char **why);

#endif
