/* One loaded GGUF: weights, vocabulary, chat template. Shared, read-only, counted. */
#ifndef DW_MODEL_MODEL_H
#define DW_MODEL_MODEL_H

#include "base/status.h"
#include "device/device.h"

/* dw_model_ref, dw_model_unref, dw_model_describe: include/driftwood.h. */

/* Load the file at `path` for `device`, which must outlive the model. Errors: dw_model_open's. */
dw_status dw_model_load(dw_model **out, dw_device *device, const char *path, dw_error *err);

#endif
