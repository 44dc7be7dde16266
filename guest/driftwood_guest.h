/* The functions that a Driftwood guest can call. Plain C, compiled with clang --target=wasm32-wasi
 * -Wl,--stack-first (docs/guest-abi.md says why); there is no library to link.
 *
 * Pointers are addresses in this guest's own memory, which is also the device's buffer: the device
 * reads tokens and tensors in place and writes logits and results in place. No payload is copied.
 *
 * Handles are positive numbers. Functions return 0 or a positive result, or a negative status
 * (DW_E_...), and dw_last_error then has the message. "-> model" below means that the function
 * returns a model's handle.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIFTWOOD_GUEST_H
#define DRIFTWOOD_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "driftwood_abi.h"

/* DW_OK, DW_E_ARG and so on. */
enum {
#define DW_STATUS_ENUM(name, value) DW_##name = (value),
    DW_ABI_STATUSES(DW_STATUS_ENUM)
#undef DW_STATUS_ENUM
};

#define DW_IMPORT(name) __attribute__((import_module("driftwood"), import_name(name)))
/* For arrays of tensors, tokens or logits. */
#define DW_ALIGNED _Alignas(DW_TENSOR_ALIGN)

/* ---- about the host -------------------------------------------------------------------- */

/* The host's DW_ABI_VERSION. It serves guests built for this version and for older ones. */
DW_IMPORT("abi_version") int32_t dw_abi_version(void);
/* Copies the last failure's message with a NUL into buffer [capacity]. Returns its length. */
DW_IMPORT("last_error") int32_t dw_last_error(char *buffer, uint32_t capacity);
/* Reads the next message from outside (a typed line, a request). Returns its length in bytes; there
 * is no NUL. DW_E_SPACE: it is longer than `capacity`, and stays the next one. DW_E_END: there are
 * no more. Asking for input also clears a cancellation. */
DW_IMPORT("input") int32_t dw_input(char *buffer, uint32_t capacity);
/* Copies the device's name with a NUL into buffer [capacity]. Returns its length. */
DW_IMPORT("device_name") int32_t dw_device_name(char *buffer, uint32_t capacity);
/* Nanoseconds of a monotonic clock. */
DW_IMPORT("clock_ns") uint64_t dw_clock_ns(void);
/* Payload bytes that were copied between this guest's memory and the device: 0 where the device
 * computes on this memory. */
DW_IMPORT("host_copied_bytes") uint64_t dw_host_copied_bytes(void);

/* ---- tensor graphs --------------------------------------------------------------------- */

/* A graph is described once, built once and run any number of times:
 *   graph   = dw_graph_create();
 *   a       = dw_graph_tensor(graph, DW_F32, (uint32_t[4]){k, m, 1, 1}, a_pointer);
 *   b       = ...
 *   product = dw_graph_op(graph, DW_OP_MATMUL, (int32_t[4]){a, b, 0, 0}, NULL);
 *   dw_graph_output(graph, product, result_pointer);
 *   dw_graph_build(graph);
 *   dw_graph_run(graph);          the result is now at result_pointer
 * Every shape, type and range is checked when it is given. */
DW_IMPORT("graph_create") int32_t dw_graph_create(void);
/* A contiguous tensor in this guest's memory, of sizes ne [4], each at least 1. Inputs may overlap.
 * -> tensor (> 0) */
DW_IMPORT("graph_tensor")
int32_t dw_graph_tensor(int32_t graph, int32_t type, const uint32_t *ne, const void *data);
/* An operation on tensors of the graph, inputs [4], unused ones 0. `params` may be NULL.
 * -> tensor */
DW_IMPORT("graph_op")
int32_t dw_graph_op(int32_t graph, int32_t op, const int32_t *inputs, const dw_op_params *params);
/* Write the operation's result to `data`, contiguous. It must not overlap another tensor or output
 * of the graph. */
DW_IMPORT("graph_output") int32_t dw_graph_output(int32_t graph, int32_t tensor, void *data);
/* Fill `shape` with a tensor's type and sizes. */
DW_IMPORT("tensor_shape") int32_t dw_tensor_shape(int32_t graph, int32_t tensor, dw_shape *shape);
/* Ends the description. The graph needs at least one output. */
DW_IMPORT("graph_build") int32_t dw_graph_build(int32_t graph);
/* Computes all outputs, and returns when they are in memory. Indices (DW_OP_GET_ROWS, DW_OP_ROPE)
 * are checked at each run: DW_E_RANGE. After DW_E_CANCELLED the outputs are undefined. */
