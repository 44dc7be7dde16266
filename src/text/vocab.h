/* A model's vocabulary: text to tokens and back, and its chat template. libllama does the work,
 * on a vocabulary-only load of the same file. Read-only after opening. Thread: any. */
#ifndef DW_TEXT_VOCAB_H
#define DW_TEXT_VOCAB_H

#include "base/status.h"
#include "gguf/gguf.h"
#include "text/token_texts.h"
#include "tokenizer/token_list.h"

typedef struct dw_vocab dw_vocab;

/* `path`: a GGUF file that dw_tokenizer_check has accepted. `token_count`: the model's
 * vocab_count, which the file's list must match.
 * Errors: DW_E_UNSUPPORTED (no tokenizer in it, or one that libllama lacks), DW_E_FORMAT. */
dw_status dw_vocab_open(dw_vocab **out, const char *path, uint32_t token_count, dw_error *err);
/* The same on a thread of its own: functions that need the vocabulary wait for it. For files of
 * which dw_tokenizer_is_certain is true; where such a one fails all the same (no memory),
 * functions below that can tell do so, and the others know no token.
 * Errors: DW_E_MEMORY. */
dw_status dw_vocab_start(dw_vocab **out, const char *path, uint32_t token_count, dw_error *err);
/* The same, once a function needs it: whoever comes first waits for all of it. */
dw_status dw_vocab_defer(dw_vocab **out, const char *path, uint32_t token_count, dw_error *err);
/* Somebody will: it begins on its thread now, if it has not. Returns at once. */
void dw_vocab_begin(const dw_vocab *vocab);
/* What whoever waits for the vocabulary does first, on its thread, while dw_vocab_loads: more than
 * one may at a time. Before anybody else has the vocabulary; never behind dw_vocab_close. */
void dw_vocab_set_meanwhile(dw_vocab *vocab, void (*meanwhile)(void *user), void *user);
/* Whether the vocabulary loads beside all else: it has begun, and is not there yet. */
bool dw_vocab_loads(const dw_vocab *vocab);
/* The same file, open for as long as the vocabulary: else `path` is opened again where something
 * in it is needed late. Before the first text. */
void dw_vocab_lend_file(dw_vocab *vocab, const dw_gguf *file);
/* Wait until it is there; what dw_vocab_open would have returned. */
dw_status dw_vocab_wait(const dw_vocab *vocab, dw_error *err);
/* The same for somebody whose time may end meanwhile, and others on whose thread have their turns.
 * Errors: also DW_E_CANCELLED. */
dw_status dw_vocab_wait_for(const dw_vocab *vocab, dw_stop *stop, dw_error *err);
/* Whether it is, without waiting. */
bool dw_vocab_loaded(const dw_vocab *vocab);
void dw_vocab_close(dw_vocab *vocab);

/* For calls of libllama elsewhere; borrowed, as long as the vocabulary. NULL: it failed. */
const struct llama_vocab *dw_vocab_llama(const dw_vocab *vocab);
uint32_t dw_vocab_count(const dw_vocab *vocab);
int32_t dw_vocab_bos(const dw_vocab *vocab); /* -1: none, so for all of these */
int32_t dw_vocab_eos(const dw_vocab *vocab);
int32_t dw_vocab_eot(const dw_vocab *vocab);
int32_t dw_vocab_newline(const dw_vocab *vocab);
int32_t dw_vocab_pad(const dw_vocab *vocab);
int32_t dw_vocab_sep(const dw_vocab *vocab);
bool dw_vocab_adds_bos(const dw_vocab *vocab);
/* Whether generation ends at `token`; false for one outside the vocabulary. */
bool dw_vocab_is_end(const dw_vocab *vocab, int32_t token);

/* text [text_bytes] -> tokens [capacity]; `*count` is the number there are. `flags`: DW_TOKENIZE_*
 * of guest/driftwood_abi.h. Bytes that are not UTF-8 count as U+FFFD.
 * Errors: DW_E_SPACE (*count tells how many are needed), DW_E_ARG, DW_E_LIMIT (over 16 MiB),
 * DW_E_MEMORY. */
dw_status dw_vocab_tokenize(const dw_vocab *vocab, const char *text, size_t text_bytes,
                            int32_t *tokens, size_t capacity, uint32_t flags, size_t *count,
                            dw_error *err);
/* A part of a text: what a template says, or what somebody wrote into it. */
typedef struct dw_text_piece {
    const char *text;
    size_t bytes;
    bool is_content; /* control tokens that it spells are text */
} dw_text_piece;
/* The tokens of one text that consists of pieces [count], to which all of the above applies: what
 * dw_vocab_tokenize gives for the joined text, but that with DW_TOKENIZE_PARSE a control token is
 * recognised only where no byte of its spelling is content. Tokens may lie across pieces' borders.
 * A control token is one that the file calls so, or whose spelling looks so (<|...|>); tokens that
 * the file calls user-defined (runs of spaces, HTML tags, <think>) are recognised in content too,
 * as in any text. Errors: as dw_vocab_tokenize. */
dw_status dw_vocab_tokenize_pieces(const dw_vocab *vocab, const dw_text_piece *pieces, size_t count,
                                   uint32_t flags, dw_token_list *out, dw_error *err);
/* tokens [count] -> text [capacity], no NUL; `*text_bytes` is its length. `flags`:
 * DW_DETOKENIZE_*. A token may be part of a UTF-8 character: joining the texts of a sequence in
 * order gives the whole text. Errors: DW_E_SPACE (*text_bytes tells the need), DW_E_RANGE
 * (a token outside the vocabulary), DW_E_CANCELLED (`stop`, which may be NULL). */
dw_status dw_vocab_detokenize(const dw_vocab *vocab, const int32_t *tokens, size_t count,
                              char *text, size_t capacity, uint32_t flags, size_t *text_bytes,
                              dw_stop *stop, dw_error *err);

/* The text of all tokens, made at the first call. Until the vocabulary goes.
 * Errors: DW_E_MEMORY, DW_E_LIMIT. */
dw_status dw_vocab_token_texts(const dw_vocab *vocab, const dw_token_texts **out, dw_error *err);
/* The same for somebody whose time may end meanwhile. Errors: also DW_E_CANCELLED. */
dw_status dw_vocab_token_texts_for(const dw_vocab *vocab, dw_stop *stop, const dw_token_texts **out,
                                   dw_error *err);
/* The one token that `text` [bytes] is, special ones among them; -1: it is none, or several. */
int32_t dw_vocab_find(const dw_vocab *vocab, const char *text, size_t bytes);

/* The model's own template text; NULL: it has none. Until the vocabulary goes. */
const char *dw_vocab_chat_template(const dw_vocab *vocab);
/* One of the file's other templates, tokenizer.chat_template.NAME; NULL: it has none of this name.
 * */
const char *dw_vocab_named_template(const dw_vocab *vocab, const char *name);

#endif
