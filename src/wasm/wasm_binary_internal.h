/* Shared by wasm_binary.c (the layout, rewriting), wasm_sections.c (sections) and wasm_code.c
 * (numbers, types, instructions). */
#ifndef DW_WASM_WASM_BINARY_INTERNAL_H
#define DW_WASM_WASM_BINARY_INTERNAL_H

#include "wasm/wasm_binary.h"

/* Beside dw_wasm_type: types of which no value can be saved. */
#define DW__WASM_FUNC_OTHER 7 /* functions that cannot be null, or are always */
#define DW__WASM_OTHER 8

/* A place in the bytes. The first failure stays; after one, `at` is of no use. */
typedef struct dw__wasm_reader {
    const unsigned char *bytes;
    size_t at;
    size_t end;          /* at <= end <= what there is */
    const char *problem; /* NULL: none */
    size_t problem_at;
    bool unknown; /* the problem is one of ours: well-formed perhaps, but not known here */
} dw__wasm_reader;

/* How an opcode goes on. */
typedef enum dw__wasm_shape {
    DW__SHAPE_UNKNOWN,
    DW__SHAPE_NONE,
    DW__SHAPE_INDEX,  /* one index or label */
    DW__SHAPE_TWO,    /* two of them */
    DW__SHAPE_NUMBER, /* a signed number */
    DW__SHAPE_BYTES_4,
    DW__SHAPE_BYTES_8,
    DW__SHAPE_MEMARG,    /* alignment, perhaps a memory, offset */
    DW__SHAPE_BLOCK,     /* a block's type */
    DW__SHAPE_TRY_TABLE, /* a block's type and catch clauses */
    DW__SHAPE_BR_TABLE,
    DW__SHAPE_TYPES, /* select's */
    DW__SHAPE_HEAP_TYPE,
    DW__SHAPE_FUNCTION, /* ref.func's */
    DW__SHAPE_TABLE_SET,
    DW__SHAPE_PREFIX, /* another opcode follows */
} dw__wasm_shape;

/* What instructions do that matters to saving. */
typedef struct dw__wasm_code {
    unsigned char shapes[256]; /* dw__wasm_shape of each opcode */
    unsigned char *held;       /* [function_count] 1: a reference to it can be made */
    uint32_t function_count;   /* imports counted */
    bool tables_change;
    bool drops_data;
    bool drops_elements;
    bool undecoded;
    size_t undecoded_at; /* the first such byte */
} dw__wasm_code;

/* Each answers false once the reader has a problem. */
bool dw__wasm_fail(dw__wasm_reader *reader, size_t at, const char *problem);
bool dw__wasm_unknown(dw__wasm_reader *reader, size_t at, const char *what);
bool dw__wasm_byte(dw__wasm_reader *reader, uint32_t *value);
bool dw__wasm_u32(dw__wasm_reader *reader, uint32_t *value);
bool dw__wasm_skip_number(dw__wasm_reader *reader, size_t bytes_max);
bool dw__wasm_skip_bytes(dw__wasm_reader *reader, size_t count);
/* Bytes with their count in front: `inside` reads them, `reader` goes on behind. */
bool dw__wasm_next_bytes(dw__wasm_reader *reader, dw__wasm_reader *inside);
/* A section, or a part of one that is written likewise: its kind, and a reader of what is in it;
 * `reader` goes on behind it. */
bool dw__wasm_next_part(dw__wasm_reader *reader, uint32_t *kind, dw__wasm_reader *inside);
/* `*type`: dw_wasm_type or one of the two above. */
bool dw__wasm_value_type(dw__wasm_reader *reader, uint32_t *type);

void dw__wasm_code_init(dw__wasm_code *code);
/* One instruction. A reference to a function is noted where code->held is there. */
bool dw__wasm_instruction(dw__wasm_reader *reader, dw__wasm_code *code, uint32_t *opcode);
/* A constant expression, its end included. */
bool dw__wasm_expression(dw__wasm_reader *reader, dw__wasm_code *code);
/* A function's locals and instructions, up to the reader's end. Unknown instructions are no
 * problem: they are noted, and what follows them in the body is passed over. */
bool dw__wasm_body(dw__wasm_reader *reader, dw__wasm_code *code);
/* A reference to function `index` can be made. */
bool dw__wasm_hold(dw__wasm_reader *reader, dw__wasm_code *code, uint32_t index);

