/* What is told of a model whether it is loaded or not, without loading it: of the model where it is
 * loaded, else of its file's head and vocabulary.
 * Thread: any. */
#ifndef DW_SERVING_PROFILE_H
#define DW_SERVING_PROFILE_H

#include "serving/serving.h"

typedef struct dw_profile {
    _Atomic unsigned references;
    dw_model_info info;  /* its name is `name`; kv_bytes_per_token and what it takes are 0 of one
                            that is not loaded */
    char *name;          /* the model's own */
    char *chat_template; /* NULL: it has none */
    char *bos;           /* texts of tokens; "": it has none */
    char *eos;
    bool loaded;
    bool thinks; /* aloud, as far as its template tells */
} dw_profile;

/* Counted for the caller. What is read of a file is kept until the file is another, why it cannot
 * be read for a second. Blocks: for a vocabulary's load. Errors: DW_E_MEMORY, those of
 * dw_model_open_with. */
dw_status dw_profile_read(dw_profile **out, dw_named_model *named, dw_error *err);
void dw_profile_unref(dw_profile *profile);

#endif
