/* Triggers over a text that comes piece by piece. All that is kept of it is the end that unfinished
 * matches may need: where the machines stand is a function of that text and of whether anything
 * came before it, and nothing else has to be saved. */
#include "sampling/trigger.h"

#include <string.h>

#include "base/array.h"
#include "sampling/trigger_internal.h"

#define MARKER_BYTES_MAX 256U
/* Text that is not needed any more is removed once there is so much of it. */
#define SPARE_BYTES ((size_t)4 << 10)

struct dw_triggers {
    dw_trigger_options options; /* `list` is here, and all texts are in: */
    char *texts;
    dw__trigger_machine *machines; /* [options.count] */

    char *bytes; /* [count]: of the text, from `base` on */
    size_t count;
    size_t capacity;
    uint64_t base;
    dw_work work; /* of the last trial */
    bool paused;
    uint32_t marker_bytes;           /* of the marker awaited, read last */
    uint32_t back[MARKER_BYTES_MAX]; /* how much of it is left where the next byte is another */
};

/* ---- pauses ------------------------------------------------------------------------------- */

static bool has_pauses(const dw_triggers *t)
{
    return t->options.pause_bytes > 0 && t->options.resume_bytes > 0;
}

static const char *marker(const dw_triggers *t, size_t *bytes)
{
    *bytes = t->paused ? t->options.resume_bytes : t->options.pause_bytes;
    return t->paused ? t->options.resume : t->options.pause;
}

/* Knuth, Morris and Pratt's table (1977) of the marker that is awaited. */
static void await(dw_triggers *t, bool paused)
{
    size_t bytes;
    t->paused = paused;
    t->marker_bytes = 0;
    const char *text = marker(t, &bytes);
    uint32_t k = 0;
    t->back[0] = 0;
    for (size_t i = 1; i < bytes; i++) {
        while (k > 0 && text[i] != text[k]) {
            k = t->back[k - 1];
        }
        k += text[i] == text[k];
        t->back[i] = k;
    }
}

/* Whether the marker ends with this byte. */
static bool marker_ends(dw_triggers *t, char byte)
{
    size_t bytes;
    const char *text = marker(t, &bytes);
    uint32_t k = t->marker_bytes;
    while (k > 0 && text[k] != byte) {
        k = t->back[k - 1];
    }
    k += text[k] == byte;
    t->marker_bytes = k;
    return k == bytes;
}

/* Append what counts of text [bytes]; there is room. */
static void append(dw_triggers *t, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        bool ends = has_pauses(t) && marker_ends(t, text[i]);
        if (!t->paused) {
            t->bytes[t->count++] = text[i];
        } else if (ends) { /* all of it at once: it may be part of a trigger */
            memcpy(t->bytes + t->count, t->options.resume, t->options.resume_bytes);
            t->count += t->options.resume_bytes;
        }
        if (ends) {
            await(t, !t->paused);
        }
    }
}

/* ---- reading ------------------------------------------------------------------------------ */

static dw__trigger_text text_of(const dw_triggers *t)
{
    return (dw__trigger_text){.bytes = t->bytes, .base = t->base, .end = t->base + t->count};
}

/* Each piece of a resume marker's length may end one; the last may have begun before. */
static dw_status make_room(dw_triggers *t, size_t bytes, dw_error *err)
{
    size_t markers = t->options.resume_bytes;
    return DW_ARRAY_RESERVE(t->bytes, t->capacity, t->count + bytes + markers, SIZE_MAX)
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory to look for triggers in %zu bytes",
                         t->count + bytes);
}

