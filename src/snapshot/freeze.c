/* Freezing: an actor's state as the tensors and the description of a snapshot. docs/snapshot.md
 * says what each holds. */
#include <string.h>

#include "base/alloc.h"
#include "base/public_struct.h"
#include "base/stack.h"
#include "snapshot/snapshot_parts_internal.h"
#include "wasm/instance_state.h"

static void release(dw__freeze *f)
{
    for (size_t i = 0; i < f->log_count; i++) {
        dw_kv_log_destroy(f->logs[i]);
    }
    dw_free(f->logs);
    dw_module_unref(f->module);
    for (size_t i = 0; i < f->kept_count; i++) {
        dw_free(f->kept[i]);
    }
    dw_free(f->kept);
    dw_free(f->parts);
    dw_free(f->messages);
    dw_snapshot_writer_destroy(f->writer);
}

static dw_status fill(dw__freeze *f, json_t *about, dw_error *err)
{
    dw_actor *actor = f->actor;
    static const char *const lists[] = {"models",  "globals", "memories", "open",   "generations",
                                        "mailbox", "timers",  "effects",  "tickets"};
    json_t *made[sizeof lists / sizeof lists[0]];
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        made[i] = json_array();
        if (!dw__json_put(about, lists[i], made[i])) {
            return dw__freeze_no_memory(err);
        }
    }
    if (!dw__json_put(about, "settings", dw__settings_save(actor->settings)) ||
        !dw__json_put(about, "id", json_string(actor->id)) ||
        !dw__json_put(about, "tables", dw__json_number(dw_state_table_count(actor->instance))) ||
        !dw__json_put(about, "effect_number", dw__json_number(actor->effect_number)) ||
        !dw__json_put(about, "received", dw__json_number(actor->received)) ||
        !dw__repeatable_save(actor, about) || !dw__messages_describe(&actor->mailbox, made[5]) ||
        !dw__messages_describe(&actor->timers, made[6]) ||
        !dw__messages_describe(&actor->effects, made[7]) ||
        !dw__messages_describe(&actor->tickets, made[8])) {
        return dw__freeze_no_memory(err);
    }
    dw_status status = dw__models_save(actor, made[0], err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__globals_save(actor, made[1], err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__memories_save(f, made[2], err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__handles_save(f, made[3], made[4], err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__tables_save(f, err);
    return status == DW_OK ? dw__messages_save(f, err) : status;
}

static dw_status add_module(dw__freeze *f, bool without, dw_error *err)
{
    const dw_module *module = f->actor->module;
    size_t wasm_bytes;
    const unsigned char *wasm = dw_module_wasm(module, &wasm_bytes);
    dw_snapshot_tensor tensor = {.name = DW__TENSOR_MODULE,
                                 .dtype = "U8",
                                 .dimension_count = 1,
                                 .shape = {wasm_bytes},
                                 .bytes = wasm,
                                 .lasting = true};
    dw_status status =
        dw_snapshot_writer_meta(f->writer, DW__META_MODULE, dw_module_hash(module), err);
    return status == DW_OK && !without && !f->delta ? dw__freeze_tensor(f, &tensor, err) : status;
}

static dw_status add_base(dw__freeze *f, dw_error *err)
{
    dw_status status = dw_snapshot_writer_meta(f->writer, "kind", "delta", err);
    return status == DW_OK
               ? dw_snapshot_writer_meta(f->writer, "base", f->actor->frozen.identity, err)
               : status;
}

/* Logs are written from pages that may be mapped from files. */
static dw_status check_files(void *user, dw_error *err)
{
    const dw__freeze *f = user;
    dw_status status = f->apart ? DW_OK : dw_actor_check_files(f->actor, err);
    for (size_t i = 0; i < f->log_count && status == DW_OK; i++) {
        status = dw_kv_log_check_files(f->logs[i], err);
    }
    return status;
}

/* Settings and models go into a delta where they are not what the files have. */
static dw_status part_settings(dw__freeze *f, json_t *about, dw_error *err)
{
    dw_status status = DW_OK;
    json_t *own = json_object();
    if (json_object_set(own, "settings", json_object_get(about, "settings")) != 0 ||
        json_object_set(own, "models", json_object_get(about, "models")) != 0 ||
        !dw__settings_hash(own, f->settings)) {
        json_decref(own);
        return dw__freeze_no_memory(err);
    }
    if (f->delta) {
        (void)json_object_del(about, "settings");
        (void)json_object_del(about, "models");
    }
    const dw_frozen_map *map = f->actor->frozen.map;
    f->writes_settings =
        !f->delta || strcmp(f->settings, f->actor->frozen.settings) != 0 ||
        (f->carried != NULL && map->settings != DW_FROZEN_NONE && f->carried[map->settings]);
    if (f->delta && f->writes_settings) {
        char *text = json_dumps(own, JSON_COMPACT | JSON_SORT_KEYS);
        status = text != NULL ? dw_snapshot_writer_meta(f->writer, DW__META_SETTINGS, text, err)
                              : dw__freeze_no_memory(err);
        free(text);
    }
    json_decref(own);
    return status;
}

/* The description goes last: the other parts fill it. */
static dw_status compose(dw__freeze *f, const dw_freeze_options *options, dw_error *err)
{
    json_t *about = json_object();
    char *text = NULL;
    dw_status status = dw_snapshot_writer_create(&f->writer, err);
    if (status != DW_OK) {
        goto out;
    }
    dw_snapshot_writer_set_check(f->writer, check_files, f);
    status = about != NULL ? fill(f, about, err) : dw__freeze_no_memory(err);
    if (status != DW_OK) {
        goto out;
    }
    status = add_module(f, options->without_module, err);
    if (status == DW_OK) {
        status = part_settings(f, about, err);
    }
    if (status != DW_OK) {
        goto out;
    }
    text = json_dumps(about, JSON_COMPACT | JSON_SORT_KEYS);
    status = text != NULL ? dw_json_check("freeze: the description", text, strlen(text),
                                          &dw_snapshot_about_bounds, err)
                          : dw__freeze_no_memory(err);
    if (status == DW_OK) {
        status = dw_snapshot_writer_meta(f->writer, DW__META_ACTOR, text, err);
    }
    if (status == DW_OK && f->delta) {
        status = add_base(f, err);
    }
out:
    free(text);
    json_decref(about);
    return status;
}

/* Whatever comes of it, `end` follows. */
static dw_status begin(dw__freeze *f, const dw_freeze_options *options, dw_error *err)
{
    dw_actor *actor = f->actor;
    f->has_base = actor->frozen.identity[0] != '\0';
    f->delta = options->delta && f->has_base;
    f->stats.delta = f->delta;
    f->module = dw_module_ref(actor->module);
    dw_status status = dw_actor_check_rests(actor, err);
    if (status == DW_OK && actor->freezing) {
        status = dw_fail(err, DW_E_STATE, "actor %s: a freeze of it is under way", actor->id);
    }
    if (status == DW_OK) {
        status = dw_actor_take_images(actor, err);
    }
    if (status == DW_OK) {
        status = dw_actor_point_open(&f->point, actor, err);
    }
    if (status == DW_OK) {
        status = dw__freeze_choose(f, err);
    }
    return status == DW_OK ? compose(f, options, err) : status;
}

static dw_status write_file(dw__freeze *f, const char *path, const char *part_path, dw_error *err)
{
    dw_status status =
        dw_snapshot_writer_write_part(f->writer, path, part_path, f->stats.identity, err);
    f->stats.file_bytes = dw_snapshot_writer_bytes(f->writer);
    f->stats.written_bytes = dw_snapshot_writer_written(f->writer);
    return status;
}

/* `written`: the actor's next freeze may build upon it. `actor` NULL: it has ended. */
static void end(dw__freeze *f, dw_actor *actor, bool written)
{
    if (written && actor != NULL && actor->module == f->module) {
        dw_actor_note_frozen(actor, &f->point, f->stats.identity, f->settings);
        dw__freeze_note(f);
    }
    dw_actor_point_close(&f->point, actor);
    release(f);
}

static dw_status read_arguments(dw_freeze_options *own, const dw_freeze_options *options,
                                dw_error *err)
{
    return dw_struct_read(own, sizeof *own, options, "dw_freeze_options", err);
}

/* The state is described in trees. */
typedef struct beginning {
    dw__freeze *f;
    const dw_freeze_options *options;
} beginning;

static dw_status begin_here(void *arg, dw_error *err)
{
    const beginning *work = arg;
    return begin(work->f, work->options, err);
}

static dw_status begin_apart(dw__freeze *f, const dw_freeze_options *options, dw_error *err)
{
    beginning work = {.f = f, .options = options};
    return dw_stack_run(begin_here, &work, err);
}

dw_status dw_actor_freeze(dw_actor *actor, const char *path, const dw_freeze_options *options,
                          dw_freeze_stats *stats, dw_error *err)
{
    dw__freeze f = {.actor = actor};
    dw_freeze_options own;
    dw_status status = read_arguments(&own, options, err);
    if (status == DW_OK) {
        status = dw_struct_check(stats, "dw_freeze_stats", err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = begin_apart(&f, &own, err);
    if (status == DW_OK) {
        status = write_file(&f, path, own.part_path, err);
    }
    if (status == DW_OK) {
        dw_struct_write(stats, &f.stats, sizeof f.stats);
    }
    end(&f, actor, status == DW_OK);
    return status;
}

dw_status dw_actor_export(dw_actor *actor, int fd, const dw_freeze_options *options,
                          dw_freeze_stats *stats, dw_error *err)
{
    dw__freeze f = {.actor = actor};
    dw_freeze_options full;
    dw_status status = read_arguments(&full, options, err);
    if (status == DW_OK) {
        status = dw_struct_check(stats, "dw_freeze_stats", err);
    }
    if (status != DW_OK) {
        return status;
    }
    full.delta = false;
    status = begin(&f, &full, err);
    if (status == DW_OK) {
        status = dw_snapshot_writer_write_stream(f.writer, fd, err);
    }
    if (status == DW_OK) {
        f.stats.file_bytes = dw_snapshot_writer_bytes(f.writer);
        f.stats.written_bytes = dw_snapshot_writer_written(f.writer);
        dw_struct_write(stats, &f.stats, sizeof f.stats);
    }
    end(&f, actor, false);
    return status;
}

/* ---- while the actor goes on --------------------------------------------------------------- */

struct dw_freezing {
    dw__freeze f;
    char *part_path; /* NULL: beside the file */
    bool written;
};

static dw_status copy_path(dw_freezing *freezing, const char *path, dw_error *err)
{
    if (path == NULL) {
        return DW_OK;
    }
    freezing->part_path = dw_alloc(strlen(path) + 1, 1);
    if (freezing->part_path == NULL) {
        return dw__freeze_no_memory(err);
    }
    memcpy(freezing->part_path, path, strlen(path) + 1);
    return DW_OK;
}

dw_status dw_actor_freeze_begin(dw_freezing **out, dw_actor *actor,
                                const dw_freeze_options *options, dw_error *err)
{
    dw_freeze_options own;
    *out = NULL;
    dw_status status = read_arguments(&own, options, err);
    dw_freezing *freezing = status == DW_OK ? dw_alloc(1, sizeof *freezing) : NULL;
    if (freezing == NULL) {
        return status == DW_OK ? dw__freeze_no_memory(err) : status;
    }
    freezing->f.actor = actor;
    freezing->f.apart = true;
    status = copy_path(freezing, own.part_path, err);
    if (status == DW_OK) {
        status = begin_apart(&freezing->f, &own, err);
    }
    if (status != DW_OK) {
        dw_freezing_end(freezing, actor);
        return status;
    }
    *out = freezing;
    return DW_OK;
}

dw_status dw_freezing_write(dw_freezing *freezing, const char *path, dw_freeze_stats *stats,
                            dw_error *err)
{
    dw_status status = dw_struct_check(stats, "dw_freeze_stats", err);
    if (status == DW_OK && freezing->written) {
        status = dw_fail(err, DW_E_STATE, "freeze: it is written already");
    }
    if (status == DW_OK) {
        status = write_file(&freezing->f, path, freezing->part_path, err);
    }
    if (status == DW_OK) {
        freezing->written = true;
        dw_struct_write(stats, &freezing->f.stats, sizeof freezing->f.stats);
    }
    return status;
}

void dw_freezing_end(dw_freezing *freezing, dw_actor *actor)
{
    if (freezing != NULL) {
        end(&freezing->f, actor, freezing->written);
        dw_free(freezing->part_path);
        dw_free(freezing);
    }
}
