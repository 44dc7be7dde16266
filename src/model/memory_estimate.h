/* Whether a model's weights fit a device's memory, and what would if they do not. */
#ifndef DW_MODEL_MEMORY_ESTIMATE_H
#define DW_MODEL_MEMORY_ESTIMATE_H

#include "base/status.h"

typedef struct dw_memory_estimate {
    const char *device;
    uint64_t needed_bytes; /* for the weights as they are */
    uint64_t free_bytes;
    uint64_t parameter_count;
    uint64_t room_bytes; /* for keys, values and work beside them */
} dw_memory_estimate;

/* The quantisation with the most bits, but fewer than the weights have, in which they leave room:
 * its name, and about how much it takes; NULL: none does. */
const char *dw_memory_estimate_quantisation(const dw_memory_estimate *fit, uint64_t *bytes);
/* Errors: DW_E_MEMORY, with what is needed, free and missing, and the quantisation. */
dw_status dw_memory_estimate_check(const dw_memory_estimate *fit, dw_error *err);

#endif
