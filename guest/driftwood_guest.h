/* What a Driftwood guest calls. Plain C, compiled with clang --target=wasm32-wasi; no library.
 *
 * A pointer given here is an address in this guest's own memory, which is the device's buffer as
 * well: the device reads tokens and tensors where they lie and writes logits and results where
 * they are wanted. Nothing is copied on the way.
 *
 * Handles are positive numbers. Functions answer 0 or a positive result, or a negative status
 * (DW_E_... below); dw_last_error then tells in words what was wrong.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIFTWOOD_GUEST_H
#define DRIFTWOOD_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "driftwood_abi.h"

enum {
    DW_OK = 0,
    DW_E_ARG = -1,
    DW_E_RANGE = -2,
    DW_E_ALIGN = -3,
    DW_E_HANDLE = -4,
    DW_E_TYPE = -5,
    DW_E_SHAPE = -6,
    DW_E_OVERLAP = -7,
    DW_E_LIMIT = -8,
    DW_E_MEMORY = -9,
    DW_E_BUSY = -10,
    DW_E_STATE = -11,
    DW_E_UNSUPPORTED = -12,
    DW_E_FORMAT = -13,
    DW_E_NOT_FOUND = -14,
    DW_E_IO = -15,
    DW_E_DEVICE = -16,
    DW_E_TRAP = -17,
    DW_E_NUMERIC = -18,
    DW_E_CANCELLED = -19,
    DW_E_SPACE = -20,
    DW_E_DENIED = -21,
    DW_E_END = -22
};

#define DW_IMPORT(name) __attribute__((import_module("driftwood"), import_name(name)))
/* For arrays that tensors, tokens or logits lie in. */
#define DW_ALIGNED _Alignas(DW_TENSOR_ALIGN)

/* ---- about the host -------------------------------------------------------------------- */

/* DW_ABI_VERSION of the host; it serves every guest built for this version or an older one. */
DW_IMPORT("abi_version") int32_t dw_abi_version(void);
/* Copy the last failure's message, a NUL behind it, into buffer [capacity]; its length. */
DW_IMPORT("last_error") int32_t dw_last_error(char *buffer, uint32_t capacity);
/* The next message from outside (a line typed, a request): its length in bytes, without a NUL.
 * DW_E_SPACE: longer than `capacity`, the message waits; DW_E_END: there are no more.
 * Asking for input also takes back a cancellation. */
DW_IMPORT("input") int32_t dw_input(char *buffer, uint32_t capacity);
/* The device's name, a NUL behind it; its length. */
DW_IMPORT("device_name") int32_t dw_device_name(char *buffer, uint32_t capacity);
/* Nanoseconds of a clock that only goes forward. */
DW_IMPORT("clock_ns") uint64_t dw_clock_ns(void);
/* Payload bytes that were copied between this guest's memory and the device: 0 where the device
 * computes on this memory. */
DW_IMPORT("host_copied_bytes") uint64_t dw_host_copied_bytes(void);

/* ---- tensor graphs --------------------------------------------------------------------- */

/* A graph is described once, built once and run as often as wanted:
 *   graph   = dw_graph_create();
 *   a       = dw_graph_tensor(graph, DW_F32, (uint32_t[4]){k, m, 1, 1}, a_pointer);
 *   b       = ...
 *   product = dw_graph_op(graph, DW_OP_MATMUL, (int32_t[4]){a, b, 0, 0}, NULL);
 *   dw_graph_output(graph, product, result_pointer);
 *   dw_graph_build(graph);
 *   dw_graph_run(graph);          the result now stands at result_pointer
 * Every shape, type and range is checked when it is named. */
DW_IMPORT("graph_create") int32_t dw_graph_create(void);
/* A tensor of this guest's memory: contiguous, ne [4], sizes of at least 1; inputs may share
 * bytes. -> tensor (> 0) */
DW_IMPORT("graph_tensor")
int32_t dw_graph_tensor(int32_t graph, int32_t type, const uint32_t *ne, const void *data);
/* An operation on tensors of the graph, inputs [4], unused ones 0; params may be NULL. -> tensor */
DW_IMPORT("graph_op")
int32_t dw_graph_op(int32_t graph, int32_t op, const int32_t *inputs, const dw_op_params *params);
/* The operation's result shall appear at `data`, contiguous. It must not overlap any other tensor
 * or output of the graph. */
DW_IMPORT("graph_output") int32_t dw_graph_output(int32_t graph, int32_t tensor, void *data);
/* Fill `shape` with a tensor's type and sizes. */
DW_IMPORT("tensor_shape") int32_t dw_tensor_shape(int32_t graph, int32_t tensor, dw_shape *shape);
/* No more tensors after this; the graph needs at least one output. */
DW_IMPORT("graph_build") int32_t dw_graph_build(int32_t graph);
/* Compute all outputs. Returns when they stand in memory. Indices (DW_OP_GET_ROWS, DW_OP_ROPE)
 * are checked at each run: DW_E_RANGE. DW_E_CANCELLED: outputs then hold anything. */
