/* How a model's chats are written and its answers read: the model's own template, special tokens
 * recognised in the template's text alone, formats of tool calls and reasoning.
 *
 * A request is a JSON object with OpenAI's names:
 *   messages (required): each with role, content (text, parts {"type":"text","text"}, or null), and
 *     name, tool_calls, tool_call_id, reasoning_content and what else the template knows
 *   tools, tool_choice, parallel_tool_calls, response_format
 *   add_generation_prompt (true), continue_final_message (false: the last message goes on)
 *   enable_thinking, reasoning_effort, documents, chat_template_kwargs: variables of the template
 *   now: seconds since 1970 that the template takes for now; an actor that keeps it in its memory
 *     renders the same tomorrow
 * Others are refused by name. Thread: any. */
#ifndef DW_CHAT_CHAT_H
#define DW_CHAT_CHAT_H

#include "chat/chat_guard.h"
#include "text/vocab.h"

#define DW_CHAT_MESSAGES_MAX 4096
#define DW_CHAT_BYTES_MAX ((size_t)16 << 20) /* of all contents of messages in pairs */

typedef struct dw_chats dw_chats;

/* `vocab` outlives it. `chosen`: a template's source (it has "{%" or "{{"), or the name of one of
 * the file's own or of dw_chat_template_name; NULL: the file's own, its tool_use where there are
 * tools. The template is parsed when first used. Errors: DW_E_FORMAT (`chosen` is no UTF-8),
 * DW_E_MEMORY. */
dw_status dw_chats_open(dw_chats **out, const dw_vocab *vocab, const char *chosen, dw_error *err);
void dw_chats_close(dw_chats *chats);
/* Chats of the same model by another template, shared by all who ask for the same one: closed by
 * each, before `own` is. Errors: those of dw_chats_open and dw_chats_check. */
dw_status dw_chats_by(dw_chats **out, dw_chats *own, const char *chosen, dw_error *err);

/* Whether there is a template that can be used; else the errors of dw_chats_render but for those of
 * a request. */
dw_status dw_chats_check(dw_chats *chats, dw_error *err);
/* The template's source, until it goes; NULL: there is none. `with_tools`: of requests with tools.
 * */
const char *dw_chats_template(dw_chats *chats, bool with_tools);

/* Errors: DW_E_UNSUPPORTED (no template, or an unknown name), DW_E_FORMAT (the template: line,
 * column and why), DW_E_ARG (the request, or what the template says to it), DW_E_LIMIT,
 * DW_E_MEMORY. */
dw_status dw_chats_render(dw_chats *chats, dw_chat_request request, int64_t seconds,
                          dw_chat_text *out, dw_error *err);
/* Tokens of what was rendered, from byte `skip` on, which begins a character. From 0 on BOS stands
 * in front exactly once where the model wants it. Errors: DW_E_SPACE (out->count tells the need),
 * DW_E_ARG (skip), DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_chats_tokenize(dw_chats *chats, const dw_chat_text *text, size_t skip,
                            dw_token_list *out, dw_error *err);

/* Messages in pairs: roles and contents [count], NUL-terminated. */
typedef struct dw_chat_pairs {
    const char *const *roles; /* system, user, assistant or tool */
    const char *const *contents;
    size_t count;
    bool open_answer; /* end with the opening of the assistant's turn */
} dw_chat_pairs;

/* Room of the caller's: text [capacity], no NUL; `bytes` is how many there are. */
typedef struct dw_chat_room {
    char *text;
    size_t capacity;
    size_t bytes;
} dw_chat_room;

/* The request that they make, for dw_free. Errors: DW_E_ARG (another role), DW_E_LIMIT,
 * DW_E_MEMORY. */
dw_status dw_chat_request_of_pairs(char **out, const dw_chat_pairs *pairs, dw_error *err);
/* Errors: also DW_E_SPACE (room->bytes tells the need), those of dw_chats_render. */
dw_status dw_chats_render_pairs(dw_chats *chats, const dw_chat_pairs *pairs, int64_t seconds,
                                dw_chat_room *room, dw_error *err);

/* How answers to the request are written; kept for later requests of the same tools and settings.
 * Until dw_chats_release, before dw_chats_close. Errors: as dw_chats_render, dw_chat_format_open.
 * */
dw_status dw_chats_format(dw_chats *chats, dw_chat_request request, const dw_chat_format **out,
                          dw_error *err);
void dw_chats_release(dw_chats *chats, const dw_chat_format *format);

/* A template for files without one, by a name of dw_chat_template_name (include/driftwood.h). NULL:
 * there is none of this name. */
const char *dw_chat_template_named(const char *name);

/* text [bytes] with U+FFFD for what is no UTF-8, and for NUL. *out: NUL-terminated, for dw_free.
 * Errors: DW_E_MEMORY. */
dw_status dw_chat_repair_text(const char *text, size_t bytes, char **out, dw_error *err);

/* ---- answers, as they come ----------------------------------------------------------------- */

/* Reads an answer while it is written. What it has told stands: joined, its deltas are the whole
 * message. Thread: one at a time. */
typedef struct dw_chat_reader dw_chat_reader;

/* `format` outlives it. Errors: DW_E_MEMORY. */
dw_status dw_chat_reader_create(dw_chat_reader **out, const dw_chat_format *format, dw_error *err);
/* Before anything is fed: what it answers, by which calls get ids that no other request's have. */
void dw_chat_reader_set_request(dw_chat_reader *reader, dw_chat_request request);
void dw_chat_reader_destroy(dw_chat_reader *reader);
/* More of the answer: text [bytes], whole characters or parts of them. *delta: JSON object
 * {"content"?, "reasoning_content"?, "tool_calls"?: [{"index", "id"?, "type"?, "function":
 * {"name"?, "arguments"}}]}, for dw_free; NULL: nothing new. Errors: DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_chat_reader_feed(dw_chat_reader *reader, const char *text, size_t bytes, char **delta,
                              dw_error *err);
/* The answer has ended: the last delta, and the whole message, with "note" where it does not follow
 * the format (then what could not be read is in its content). Both for dw_free. */
dw_status dw_chat_reader_finish(dw_chat_reader *reader, char **delta, char **message,
                                dw_error *err);

/* An answer at once: the message that a reader would have told of it, of its beginning alone where
 * raw.is_partial. *message: for dw_free. */
dw_status dw_chats_parse(const dw_chat_format *format, dw_chat_raw raw, char **message,
                         dw_error *err);
/* What is known of a format, as a JSON object: {"format", "thinking_begin", "thinking_end",
 * "stops", "generation_prompt", "note"}. For dw_free. Errors: DW_E_MEMORY. */
dw_status dw_chat_format_text(const dw_chat_format *format, char **out, dw_error *err);

#endif
