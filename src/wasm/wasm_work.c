/* What a module asks of the compiler.
 *
 * Most code takes time and memory by its length. Some of it takes them by a square or a product,
 * found by trying shapes of modules (Wasmtime 46 with Cranelift's optimisations, one core):
 *
 *   | shape                                              | time            | memory |
 *   | 100,000 functions without code                     | 3.6 s           | 0.6 GB |
 *   | 10,000 types                                       | 1.1 s           | 0.1 GB |
 *   | 4 MB of constants and sums                         | 13 s            | 1.2 GB |
 *   | 20,000 loops in a row                              | 19 s, by square | 0.3 GB |
 *   | 20,000 memory.grow in a function                   | 21 s, by square | 0.4 GB |
 *   | 20,000 call_indirect in a function                 | 4.7 s, square   | 0.3 GB |
 *   | 60,000 ifs in a row                                | 6.7 s, square   | 0.3 GB |
 *   | 1,000 loops in each other, with 100 locals         | 8.8 s, square   | 0.1 GB |
 *   | 2,000 loops in a row, 2,000 locals used afterwards | 3.3 s, product  | 0.4 GB |
 *   | 5,000 ifs in a row that set 1,000 locals           | 1.2 s, product  | 0.2 GB |
 *   | 500 loops in a row that take 500 values            | 5.8 s           | 4.0 GB |
 *   | 200 calls that take 1,000 values and return them   | 1.6 s           | 0.2 GB |
 *   | 50,000 data segments (wasm_data.c makes them few)  | 11 s, by square | 0.3 GB |
 *
 * What is counted of a function follows these, so that no shape asks for much more than it is
 * counted for. Where instructions are not known here, every byte counts as a loop. */
#include "wasm/wasm_work.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_binary_internal.h"

#define WORK_COUNTED UINT64_C(1000000000000) /* of a function; what is above is as bad */
/* In microseconds, but for the square's. */
#define A_FUNCTION 36
#define A_TYPE 115
#define A_BYTE 3
#define A_CALLED_VALUE 8
#define A_BLOCK_VALUE 24
#define SEGMENTS_SQUARE_PARTS 227 /* of data: segments^2 / 227 */
#define LOOPS_SQUARE_PARTS 20     /* (loops + ...)^2 / 20 */
#define MERGED_SQUARE_PARTS 1000
#define A_BLOCK_VALUE_AND_LOOP 2
#define A_LOCAL_AND_LOOP_PARTS 1
#define A_LOCAL_AND_BLOCK_PARTS 4
#define DEPTH_MAX 4096U      /* of what is told apart; deeper blocks count as the one around them */
#define VALUES_UNKNOWN 1000U /* the format's own limit of parameters and of results */

/* What was counted of a function. */
typedef struct counted {
    uint64_t bytes;
    uint64_t locals; /* with parameters */
    uint64_t loops;
    uint64_t grows;
    uint64_t indirect; /* calls */
    uint64_t branches; /* blocks, ifs, conditional branches, targets of tables */
    uint64_t called_values;
    uint64_t block_values;
    uint64_t merged; /* local variables that a loop's beginning joins */
} counted;

typedef struct weigher {
    const dw_limits *limits;
    uint32_t *values; /* [type_count]: parameters and results of a function's type */
    uint32_t type_count;
    uint32_t *functions; /* [function_count]: types, the imported ones first */
    uint32_t function_count;
    uint32_t import_count;
    dw__wasm_code code;
    counted now;
    uint32_t depth;
    uint64_t accesses[DEPTH_MAX]; /* [depth]: of locals, within each block */
    bool is_loop[DEPTH_MAX];
    uint64_t work;
    uint64_t by_length; /* of it: what grows with the bytes */
    uint64_t most;
    uint32_t most_function;
    dw_status status;
    dw_error *err;
} weigher;

static bool refuse(weigher *w, const char *what, uint64_t value, const char *row, uint64_t limit)
{
    w->status = dw_fail(w->err, DW_E_LIMIT, "the module has %" PRIu64 " %s, limit %" PRIu64 " (%s)",
                        value, what, limit, row);
    return false;
}

/* Row `name` of the table of limits, and what it is. */
#define ROW(w, name) #name, (w)->limits->name

/* ---- types -------------------------------------------------------------------------------- */