DW_IMPORT("graph_run") int32_t dw_graph_run(int32_t graph);
DW_IMPORT("graph_destroy") int32_t dw_graph_destroy(int32_t graph);

/* ---- models ---------------------------------------------------------------------------- */

/* Open a model that this guest was granted, by name [name_bytes]; 0 bytes: the first. -> model */
DW_IMPORT("model_open") int32_t dw_model_open(const char *name, uint32_t name_bytes);
DW_IMPORT("model_close") int32_t dw_model_close(int32_t model);
DW_IMPORT("model_info") int32_t dw_model_info(int32_t model, dw_abi_model_info *info);

/* text [text_bytes] UTF-8 -> tokens [capacity]: how many there are; over `capacity`: DW_E_SPACE,
 * and the first int32 of tokens (if capacity > 0) holds the number needed. */
DW_IMPORT("tokenize")
int32_t dw_tokenize(int32_t model, const char *text, uint32_t text_bytes, int32_t *tokens,
                    uint32_t capacity, uint32_t flags);
/* tokens [count] -> text [capacity], not NUL-terminated: its length, or DW_E_SPACE. */
DW_IMPORT("detokenize")
int32_t dw_detokenize(int32_t model, const int32_t *tokens, uint32_t count, char *text,
                      uint32_t capacity, uint32_t flags);
/* 1 if a generation ends at `token`, else 0. */
DW_IMPORT("token_is_end") int32_t dw_token_is_end(int32_t model, int32_t token);
/* Apply the model's chat template to messages [count]: pairs of NUL-terminated strings, role and
 * content, as pointers. `open_answer` 1: end with the opening of the assistant's turn.
 * -> text [capacity]: its length, or DW_E_SPACE. */
typedef struct dw_message {
    const char *role;
    const char *content;
} dw_message;
DW_IMPORT("chat_template")
int32_t dw_chat_template(int32_t model, const dw_message *messages, uint32_t count,
                         int32_t open_answer, char *text, uint32_t capacity);

/* ---- contexts -------------------------------------------------------------------------- */

/* An empty context; tokens_max 0: as long as the model and this guest's limits allow. -> context */
DW_IMPORT("context_create") int32_t dw_context_create(int32_t model, uint32_t tokens_max);
/* A context that holds what this one holds; each goes on by itself. Full pages of its cache are
 * shared, not copied or computed again. -> context */
DW_IMPORT("context_fork") int32_t dw_context_fork(int32_t context);
DW_IMPORT("context_close") int32_t dw_context_close(int32_t context);
/* Tokens held. */
DW_IMPORT("context_length") int32_t dw_context_length(int32_t context);
/* Tokens it can hold. */
DW_IMPORT("context_capacity") int32_t dw_context_capacity(int32_t context);
/* Forget all tokens from `length` on. */
DW_IMPORT("context_trim") int32_t dw_context_trim(int32_t context, uint32_t length);
/* Forget tokens [keep, keep + drop) and move those behind forward, without computing them again:
 * what they took in from the forgotten ones stays in them. -> the new length. */
DW_IMPORT("context_shift")
int32_t dw_context_shift(int32_t context, uint32_t keep, uint32_t drop);
/* A context that holds the same tokens; the two go on independently. -> context */
DW_IMPORT("context_fork") int32_t dw_context_fork(int32_t context);
/* Append tokens [count] and compute them. `logits` NULL, or [rows][vocab_count] float for the last
 * `rows` of these tokens. -> the new length. On failure the context is as it was. */
DW_IMPORT("forward")
int32_t dw_forward_rows(int32_t context, const int32_t *tokens, uint32_t count, float *logits,
                        uint32_t rows);
static inline int32_t dw_forward(int32_t context, const int32_t *tokens, uint32_t count,
                                 float *logits)
{
    return dw_forward_rows(context, tokens, count, logits, logits != NULL ? 1 : 0);
}

/* The same, but `hidden` gets hidden states [rows][embedding_length] of the last `rows` of these
 * tokens: what logits are made of. */
DW_IMPORT("forward_hidden")
int32_t dw_forward_hidden(int32_t context, const int32_t *tokens, uint32_t count, float *hidden,
                          uint32_t rows);
/* The embedding of tokens [count], a text by itself, at `embedding` [embedding_length], or with
 * DW_POOLING_NONE [count][embedding_length]. Every model has embeddings; an encoder has nothing
 * else. -> floats written for each row. */
DW_IMPORT("embed")
int32_t dw_embed(int32_t model, const int32_t *tokens, uint32_t count, int32_t pooling,
                 uint32_t flags, float *embedding);

/* ---- sampling -------------------------------------------------------------------------- */

/* params NULL: greedy. -> sampler */
DW_IMPORT("sampler_create")
int32_t dw_sampler_create(int32_t model, const dw_sampler_params *params);
/* Replace the biases [count], at most 1024: they are added to the logits before anything else. */
DW_IMPORT("sampler_logit_bias")
int32_t dw_sampler_logit_bias(int32_t sampler, const dw_logit_bias *biases, uint32_t count);
/* Replace the NUL-terminated strings [count] at which DRY stops looking for repetition, at most 16
 * of up to 40 bytes; none at first. `model`: the one the sampler was created with. */
