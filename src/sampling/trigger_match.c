/* A Pike machine: all ways through a program at once, in the order in which a backtracking matcher
 * would try them, so that the first to end is the match that it would find. At each place a way is
 * in at most once, so that a byte costs at most the program's length.
 * What depends on the bytes ahead is decided when they are there: the machine stays behind the
 * text's end by as many, and what remains is run on a copy whenever the text has grown. */
#include <string.h>

#include "base/alloc.h"
#include "sampling/trigger_internal.h"

typedef struct run {
    dw__trigger_machine *machine;
    const dw__trigger_text *text;
    bool matched;
    uint64_t steps;
    uint64_t found[DW__TRIGGER_SLOTS_MAX];
} run;

/* ---- one place ---------------------------------------------------------------------------- */

static bool comes_next(const dw__trigger_program *program, const dw__trigger_text *text,
                       uint64_t at, const dw__trigger_look *look)
{
    for (uint32_t i = 0; i < look->count; i++) {
        const dw_trigger *literal = &program->literals[look->first + i];
        if (text->end - at >= literal->bytes &&
            memcmp(text->bytes + (at - text->base), literal->text, literal->bytes) == 0) {
            return true;
        }
    }
    return false;
}

static bool passes(const run *r, dw__trigger_instruction instruction, uint64_t at)
{
    const dw__trigger_program *program = &r->machine->program;
    switch (instruction.op) {
    case DW__TRIGGER_FIRST:
        return at == 0;
    case DW__TRIGGER_LAST:
        return at == r->text->end;
    case DW__TRIGGER_AHEAD:
        return comes_next(program, r->text, at, &program->looks[instruction.x]);
    default:
        return !comes_next(program, r->text, at, &program->looks[instruction.x]);
    }
}

/* Push a place to go on at; each is taken once a round, by the way that is preferred. */
static void push(dw__trigger_machine *m, uint32_t *depth, uint32_t place)
{
    DW_DCHECK(place < m->program.code_count);
    if (m->marks[place] != m->round) {
        m->pending[(*depth)++] = (dw__trigger_pending){.place = place, .slot = -1};
    }
}

/* Follow what takes no byte from `place` on; ways that wait for one, or match, join the list. */
static void add(run *r, dw__trigger_threads *list, uint32_t place, uint64_t *slots, uint64_t at)
{
    dw__trigger_machine *m = r->machine;
    uint32_t slot_count = m->program.slot_count;
    uint32_t depth = 0;
    push(m, &depth, place);
    while (depth > 0) {
        dw__trigger_pending top = m->pending[--depth];
        r->steps++;
        if (top.slot >= 0) {
            slots[top.slot] = top.old;
            continue;
        }
        if (m->marks[top.place] == m->round) {
            continue;
        }
        m->marks[top.place] = m->round;
        dw__trigger_instruction instruction = m->program.code[top.place];
        switch (instruction.op) {
        case DW__TRIGGER_SPLIT:
            push(m, &depth, (uint32_t)((int32_t)top.place + instruction.y));
            push(m, &depth, (uint32_t)((int32_t)top.place + instruction.x));
            break;
        case DW__TRIGGER_JUMP:
            push(m, &depth, (uint32_t)((int32_t)top.place + instruction.x));
            break;
        case DW__TRIGGER_SAVE:
            m->pending[depth++] =
                (dw__trigger_pending){.slot = instruction.x, .old = slots[instruction.x]};
            slots[instruction.x] = at;
            push(m, &depth, top.place + 1);
            break;
        case DW__TRIGGER_BYTE:
        case DW__TRIGGER_CLASS:
        case DW__TRIGGER_MATCH:
            list->places[list->count] = top.place;
            memcpy(list->slots + (size_t)list->count * slot_count, slots,
                   slot_count * sizeof *slots);
            list->count++;
            break;
        default:
            if (passes(r, instruction, at)) {
                push(m, &depth, top.place + 1);
            }
        }
    }
}

static bool takes(const dw__trigger_program *program, dw__trigger_instruction instruction,
                  unsigned char byte)
{
    return instruction.op == DW__TRIGGER_BYTE
               ? instruction.x == byte
               : (program->classes[instruction.x].bits[byte / 32] >> byte % 32 & 1) != 0;
}

