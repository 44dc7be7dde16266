/* A JSON Schema as a GBNF grammar: every text of the grammar is valid against the schema. The
 * grammar may allow less than the schema does (properties come in the schema's order; without
 * additionalProperties there are none but those named); it never allows more, but for formats and
 * encodings of strings that no grammar serves, which are annotations.
 * Source: JSON Schema 2020-12, and drafts 4 and 7 where they differ (definitions, items as a list,
 * exclusive bounds as booleans). */
#ifndef DW_SCHEMA_JSON_GRAMMAR_H
#define DW_SCHEMA_JSON_GRAMMAR_H

#include "base/status.h"

struct dw_stop;

#ifdef __cplusplus
extern "C" {
#endif

/* schema [bytes], JSON. *grammar: NUL-terminated, for dw_free. Thread: any.
 * Errors: DW_E_FORMAT (no JSON, or no schema: where), DW_E_UNSUPPORTED (a keyword that a grammar
 * cannot follow, by name and place), DW_E_LIMIT (over 1 MiB, nested too deep), DW_E_MEMORY.
 * Notes are logged, as warnings. */
dw_status dw_json_grammar_make(char **grammar, const char *schema, size_t bytes, dw_error *err);

/* The same for somebody whose time may end meanwhile. Errors: also DW_E_CANCELLED. */
dw_status dw_json_grammar_make_for(char **grammar, const char *schema, size_t bytes,
                                   struct dw_stop *stop, dw_error *err);

/* The first, without a log; *notes: what of the schema texts of the grammar are not held to (a
 * format that no grammar serves), or are held to more narrowly than might be expected: a line each,
 * ended by a line break, NUL-terminated, for dw_free. NULL: nothing. */
dw_status dw_json_grammar_make_noted(char **grammar, char **notes, const char *schema, size_t bytes,
                                     dw_error *err);

#ifdef __cplusplus
}
#endif

#endif