DW_IMPORT("sampler_dry_breakers")
int32_t dw_sampler_dry_breakers(int32_t sampler, int32_t model, const char *const *breakers,
                                uint32_t count);
/* From now on choose only what the grammar allows, from its start: text [bytes] in GBNF, with a
 * rule `root`; 0 bytes: no grammar any more. Set it behind the prompt: sampler_accept moves it on.
 * `model`: the one the sampler was created with. */
DW_IMPORT("sampler_grammar")
int32_t dw_sampler_grammar(int32_t sampler, int32_t model, const char *text, uint32_t bytes);
/* The same for a JSON Schema: what is chosen is JSON, valid against it. DW_E_UNSUPPORTED: a keyword
 * that a grammar cannot follow. */
DW_IMPORT("sampler_json_schema")
int32_t dw_sampler_json_schema(int32_t sampler, int32_t model, const char *schema, uint32_t bytes);
/* Put minus infinity, in logits [vocab_count], where the grammar does not allow the token: for
 * guests that choose by themselves and tell the sampler with sampler_accept. */
DW_IMPORT("sampler_mask") int32_t dw_sampler_mask(int32_t sampler, float *logits);
DW_IMPORT("sampler_close") int32_t dw_sampler_close(int32_t sampler);
/* Choose the next token from logits [vocab_count] and remember it for the penalties. -> token */
DW_IMPORT("sample") int32_t dw_sample(int32_t sampler, const float *logits);
/* dw_forward and dw_sample in one: append tokens [count], compute them, choose the token that comes
 * behind, which is not appended, and remember it. The logits are not brought to the guest, nor on
 * GPUs, as a rule, to the host. `sampler`: one for as many tokens as the context's model has.
 * -> token. On failure, also of the choice, the context is as it was. */
DW_IMPORT("forward_sample")
int32_t dw_forward_sample(int32_t context, const int32_t *tokens, uint32_t count, int32_t sampler);
/* Let the sampler know of a token that it did not choose (of the prompt, say). DW_E_ARG: its
 * grammar does not allow it. */
DW_IMPORT("sampler_accept") int32_t dw_sampler_accept(int32_t sampler, int32_t token);
/* The index of the largest logit, the first of equals. -> token */
DW_IMPORT("greedy") int32_t dw_greedy(int32_t model, const float *logits);

/* ---- actors ---------------------------------------------------------------------------- */

/* An actor is a guest that exports, beside its memory,
 *
 *     DW_ACTOR_RECEIVE { ...; return 0; }
 *
 * which the host calls once a message: dw_input gives the message, and what is printed to standard
 * output or given to dw_reply is the answer. Between messages memory, globals, contexts, samplers
 * and tensor graphs stay, also when the host saves the actor, moves it, or ends. A negative result
 * is an error that the sender is told. A guest without `main` runs its constructors when it is
 * spawned.
 * What an actor asks for below happens when driftwood_receive has returned, and not at all if it
 * traps. All of it answers DW_E_STATE in a guest that is no actor. */
#define DW_ACTOR_RECEIVE \
    __attribute__((export_name("driftwood_receive"))) int32_t driftwood_receive(void)
#define DW_ACTOR_ID_BYTES 17 /* 16 digits and a NUL */

/* This actor's id, a NUL behind it; its length. */
DW_IMPORT("actor_id") int32_t dw_actor_id(char *id, uint32_t capacity);
/* Who sent the message: an actor's id, this one's own for timers, "" for outside; its length. */
DW_IMPORT("message_from") int32_t dw_message_from(char *id, uint32_t capacity);
/* The next piece of the answer. */
DW_IMPORT("reply") int32_t dw_reply(const void *bytes, uint32_t count);
/* Send message [bytes] to another actor, or to itself. */
DW_IMPORT("actor_send")
int32_t dw_actor_send(const char *id, uint32_t id_bytes, const void *message, uint32_t bytes);
/* A new actor of the guest `name`, or with 0 bytes of this one's own module, that gets `message`
 * first. Its id is written to `id`. */
DW_IMPORT("actor_spawn")
int32_t dw_actor_spawn(const char *name, uint32_t name_bytes, const void *message, uint32_t bytes,
                       char *id, uint32_t id_capacity);
/* A copy of this actor as it is when this message is done, that gets `message` first. */
DW_IMPORT("actor_fork")
int32_t dw_actor_fork(const void *message, uint32_t bytes, char *id, uint32_t id_capacity);
/* Send this actor `message` in wait_ms milliseconds. */
DW_IMPORT("actor_timer")
int32_t dw_actor_timer(uint64_t wait_ms, const void *message, uint32_t bytes);
/* End this actor for good. */
DW_IMPORT("actor_stop") int32_t dw_actor_stop(void);

#endif