/* From `at` one byte further, or at the text's end to what has ended there. */
static void step(run *r, dw__trigger_threads *list, uint64_t at)
{
    dw__trigger_machine *m = r->machine;
    uint32_t slot_count = m->program.slot_count;
    dw__trigger_threads *next = &m->next;
    if (!r->matched) { /* one may begin here; those that began before are preferred */
        uint64_t slots[DW__TRIGGER_SLOTS_MAX] = {0};
        add(r, list, 0, slots, at);
    }
    m->round++;
    next->count = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        dw__trigger_instruction instruction = m->program.code[list->places[i]];
        uint64_t *slots = list->slots + (size_t)i * slot_count;
        if (instruction.op == DW__TRIGGER_MATCH) {
            r->matched = true;
            memcpy(r->found, slots, slot_count * sizeof *slots);
            break; /* those behind it are not preferred to it */
        }
        if (at < r->text->end &&
            takes(&m->program, instruction, (unsigned char)r->text->bytes[at - r->text->base])) {
            add(r, next, list->places[i] + 1, slots, at + 1);
        }
    }
    dw__trigger_threads swapped = *list;
    *list = *next;
    *next = swapped;
}

/* ---- the machine -------------------------------------------------------------------------- */

/* A new round, in which those of the list have been seen: where one is, another would go the same
 * way. */
static void new_round(dw__trigger_machine *machine, const dw__trigger_threads *list)
{
    machine->round++;
    for (uint32_t i = 0; i < list->count; i++) {
        machine->marks[list->places[i]] = machine->round;
    }
}

void dw__trigger_machine_read(dw__trigger_machine *machine, const dw__trigger_text *text)
{
    run r = {.machine = machine, .text = text};
    DW_DCHECK(machine->at >= text->base);
    new_round(machine, &machine->now);
    while (machine->at + 1 + machine->program.ahead_bytes <= text->end) {
        step(&r, &machine->now, machine->at);
        machine->at++;
    }
}

bool dw__trigger_machine_try(dw__trigger_machine *machine, const dw__trigger_text *text,
                             dw_work *work, uint64_t *start)
{
    run r = {.machine = machine, .text = text};
    dw__trigger_threads *trial = &machine->trial;
    uint32_t slot_count = machine->program.slot_count;
    trial->count = machine->now.count;
    if (trial->count > 0) {
        memcpy(trial->places, machine->now.places, trial->count * sizeof *trial->places);
        memcpy(trial->slots, machine->now.slots,
               (size_t)trial->count * slot_count * sizeof *trial->slots);
    }
    new_round(machine, trial);
    for (uint64_t at = machine->at; at <= text->end; at++) {
        r.steps = 1 + trial->count;
        step(&r, trial, at);
        if (!dw_work_take(work, r.steps)) {
            return false;
        }
    }
    if (!r.matched) {
        return false;
    }
    *start = r.found[0];
    for (uint32_t group = 1; 2 * group < slot_count; group++) {
        if (r.found[2 * group + 1] > r.found[2 * group]) {
            *start = r.found[2 * group];
            break;
        }
    }
    return true;
}

uint64_t dw__trigger_machine_needs(const dw__trigger_machine *machine)
{
    uint64_t needed = machine->at;
    for (uint32_t i = 0; i < machine->now.count; i++) {
        uint64_t start = machine->now.slots[(size_t)i * machine->program.slot_count];
        needed = start < needed ? start : needed;
    }
    return needed;
}

void dw__trigger_machine_reset(dw__trigger_machine *machine, uint64_t at)
{
    machine->now.count = 0;
    machine->at = at;
}

static bool allocate_threads(dw__trigger_threads *list, const dw__trigger_program *program)
{
    list->places = dw_alloc(program->code_count, sizeof *list->places);
    list->slots = dw_alloc(program->code_count * program->slot_count, sizeof *list->slots);
    return list->places != NULL && list->slots != NULL;
}

dw_status dw__trigger_machine_init(dw__trigger_machine *machine, const dw_trigger *trigger,
                                   dw_error *err)
{
    *machine = (dw__trigger_machine){.at = 0};
    dw__trigger_program *program = &machine->program;
    dw_status status = dw__trigger_parse(program, trigger, err);
    if (status != DW_OK) {
        return status;
    }
    machine->pending = dw_alloc(3 * program->code_count, sizeof *machine->pending);
    machine->marks = dw_alloc(program->code_count, sizeof *machine->marks);
    bool enough = machine->pending != NULL && machine->marks != NULL &&
                  allocate_threads(&machine->now, program) &&
                  allocate_threads(&machine->next, program) &&
                  allocate_threads(&machine->trial, program);
    return enough ? DW_OK
                  : dw_fail(err, DW_E_MEMORY, "no memory for a trigger of %zu instructions",
                            program->code_count);
}

static void release_threads(dw__trigger_threads *list)
{
    dw_free(list->places);
    dw_free(list->slots);
}

void dw__trigger_machine_release(dw__trigger_machine *machine)
{
    dw__trigger_program_release(&machine->program);
    release_threads(&machine->now);
    release_threads(&machine->next);
    release_threads(&machine->trial);
    dw_free(machine->pending);
    dw_free(machine->marks);
}