DW_IMPORT("graph_run") int32_t dw_graph_run(int32_t graph);
DW_IMPORT("graph_destroy") int32_t dw_graph_destroy(int32_t graph);

/* ---- models ---------------------------------------------------------------------------- */

/* Opens a model that this guest was granted, by name [name_bytes]; 0 bytes: the first. -> model */
DW_IMPORT("model_open") int32_t dw_model_open(const char *name, uint32_t name_bytes);
DW_IMPORT("model_close") int32_t dw_model_close(int32_t model);
DW_IMPORT("model_info") int32_t dw_model_info(int32_t model, dw_abi_model_info *info);
/* How many models this guest was granted; and the name by which it opens the one of that index,
 * from 0, to name [capacity]. -> its bytes, without an end. DW_E_RANGE: there is no such model;
 * DW_E_SPACE: the name has more bytes. */
DW_IMPORT("model_count") int32_t dw_model_count(void);
DW_IMPORT("model_name") int32_t dw_model_name(uint32_t index, char *name, uint32_t capacity);

/* Writes the tokens of text [text_bytes], UTF-8, to tokens [capacity]. Returns their number.
 * DW_E_SPACE: there are more than `capacity`; tokens[0] (if capacity > 0) is then their number. */
DW_IMPORT("tokenize")
int32_t dw_tokenize(int32_t model, const char *text, uint32_t text_bytes, int32_t *tokens,
                    uint32_t capacity, uint32_t flags);
/* Writes the text of tokens [count] to text [capacity], without a NUL. Returns its length.
 * DW_E_SPACE: it is longer than `capacity`. */
DW_IMPORT("detokenize")
int32_t dw_detokenize(int32_t model, const int32_t *tokens, uint32_t count, char *text,
                      uint32_t capacity, uint32_t flags);
/* Returns 1 if a generation ends at `token`, else 0. */
DW_IMPORT("token_is_end") int32_t dw_token_is_end(int32_t model, int32_t token);
/* Applies the model's chat template to messages [count], each a pair of NUL-terminated strings, and
 * writes the result to text [capacity]. `open_answer` 1: end with the opening of the assistant's
 * turn. Returns the text's length, or DW_E_SPACE. */
typedef struct dw_message {
    const char *role;
    const char *content;
} dw_message;
DW_IMPORT("chat_template")
int32_t dw_chat_template(int32_t model, const dw_message *messages, uint32_t count,
                         int32_t open_answer, char *text, uint32_t capacity);

/* Chats as JSON. A request is an object with OpenAI's names: messages (required), tools,
 * tool_choice, parallel_tool_calls, response_format, add_generation_prompt, continue_final_message,
 * enable_thinking, reasoning_effort, documents, chat_template_kwargs, and now (seconds since 1970:
 * an actor that keeps it in its memory renders the same tomorrow). All of these functions depend on
 * what they are given alone.
 *
 * Writes the request as the model reads it to text [capacity], without a NUL. Returns its length.
 * DW_E_SPACE: the first four bytes (if capacity > 3) are the length. DW_E_ARG: the request, or what
 * the template says to it. DW_E_UNSUPPORTED: the model has no template. */
DW_IMPORT("chat_render")
int32_t dw_chat_render(int32_t model, const char *request, uint32_t bytes, char *text,
                       uint32_t capacity);
/* Writes the tokens of that text from its byte `skip` on, as dw_tokenize does. What messages spell
 * like control tokens is text. With `skip` 0 BOS stands in front exactly once where the model wants
 * it; else what is skipped is what the context holds. */
DW_IMPORT("chat_tokenize")
int32_t dw_chat_tokenize(int32_t model, const char *request, uint32_t bytes, uint32_t skip,
                         int32_t *tokens, uint32_t capacity);
/* Reads the model's answer to the request, text with its special tokens (DW_DETOKENIZE_SPECIAL),
 * and writes a message as JSON to text [capacity]: {"role", "content", "reasoning_content"?,
 * "tool_calls"?, "note"?}. Of a malformed answer what could not be read is content, with a note.
 * DW_CHAT_PARTIAL: the answer goes on; the message is what later text will not change. */