dw_status dw_triggers_try(dw_triggers *t, const char *text, size_t bytes, const char **found,
                          size_t *found_bytes, dw_error *err)
{
    size_t count = t->count;
    bool paused = t->paused;
    uint32_t marker_bytes = t->marker_bytes;
    *found = NULL;
    *found_bytes = 0;
    dw_status status = make_room(t, bytes, err);
    if (status != DW_OK) {
        return status;
    }
    append(t, text, bytes);
    const dw__trigger_text all = text_of(t);
    dw_work_begin(&t->work, DW_TRIGGER_STEPS_MAX);
    for (size_t i = 0; i < t->options.count && *found == NULL && !dw_work_done(&t->work); i++) {
        uint64_t start;
        if (dw__trigger_machine_try(&t->machines[i], &all, &t->work, &start)) {
            DW_ASSERT(start >= t->base && start <= all.end);
            *found = t->bytes + (start - t->base);
            *found_bytes = (size_t)(all.end - start);
        }
    }
    t->count = count;
    if (t->paused != paused) {
        await(t, paused);
    }
    t->marker_bytes = marker_bytes;
    if (t->work.stopped) {
        return dw_fail(err, DW_E_CANCELLED, "triggers: cancelled");
    }
    return dw_work_done(&t->work)
               ? dw_fail(err, DW_E_LIMIT,
                         "triggers: looking for them takes more steps than the limit of %u",
                         DW_TRIGGER_STEPS_MAX)
               : DW_OK;
}

void dw_triggers_set_stop(dw_triggers *t, dw_stop *stop)
{
    t->work.stop = stop;
}

uint64_t dw_triggers_steps(const dw_triggers *t)
{
    return dw_work_taken(&t->work);
}

static uint64_t needed_from(const dw_triggers *t)
{
    uint64_t needed = t->base + t->count;
    for (size_t i = 0; i < t->options.count; i++) {
        uint64_t first = dw__trigger_machine_needs(&t->machines[i]);
        needed = first < needed ? first : needed;
    }
    return needed;
}

static void drop_until(dw_triggers *t, uint64_t first)
{
    size_t gone = (size_t)(first - t->base);
    memmove(t->bytes, t->bytes + gone, t->count - gone);
    t->count -= gone;
    t->base = first;
}

static void read_all(dw_triggers *t)
{
    const dw__trigger_text all = text_of(t);
    for (size_t i = 0; i < t->options.count; i++) {
        dw__trigger_machine_read(&t->machines[i], &all);
    }
}

dw_status dw_triggers_read(dw_triggers *t, const char *text, size_t bytes, dw_error *err)
{
    dw_status status = make_room(t, bytes, err);
    if (status != DW_OK) {
        return status;
    }
    append(t, text, bytes);
    read_all(t);
    uint64_t needed = needed_from(t);
    if (needed - t->base > SPARE_BYTES) {
        drop_until(t, needed);
    }
    if (t->base + t->count - needed > DW_TRIGGER_TEXT_BYTES_MAX) {
        /* Read again from the second half on, as if the text began there: so the machines are
         * still where the text that is kept leads. */
        drop_until(t, t->base + t->count - DW_TRIGGER_TEXT_BYTES_MAX / 2);
        for (size_t i = 0; i < t->options.count; i++) {
            dw__trigger_machine_reset(&t->machines[i], t->base);
        }
        read_all(t);
    }
    return DW_OK;
}

/* ---- state -------------------------------------------------------------------------------- */

const dw_trigger_options *dw_triggers_options(const dw_triggers *t)
{
    return &t->options;
}

dw_trigger_state dw_triggers_state(const dw_triggers *t)
{
    uint64_t needed = needed_from(t);
    return (dw_trigger_state){
        .text = t->bytes != NULL ? t->bytes + (needed - t->base) : "",
        .bytes = (size_t)(t->base + t->count - needed),
        .whole = needed == 0,
        .paused = t->paused,
        .marker_bytes = t->marker_bytes,
    };
}

dw_status dw_triggers_restore(dw_triggers *t, const dw_trigger_state *state, dw_error *err)
{
    size_t bytes = state->paused ? t->options.resume_bytes : t->options.pause_bytes;
    if (state->bytes > DW_TRIGGER_TEXT_BYTES_MAX ||
        (has_pauses(t) ? state->marker_bytes >= bytes : state->paused || state->marker_bytes > 0)) {
        return dw_fail(err, DW_E_RANGE, "triggers: %zu bytes of text, %u of a marker of %zu",
                       state->bytes, state->marker_bytes, bytes);
    }
    t->count = 0;
    dw_status status = make_room(t, state->bytes, err);
    if (status != DW_OK) {
        return status;
    }
    if (state->bytes > 0) {
        memcpy(t->bytes, state->text, state->bytes);
    }
    t->count = state->bytes;
    t->base = state->whole ? 0 : 1; /* anything but the beginning */
    await(t, state->paused);
    t->marker_bytes = state->marker_bytes;
    for (size_t i = 0; i < t->options.count; i++) {
        dw__trigger_machine_reset(&t->machines[i], t->base);
    }
    read_all(t);
    return DW_OK;
}

