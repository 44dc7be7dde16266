/* Vocabularies of every kind, small ones made here and real ones where a folder of them is named,
 * and random texts of all scripts, to hold tokenizers against each other. */
#ifndef DW_TESTS_VOCAB_FIXTURE_H
#define DW_TESTS_VOCAB_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "text/vocab.h"

typedef enum vocab_kind { VOCAB_BPE, VOCAB_SPM, VOCAB_UGM, VOCAB_WPM, VOCAB_KINDS } vocab_kind;

typedef struct vocab_options {
    vocab_kind kind;
    const char *pre;          /* byte pairs: the pre-tokenizer; NULL: gpt-2 */
    const char *architecture; /* NULL: llama, or bert for UGM and WPM */
    const char *name;         /* the model's; NULL: none */
    uint32_t pooling;         /* 0: no key */
    int add_bos;              /* 0: no key; 1: true; -1: false; so for all up to strip_accents */
    int add_eos;
    int space_prefix;
    int joins_spaces;
    int lower_case;
    int strip_accents;
    uint32_t merge_count;     /* pieces beyond single characters; 0: 400 */
    const char *const *extra; /* more normal tokens, of the best score; NULL behind the last */
    const char *const *user;  /* more user-defined tokens; NULL behind the last */
} vocab_options;

/* Control and user-defined tokens that all of them have. */
#define VOCAB_TURN "<|im_start|>"
#define VOCAB_END "<|im_end|>"
#define VOCAB_MESSAGE "<|message|>" /* user-defined by its type, control by its looks */
#define VOCAB_THINK "<think>"       /* user-defined */
#define VOCAB_LINES "\n\n"          /* user-defined */

/* Write a file of it; `path` is a name for mkstemp. Returns the number of tokens. */
uint32_t vocab_write(char *path, const vocab_options *options);
/* Written, opened, removed; at most eight at a time. A failure fails the test. */
dw_vocab *vocab_make(const vocab_options *options);
/* A file's, whatever its architecture; NULL: this program does not take its tokenizer. */
dw_vocab *vocab_open_file(const char *path);

/* Files of real vocabularies: those of the folder DW_TEST_VOCABS; NULL behind the last. The path
 * is borrowed until the next call. */
const char *vocab_next_real(size_t *index);

/* libllama's own tokens of the whole text, without what it adds in front and behind. Returns how
 * many there are, at most `capacity`. */
size_t vocab_oracle(const dw_vocab *vocab, const char *text, size_t bytes, bool parse,
                    int32_t *tokens, size_t capacity);
/* The same from dw_vocab_tokenize. */
size_t vocab_tokens(const dw_vocab *vocab, const char *text, size_t bytes, uint32_t flags,
                    int32_t *tokens, size_t capacity);

/* A random text of about `bytes` bytes into text [bytes + 64], UTF-8 throughout: words, runs of one
 * kind, numbers, punctuation, white space, contractions, characters of all planes. No special
 * token's spelling but VOCAB_THINK and VOCAB_LINES. Returns its length. */
size_t vocab_text(uint64_t *random, char *text, size_t bytes);
uint64_t vocab_random(uint64_t *state);

#endif