DW_IMPORT("chat_parse")
int32_t dw_chat_parse(int32_t model, const char *request, uint32_t bytes, const char *answer,
                      uint32_t answer_bytes, uint32_t flags, char *text, uint32_t capacity);
/* Writes how answers to the request are written, as JSON: {"format", "thinking_begin",
 * "thinking_end", "stops", "generation_prompt", "note"}. */
DW_IMPORT("chat_info")
int32_t dw_chat_info(int32_t model, const char *request, uint32_t bytes, char *text,
                     uint32_t capacity);
/* From now on tool calls, or with response_format the whole answer, are held to their schemas:
 * after the prompt, instead of sampler_grammar. Returns 1, or 0 where the request asks for
 * neither. */
DW_IMPORT("sampler_chat")
int32_t dw_sampler_chat(int32_t sampler, int32_t model, const char *request, uint32_t bytes);

/* ---- contexts -------------------------------------------------------------------------- */

/* An empty context. tokens_max 0: as long as the model and this guest's limits allow. -> context */
DW_IMPORT("context_create") int32_t dw_context_create(int32_t model, uint32_t tokens_max);
/* A copy of the context; the two are independent. Full pages of the cache are shared, neither
 * copied nor computed again. -> context */
DW_IMPORT("context_fork") int32_t dw_context_fork(int32_t context);
/* Saves what the context holds under a name, in the place of what had it: tokens, keys and values,
 * window; not its rows of logits. Name: 1 to 63 letters, digits, '.', '_' and '-'. Others that were
 * granted the name find it from then on, also after a restart. DW_E_DENIED, DW_E_LIMIT: what had
 * the name has it still. */
DW_IMPORT("context_save")
int32_t dw_context_save(int32_t context, const char *name, uint32_t name_bytes);
/* Removes what was saved under the name, at once; it needs the grant to save under it. Who has it
 * open keeps what it has. DW_E_NOT_FOUND: nothing has the name; DW_E_DENIED. */
DW_IMPORT("context_remove") int32_t dw_context_remove(const char *name, uint32_t name_bytes);
/* A context that holds what was saved under the name, for the model that it was computed with. As
 * a fork it shares what it does not change. tokens_max as of dw_context_create. DW_E_NOT_FOUND,
 * DW_E_DENIED; DW_E_UNSUPPORTED: of another model, or another type of keys and values. */
DW_IMPORT("context_open")
int32_t dw_context_open(int32_t model, const char *name, uint32_t name_bytes, uint32_t tokens_max);
DW_IMPORT("context_close") int32_t dw_context_close(int32_t context);
/* Returns how many tokens it holds. */
DW_IMPORT("context_length") int32_t dw_context_length(int32_t context);
/* Returns how many tokens it can hold. */
DW_IMPORT("context_capacity") int32_t dw_context_capacity(int32_t context);
/* Removes all tokens from `length` on. */
DW_IMPORT("context_trim") int32_t dw_context_trim(int32_t context, uint32_t length);
/* Removes tokens [keep, keep + drop) and moves the later ones forward without computing them again:
 * their keys and values still depend on the removed tokens. Returns the new length. */
DW_IMPORT("context_shift")
int32_t dw_context_shift(int32_t context, uint32_t keep, uint32_t drop);
/* From now on the context holds its first `sink` tokens and at most `window` more, the last ones:
 * before a step for which there is no room, the oldest behind the sink go, an eighth of the window
 * at least, as by dw_context_shift. 0 and 0: no window. */
DW_IMPORT("context_window")
int32_t dw_context_window(int32_t context, uint32_t sink, uint32_t window);
/* LoRA adapters that the host has loaded for the model: how many; and the name of the one of that
 * index, from 0, to name [capacity]. -> its bytes, without an end. DW_E_RANGE: there is no such;
 * DW_E_SPACE: the name has more bytes. Numbers may be others after a thaw; names stay. */
DW_IMPORT("lora_count") int32_t dw_lora_count(int32_t model);
DW_IMPORT("lora_name")
int32_t dw_lora_name(int32_t model, uint32_t index, char *name, uint32_t capacity);
/* From now on the context's steps have these of its model's adapters, loras [count] by index, each
 * times its scale, scales [count], from -1000 to 1000; count 0: none. A new context has those that
 * the host gives it; a fork has its parent's. DW_E_STATE: it holds tokens, computed with others
 * (dw_context_trim to 0 first); DW_E_RANGE: no such adapter; DW_E_ARG: one twice, a scale. */
