/* What a runtime stands on, for those above it that tell of it. */
#ifndef DW_RUNTIME_ENGINE_OF_H
#define DW_RUNTIME_ENGINE_OF_H

#include "driftwood.h"

/* As long as the runtime. Thread: any. */
dw_engine *dw_runtime_engine(dw_runtime *runtime);

#endif