static bool skip_fields(dw__wasm_reader *r, uint32_t count)
{
    uint32_t byte;
    for (uint32_t i = 0; i < count; i++) {
        bool packed = r->at < r->end && (r->bytes[r->at] == 0x78 || r->bytes[r->at] == 0x77);
        if (!(packed ? dw__wasm_byte(r, &byte) : dw__wasm_value_type(r, &byte)) ||
            !dw__wasm_byte(r, &byte)) {
            return false;
        }
    }
    return true;
}

static bool skip_types(dw__wasm_reader *r, uint32_t *count)
{
    uint32_t type;
    if (!dw__wasm_u32(r, count)) {
        return false;
    }
    for (uint32_t i = 0; i < *count; i++) {
        if (!dw__wasm_value_type(r, &type)) {
            return false;
        }
    }
    return true;
}

bool dw__wasm_read_type(dw__wasm_reader *r, uint32_t *values)
{
    uint32_t form;
    uint32_t parameters = 0;
    uint32_t results = 0;
    *values = 0;
    if (!dw__wasm_byte(r, &form)) {
        return false;
    }
    if (form == 0x50 || form == 0x4f) { /* a subtype, of those that it lists */
        uint32_t count;
        uint32_t index;
        if (!dw__wasm_u32(r, &count)) {
            return false;
        }
        for (uint32_t i = 0; i < count; i++) {
            if (!dw__wasm_u32(r, &index)) {
                return false;
            }
        }
        if (!dw__wasm_byte(r, &form)) {
            return false;
        }
    }
    switch (form) {
    case 0x60:
        if (!skip_types(r, &parameters) || !skip_types(r, &results)) {
            return false;
        }
        *values = parameters + results;
        return true;
    case 0x5f:
        return dw__wasm_u32(r, &parameters) && skip_fields(r, parameters);
    case 0x5e:
        return skip_fields(r, 1);
    default:
        return false;
    }
}

/* Types that cannot be read count as the largest. */
static bool read_types(weigher *w, dw__wasm_reader *r, uint32_t count)
{
    uint32_t known = 0;
    if (count > w->limits->module_types) {
        return refuse(w, "types", count, ROW(w, module_types));
    }
    w->values = dw_alloc((size_t)w->limits->module_types, sizeof *w->values);
    if (w->values == NULL) {
        w->status = dw_fail(w->err, DW_E_MEMORY, "no memory for a module's types");
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t members = 1;
        if (r->at < r->end && r->bytes[r->at] == 0x4e) { /* several that name each other */
            r->at++;
            if (!dw__wasm_u32(r, &members)) {
                break;
            }
        }
        for (uint32_t k = 0; k < members; k++) {
            if (known == w->limits->module_types) {
                return refuse(w, "types, or more", (uint64_t)known + members - k,
                              ROW(w, module_types));
            }
            if (!dw__wasm_read_type(r, &w->values[known])) {
                w->values[known] = VALUES_UNKNOWN;
                return true;
            }
            w->type_count = ++known;
        }
    }
    w->work += (uint64_t)known * A_TYPE;
    return true;
}

static uint64_t values_of_type(const weigher *w, uint32_t type)
{
    return type < w->type_count ? w->values[type] : VALUES_UNKNOWN;
}

static uint64_t values_of_function(const weigher *w, uint32_t function)
{
    return function < w->function_count ? values_of_type(w, w->functions[function])
                                        : VALUES_UNKNOWN;
}

/* ---- functions ---------------------------------------------------------------------------- */

static bool add_functions(weigher *w, uint32_t count)
{
    uint32_t *functions =
        dw_realloc(w->functions, (size_t)w->function_count + count, sizeof *functions);
    if (functions == NULL) {
        w->status = dw_fail(w->err, DW_E_MEMORY, "no memory for a module's functions");
        return false;
    }
    w->functions = functions;
    return true;
}

/* Imports of functions alone are looked for; where one cannot be read, the rest is not. */
static bool read_imports(weigher *w, dw__wasm_reader *r, uint32_t count)
{
    dw__wasm_name name;
    uint32_t kind;
    uint32_t type;
    if (count > w->limits->module_imports) {
        return refuse(w, "imports", count, ROW(w, module_imports));
    }
    if (!add_functions(w, count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!dw__wasm_read_name(r, &name) || !dw__wasm_read_name(r, &name) ||
            !dw__wasm_byte(r, &kind)) {
            return true;
        }
        switch (kind) {
        case DW__KIND_FUNCTION:
            if (!dw__wasm_u32(r, &type)) {
                return true;
            }
            w->functions[w->function_count++] = type;
            w->import_count++;
            break;
        case DW__KIND_TABLE:
        case DW__KIND_MEMORY:
            if ((kind == DW__KIND_TABLE && !dw__wasm_value_type(r, &type)) ||
                !dw__wasm_skip_limits(r)) {
                return true;
            }
            break;
        case DW__KIND_GLOBAL:
            if (!dw__wasm_value_type(r, &type) || !dw__wasm_byte(r, &type)) {
                return true;
            }
            break;
        default:
            if (!dw__wasm_byte(r, &kind) || !dw__wasm_u32(r, &type)) {
                return true;
            }
        }
    }
    return true;
}