DW_IMPORT("context_set_loras")
int32_t dw_context_set_loras(int32_t context, const uint32_t *loras, const float *scales,
                             uint32_t count);
/* Those that it has, to loras [capacity] and scales [capacity]. -> how many; DW_E_SPACE. */
DW_IMPORT("context_loras")
int32_t dw_context_loras(int32_t context, uint32_t *loras, float *scales, uint32_t capacity);
/* From now on the context keeps rows of logits: of the last `count` tokens, at most
 * DW_CONTEXT_ROWS_MAX, whose logits a step gave or chose from. 0: none, as a new context. */
DW_IMPORT("context_rows") int32_t dw_context_rows(int32_t context, uint32_t count);
/* The last token's row of logits [vocab_count] again, without a step: after a fork, which has its
 * parent's rows, and after dw_context_trim to where a row is kept of. Returns the context's length.
 * DW_E_NOT_FOUND: none is kept of that token. */
DW_IMPORT("context_logits") int32_t dw_context_logits(int32_t context, float *logits);
/* Appends tokens [count] and computes them. `logits` is NULL, or gets [rows][vocab_count] floats
 * for the last `rows` of these tokens. Returns the new length. On failure the context is
 * unchanged. */
DW_IMPORT("forward")
int32_t dw_forward_rows(int32_t context, const int32_t *tokens, uint32_t count, float *logits,
                        uint32_t rows);
static inline int32_t dw_forward(int32_t context, const int32_t *tokens, uint32_t count,
                                 float *logits)
{
    return dw_forward_rows(context, tokens, count, logits, logits != NULL ? 1 : 0);
}

/* The same, but `hidden` gets the hidden states [rows][embedding_length] of the last `rows` of
 * these tokens, from which logits are computed. */
DW_IMPORT("forward_hidden")
int32_t dw_forward_hidden(int32_t context, const int32_t *tokens, uint32_t count, float *hidden,
                          uint32_t rows);
/* Steps [count] of different contexts in one run of the device, which reads the weights once for
 * all of them: branches of a search, answers to vote over, beams. Each has its own tokens, results
 * and status, and one that fails leaves the others alone. Returns how many went through; where that
 * is less than `count`, dw_last_error has the message of the first that did not. A negative result:
 * of `steps` itself, when nothing was done; or DW_E_CANCELLED, and each step's status says what
 * became of it. */
DW_IMPORT("forward_many") int32_t dw_forward_many(dw_forward_step *steps, uint32_t count);
/* dw_forward, of which only the `top_count` likeliest tokens come back, the likeliest first, with
 * their log probabilities (NULL: without), found where the logits are. Returns the new length. */
DW_IMPORT("forward_top")
int32_t dw_forward_top(int32_t context, const int32_t *tokens, uint32_t count, int32_t *top_tokens,
                       float *top_log_probabilities, uint32_t top_count);
/* Computes a tree of tokens behind the context, which stays as it is; returns its length. The tree
 * hangs on it until dw_context_keep, or anything else that changes the context, a fork not, or the
 * end of the guest's call. */
DW_IMPORT("forward_tree") int32_t dw_forward_tree(const dw_forward_tree_step *tree);
/* Appends tokens path[count] of the tree, from the context's end on, each hanging on the one
 * before, and drops the rest; count 0: all. Returns the new length. */
DW_IMPORT("context_keep")
int32_t dw_context_keep(int32_t context, const int32_t *path, uint32_t count);
/* dw_forward of rows of floats in the place of tokens: embeddings [count][embedding_length], as
 * dw_token_embeddings gives them for tokens. */
DW_IMPORT("forward_embeddings")
int32_t dw_forward_embeddings(int32_t context, const float *embeddings, uint32_t count,
                              float *logits, uint32_t rows);
/* The rows of the model's table for tokens [count], times the factor that it has for them, to
 * embeddings [count][embedding_length]. Returns embedding_length. */
DW_IMPORT("token_embeddings")
int32_t dw_token_embeddings(int32_t model, const int32_t *tokens, uint32_t count,
                            float *embeddings);
/* Writes the embedding of tokens [count], one text, to `embedding` [embedding_length], or with
 * DW_POOLING_NONE [count][embedding_length]. Every model has embeddings; an encoder has only these.
 * Returns the number of floats of a row. */
