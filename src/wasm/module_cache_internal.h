/* Shared by module_cache.c and module_cache_trim.c. */
#ifndef DW_WASM_MODULE_CACHE_INTERNAL_H
#define DW_WASM_MODULE_CACHE_INTERNAL_H

#include "wasm/module_cache.h"

#define DW__MODULE_LIMITS_MAX 16
#define DW__MODULE_ENDING ".module"
#define DW__MODULE_TEMPORARY ".new-" /* and 16 hexadecimal digits */
#define DW__MODULE_NAME_BYTES ((size_t)2 * DW_SHA256_BYTES + sizeof DW__MODULE_ENDING)

struct dw_module_cache {
    char *path;
    int fd; /* of the folder, which was checked: names are looked up in this one alone */
    uint64_t bytes_max;
    uint8_t identity[DW_SHA256_BYTES];
};

/* Remove entries that were not used for longest, but for `kept`, until there are bytes_max at most,
 * and what writers left that have ended. Other files stay. */
void dw__module_cache_trim(dw_module_cache *cache, const char *kept);

#endif