static bool read_functions(weigher *w, dw__wasm_reader *r, uint32_t count)
{
    if (count > w->limits->module_functions) {
        return refuse(w, "functions", count, ROW(w, module_functions));
    }
    if (!add_functions(w, count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t type;
        if (!dw__wasm_u32(r, &type)) {
            return true;
        }
        w->functions[w->function_count++] = type;
    }
    return true;
}

/* ---- bodies ------------------------------------------------------------------------------- */

static void enter(weigher *w, bool loop)
{
    if (w->depth < DEPTH_MAX) {
        w->accesses[w->depth] = 0;
        w->is_loop[w->depth] = loop;
    }
    w->depth++;
}

/* What a loop's beginning joins are the locals that are used in it, in those within it too. */
static void leave(weigher *w)
{
    if (w->depth == 0) {
        return;
    }
    uint32_t at = --w->depth;
    if (at >= DEPTH_MAX) {
        w->now.merged += w->now.locals; /* perhaps a loop */
        return;
    }
    uint64_t accesses = w->accesses[at] < w->now.locals ? w->accesses[at] : w->now.locals;
    w->now.merged += w->is_loop[at] ? accesses : 0;
    if (at > 0) {
        w->accesses[at - 1] += accesses;
    }
}

static void count_block(weigher *w, dw__wasm_reader look, bool loop)
{
    uint32_t type;
    uint64_t values = 0;
    uint32_t first = look.at < look.end ? look.bytes[look.at] : 0x40;
    if ((first & 0xc0) != 0x40) { /* no empty type or single value, whose one byte is negative */
        values = dw__wasm_u32(&look, &type) ? values_of_type(w, type) : VALUES_UNKNOWN;
    }
    w->now.block_values += values;
    w->now.loops += loop;
    w->now.branches += !loop;
    enter(w, loop);
}

static void count_access(weigher *w)
{
    if (w->depth > 0 && w->depth <= DEPTH_MAX) {
        w->accesses[w->depth - 1]++;
    } else if (w->depth > 0) {
        w->accesses[DEPTH_MAX - 1]++;
    }
}

/* look: behind the opcode. */
static void count_instruction(weigher *w, uint32_t opcode, dw__wasm_reader look)
{
    uint32_t number = 0;
    switch (opcode) {
    case 0x02: /* block, if, try, try_table */
    case 0x04:
    case 0x06:
    case 0x1f:
        count_block(w, look, false);
        break;
    case 0x03: /* loop */
        count_block(w, look, true);
        break;
    case 0x0b: /* end */
        leave(w);
        break;
    case 0x0d: /* br_if, br_on_null, br_on_non_null */
    case 0xd5:
    case 0xd6:
        w->now.branches++;
        break;
    case 0x0e: /* br_table: an entry is a byte and more, which count */
        w->now.branches += 2;
        break;
    case 0x10: /* call, return_call */
    case 0x12:
        w->now.called_values +=
            dw__wasm_u32(&look, &number) ? values_of_function(w, number) : VALUES_UNKNOWN;
        break;
    case 0x11: /* call_indirect and call_ref, with return_ before them or not */
    case 0x13:
    case 0x14:
    case 0x15:
        w->now.called_values +=
            dw__wasm_u32(&look, &number) ? values_of_type(w, number) : VALUES_UNKNOWN;
        w->now.indirect++;
        break;
    case 0x20: /* local.get, local.set, local.tee */
    case 0x21:
    case 0x22:
        count_access(w);
        break;
    case 0x25: /* table.get and table.set, aggregates, bulk operations: calls of the host, checks */
    case 0x26:
    case 0xfb:
    case 0xfc:
        w->now.indirect++;
        break;
    case 0x40: /* memory.grow */
        w->now.grows++;
        break;
    default:
        break;
    }
}

static uint64_t work_of(const counted *c)
{
    uint64_t loops = c->loops + c->grows + c->indirect / 2 + c->branches / 5;
    /* Counts of instructions are below 2^23 and the locals below 2^17: only `merged` is larger. */
    uint64_t work =
        A_FUNCTION + c->bytes * A_BYTE + c->called_values * A_CALLED_VALUE +
        c->block_values * A_BLOCK_VALUE + loops * loops / LOOPS_SQUARE_PARTS +
        (c->merged < UINT32_MAX ? c->merged * c->merged / MERGED_SQUARE_PARTS : UINT32_MAX) +
        c->loops * c->locals / A_LOCAL_AND_LOOP_PARTS +
        c->branches * c->locals / A_LOCAL_AND_BLOCK_PARTS +
        c->block_values * c->loops * A_BLOCK_VALUE_AND_LOOP;
    return work < WORK_COUNTED ? work : WORK_COUNTED;
}

/* false: more than there may be. */
static bool count_locals(weigher *w, dw__wasm_reader *r, uint32_t function)
{
    uint32_t groups;
    uint32_t type;
    uint64_t sum = 0;
    if (!dw__wasm_u32(r, &groups)) {
        return true;
    }
    for (uint32_t i = 0; i < groups; i++) {
        uint32_t count;
        if (!dw__wasm_u32(r, &count) || !dw__wasm_value_type(r, &type)) {
            return true;
        }
        sum += count;
    }
    if (sum > w->limits->function_locals) {
        w->status =
            dw_fail(w->err, DW_E_LIMIT,
                    "function %u has %" PRIu64 " locals, limit %" PRIu64 " (function_locals)",
                    function, sum, w->limits->function_locals);
        return false;
    }
    w->now.locals = sum + values_of_function(w, function);
    return true;
}

static bool weigh_body(weigher *w, dw__wasm_reader *r, uint32_t function)
{
    uint32_t opcode;
    size_t bytes = r->end - r->at;
    w->now = (counted){.bytes = bytes};
    w->depth = 0;
    if (bytes > w->limits->function_bytes) {
        w->status = dw_fail(w->err, DW_E_LIMIT,
                            "function %u has %zu bytes, limit %" PRIu64 " (function_bytes)",
                            function, bytes, w->limits->function_bytes);
        return false;
    }
    if (!count_locals(w, r, function)) {
        return false;
    }
    while (r->problem == NULL && r->at < r->end) {
        size_t start = r->at;
        if (!dw__wasm_instruction(r, &w->code, &opcode)) {
            w->now.loops += r->end - start;
            break;
        }
        dw__wasm_reader look = {.bytes = r->bytes, .at = start + 1, .end = r->end};
        count_instruction(w, opcode, look);
    }
    uint64_t work = work_of(&w->now);
    if (work > w->most) {
        w->most = work;
        w->most_function = function;
    }
    w->work += work;
    w->by_length += A_FUNCTION + w->now.bytes * A_BYTE;
    return true;
}

static bool read_bodies(weigher *w, dw__wasm_reader *r, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        dw__wasm_reader body;
        if (!dw__wasm_next_bytes(r, &body)) {
            return true;
        }
        if (!weigh_body(w, &body, w->import_count + i)) {
            return false;
        }
    }
    return true;
}