DW_IMPORT("embed")
int32_t dw_embed(int32_t model, const int32_t *tokens, uint32_t count, int32_t pooling,
                 uint32_t flags, float *embedding);

/* ---- sampling -------------------------------------------------------------------------- */

/* params NULL: greedy. -> sampler */
DW_IMPORT("sampler_create")
int32_t dw_sampler_create(int32_t model, const dw_sampler_params *params);
/* Replaces the biases [count], at most 1024, which are added to the logits before all else. */
DW_IMPORT("sampler_logit_bias")
int32_t dw_sampler_logit_bias(int32_t sampler, const dw_logit_bias *biases, uint32_t count);
/* Replaces the NUL-terminated strings [count] at which DRY stops looking for repetition, at most 16
 * of up to 40 bytes; there are none at first. `model`: the one the sampler was created with. */
DW_IMPORT("sampler_dry_breakers")
int32_t dw_sampler_dry_breakers(int32_t sampler, int32_t model, const char *const *breakers,
                                uint32_t count);
/* From now on choose only what the grammar allows, from its start: text [bytes] in GBNF, with a
 * rule `root`; 0 bytes: remove the grammar. Set it after the prompt: sampler_accept advances it.
 * `model`: the one the sampler was created with. */
DW_IMPORT("sampler_grammar")
int32_t dw_sampler_grammar(int32_t sampler, int32_t model, const char *text, uint32_t bytes);
/* The same for a JSON Schema: what is chosen is JSON, valid against it. DW_E_UNSUPPORTED: a keyword
 * that a grammar cannot follow. */
DW_IMPORT("sampler_json_schema")
int32_t dw_sampler_json_schema(int32_t sampler, int32_t model, const char *schema, uint32_t bytes);
/* Sets logits [vocab_count] to minus infinity where the grammar does not allow the token: for
 * guests that choose tokens themselves and report them with sampler_accept. */
DW_IMPORT("sampler_mask") int32_t dw_sampler_mask(int32_t sampler, float *logits);
/* A copy of the sampler: its parameters, its grammar and where that is, and what it has recorded.
 * The two are independent. With `seed` 0 the copy draws as the first would; else by that seed.
 * -> sampler */
DW_IMPORT("sampler_fork") int32_t dw_sampler_fork(int32_t sampler, uint64_t seed);
DW_IMPORT("sampler_close") int32_t dw_sampler_close(int32_t sampler);
/* Chooses the next token from logits [vocab_count] and records it for the penalties. -> token */
DW_IMPORT("sample") int32_t dw_sample(int32_t sampler, const float *logits);
/* dw_forward and dw_sample in one: appends tokens [count], computes them, chooses the next token,
 * which is not appended, and records it. The logits do not reach the guest, and on GPUs usually not
 * the host. `sampler` must be for as many tokens as the context's model has. -> token. On failure,
 * also of the choice, the context is unchanged. */
DW_IMPORT("forward_sample")
int32_t dw_forward_sample(int32_t context, const int32_t *tokens, uint32_t count, int32_t sampler);
/* dw_forward_sample again and again, without this guest: appends and computes the prompt, chooses a
 * token, appends and computes that, and so on, until one of the request's reasons to stop. The
 * device goes on by itself: each token is written to request->tokens when it is chosen, and
 * token_count then counts it; one that ends a text is counted when the end is told. They are the
 * tokens that a loop of dw_forward_sample gives, and are recorded by the sampler; all but the last
 * are appended to the context. Until dw_generate_wait has told of the end, context and sampler are
 * taken: other functions refuse them with DW_E_STATE. What has not ended when this guest's call
 * returns ends there. */
DW_IMPORT("generate_begin")
int32_t dw_generate_begin(int32_t context, int32_t sampler, dw_generate_request *request);
/* Waits until there are wake_tokens more tokens than it told of before, or until the end. Returns
 * how many there are in all. A failure: those of dw_forward_sample, which have ended it; the tokens
 * before it stand. A request->end that is not 0: it has ended, and context and sampler
 * are free. A host without a scheduler computes in here alone. */
DW_IMPORT("generate_wait") int32_t dw_generate_wait(int32_t context);
/* Ends it now, with what there is. Returns how many tokens that are. */
DW_IMPORT("generate_end") int32_t dw_generate_end(int32_t context);
/* Records a token that the sampler did not choose, such as one of the prompt. DW_E_ARG: its grammar
 * does not allow the token. */
