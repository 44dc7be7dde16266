/* llama.cpp's code for chats, called so that no C++ exception reaches C, on a thread with a stack
 * of its own, with bounded time and memory. JSON goes in and comes out as text.
 * Thread: any; what is opened is read-only afterwards. */
#ifndef DW_CHAT_GUARD_H
#define DW_CHAT_GUARD_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DW_CHAT_TEMPLATE_BYTES_MAX ((size_t)1 << 20)

/* ---- templates ----------------------------------------------------------------------------- */

/* A Jinja template, parsed. */
typedef struct dw_jinja dw_jinja;

/* What it asks for, found by trying. */
typedef struct dw_jinja_asks {
    bool object_arguments; /* tool calls' arguments as an object, not as JSON text */
    bool no_text_content;  /* contents as lists of parts alone */
    bool no_part_content;  /* contents as text alone */
    bool no_null_content;  /* beside calls, content as "" */
    bool system_role;
    bool tools;
    bool tool_calls;
} dw_jinja_asks;

/* source [bytes]. bos, eos: the tokens' texts, "" for none.
 * Errors: DW_E_FORMAT (line, column and why), DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_jinja_open(dw_jinja **out, const char *source, size_t bytes, const char *bos,
                        const char *eos, dw_error *err);
void dw_jinja_close(dw_jinja *jinja);
dw_jinja_asks dw_jinja_asks_for(const dw_jinja *jinja);
const char *dw_jinja_source(const dw_jinja *jinja);

typedef struct dw_chat_piece {
    size_t bytes;
    bool is_content; /* from a message or a tool, not from the template */
} dw_chat_piece;

/* Text in pieces that follow each other. */
typedef struct dw_chat_text {
    char *text; /* NUL-terminated */
    size_t bytes;
    dw_chat_piece *pieces;
    size_t piece_count;
} dw_chat_text;

/* JSON text; chat.h says which. */
typedef struct dw_chat_request {
    const char *json;
    size_t bytes;
    struct dw_stop *stop; /* asked while a template works on it; may be NULL */
} dw_chat_request;

/* dw_stop_asked and dw_stop_pause_now, for C++. */
bool dw__chat_stop_asked(struct dw_stop *stop);
bool dw__chat_stop_pause(struct dw_stop *stop);

/* `tokens`: JSON object of special tokens' texts by the
 * names that templates use (bos_token and so on). `seconds` since 1970: what the template takes for
 * now. Errors: DW_E_ARG (the request: place and value; or line, column and what the template says),
 * DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_jinja_render(const dw_jinja *jinja, dw_chat_request request, const char *tokens,
                          int64_t seconds, dw_chat_text *out, dw_error *err);
/* Whether the request brings tools, so that a template for tools serves it. */
dw_status dw_chat_request_has_tools(dw_chat_request request, bool *has_tools, dw_error *err);
void dw_chat_text_release(dw_chat_text *text);

/* ---- formats ------------------------------------------------------------------------------- */

/* How a model writes reasoning and tool calls, for one set of tools. */
typedef struct dw_chat_format dw_chat_format;

typedef enum dw_chat_choice {
    DW_CHAT_TOOLS_AUTO,
    DW_CHAT_TOOLS_REQUIRED,
    DW_CHAT_TOOLS_NONE,
} dw_chat_choice;

/* How a grammar that begins later is begun. */
typedef struct dw_chat_trigger {
    const char *text;
    bool is_pattern; /* a regular expression, else a word */
} dw_chat_trigger;

/* Errors: DW_E_UNSUPPORTED (no way to read this template's answers is known, or the tools'
 * arguments cannot be held to their schemas: why), DW_E_ARG, DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_chat_format_open(dw_chat_format **out, const dw_jinja *jinja, dw_chat_request request,
                              dw_error *err);
/* What of a request a format depends on: requests of one key have one format. *key: for dw_free. */
dw_status dw_chat_format_key(dw_chat_request request, char **key, dw_error *err);
void dw_chat_format_close(dw_chat_format *format);

/* All borrowed, as long as the format. */
typedef struct dw_chat_format_info {
    const char *name;          /* of the format's kind */
    const char *grammar;       /* GBNF; "": none */
    bool grammar_begins_later; /* at a trigger */
    const dw_chat_trigger *triggers;
    size_t trigger_count;
    const char *generation_prompt; /* what the template puts at the front of an answer */
    const char *const *stops;      /* texts that end an answer, besides the end tokens */
    size_t stop_count;
    const char *thinking_begin; /* "": it does not think aloud */
    const char *thinking_end;
    const char *grammar_prefix; /* at once: what of the answer the grammar is past already */
    const char *note;           /* what could not be held to; "": nothing */
    bool has_late_ids;          /* calls have their ids behind the arguments */
    /* [256]: bytes with which something begins that is no text as it comes; NULL: any may. */
    const bool *marks;
} dw_chat_format_info;

dw_chat_format_info dw_chat_format_info_of(const dw_chat_format *format);

typedef struct dw_chat_raw {
    const char *text;
    size_t bytes;
    bool is_partial;         /* its beginning alone */
    struct dw_stop *stop;    /* others have their turns meanwhile; may be NULL */
    dw_chat_request request; /* that it answers, for the ids of its calls; empty: none */
} dw_chat_raw;

typedef struct dw_chat_read {
    char *json;        /* {"role", "content", "reasoning_content"?, "tool_calls"?}, for dw_free */
    bool well_formed;  /* false: it does not follow the format, or ends within a call: then it is
                       * content, behind reasoning that has an end; of a beginning, what was read */
    bool ends_in_text; /* of a beginning: at its end is content or reasoning */
} dw_chat_read;

/* Errors: DW_E_LIMIT (nested too deep, too long), DW_E_MEMORY. */
dw_status dw_chat_format_parse(const dw_chat_format *format, dw_chat_raw answer, dw_chat_read *out,
                               dw_error *err);

#ifdef __cplusplus
}
#endif

#endif