/* ---- the module --------------------------------------------------------------------------- */

static bool read_section(weigher *w, uint32_t section, dw__wasm_reader *r)
{
    const struct {
        const char *what;
        const char *row;
        uint64_t limit;
    } counts[DW__SECTION_COUNT] = {
        [DW__SECTION_GLOBAL] = {"globals", ROW(w, module_globals)},
        [DW__SECTION_EXPORT] = {"exports", ROW(w, module_exports)},
        [DW__SECTION_ELEMENT] = {"element segments", ROW(w, module_segments)},
        [DW__SECTION_DATA] = {"data segments", ROW(w, module_segments)},
    };
    uint32_t count;
    if (section == DW__SECTION_CUSTOM || section >= DW__SECTION_COUNT || !dw__wasm_u32(r, &count)) {
        return true;
    }
    switch (section) {
    case DW__SECTION_TYPE:
        return w->values != NULL || read_types(w, r, count);
    case DW__SECTION_IMPORT:
        return read_imports(w, r, count);
    case DW__SECTION_FUNCTION:
        return read_functions(w, r, count);
    case DW__SECTION_CODE:
        return read_bodies(w, r, count);
    case DW__SECTION_DATA:
        w->work += (uint64_t)count * count / SEGMENTS_SQUARE_PARTS;
        w->by_length +=
            (uint64_t)count * count / SEGMENTS_SQUARE_PARTS; /* module_segments bounds it */
        break;
    default:
        break;
    }
    return counts[section].limit == 0 || count <= counts[section].limit ||
           refuse(w, counts[section].what, count, counts[section].row, counts[section].limit);
}