#define DW__WASM_HEADER_BYTES 8
#define DW__WASM_PREFIX_BYTES (sizeof DW_WASM_EXPORT_PREFIX - 1)

/* ---- sections ---- */

enum {
    DW__SECTION_CUSTOM = 0,
    DW__SECTION_TYPE = 1,
    DW__SECTION_IMPORT = 2,
    DW__SECTION_FUNCTION = 3,
    DW__SECTION_TABLE = 4,
    DW__SECTION_MEMORY = 5,
    DW__SECTION_GLOBAL = 6,
    DW__SECTION_EXPORT = 7,
    DW__SECTION_START = 8,
    DW__SECTION_ELEMENT = 9,
    DW__SECTION_CODE = 10,
    DW__SECTION_DATA = 11,
    DW__SECTION_COUNT = 14
};

/* What an import or export is of. */
enum { DW__KIND_FUNCTION, DW__KIND_TABLE, DW__KIND_MEMORY, DW__KIND_GLOBAL, DW__KIND_TAG };

/* One reading of a module. */
typedef struct dw__wasm_parser {
    const unsigned char *bytes;
    size_t byte_count;
    dw_wasm_layout *layout;
    dw__wasm_code code;
    uint32_t function_count; /* so far; imports counted, as in the three below */
    uint32_t table_count;
    uint32_t memory_count;
    uint32_t global_count;
    bool passive_data;
    bool passive_elements;
    bool no_memory;

    /* The export section: its head's first byte, its entries, what follows it. Where there is
     * none, the three are where it would stand. */
    bool has_exports;
    size_t exports_at;
    size_t entries_at;
    size_t exports_end;
    uint32_t export_count;
    bool names_memory; /* something is exported as "memory": */
    uint32_t memory_index;
} dw__wasm_parser;

/* A name in the bytes. */
typedef struct dw__wasm_name {
    const char *text;
    uint32_t bytes;
} dw__wasm_name;

/* The module's state cannot be saved: reading ends here. Answers false. */
bool dw__wasm_refuse(dw__wasm_parser *p, const char *format, ...) DW_PRINTF(2, 3);
/* Append to one of the layout's lists. false: no memory, or refused. */
bool dw__wasm_add_item(dw__wasm_parser *p, dw_wasm_item **items, size_t *count, dw_wasm_item item);
bool dw__wasm_read_name(dw__wasm_reader *r, dw__wasm_name *out);
/* Of a table or memory. */
bool dw__wasm_skip_limits(dw__wasm_reader *r);
/* One entry of the import section: what it is of. */
bool dw__wasm_skip_import(dw__wasm_reader *r, uint32_t *kind);
/* One type (5.3.5, 5.3.8) that is none of several; *values: a function's parameters and results. */
bool dw__wasm_read_type(dw__wasm_reader *r, uint32_t *values);
/* How many types the entries [count] of the type section are, of which some are several. */
bool dw__wasm_count_types(dw__wasm_reader *r, uint32_t count, uint32_t *types);
/* A section to which a rewritten module adds entries. */
typedef struct dw__wasm_section {
    size_t at; /* its first byte; 0: there is none */
    size_t entries_at;
    size_t end;
    uint32_t count;
} dw__wasm_section;

/* Those that functions are added to. */
typedef struct dw__wasm_functions {
    dw__wasm_section types;
    dw__wasm_section functions;
    dw__wasm_section bodies;
    uint32_t type_count; /* in rows of several counted one by one */
} dw__wasm_functions;

/* What else is read of a section: `inside` begins at a body's or function's first entry, else at
 * the section's first byte. false: it is none. */
typedef bool (*dw__wasm_look)(void *user, uint32_t kind, dw__wasm_reader *inside);

/* Where a module [byte_count] has its functions. false: it is none, or has none of its own. */
bool dw__wasm_find_functions(const unsigned char *bytes, size_t byte_count, dw__wasm_functions *out,
                             dw__wasm_look look, void *user);
/* Whether a custom section is one of debug information, which names places in the code. */
bool dw__wasm_is_debug(const dw__wasm_reader *inside);
bool dw__wasm_name_is(const dw__wasm_name *which, const char *text);
/* layout->flush, of a module whose sections were read. */
void dw__wasm_find_flush(dw__wasm_parser *p);
/* All sections of the module. false: refused, no memory, or the reader has a problem. */
bool dw__wasm_read_sections(dw__wasm_parser *p, dw__wasm_reader *r);

#endif
