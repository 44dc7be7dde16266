/* Actors' bodies: guests of an engine, which a scheduler runs. */
#include "runtime/guest_lines.h"
#include "runtime/guests.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/os.h"
#include "runtime/runtime_internal.h"
#include "scheduler/scheduler.h"
#include "wasm/guest_instance.h"
#include "wasm/tool_call.h"

/* An actor with its record, for its callbacks. */
typedef struct body {
    dw__host *host;
    dw__record *record;
    dw_actor *actor;
    uint64_t received; /* messages, before the present one */
    bool delivered;    /* that came from the mailbox */
    dw__usage told;    /* so far */
    dw__guest_lines lines;
} body;

static uint64_t clock_ns(void *user)
{
    (void)user;
    return dw_os_clock_ns();
}

static uint64_t wall_ms(void *user)
{
    (void)user;
    return dw_os_wall_ms();
}

static void chance(void *user, void *to, size_t bytes)
{
    (void)user;
    dw_os_random(to, bytes);
}

/* ---- seeds ----------------------------------------------------------------------------------- */

dw_status dw__seed_create(dw__seed **out, dw_module *module, dw_actor_settings *settings,
                          dw_error *err)
{
    dw__seed *seed = dw_alloc(1, sizeof *seed);
    *out = seed;
    if (seed == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    }
    atomic_init(&seed->references, 1);
    seed->module = dw_module_ref(module);
    seed->settings = settings;
    seed->limits = settings->limits;
    dw_limits_fill(&seed->limits, &dw_limits_usual);
    if (settings->options.message_bytes_max != 0) {
        seed->limits.message_bytes = settings->options.message_bytes_max;
    }
    return DW_OK;
}

void dw__seed_release(dw__seed *seed)
{
    if (seed != NULL && atomic_fetch_sub(&seed->references, 1) == 1) {
        dw_module_unref(seed->module);
        dw_actor_settings_unref(seed->settings);
        dw_free(seed);
    }
}

static void *seed_ref(void *user, void *seed)
{
    (void)user;
    (void)atomic_fetch_add(&((dw__seed *)seed)->references, 1);
    return seed;
}

static void seed_unref(void *user, void *seed)
{
    (void)user;
    dw__seed_release(seed);
}

static const dw_limits *seed_limits(void *user, void *seed)
{
    (void)user;
    return &((const dw__seed *)seed)->limits;
}

static bool seed_has(void *user, const void *seed, const dw_model *model)
{
    const dw_instance_options *granted = &((const dw__seed *)seed)->settings->instance;
    size_t i = 0;
    (void)user;
    while (i < granted->model_count && granted->models[i] != model) {
        i++;
    }
    return i < granted->model_count;
}

static void *module_ref(void *user, void *module)
{
    (void)user;
    return dw_module_ref(module);
}

static void module_unref(void *user, void *module)
{
    (void)user;
    dw_module_unref(module);
}

static dw_status seed_of_module(void *user, void **out, void *seed, void *module, dw_error *err)
{
    dw__seed *made = NULL;
    dw_actor_settings *settings = dw_actor_settings_ref(((dw__seed *)seed)->settings);
    (void)user;
    dw_status status = dw__seed_create(&made, module, settings, err);
    if (status != DW_OK) {
        dw_actor_settings_unref(settings);
    }
    *out = made;
    return status;
}

static dw_status find_guest(const dw__host *host, const char *name, dw_module **module,
                            dw_error *err)
{
    *module = NULL;
    dw_status status = host->options.find_guest != NULL
                           ? host->options.find_guest(host->options.user, name, module, err)
                           : dw_fail(err, DW_E_NOT_FOUND, "no guest '%.80s'", name);
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "spawn");
}

static dw_status seed_of_guest(void *user, void **out, void *seed, const char *name, dw_error *err)
{
    dw_module *module;
    *out = NULL;
    dw_status status = find_guest(user, name, &module, err);
    return status == DW_OK ? seed_of_module(user, out, seed, module, err) : status;
}

static dw_status check_guest(void *user, const char *name, dw_error *err)
{
    dw_module *module;
    dw_status status = find_guest(user, name, &module, err);
    if (status == DW_OK && dw_module_check_actor(module, err) != DW_OK) {
        return dw_fail_within(err, err->code, "spawn: guest '%.80s'", name);
    }
    return status;
}

