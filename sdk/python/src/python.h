/* What the guest `python` has of its interpreter, which is pocketpy, and adds to it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIFTWOOD_PYTHON_H
#define DRIFTWOOD_PYTHON_H

#include <stddef.h>

#include "pocketpy.h"

/* interpreter.c: what is amended in pocketpy's own types and modules. This and the next two behind
 * py_initialize and each py_resetvm. */
void dw_python_amend(void);
/* native.c: the module `driftwood_native`: imports, buffers. */
void dw_python_add_native(void);
/* json.c: `json`, whose reader takes JSON alone. */
void dw_python_add_json(void);

/* A str of bytes that should be UTF-8; U+FFFD for what is not. */
void dw_python_text(py_OutRef out, const char *text, size_t bytes);
/* Appends a code point in UTF-8 to `to`, which has room for 4 bytes. Returns how many. */
size_t dw_python_utf8(unsigned char *to, uint32_t point);
/* How many bytes the whole, valid character at text [bytes] has; 0: there is none. */
size_t dw_python_character(const unsigned char *text, size_t bytes);
/* What driftwood_native.message() gives; copied. */
void dw_python_set_message(const char *text, size_t bytes);

#endif