typedef struct time_text {
    char text[32];
} time_text;

static time_text time_of(uint64_t us)
{
    time_text t;
    bool seconds = us >= 1000000;
    (void)snprintf(t.text, sizeof t.text, "%" PRIu64 " %s", us / (seconds ? 1000000 : 1000),
                   seconds ? "s" : "ms");
    return t;
}

/* Microseconds of a core, against rows in milliseconds. */
static bool is_work_allowed(weigher *w)
{
    uint64_t function_max = w->limits->function_compile_ms * 1000;
    uint64_t module_max = w->limits->compile_ms * 1000;
    uint64_t excess_max = w->limits->compile_excess_ms * 1000 + w->by_length / 2;
    if (w->most > function_max) {
        w->status = dw_fail(w->err, DW_E_LIMIT,
                            "compiling function %u would take %s of a core or more, limit %s: it "
                            "has too many blocks for its locals (function_compile_ms)",
                            w->most_function, time_of(w->most).text, time_of(function_max).text);
    } else if (w->work > module_max) {
        w->status = dw_fail(w->err, DW_E_LIMIT,
                            "compiling the module would take %s of a core or more, limit %s "
                            "(compile_ms)",
                            time_of(w->work).text, time_of(module_max).text);
    } else if (w->work - w->by_length > excess_max) {
        w->status = dw_fail(w->err, DW_E_LIMIT,
                            "compiling the module would take %s of a core or more beyond what its "
                            "length takes, limit %s: too many blocks for their locals "
                            "(compile_excess_ms)",
                            time_of(w->work - w->by_length).text, time_of(excess_max).text);
    }
    return w->status == DW_OK;
}

static bool weigh(weigher *w, dw__wasm_reader *r)
{
    while (r->at < r->end) {
        uint32_t section;
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(r, &section, &inside)) {
            return true;
        }
        if (!read_section(w, section, &inside)) {
            return false;
        }
    }
    return is_work_allowed(w);
}

static dw_status weigh_module(weigher *w, const void *wasm, size_t wasm_bytes)
{
    if (wasm_bytes > w->limits->module_bytes) {
        return dw_fail(w->err, DW_E_LIMIT,
                       "the module has %zu bytes, limit %" PRIu64 " (module_bytes)", wasm_bytes,
                       w->limits->module_bytes);
    }
    dw__wasm_code_init(&w->code);
    w->code.function_count = 0; /* references are not looked at here */
    dw__wasm_reader r = {.bytes = wasm, .end = wasm_bytes};
    r.at = wasm_bytes < DW__WASM_HEADER_BYTES ? wasm_bytes : DW__WASM_HEADER_BYTES;
    (void)weigh(w, &r);
    return w->status;
}

static weigher *make_weigher(const dw_limits *limits, dw_error *err)
{
    weigher *w = dw_alloc(1, sizeof *w);
    if (w == NULL) {
        (void)dw_fail(err, DW_E_MEMORY, "no memory to read a module");
        return NULL;
    }
    w->limits = limits;
    w->err = err;
    return w;
}

static void destroy_weigher(weigher *w)
{
    dw_free(w->values);
    dw_free(w->functions);
    dw_free(w);
}

dw_status dw_wasm_work_measure(const void *wasm, size_t wasm_bytes, uint64_t *work, uint64_t *most,
                               uint32_t *function, dw_error *err)
{
    weigher *w = make_weigher(&dw_limits_usual, err);
    if (w == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status = weigh_module(w, wasm, wasm_bytes);
    *work = w->work;
    if (most != NULL) {
        *most = w->most;
    }
    if (function != NULL) {
        *function = w->most_function;
    }
    destroy_weigher(w);
    return status;
}

dw_status dw_wasm_work_check(const void *wasm, size_t wasm_bytes, const dw_limits *limits,
                             dw_error *err)
{
    weigher *w = make_weigher(limits, err);
    if (w == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status = weigh_module(w, wasm, wasm_bytes);
    destroy_weigher(w);
    return status;
}
