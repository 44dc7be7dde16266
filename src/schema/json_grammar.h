/* A JSON Schema as a GBNF grammar: every text of the grammar is valid against the schema. The
 * grammar may allow less than the schema does (properties come in the schema's order; without
 * additionalProperties there are none but those named); it never allows more.
 * Source: JSON Schema 2020-12, and draft 7 where it differs (definitions, items as a list). */
#ifndef DW_TEXT_JSON_GRAMMAR_H
#define DW_TEXT_JSON_GRAMMAR_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* schema [bytes], JSON. *grammar: NUL-terminated, for dw_free. Thread: any.
 * Errors: DW_E_FORMAT (no JSON, or no schema: where), DW_E_UNSUPPORTED (a keyword that a grammar
 * cannot follow, by name and place), DW_E_LIMIT (over 1 MiB, nested too deep), DW_E_MEMORY. */
dw_status dw_json_grammar_make(char **grammar, const char *schema, size_t bytes, dw_error *err);

#ifdef __cplusplus
}
#endif

#endif