/* ---- what guests ask for --------------------------------------------------------------------- */

static uint64_t id_of(const char *text)
{
    uint64_t id = 0;
    return dw__id_parse(text, &id) ? id : 0; /* nobody's: ids of guests were checked before */
}

static dw_status guard(void *user, dw_actor *actor, dw_message *message, dw_error *err)
{
    const body *own = user;
    dw_message *current = dw_actor_current(actor);
    dw__wish wish = {.kind = message->kind,
                     .bytes = message->bytes,
                     .made = dw_actor_asked_to_make(actor),
                     .watched = dw_actor_asked_to_watch(actor),
                     .own = dw_actor_asked_for(actor, message->actor),
                     .cause = &current->cause,
                     .caused = current->caused};
    if (message->kind == 0) {
        wish.wait_ms = message->number;
    } else {
        wish.actor = id_of(message->actor);
        wish.to = message->guest;
        wish.guest = message->guest;
    }
    dw_status status = dw__admit(own->host->runtime, own->record, &wish, err);
    message->cause = wish.new_cause;
    message->caused = wish.new_caused;
    if (status == DW_OK && (wish.kind == DW_EFFECT_WATCH || wish.kind == DW_EFFECT_UNWATCH)) {
        dw__id_text(message->actor, wish.found); /* as the name is now */
        message->guest[0] = '\0';
    }
    return status;
}

static dw_status tell_again(dw_tool_call *call, const dw_call_result *kept, dw_error *err)
{
    if (kept->status != DW_OK) {
        return dw_fail(err, kept->status, "%s", kept->message);
    }
    return dw_tool_call_answer(call, kept->answer, kept->bytes, err);
}

/* A tool's call, whose answer is on the disk before the actor has it. On the call's thread. */
static dw_status on_call(void *user, dw_tool_call *call, dw_call_fn next, void *next_user,
                         dw_error *err)
{
    const body *own = user;
    const dw__keeper *keeper = own->host->runtime->keeper;
    dw__turn *turn = own->record->turn;
    dw_status may =
        dw__tenant_may_call(own->host->runtime, own->record, dw_tool_call_get_name(call), err);
    if (may != DW_OK) {
        return may;
    }
    if (keeper == NULL || keeper->find_call == NULL || turn == NULL) {
        return next(next_user, call, err);
    }
    dw_call_result result = {.status = DW_OK};
    dw_kept_call key = {
        .work = turn->work, .index = turn->call_count++, .name = dw_tool_call_get_name(call)};
    size_t bytes;
    bool found = false;
    const void *request = dw_tool_call_get_request(call, &bytes);
    dw_sha256_text(key.request, request, bytes);
    dw_status status = keeper->find_call(keeper->user, turn->folder.id, &key, &found, &result, err);
    if (status != DW_OK || found) {
        status = status == DW_OK ? tell_again(call, &result, err) : status;
        dw_free(result.answer);
        return status;
    }
    dw_error failed = {.message = ""};
    result.status = next(next_user, call, &failed);
    if (dw_tool_call_is_left(call)) { /* the actor gets nothing of it */
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    memcpy(result.message, failed.message, sizeof result.message);
    /* Borrowed for the note alone. */
    result.answer = (unsigned char *)(uintptr_t)dw_tool_call_answered(call, &result.bytes);
    status = keeper->note_call(keeper->user, turn->folder.id, &key, &result, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "its answer could not be kept");
    }
    return result.status == DW_OK ? DW_OK : dw_fail(err, result.status, "%s", failed.message);
}

/* Whether a context may be saved, or opened, as its tenant is granted it now, and within what. */
static dw_status may_use_context(void *user, dw_context_place *place, bool saves, dw_error *err)
{
    const body *own = user;
    return dw__tenant_may_use_context(own->host->runtime, own->record, place, saves, err);
}

