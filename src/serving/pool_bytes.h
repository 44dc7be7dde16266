/* How much memory a model takes. Private to src/serving. Thread: any. */
#ifndef DW_SERVING_POOL_BYTES_H
#define DW_SERVING_POOL_BYTES_H

#include "model/model.h"

/* What the head of a file says of its weights; 0: nothing. `name` (NULL: it is not wanted): the
 * model's, for dw_free. Errors: dw_gguf_open's. */
uint64_t dw__pool_weight_bytes(const char *path, char **name, dw_error *err);
/* Of all adapters that were added to it. */
uint64_t dw__pool_adapter_bytes(const dw_model *model);

#endif
