/* One trigger as a program for a Pike machine: trigger_parse.c writes it, trigger_match.c runs it.
 * Thread: one at a time. */
#ifndef DW_SAMPLING_TRIGGER_INTERNAL_H
#define DW_SAMPLING_TRIGGER_INTERNAL_H

#include "base/work.h"
#include "sampling/trigger.h"

#define DW__TRIGGER_CODE_MAX 4096U
#define DW__TRIGGER_GROUPS_MAX 8U
#define DW__TRIGGER_SLOTS_MAX (2 * (DW__TRIGGER_GROUPS_MAX + 1))

typedef enum dw__trigger_op {
    DW__TRIGGER_BYTE,  /* byte `x` */
    DW__TRIGGER_CLASS, /* a byte of classes[x] */
    DW__TRIGGER_SPLIT, /* go on at both, rather at +x */
    DW__TRIGGER_JUMP,  /* to +x */
    DW__TRIGGER_SAVE,  /* the place in slot x: 2g is group g's start, 2g + 1 its end */
    DW__TRIGGER_FIRST, /* the text begins here */
    DW__TRIGGER_LAST,  /* it ends here */
    DW__TRIGGER_AHEAD, /* looks[x] comes next */
    DW__TRIGGER_NOT_AHEAD,
    DW__TRIGGER_MATCH,
} dw__trigger_op;

typedef struct dw__trigger_instruction {
    dw__trigger_op op;
    int32_t x; /* places are relative, so that code can be copied */
    int32_t y;
} dw__trigger_instruction;

typedef struct dw__trigger_class {
    uint32_t bits[8];
} dw__trigger_class;

/* Literal texts of a (?=...) or (?!...): any of the [count] from `first` on. */
typedef struct dw__trigger_look {
    uint32_t first;
    uint32_t count;
} dw__trigger_look;

typedef struct dw__trigger_program {
    dw__trigger_instruction *code; /* [code_count] */
    dw__trigger_class *classes;    /* [class_count] */
    dw__trigger_look *looks;       /* [look_count] */
    dw_trigger *literals;          /* [literal_count], texts in `bytes` */
    char *bytes;                   /* [DW_TRIGGER_BYTES_MAX] */
    size_t code_count, code_capacity;
    size_t class_count, class_capacity;
    size_t look_count, look_capacity;
    size_t literal_count, literal_capacity;
    uint32_t byte_count;
    uint32_t slot_count;  /* 2 for each group and for the whole */
    uint32_t ahead_bytes; /* that must be known behind a place before it can be passed; >= 1 */
} dw__trigger_program;

/* Errors: DW_E_ARG, DW_E_LIMIT, DW_E_MEMORY. To be released whatever comes of it. */
dw_status dw__trigger_parse(dw__trigger_program *program, const dw_trigger *trigger, dw_error *err);
void dw__trigger_program_release(dw__trigger_program *program);

/* Threads in the order in which they are preferred, each its place in the code and its slots. */
typedef struct dw__trigger_threads {
    uint32_t *places; /* [code_count] */
    uint64_t *slots;  /* [code_count * slot_count] */
    uint32_t count;
} dw__trigger_threads;

typedef struct dw__trigger_pending {
    uint32_t place;
    int32_t slot; /* less than 0: go on at `place`; else put `old` back there */
    uint64_t old;
} dw__trigger_pending;

/* Places in the text are counted from its beginning, of which [base, end) is here. */
typedef struct dw__trigger_text {
    const char *bytes;
    uint64_t base;
    uint64_t end;
} dw__trigger_text;

typedef struct dw__trigger_machine {
    dw__trigger_program program;
    dw__trigger_threads now;  /* at `at` */
    dw__trigger_threads next; /* scratch, as all below */
    dw__trigger_threads trial;
    dw__trigger_pending *pending; /* [3 * code_count] */
    uint64_t *marks;              /* [code_count]: the round in which a place was last seen */
    uint64_t round;
    uint64_t at;
} dw__trigger_machine;

dw_status dw__trigger_machine_init(dw__trigger_machine *machine, const dw_trigger *trigger,
                                   dw_error *err);
void dw__trigger_machine_release(dw__trigger_machine *machine);
/* Forget everything and begin at `at`. */
void dw__trigger_machine_reset(dw__trigger_machine *machine, uint64_t at);
/* Whether the text, up to its end, holds a match; *start is where its grammar begins. false, too,
 * once the work is done. */
bool dw__trigger_machine_try(dw__trigger_machine *machine, const dw__trigger_text *text,
                             dw_work *work, uint64_t *start);
/* Go on as far as the text decides. */
void dw__trigger_machine_read(dw__trigger_machine *machine, const dw__trigger_text *text);
/* The first place of the text that an unfinished match may need. */
uint64_t dw__trigger_machine_needs(const dw__trigger_machine *machine);

#endif