static dw_status grant_contexts(dw__host *host, body *made, dw_error *err)
{
    dw_context_grants *grants = NULL;
    dw_status status = DW_OK;
    if (host->contexts != NULL) {
        status = dw_context_grants_create(&grants, host->contexts, made->record->tenant->name,
                                          may_use_context, made, err);
    }
    dw_instance_set_contexts(dw_actor_instance(made->actor), grants);
    dw_context_grants_unref(grants);
    return status;
}

/* A host function refuses the guest something. */
static void on_refused(void *user, const dw_error *error)
{
    const body *own = user;
    dw__log_refused(own->host->runtime, own->record, error);
}

static void on_error_output(void *user, const unsigned char *bytes, size_t count)
{
    body *own = user;
    dw__guest_lines_take(own->host->runtime, own->record, &own->lines, bytes, count);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* Takes the actor. */
static dw_status embody(dw__host *host, dw_actor *actor, dw__record *record, void **out,
                        dw_error *err)
{
    body *made = dw_alloc(1, sizeof *made);
    const char *scope = dw__own_prefixes(host->runtime, record) ? NULL : record->tenant->name;
    dw_status status = made != NULL
                           ? dw_instance_share_prefixes(dw_actor_instance(actor), scope, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    if (status != DW_OK) {
        dw_actor_destroy(actor);
        dw_free(made);
        return status;
    }
    *made = (body){.host = host, .record = record, .actor = actor};
    status = grant_contexts(host, made, err);
    if (status != DW_OK) {
        dw_actor_destroy(actor);
        dw_free(made);
        return status;
    }
    dw_instance_coarsen_clocks(dw_actor_instance(actor), dw__clock_ns(host->runtime, record));
    dw_actor_set_guard(actor, guard, made);
    dw_actor_set_calls(actor, on_call, made);
    dw_actor_set_on_error_output(actor, on_error_output, made);
    dw_instance_set_on_refused(dw_actor_instance(actor), on_refused, made);
    *out = made;
    return DW_OK;
}

static dw_status spawn(void *user, void **out, void *seed, dw__record *record, uint64_t id,
                       dw_error *err)
{
    const dw__seed *own = seed;
    dw_actor *actor = NULL;
    char text[DW_ACTOR_ID_CHARS + 1];
    *out = NULL;
    dw__id_text(text, id);
    dw__prefixes_load(((dw__host *)user)->prefixes, &own->settings->instance);
    dw_status status = dw_actor_spawn_as(&actor, own->module, own->settings, text, err);
    return status == DW_OK ? embody(user, actor, record, out, err) : status;
}

static dw_status adopt(void *user, void **out, void *given, dw__record *record, uint64_t id,
                       dw_error *err)
{
    char text[DW_ACTOR_ID_CHARS + 1];
    *out = NULL;
    dw__id_text(text, id);
    dw_actor_set_id(given, text);
    dw__prefixes_load(((dw__host *)user)->prefixes, &dw_actor_settings_of(given)->instance);
    return embody(user, given, record, out, err);
}

static dw_status export_body(void *user, void *of, int fd, dw_error *err)
{
    (void)user;
    return dw_actor_export(((body *)of)->actor, fd, NULL, NULL, err);
}

/* Since `*told`, which is what has come of it now. */
static uint64_t more(uint64_t now, uint64_t *told)
{
    uint64_t added = now > *told ? now - *told : 0;
    *told += added;
    return added;
}

static dw_status keep_prefixes(void *user, void *of, unsigned flags, dw_error *err)
{
    const dw__host *host = user;
    dw_status status =
        dw_instance_keep_prefixes(dw_actor_instance(((body *)of)->actor), flags, err);
    dw__prefixes_given(host->prefixes);
    return status;
}

static void get_usage(void *user, void *of, dw__usage *usage)
{
    body *own = of;
    dw_instance *instance = dw_actor_instance(own->actor);
    const dw_counters *counters = dw_instance_counters(instance);
    (void)user;
    uint64_t generated = dw_counters_generated(counters);
    *usage = (dw__usage){
        .prompt_tokens = more(atomic_load(&counters->prompt_tokens), &own->told.prompt_tokens),
        .generated_tokens = more(generated, &own->told.generated_tokens),
        .found_tokens = more(atomic_load(&counters->found_tokens), &own->told.found_tokens),
        .guest_ns = more(atomic_load(&counters->guest_ns), &own->told.guest_ns),
        .device_ns = more(atomic_load(&counters->device_ns), &own->told.device_ns),
        .memory_bytes = dw_account_now(dw_instance_account(instance), DW_PART_COUNT),
    };
}

static dw_status fork_body(void *user, void **out, void *parent, dw__record *record, uint64_t id,
                           dw_error *err)
{
    dw_actor *actor = NULL;
    char text[DW_ACTOR_ID_CHARS + 1];
    *out = NULL;
    dw__id_text(text, id);
    dw_status status = dw_actor_fork(&actor, ((body *)parent)->actor, text, err);
    return status == DW_OK ? embody(user, actor, record, out, err) : status;
}

static dw_status upgrade(void *user, void **out, void *before, void *module, dw__record *record,
                         dw_error *err)
{
    dw_actor *actor = NULL;
    *out = NULL;
    dw_status status = dw_actor_upgrade(&actor, ((body *)before)->actor, module, err);
    return status == DW_OK ? embody(user, actor, record, out, err) : status;
}

static void destroy(void *user, void *of)
{
    body *own = of;
    (void)user;
    if (own != NULL) {
        dw_actor_destroy(own->actor);
        dw_free(own);
    }
}

static void park(void *user, void *of)
{
    dw_actor_keep_logs(((body *)of)->actor, ((const dw__host *)user)->folder);
    destroy(user, of);
}

/* ---- work ------------------------------------------------------------------------------------ */

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    const body *own = user;
    return dw__answered(own->host->runtime, own->record, bytes, count);
}

/* What its contexts hold is for all tenants, where its own says so. What cannot be is only slower
 * for others. */
static void publish(const body *own)
{
    dw_error error = {.message = ""};
    dw_instance *instance = dw_actor_instance(own->actor);
    if (dw__public_prefixes(own->host->runtime, own->record) &&
        dw_instance_keep_prefixes(instance, DW_PREFIX_PUBLIC, &error) != DW_OK) {
        dw_log(DW_LOG_INFO, "prefixes: %s: not public", error.message);
    }
}

static void on_end(void *user, const dw_call_end *end)
{
    body *own = user;
    bool begun = dw_actor_is_broken(own->actor) || dw_actor_received(own->actor) != own->received;
    dw_error refused;
    if (dw_account_refused(dw_instance_account(dw_actor_instance(own->actor)), &refused)) {
        dw__log_refused(own->host->runtime, own->record, &refused); /* memory.grow says no more */
    }
    if (!begun && own->delivered) { /* the message waits in the actor again: it is not to */
        dw_actor_drop_message(own->actor);
    }
    if (begun && !dw_actor_is_broken(own->actor)) {
        publish(own);
    }
    dw__prefixes_given(own->host->prefixes);
    dw__guest_lines_end(own->host->runtime, own->record, &own->lines);
    dw__worked(own->host->runtime, own->record, end->status, end->error);
}

static dw_status receive(void *user, void *of, dw__record *record, const dw__delivery *delivery,
                         dw_error *err)
{
    dw__host *host = user;
    body *own = of;
    const dw_call_terms terms = {.tenant = record->tenant->number,
                                 .weight = record->work_weight,
                                 .priority = record->priority,
                                 .due_ns = record->due_ns};
    const dw_call_hooks hooks = {.on_answer = on_answer, .on_end = on_end, .user = own};
    own->received = dw_actor_received(own->actor);
    own->delivered = delivery != NULL;
    if (delivery != NULL) {
        char from[DW_ACTOR_ID_CHARS + 1];
        dw__sender_text(from, &delivery->from);
        dw_status status =
            (delivery->kind == DW_MESSAGE_WATCH ? dw_actor_notify : dw_actor_send_at)(
                own->actor, delivery->from.is_actor ? from : NULL, delivery->content,
                delivery->bytes, delivery->at_ms, err);
        if (status != DW_OK) {
            return status;
        }
        dw_actor_set_cause(own->actor, delivery->cause, delivery->caused);
    }
    dw_status status = dw_scheduler_receive_on(host->scheduler, own->actor, &terms, &hooks, err);
    if (status != DW_OK) {
        if (delivery != NULL) {
            dw_actor_drop_message(own->actor);
        }
        return status;
    }
    return DW_OK;
}

static void cancel(void *user, void *of, bool at_once)
{
    dw_instance *instance = dw_actor_instance(((body *)of)->actor);
    (void)user;
    if (at_once) {
        dw_instance_interrupt(instance);
    } else {
        dw_instance_cancel(instance);
    }
}

static bool is_broken(void *user, void *of)
{
    (void)user;
    return dw_actor_is_broken(((const body *)of)->actor);
}

static bool effect_at(void *user, void *of, size_t index, dw__asked *asked)
{
    const body *own = of;
    dw_actor_effect effect = {.struct_bytes = sizeof effect};
    (void)user;
    if (index >= dw_actor_effect_count(own->actor) ||
        dw_actor_effect_at(own->actor, index, &effect, NULL) != DW_OK) {
        return false;
    }
    *asked = (dw__asked){.kind = effect.kind,
                         .actor = id_of(effect.actor),
                         .number = effect.number,
                         .guest = effect.guest,
                         .message = effect.message,
                         .bytes = effect.message_bytes,
                         .ticket = effect.ticket,
                         .last = effect.last,
                         .events = effect.events};
    dw_actor_effect_cause(own->actor, effect.number, &asked->cause, &asked->caused);
    return true;
}

static void drop_effects(void *user, void *of)
{
    const body *own = of;
    (void)user;
    dw_actor_drop_effects(own->actor, dw_actor_effect_count(own->actor));
}

static uint64_t timer_ms(void *user, void *of)
{
    (void)user;
    return dw_actor_timer_ms(((const body *)of)->actor);
}

static void fire_timers(void *user, void *of, uint64_t now_ms)
{
    (void)user;
    /* Those that the mailbox has no room for stay, and are due at once. */
    (void)!dw_actor_fire_timers(((const body *)of)->actor, now_ms, NULL);
}

static size_t waiting(void *user, void *of)
{
    (void)user;
    return dw_actor_waiting(((const body *)of)->actor);
}

static void worked_on(void *user, void *of, uint64_t *received, uint64_t *inside)
{
    const body *own = of;
    (void)user;
    *received = dw_actor_received(own->actor);
    *inside = dw_actor_inside(own->actor);
}

static void renews(void *user, void *of)
{
    (void)user;
    dw_actor_renew_random(((body *)of)->actor);
}

static void replaces(void *user, void *of, void *before)
{
    (void)user;
    dw_actor_number_behind(((body *)of)->actor, ((const body *)before)->actor);
}

static dw_message *take_inside(void *user, void *of)
{
    (void)user;
    return dw_actor_take_message(((body *)of)->actor);
}

dw_actor *dw__body_actor(void *of)
{
    return ((body *)of)->actor;
}

void dw__host_watch(void *user, void *call, const dw_scheduler_span *span)
{
    const dw__host *host = user;
    const body *own = call;
    dw__trace_scheduled(host->runtime, own != NULL ? own->record : NULL, span);
}

const dw__platform dw__guests_platform = {
    .clock_ns = clock_ns,
    .wall_ms = wall_ms,
    .random = chance,
    .submit = dw__host_submit,
    .wake = dw__host_wake,
    .seed_ref = seed_ref,
    .seed_unref = seed_unref,
    .seed_limits = seed_limits,
    .seed_has = seed_has,
    .seed_of_guest = seed_of_guest,
    .check_guest = check_guest,
    .seed_of_module = seed_of_module,
    .module_ref = module_ref,
    .module_unref = module_unref,
    .spawn = spawn,
    .adopt = adopt,
    .fork = fork_body,
    .upgrade = upgrade,
    .destroy = destroy,
    .park = park,
    .receive = receive,
    .cancel = cancel,
    .is_broken = is_broken,
    .effect_at = effect_at,
    .drop_effects = drop_effects,
    .timer_ms = timer_ms,
    .fire_timers = fire_timers,
    .waiting = waiting,
    .renews = renews,
    .replaces = replaces,
    .take_inside = take_inside,
    .worked_on = worked_on,
    .usage = get_usage,
    .export = export_body,
    .keep_prefixes = keep_prefixes,
};