DW_IMPORT("sampler_accept") int32_t dw_sampler_accept(int32_t sampler, int32_t token);
/* Returns the index of the largest logit, the first of equals. */
DW_IMPORT("greedy") int32_t dw_greedy(int32_t model, const float *logits);

/* ---- tools of the host's ---------------------------------------------------------------- */

/* Calls a tool that this guest was granted by `name` [name_bytes]: 1 to 63 letters, digits, '.',
 * '_' and '-'. Gives it request [request_bytes], waits, and writes its answer to `answer`
 * [capacity], at most 1 MiB each. Returns the answer's length. DW_E_DENIED: there is no such tool;
 * DW_E_SPACE: the answer is longer, and dw_call_answer gives it; DW_E_CANCELLED; and what the tool
 * failed with. Whether a call that failed has had effects is the tool's to say. An actor in a
 * folder, whose message is worked on again after a failure, gets the answers of the first time to
 * calls that it makes again, in order, with the same requests. */
DW_IMPORT("call")
int32_t dw_call(const char *name, uint32_t name_bytes, const void *request, uint32_t request_bytes,
                void *answer, uint32_t capacity);
/* The last answer once more, until the next call, or until this guest's own call returns. */
DW_IMPORT("call_answer") int32_t dw_call_answer(void *answer, uint32_t capacity);

/* ---- actors ---------------------------------------------------------------------------- */

/* wasi-libc's exit calls this to write what stdout and other streams still hold. It is there in
 * guests that print through streams; in others, and without a C library, it is NULL. */
#ifdef __cplusplus
extern "C"
#endif
void dw_stdio_exit(void) __asm__("__stdio_exit") __attribute__((weak));
static inline void dw_flush_streams(void)
{
    if (dw_stdio_exit != NULL) {
        dw_stdio_exit();
    }
}

/* An actor is a guest that exports, beside its memory,
 *
 *     DW_ACTOR_RECEIVE { ...; return 0; }
 *
 * which the host calls once for each message: dw_input reads the message, and what is printed to
 * standard output or given to dw_reply is the answer; what C's streams hold at the end is written
 * then. Memory, globals, contexts, samplers and
 * tensor graphs stay between messages, also when the host saves the actor, moves it, or ends. A
 * negative result is an error that the sender gets. A guest without `main` runs its constructors
 * when it is spawned.
 * The requests below are carried out after driftwood_receive has returned, and dropped if it traps.
 * In a guest that is not an actor they return DW_E_STATE. */
#define DW_ACTOR_RECEIVE                                                                    \
    static int32_t dw_actor_receive_message(void);                                          \
    __attribute__((export_name("driftwood_receive"))) int32_t driftwood_receive(void)       \
    {                                                                                       \
        int32_t dw_result = dw_actor_receive_message();                                     \
        dw_flush_streams();                                                                 \
        return dw_result;                                                                   \
    }                                                                                       \
    static int32_t dw_actor_receive_message(void)
#define DW_ACTOR_ID_BYTES 17 /* 16 digits and a NUL */

/* Copies this actor's id with a NUL into id [capacity]. Returns its length. */
DW_IMPORT("actor_id") int32_t dw_actor_id(char *id, uint32_t capacity);
/* The message's sender: an actor's id, this actor's own for timers, "" for outside. Returns its
 * length. */
DW_IMPORT("message_from") int32_t dw_message_from(char *id, uint32_t capacity);
/* The next piece of the answer. */
DW_IMPORT("reply") int32_t dw_reply(const void *bytes, uint32_t count);
/* The message under way is answered later: returns a ticket for dw_reply_to, one a message. What is
 * replied and printed meanwhile is the answer's beginning. Who asked waits, at most as long as the
 * limit `ticket_ms` says. The ticket is part of this actor's state; a fork has none of them. */
DW_IMPORT("reply_later") int64_t dw_reply_later(void);
/* In a later message, or this one: the next piece of the answer that a ticket is for, told when the
 * message has ended without a trap. `flags`: DW_REPLY_LAST: the answer is whole. DW_E_NOT_FOUND: it
 * was, or took too long. */
DW_IMPORT("reply_to")
int32_t dw_reply_to(int64_t ticket, const void *bytes, uint32_t count, uint32_t flags);
/* Sends message [bytes] to another actor, or to this one: by its id, or in a runtime by its name,
 * "@NAME", which is of this one's tenant; to each member of a group of that: "#GROUP". */