/* ---- creation ----------------------------------------------------------------------------- */

static const char *keep(char **to, const char *text, size_t bytes)
{
    char *kept = *to;
    if (bytes > 0) {
        memcpy(kept, text, bytes);
    }
    *to += bytes;
    return kept;
}

static dw_status check_options(const dw_trigger_options *options, size_t *bytes, dw_error *err)
{
    *bytes = options->pause_bytes + options->resume_bytes;
    if (options->count == 0 || options->count > DW_TRIGGERS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "triggers: %zu, from 1 to %d is allowed", options->count,
                       DW_TRIGGERS_MAX);
    }
    if (options->pause_bytes > MARKER_BYTES_MAX || options->resume_bytes > MARKER_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT,
                       "triggers: markers of a pause of %zu and %zu bytes, "
                       "limit %u",
                       options->pause_bytes, options->resume_bytes, MARKER_BYTES_MAX);
    }
    for (size_t i = 0; i < options->count; i++) {
        if (options->list[i].bytes > DW_TRIGGER_BYTES_MAX) {
            return dw_fail(err, DW_E_LIMIT, "triggers[%zu]: %zu bytes, limit %d", i,
                           options->list[i].bytes, DW_TRIGGER_BYTES_MAX);
        }
        *bytes += options->list[i].bytes;
    }
    return DW_OK;
}

static dw_status keep_options(dw_triggers *t, const dw_trigger_options *options, size_t bytes,
                              dw_error *err)
{
    dw_trigger *list = dw_alloc(options->count, sizeof *list);
    t->options.list = list;
    t->texts = dw_alloc(bytes, 1);
    t->machines = dw_alloc(options->count, sizeof *t->machines);
    if (list == NULL || t->texts == NULL || t->machines == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu triggers", options->count);
    }
    char *to = t->texts;
    for (size_t i = 0; i < options->count; i++) {
        list[i] = options->list[i];
        list[i].text = keep(&to, options->list[i].text, options->list[i].bytes);
    }
    t->options.pause = keep(&to, options->pause, options->pause_bytes);
    t->options.resume = keep(&to, options->resume, options->resume_bytes);
    t->options.pause_bytes = options->pause_bytes;
    t->options.resume_bytes = options->resume_bytes;
    t->options.paused = options->paused && has_pauses(t);
    size_t code_count = 0;
    for (; t->options.count < options->count; t->options.count++) {
        dw_error why;
        size_t i = t->options.count;
        dw_status status = dw__trigger_machine_init(&t->machines[i], &list[i], &why);
        if (status != DW_OK) {
            dw__trigger_machine_release(&t->machines[i]);
            return dw_fail(err, status, "triggers[%zu]: '%.*s': %s", i,
                           (int)(list[i].bytes > 80 ? 80 : list[i].bytes), list[i].text,
                           why.message);
        }
        code_count += t->machines[i].program.code_count;
        if (code_count > DW_TRIGGERS_CODE_MAX) {
            dw__trigger_machine_release(&t->machines[i]);
            return dw_fail(err, DW_E_LIMIT,
                           "triggers: more than %d steps once the first %zu of %zu are written out",
                           DW_TRIGGERS_CODE_MAX, i + 1, options->count);
        }
    }
    return DW_OK;
}

dw_status dw_triggers_create(dw_triggers **out, const dw_trigger_options *options, dw_error *err)
{
    size_t bytes;
    *out = NULL;
    dw_status status = check_options(options, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    dw_triggers *t = dw_alloc(1, sizeof *t);
    if (t == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for triggers");
    }
    status = keep_options(t, options, bytes, err);
    if (status != DW_OK) {
        dw_triggers_destroy(t);
        return status;
    }
    await(t, t->options.paused);
    *out = t;
    return DW_OK;
}

void dw_triggers_destroy(dw_triggers *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->options.count; i++) {
        dw__trigger_machine_release(&t->machines[i]);
    }
    dw_free(t->machines);
    dw_free((void *)(uintptr_t)t->options.list);
    dw_free(t->texts);
    dw_free(t->bytes);
    dw_free(t);
}
