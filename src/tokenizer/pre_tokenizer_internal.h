/* The patterns of pre-tokenizers, as data, and what they are made of. */
#ifndef DW_TOKENIZER_PRE_TOKENIZER_INTERNAL_H
#define DW_TOKENIZER_PRE_TOKENIZER_INTERNAL_H

#include "tokenizer/pre_tokenizer.h"

/* What \s, \p{L}, \p{N}, \p{P}, \p{M} and \p{S} stand for in libllama's regular expressions: below
 * 128 fixed sets, above the character's flags. */
#define SPACE 0x0001u
#define LETTER 0x0002u
#define NUMBER 0x0004u
#define PUNCTUATION 0x0008u
#define MARK 0x0010u
#define SYMBOL 0x0020u
#define LINE_END 0x0040u /* \r and \n */
#define LOWER 0x0080u    /* a to z, and no others */
#define UPPER 0x0100u
#define ASCII_MARK 0x0200u /* one of the 32 punctuation characters and symbols of ASCII */
/* The flags as libllama's own code for GPT-2's pattern reads them. */
#define FLAG_SPACE 0x0400u
#define FLAG_LETTER 0x0800u
#define FLAG_NUMBER 0x1000u

/* Sets of characters, as pairs of first and last; the last pair is 0, 0. */
typedef uint32_t set_range[2];

/* The parts of which the patterns are made; each matches from a place on, or not. */
typedef enum part_kind {
    PART_END,           /* of the list */
    PART_CONTRACTION,   /* 's 't 're 've 'm 'll 'd, upper case too */
    PART_WORD,          /* [^\r\n(without)]?(of)+ */
    PART_CASED,         /* the same, upper case in front of lower case, then a contraction */
    PART_PHRASE,        /* [^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ */
    PART_RUN,           /* (of){1,most} */
    PART_SPACE_RUN,     /* \s?(of)+ */
    PART_OTHERS,        /*  ?(of, or not `without`)+ and what `tail` says */
    PART_TAGGED,        /* an ASCII mark and [A-Za-z]+ */
    PART_LINES,         /* \s*[\r\n]+ */
    PART_LINE_END,      /* [\r\n] */
    PART_SPACES_BEFORE, /* \s+(?!\S) */
    PART_SPACES,        /* \s+ */
    PART_SPACES_HALVED, /* \s{512}(?!\S), 256, ... {4}, {1,2}, then \s */
    PART_SPACES_LAST,   /* \s+$ */
    PART_SET,           /* (set){1,most}; wide: \s? or a space in front */
    PART_NOT_SET,       /*  ?[^\s(set)]+ */
    PART_THREE_DIGITS,  /* [0-9][0-9][0-9] */
    PART_SENTINEL,      /* <sentinel:[0-9]+> */
    PART_IMAGE,         /* IMGIMG[A-I]{1,4}Z */
    PART_BLANK,         /* [\t\n], four spaces or two */
} part_kind;

#define MANY UINT32_MAX

typedef enum part_tail { TAIL_NONE, TAIL_LINES, TAIL_LINES_SLASHES, TAIL_LINE_OR_SLASH } part_tail;

typedef struct part {
    part_kind kind;
    uint32_t of;      /* kinds of character */
    uint32_t without; /* kinds that it is not */
    uint32_t most;
    part_tail tail;
    bool cased;       /* PART_CASED: ASCII letters of the other case are excluded */
    bool contracted;  /* PART_CASED: a contraction belongs to it */
    bool after_space; /* PART_SET: \s? in front */
    const set_range *set;
} part;

typedef enum stage_kind {
    STAGE_PARTS,           /* the first part that matches, at the first place where one does */
    STAGE_GPT2,            /* libllama's own code for GPT-2's pattern */
    STAGE_DIGITS_BY_THREE, /* its own code that cuts numbers by three from their end */
    STAGE_TRIPLES,         /* (?=(\d{3})+(?!\d)) */
    STAGE_KIMI,            /* libllama's own code for Kimi K2's */
} stage_kind;

/* One regular expression: cuts each of the words that those in front of it have left. */
typedef struct stage {
    stage_kind kind;
    const part *parts;
} stage;

#define NAMES_MAX 20
#define STAGES_MAX 7

struct dw_pre_tokenizer {
    const char *names[NAMES_MAX];
    bool keeps_tokens;
    uint32_t stage_count;
    stage stages[STAGES_MAX];
};

#endif