DW_IMPORT("actor_send")
int32_t dw_actor_send(const char *id, uint32_t id_bytes, const void *message, uint32_t bytes);
/* What the message under way is: DW_MESSAGE_PLAIN, or DW_MESSAGE_WATCH, which the host alone sends.
 */
DW_IMPORT("message_kind") int32_t dw_message_kind(void);
/* Once: a message when that actor, named as for dw_actor_send, has ended or could not be made; with
 * events DW_WATCH_ON_* also when that happens. It comes at once where that was before, and the
 * watch is over with it. The message is JSON, {"event": "ended" | "failed" | "set_aside" |
 * "not_made", "actor": ID}, with more of why. DW_E_NOT_FOUND: there is no such actor that this one
 * could send to. */
DW_IMPORT("actor_watch")
int32_t dw_actor_watch(const char *id, uint32_t id_bytes, uint32_t events);
/* No more, unless the message is there already. Nothing where it was not watched. */
DW_IMPORT("actor_unwatch") int32_t dw_actor_unwatch(const char *id, uint32_t id_bytes);
/* Makes a new actor of the guest `name`, or with 0 bytes of this one's own module, whose first
 * message is `message`. Its id is written to `id`. */
DW_IMPORT("actor_spawn")
int32_t dw_actor_spawn(const char *name, uint32_t name_bytes, const void *message, uint32_t bytes,
                       char *id, uint32_t id_capacity);
/* Makes a copy of this actor as it is after this message, whose next message is `message`. */
DW_IMPORT("actor_fork")
int32_t dw_actor_fork(const void *message, uint32_t bytes, char *id, uint32_t id_capacity);
/* Sends `message` to this actor in wait_ms milliseconds. */
DW_IMPORT("actor_timer")
int32_t dw_actor_timer(uint64_t wait_ms, const void *message, uint32_t bytes);
/* In a runtime: this actor into a group of its tenant, or out of it, behind this message. `group`
 * is 1 to 63 letters, digits, '.', '_' and '-'. */
DW_IMPORT("group_join") int32_t dw_group_join(const char *group, uint32_t bytes);
DW_IMPORT("group_leave") int32_t dw_group_leave(const char *group, uint32_t bytes);
/* Ends this actor for good. */
DW_IMPORT("actor_stop") int32_t dw_actor_stop(void);

/* ---- another module under a living actor ---------------------------------------------------- */

/* The host can put a new module under an actor. The one that is there says what is handed over,
 * in a form of its own choosing that does not depend on where its compiler put what:
 *
 *     DW_ACTOR_STATE { return dw_state_give(&state, sizeof state); }
 *
 * and the one that comes takes it, in memory that is fresh but for its constructors:
 *
 *     DW_ACTOR_UPGRADE { ...dw_state_take(&state, sizeof state)...dw_handle_keep(state.model)... }
 *
 * A negative result of either, a trap, or what is beyond a limit, refuses the change: the actor
 * goes on as it was, and never knows. Messages and timers that wait are the host's, and stay.
 * Neither may send, spawn, fork, set timers or reply: DW_E_STATE. */
#define DW_ACTOR_STATE                                                                      \
    __attribute__((export_name("driftwood_state"))) int32_t driftwood_state(void)
#define DW_ACTOR_UPGRADE                                                                    \
    __attribute__((export_name("driftwood_upgrade"))) int32_t driftwood_upgrade(void)
/* In driftwood_state: append bytes [count] to what is handed over. */
DW_IMPORT("state_give") int32_t dw_state_give(const void *bytes, uint32_t count);
/* In driftwood_upgrade: how many bytes were handed over. DW_E_NOT_FOUND: the module before exports
 * no driftwood_state. */
DW_IMPORT("state_bytes") int64_t dw_state_bytes(void);
/* In driftwood_upgrade: the next bytes into buffer [capacity]. Returns how many; 0: that was all.
 */
DW_IMPORT("state_take") int32_t dw_state_take(void *buffer, uint32_t capacity);
/* In driftwood_upgrade: the model, context or sampler of the module before with this handle stays
 * open, under the same number. The others are closed when driftwood_upgrade has returned. Tensor
 * graphs are made anew, since they stand over memory. */
DW_IMPORT("handle_keep") int32_t dw_handle_keep(int32_t handle);

#endif
