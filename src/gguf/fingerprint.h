/* Which model a snapshot was made with: a hash of what decides a model's results. docs/models.md
 * has it byte by byte. */
#ifndef DW_GGUF_FINGERPRINT_H
#define DW_GGUF_FINGERPRINT_H

#include "base/status.h"
#include "gguf/gguf.h"

#define DW_FINGERPRINT_BYTES 40 /* "gguf1:", 32 hexadecimal digits, a NUL, room */

/* The same for every file of the same model, whatever its name, order of keys and tensors, and
 * parts. Reads three pieces of each tensor. Errors: DW_E_MEMORY. Thread: any. */
dw_status dw_gguf_fingerprint(const dw_gguf *gguf, char text[DW_FINGERPRINT_BYTES], dw_error *err);

#endif
