/* What a vocabulary consists of. */
#ifndef DW_TEXT_VOCAB_INTERNAL_H
#define DW_TEXT_VOCAB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/once.h"
#include "tokenizer/byte_pairs.h"
#include "tokenizer/sentence_pieces.h"
#include "tokenizer/special_tokens.h"
#include "tokenizer/unigrams.h"
#include "tokenizer/word_pieces.h"
#include "text/vocab.h"

/* Made when a grammar first asks: it takes tens of milliseconds and a megabyte or two. */
typedef struct lazy_texts {
    dw_once once;
    dw_token_texts texts;
} lazy_texts;

/* Made when the first long text comes that libllama cannot split, or cannot be left over: a tenth
 * of a second or two, and megabytes. */
typedef struct lazy_pairs {
    dw_once once;
    dw_byte_pairs *pairs; /* borrows its texts from the file */
    dw_gguf *own_file;
} lazy_pairs;

/* A load on a thread of its own: it takes longer than all else of a model's load together. */
typedef struct background {
    pthread_mutex_t lock; /* of the waiting */
    _Atomic bool begun;   /* the thread is there; set with lock once others know the vocabulary */
    _Atomic bool done;    /* read before the lock is taken: all below and the vocabulary are set */
    pthread_t thread;
    int fd;                /* keeps the file: its path may come to name another, or none */
    char path[32];         /* of the fd */
    _Atomic bool finished; /* only that waiting would be short */
    dw_status status;
    dw_error err;
    void (*meanwhile)(void *user); /* of dw_vocab_set_meanwhile; may be NULL */
    void *user;
} background;

struct dw_vocab {
    background *loading; /* NULL: loaded when opened */
    struct llama_model *model;
    const struct llama_vocab *vocab;
    const char *chat_template;
    uint32_t count;
    dw_sentence_pieces *sentence_pieces; /* one of these three, or NULL all: byte pairs */
    dw_unigrams *unigrams;
    dw_word_pieces *word_pieces;
    const dw_pre_tokenizer *splitter; /* for texts that libllama cannot split; NULL: it can */
    const dw_pre_tokenizer *words;    /* for those of long words, where it can */
    char *path;                       /* where merges are read from, unless `file` is there */
    const dw_gguf *file;              /* lent */
    lazy_pairs *lazy_pairs;
    dw_specials specials;
    int32_t first; /* DW_TOKENIZE_SPECIAL puts these in front and behind; -1: nothing */
    int32_t last;
    lazy_texts *lazy;
};

/* lazy_pairs' work, of a dw_vocab (tokenize.c). */
dw_status dw__vocab_make_pairs(void *arg, dw_error *err);

#endif
