/* An actor's life: spawned, given messages, forked. */
#include "actor/actor_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/log.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "wasm/instance_state.h"
#include "wasm/repeatable.h"
#include "wasm/tool_call.h"

/* ---- what the guest reaches -------------------------------------------------------------- */

/* Hand on what the message may still answer or print. What is beyond goes nowhere: a stream that
 * failed once would fail for the next message too, and this one fails at its end. */
static ptrdiff_t put(dw_actor *actor, dw_write_fn to, void *user, const unsigned char *bytes,
                     size_t count)
{
    uint64_t left = dw_instance_limits(actor->instance)->answer_bytes - actor->answered_bytes;
    size_t allowed = count < left ? count : (size_t)left;
    if (allowed == 0) {
        actor->answered_too_much = actor->answered_too_much || count > 0;
        return (ptrdiff_t)count;
    }
    ptrdiff_t taken = to != NULL ? to(user, bytes, allowed) : (ptrdiff_t)allowed;
    taken = taken > (ptrdiff_t)allowed ? (ptrdiff_t)allowed : taken;
    actor->answered_bytes += taken > 0 ? (uint64_t)taken : 0;
    return taken;
}

/* What is printed is the answer, while there is a message to answer. */
static ptrdiff_t on_stdout(void *user, const unsigned char *bytes, size_t count)
{
    dw_actor *actor = user;
    const dw_instance_options *options = &actor->settings->instance;
    for (size_t i = 0; i < dw_state_memory_count(actor->instance); i++) {
        if (dw_region_is_broken(dw_state_memory(actor->instance, i))) {
            return -1; /* the file of its memory was cut: this may be zeros */
        }
    }
    if (actor->current != NULL) {
        return put(actor, actor->on_answer, actor->user, bytes, count);
    }
    return options->on_stdout != NULL ? options->on_stdout(options->user, bytes, count)
                                      : (ptrdiff_t)count;
}

static ptrdiff_t on_stderr(void *user, const unsigned char *bytes, size_t count)
{
    dw_actor *actor = user;
    const dw_instance_options *options = &actor->settings->instance;
    ptrdiff_t taken = (ptrdiff_t)count;
    if (actor->current != NULL) {
        taken = put(actor, options->on_stderr, options->user, bytes, count);
    } else if (options->on_stderr != NULL) {
        taken = options->on_stderr(options->user, bytes, count);
    }
    dw_last_words_put(&actor->said, bytes, taken > 0 ? (size_t)taken : 0);
    if (taken > 0 && actor->on_error_output != NULL && !actor->answered_too_much) {
        actor->on_error_output(actor->error_output_user, bytes, (size_t)taken);
    }
    return taken;
}

static void on_progress(void *user, uint32_t done, uint32_t total)
{
    const dw_instance_options *options = &((dw_actor *)user)->settings->instance;
    if (options->on_progress != NULL) {
        options->on_progress(options->user, done, total);
    }
}

/* On a thread of the call's; the actor waits. */
static dw_status on_call(void *user, dw_tool_call *call, dw_error *err)
{
    dw_actor *actor = user;
    const dw_instance_options *options = &actor->settings->instance;
    dw_tool_call_set_actor(call, actor->id);
    return actor->calls != NULL
               ? actor->calls(actor->calls_user, call, options->on_call, options->user, err)
               : options->on_call(options->user, call, err);
}

static ptrdiff_t on_input(void *user, char *buffer, size_t capacity)
{
    dw_actor *actor = user;
    if (actor->current == NULL || actor->taken) {
        return -1;
    }
    size_t bytes = actor->current->bytes;
    if (bytes <= capacity) {
        if (bytes > 0) {
            memcpy(buffer, actor->current->content, bytes);
        }
        actor->taken = true;
    }
    return (ptrdiff_t)bytes;
}

const char *dw_actor_sender(const dw_actor *actor)
{
    return actor->current != NULL ? actor->current->actor : "";
}

int32_t dw_actor_message_kind(const dw_actor *actor)
{
    return actor->current != NULL ? actor->current->kind : DW_MESSAGE_PLAIN;
}

static dw_status check_answered(const dw_actor *actor, const char *what, size_t count,
                                dw_error *err)
{
    uint64_t limit = dw_instance_limits(actor->instance)->answer_bytes;
    if (count > limit || actor->answered_bytes > limit - count) {
        return dw_fail(err, DW_E_LIMIT,
                       "%s: %zu bytes behind %" PRIu64 " of this message, limit %" PRIu64
                       " (answer_bytes)",
                       what, count, actor->answered_bytes, limit);
    }
    return DW_OK;
}

dw_status dw_actor_reply(dw_actor *actor, const void *bytes, size_t count, dw_error *err)
{
    if (actor->current == NULL) {
        return dw_fail(err, DW_E_STATE, "reply: there is no message to answer");
    }
    dw_status status = check_answered(actor, "reply", count, err);
    if (status != DW_OK) {
        return status;
    }
    for (const unsigned char *next = bytes; count > 0;) {
        ptrdiff_t taken = dw_instance_put(actor->instance, on_stdout, actor, next, count);
        if (taken < 0 && dw_instance_cancelled(actor->instance)) {
            return dw_fail(err, DW_E_CANCELLED, "reply: cancelled with %zu bytes left", count);
        }
        if (taken <= 0) {
            return dw_fail(err, DW_E_IO, "reply: who asked takes no more");
        }
        next += taken;
        count -= (size_t)taken;
    }
    return DW_OK;
}

static dw_status check_message(const dw_actor *actor, const dw_message *message, dw_error *err)
{
    if (actor->current == NULL) {
        return dw_fail(err, DW_E_STATE, "only possible while a message is worked on");
    }
    size_t limit = actor->settings->options.message_bytes_max;
    if (message->bytes > limit) {
        return dw_fail(err, DW_E_LIMIT, "message: %zu bytes, limit %zu", message->bytes, limit);
    }
    return DW_OK;
}

/* What was asked for before and not carried out counts as well: all of it is frozen. */
static dw_status check_effects(const dw_actor *actor, const dw_message *message, dw_error *err)
{
    const uint64_t limit = dw_instance_limits(actor->instance)->effects;
    const uint64_t asked = actor->new_effects.count;
    dw_status status = check_message(actor, message, err);
    if (status != DW_OK) {
        return status;
    }
    if (asked >= limit) {
        return dw_fail(err, DW_E_LIMIT, "effects: %" PRIu64 " of one message, which is the limit",
                       limit);
    }
    if (actor->effects.count + asked >= limit) {
        return dw_fail(err, DW_E_LIMIT,
                       "effects: %" PRIu64 " wait to be carried out, which is the limit", limit);
    }
    return actor->effect_number + asked < DW_ACTOR_COUNTER_MAX
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT,
                         "effects: the last had number %" PRIu64 ", limit %" PRIu64,
                         actor->effect_number + asked, DW_ACTOR_COUNTER_MAX);
}

dw_status dw_actor_add_effect(dw_actor *actor, dw_effect_kind kind, dw_message *message,
                              dw_error *err)
{
    dw_status status = check_effects(actor, message, err);
    message->kind = (int32_t)kind;
    if (status == DW_OK && actor->guard != NULL) {
        status = actor->guard(actor->guard_user, actor, message, err);
    }
    if (status != DW_OK) {
        dw_free(message);
        return status;
    }
    dw_mailbox_put(&actor->new_effects, message);
    return DW_OK;
}

/* When it is for the message under way: the message's time, and what the actor's clock went on by
 * since. That clock itself never goes back, so that one message of a time to come, of a host whose
 * clock was wrong, would have all that is due wait until then. */
static uint64_t now_ms(const dw_actor *actor)
{
    const uint64_t own_ms = dw_instance_wall_ms(actor->instance);
    DW_ASSERT(actor->current != NULL && own_ms >= actor->began_ms);
    return actor->current->at_ms + (own_ms - actor->began_ms);
}

dw_status dw_actor_add_timer(dw_actor *actor, dw_message *message, uint64_t wait_ms, dw_error *err)
{
    dw_status status = check_message(actor, message, err);
    uint64_t limit = dw_instance_limits(actor->instance)->timers;
    if (status == DW_OK && actor->timers.count + actor->new_timers.count >= limit) {
        status = dw_fail(err, DW_E_LIMIT, "timers: %llu are set, which is the limit",
                         (unsigned long long)limit);
    }
    message->number = wait_ms;
    if (status == DW_OK && actor->guard != NULL) {
        status = actor->guard(actor->guard_user, actor, message, err);
    }
    if (status != DW_OK) {
        dw_free(message);
        return status;
    }
    message->number = now_ms(actor) + wait_ms;
    dw_mailbox_put(&actor->new_timers, message);
    return DW_OK;
}

/* ---- answers that come later ------------------------------------------------------------ */

static dw_message *find_ticket(const dw_mailbox *tickets, uint64_t ticket)
{
    dw_message *message = tickets->first;
    while (message != NULL && message->ticket != ticket) {
        message = message->next;
    }
    return message;
}

static void drop_ticket(dw_mailbox *tickets, uint64_t ticket)
{
    dw_mailbox kept = {.count = 0};
    for (dw_message *message = dw_mailbox_take(tickets); message != NULL;
         message = dw_mailbox_take(tickets)) {
        if (message->ticket == ticket) {
            dw_free(message);
        } else {
            dw_mailbox_put(&kept, message);
        }
    }
    *tickets = kept;
}

/* Those that are too old: nobody awaits them any more. */
static void drop_old_tickets(dw_actor *actor)
{
    const uint64_t now = now_ms(actor);
    dw_mailbox kept = {.count = 0};
    for (dw_message *message = dw_mailbox_take(&actor->tickets); message != NULL;
         message = dw_mailbox_take(&actor->tickets)) {
        if (message->number < now) {
            dw_free(message);
        } else {
            dw_mailbox_put(&kept, message);
        }
    }
    actor->tickets = kept;
}

dw_status dw_actor_take_ticket(dw_actor *actor, uint64_t *ticket, dw_error *err)
{
    const dw_limits *limits = dw_instance_limits(actor->instance);
    dw_message *effect = NULL;
    dw_message *entry = NULL;
    if (actor->current == NULL) {
        return dw_fail(err, DW_E_STATE, "only possible while a message is worked on");
    }
    if (actor->new_tickets.count > 0) {
        return dw_fail(err, DW_E_STATE, "reply_later: the message has ticket %" PRIu64,
                       actor->new_tickets.first->ticket);
    }
    drop_old_tickets(actor);
    if (actor->tickets.count >= limits->tickets) {
        return dw_fail(err, DW_E_LIMIT, "tickets: %zu are open, limit %" PRIu64 " (tickets)",
                       actor->tickets.count, limits->tickets);
    }
    dw_status status = dw_message_create(&entry, NULL, NULL, 0, err);
    if (status == DW_OK) {
        status = dw_message_create(&effect, NULL, NULL, 0, err);
    }
    if (status == DW_OK) {
        entry->ticket = effect->ticket = actor->received + 1;
        entry->number = now_ms(actor) + limits->ticket_ms;
        status = dw_actor_add_effect(actor, DW_EFFECT_LATER, effect, err);
    }
    if (status != DW_OK) {
        dw_free(entry);
        return status;
    }
    *ticket = entry->ticket;
    dw_mailbox_put(&actor->new_tickets, entry);
    return DW_OK;
}

/* Whether an answer of this message was the last one for the ticket. */
static bool was_answered(const dw_actor *actor, uint64_t ticket)
{
    for (const dw_message *message = actor->new_effects.first; message != NULL;
         message = message->next) {
        if (message->kind == DW_EFFECT_ANSWER && message->ticket == ticket && message->last) {
            return true;
        }
    }
    return false;
}

dw_status dw_actor_answer(dw_actor *actor, uint64_t ticket, const void *bytes, size_t count,
                          bool last, dw_error *err)
{
    dw_message *effect = NULL;
    if (actor->current == NULL) {
        return dw_fail(err, DW_E_STATE, "only possible while a message is worked on");
    }
    drop_old_tickets(actor);
    if ((find_ticket(&actor->tickets, ticket) == NULL &&
         find_ticket(&actor->new_tickets, ticket) == NULL) ||
        was_answered(actor, ticket)) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "ticket: %" PRIu64 " is none of this actor's, was answered, or is too old",
                       ticket);
    }
    dw_status status = check_answered(actor, "reply_to", count, err);
    if (status == DW_OK) {
        status = dw_message_create(&effect, NULL, bytes, count, err);
    }
    if (status == DW_OK) {
        effect->ticket = ticket;
        effect->last = last;
        status = dw_actor_add_effect(actor, DW_EFFECT_ANSWER, effect, err);
    }
    actor->answered_bytes += status == DW_OK ? count : 0;
    return status;
}

/* ---- life ------------------------------------------------------------------------------- */

static void new_id(char id[DW_ACTOR_ID_CHARS + 1])
{
    uint64_t random;
    dw_os_random(&random, sizeof random);
    dw_actor_id_write(id, random);
}

void dw_actor_draw_id(dw_actor *actor, char id[DW_ACTOR_ID_CHARS + 1])
{
    uint8_t random[8];
    uint64_t number = 0;
    dw_instance_draw(actor->instance, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        number = number << 8 | random[i]; /* the same on every machine */
    }
    dw_actor_id_write(id, number);
}

/* What it draws and its clock: its own from the first call on. */
static void begin_repeatable(dw_actor *actor)
{
    dw_repeatable own = {.own_random = true, .own_clock = true};
    dw_random_stream_init(&own.random);
    own.clock_ns = dw_os_wall_ms() * 1000000;
    dw_instance_set_repeatable(actor->instance, &own);
}

void dw_actor_branch_random(dw_actor *actor, const dw_repeatable *parent)
{
    static const char use[] = "fork:";
    char what[sizeof use - 1 + DW_ACTOR_ID_CHARS];
    dw_repeatable own = *parent;
    memcpy(what, use, sizeof use - 1);
    memcpy(what + sizeof use - 1, actor->id, DW_ACTOR_ID_CHARS);
    dw_random_stream_derive(&own.random, &parent->random, what, sizeof what);
    dw_instance_set_repeatable(actor->instance, &own);
}

void dw_actor_renew_random(dw_actor *actor)
{
    dw_repeatable own = *dw_instance_repeatable(actor->instance);
    dw_random_stream_renew(&own.random);
    dw_instance_set_repeatable(actor->instance, &own);
}

/* The instance's options: the settings', with the actor itself between it and the embedder. */
static dw_instance_options options_of(dw_actor *actor)
{
    dw_instance_options options = actor->settings->instance;
    options.on_stdout = on_stdout;
    options.on_stderr = options.on_stderr != NULL ? on_stderr : NULL;
    options.on_input = on_input;
    options.on_progress = on_progress;
    options.on_call = options.on_call != NULL ? on_call : NULL;
    options.user = actor;
    options.timeout_ms = actor->settings->message_timeout_ms;
    return options;
}

static dw_status create(dw_actor **out, dw_module *module, dw_actor_settings *settings,
                        const char *id, bool bare, dw_error *err)
{
    *out = NULL;
    dw_status status = dw_module_check_actor(module, err);
    if (status != DW_OK) {
        return status;
    }
    dw_actor *actor = dw_alloc(1, sizeof *actor);
    if (actor == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    }
    actor->module = dw_module_ref(module);
    actor->settings = dw_actor_settings_ref(settings);
    if (id != NULL) {
        (void)snprintf(actor->id, sizeof actor->id, "%s", id);
    } else {
        new_id(actor->id);
    }
    dw_instance_options options = options_of(actor);
    status = dw_instance_create_bare(&actor->instance, module, &options, err);
    if (status == DW_OK) { /* nothing has run: actors' modules have no start function */
        begin_repeatable(actor);
        dw_instance_set_import_user(actor->instance, actor->settings->instance.user);
        status = bare ? DW_OK : dw_instance_initialize(actor->instance, err);
    }
    if (status == DW_OK && !bare) { /* what constructors printed is no answer */
        status = dw_instance_flush(actor->instance, err);
    }
    if (status == DW_OK) {
        status = dw_instance_reset_files(actor->instance, &settings->instance, err);
    }
    if (status != DW_OK) {
        dw_actor_destroy(actor);
        return status;
    }
    dw_instance_set_actor(actor->instance, actor);
    *out = actor;
    return DW_OK;
}

dw_status dw_actor_create_bare(dw_actor **out, dw_module *module, dw_actor_settings *settings,
                               const char *id, dw_error *err)
{
    return create(out, module, settings, id, true, err);
}

dw_status dw_actor_spawn(dw_actor **out, dw_module *module, const dw_actor_options *options,
                         dw_error *err)
{
    dw_actor_settings *settings = NULL;
    *out = NULL;
    dw_status status = dw_actor_settings_create(&settings, options, err);
    if (status == DW_OK) {
        status = create(out, module, settings, NULL, false, err);
    }
    dw_actor_settings_unref(settings);
    return status;
}

dw_status dw_actor_spawn_as(dw_actor **out, dw_module *module, dw_actor_settings *settings,
                            const char *id, dw_error *err)
{
    return create(out, module, settings, id, false, err);
}

void dw_actor_destroy(dw_actor *actor)
{
    if (actor == NULL) {
        return;
    }
    if ((actor->instance != NULL && dw_instance_is_calling(actor->instance)) ||
        dw_callback_under_way()) {
        dw_log(DW_LOG_ERROR, "dw_actor_destroy: actor %s is at work: it stays", actor->id);
        return;
    }
    dw_instance_destroy(actor->instance);
    for (size_t i = 0; i < DW_GUEST_MEMORIES_MAX; i++) {
        dw_memory_image_unref(actor->images[i]);
    }
    dw__frozen_release(&actor->frozen);
    dw_mailbox_release(&actor->mailbox);
    dw_mailbox_release(&actor->timers);
    dw_mailbox_release(&actor->effects);
    dw_mailbox_release(&actor->new_timers);
    dw_mailbox_release(&actor->new_effects);
    dw_mailbox_release(&actor->tickets);
    dw_mailbox_release(&actor->new_tickets);
    dw_free(actor->current);
    dw_last_words_release(&actor->said);
    dw_actor_settings_unref(actor->settings);
    dw_module_unref(actor->module);
    dw_free(actor);
}

const char *dw_actor_id(const dw_actor *actor)
{
    return actor->id;
}

void dw_actor_set_id(dw_actor *actor, const char *id)
{
    DW_ASSERT(dw_actor_id_good(id));
    if (strcmp(actor->id, id) != 0) {
        const dw_repeatable before = *dw_instance_repeatable(actor->instance);
        memmove(actor->id, id, sizeof actor->id);
        dw_actor_branch_random(actor, &before);
    }
}

dw_instance *dw_actor_instance(dw_actor *actor)
{
    return actor->instance;
}

dw_module *dw_actor_module(const dw_actor *actor)
{
    return actor->module;
}

const dw_actor_options *dw_actor_granted(const dw_actor *actor)
{
    return &actor->settings->options;
}

dw_actor_settings *dw_actor_settings_of(const dw_actor *actor)
{
    return actor->settings;
}

bool dw_actor_is_broken(const dw_actor *actor)
{
    return actor->broken[0] != '\0';
}

bool dw_actor_has_base(const dw_actor *actor)
{
    return actor->frozen.identity[0] != '\0';
}

/* ---- messages --------------------------------------------------------------------------- */

dw_status dw_actor_send(dw_actor *actor, const char *from, const void *content, size_t bytes,
                        dw_error *err)
{
    return dw_actor_send_at(actor, from, content, bytes, dw_os_wall_ms(), err);
}

dw_status dw_actor_send_at(dw_actor *actor, const char *from, const void *content, size_t bytes,
                           uint64_t at_ms, dw_error *err)
{
    const dw_actor_options *options = &actor->settings->options;
    dw_message *message = NULL;
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    if (from != NULL && from[0] != '\0' && !dw_actor_id_good(from)) {
        return dw_fail(err, DW_E_ARG, "from: '%.40s' is no actor's id", from);
    }
    if (at_ms > DW_ACTOR_AT_MS_MAX) {
        return dw_fail(err, DW_E_RANGE, "at_ms: %" PRIu64 ", at most %" PRIu64 " is possible",
                       at_ms, DW_ACTOR_AT_MS_MAX);
    }
    if (bytes > options->message_bytes_max) {
        return dw_fail(err, DW_E_LIMIT, "message: %zu bytes, limit %zu", bytes,
                       options->message_bytes_max);
    }
    if (actor->mailbox.count >= options->message_count_max) {
        return dw_fail(err, DW_E_BUSY, "mailbox: %zu messages wait, limit %u", actor->mailbox.count,
                       options->message_count_max);
    }
    dw_account *account = dw_instance_account(actor->instance);
    dw_account_forget(account);
    dw_account_scope before = dw_account_enter(account, DW_PART_MAIL);
    status = dw_message_create(&message, from, content, bytes, err);
    dw_account_leave(before);
    if (status == DW_OK) {
        message->at_ms = at_ms;
        dw_mailbox_put(&actor->mailbox, message);
    }
    return dw_account_explain(account, status, err);
}

dw_status dw_actor_notify(dw_actor *actor, const char *from, const void *content, size_t bytes,
                          uint64_t at_ms, dw_error *err)
{
    dw_status status = dw_actor_send_at(actor, from, content, bytes, at_ms, err);
    if (status == DW_OK) {
        actor->mailbox.last->kind = DW_MESSAGE_WATCH;
    }
    return status;
}

size_t dw_actor_waiting(const dw_actor *actor)
{
    return actor->mailbox.count;
}

void dw_actor_set_calls(dw_actor *actor, dw_actor_call_fn calls, void *user)
{
    actor->calls = calls;
    actor->calls_user = user;
}

void dw_actor_set_on_error_output(dw_actor *actor, dw_actor_output_fn on_error_output, void *user)
{
    actor->on_error_output = on_error_output;
    actor->error_output_user = user;
}

void dw_actor_set_guard(dw_actor *actor, dw_effect_guard_fn guard, void *user)
{
    actor->guard = guard;
    actor->guard_user = user;
}

dw_message *dw_actor_current(dw_actor *actor)
{
    return actor->current;
}

void dw_actor_set_cause(dw_actor *actor, uint64_t cause, uint64_t caused)
{
    DW_ASSERT(actor->mailbox.last != NULL);
    actor->mailbox.last->cause = cause;
    actor->mailbox.last->caused = caused;
}

uint64_t dw_actor_received(const dw_actor *actor)
{
    return actor->received;
}

size_t dw_actor_inside(const dw_actor *actor)
{
    return actor->mailbox.count + actor->timers.count;
}

void dw_actor_number_behind(dw_actor *actor, const dw_actor *other)
{
    if (actor->effect_number < other->effect_number) {
        actor->effect_number = other->effect_number;
    }
}

void dw_actor_drop_message(dw_actor *actor)
{
    dw_free(dw_mailbox_take(&actor->mailbox));
}

dw_message *dw_actor_take_message(dw_actor *actor)
{
    return dw_mailbox_take(&actor->mailbox);
}

dw_status dw_actor_check_rests(const dw_actor *actor, dw_error *err)
{
    if (actor->broken[0] != '\0') {
        return dw_fail(err, DW_E_STATE, "actor %s: it broke off: %s", actor->id, actor->broken);
    }
    if (dw_instance_is_calling(actor->instance)) {
        return dw_fail(err, DW_E_STATE, "actor %s: it is at work on a message", actor->id);
    }
    return dw_callback_check(err);
}

/* The message ended well: what the guest asked for counts. */
static void commit_effects(dw_actor *actor)
{
    dw_message *ticket = dw_mailbox_take(&actor->new_tickets);
    if (ticket != NULL) {
        dw_mailbox_put(&actor->tickets, ticket);
    }
    for (dw_message *message = dw_mailbox_take(&actor->new_effects); message != NULL;
         message = dw_mailbox_take(&actor->new_effects)) {
        if (message->kind == DW_EFFECT_ANSWER && message->last) {
            drop_ticket(&actor->tickets, message->ticket);
        }
        message->number = ++actor->effect_number;
        dw_mailbox_put(&actor->effects, message);
    }
    for (dw_message *message = dw_mailbox_take(&actor->new_timers); message != NULL;
         message = dw_mailbox_take(&actor->new_timers)) {
        dw_mailbox_put_sorted(&actor->timers, message);
    }
    actor->received++;
}

dw_status dw_actor_call_ended(const dw_actor *actor, dw_status status, int exit_code, dw_error *err)
{
    if (status == DW_OK && dw_instance_has_left(actor->instance)) {
        status = dw_fail(err, DW_E_TRAP, "the guest left with code %d", exit_code);
    }
    if (status == DW_E_TRAP) {
        dw_last_words_append(&actor->said, err->message, sizeof err->message);
    }
    return status;
}

dw_status dw_actor_fail_with(const dw_actor *actor, const char *who, int32_t result, dw_error *err)
{
    const dw_error *last = dw_instance_error(actor->instance);
    dw_status code = dw_status_name((dw_status)result)[5] == '?' ? DW_E_TRAP : (dw_status)result;
    dw_error own = {.message = ""};
    (void)dw_fail(&own, code, "%s answered %d (%s)", who, (int)result,
                  dw_status_text((dw_status)result));
    size_t bytes = strlen(own.message);
    dw_last_words_append(&actor->said, own.message, sizeof own.message);
    if (own.message[bytes] == '\0' && last->code == code) {
        (void)snprintf(own.message + bytes, sizeof own.message - bytes, ": %.200s", last->message);
    }
    return dw_fail(err, code, "%s", own.message);
}

/* What driftwood_receive came to; `local` has the message of a `status` that is a failure. */
static dw_status judge(dw_actor *actor, dw_status status, int32_t result, int exit_code,
                       dw_error *local)
{
    status = dw_actor_call_ended(actor, status, exit_code, local);
    if (status != DW_OK) {
        (void)snprintf(actor->broken, sizeof actor->broken, "%.190s", local->message);
        return status;
    }
    commit_effects(actor);
    if (result < 0) {
        return dw_actor_fail_with(actor, "the actor", result, local);
    }
    if (actor->answered_too_much) {
        return dw_fail(
            local, DW_E_LIMIT,
            "answer: more was answered or printed for one message than the limit %" PRIu64
            " (answer_bytes)",
            dw_instance_limits(actor->instance)->answer_bytes);
    }
    return DW_OK;
}

dw_status dw_actor_receive_begin(dw_actor *actor, dw_write_fn on_answer, void *user, dw_error *err)
{
    dw_status status = dw_actor_check_rests(actor, err);
    if (status == DW_OK) {
        status = dw_actor_settings_check(actor->settings, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (actor->mailbox.count > 0 && actor->received >= DW_ACTOR_COUNTER_MAX) {
        return dw_fail(err, DW_E_LIMIT,
                       "actor %s: it has worked on %" PRIu64 " messages, limit %" PRIu64, actor->id,
                       actor->received, DW_ACTOR_COUNTER_MAX);
    }
    actor->current = dw_mailbox_take(&actor->mailbox);
    if (actor->current == NULL) {
        return dw_fail(err, DW_E_END, "actor %s: no message waits", actor->id);
    }
    uint64_t *at_ms = &actor->current->at_ms;
    *at_ms = *at_ms != 0 ? *at_ms : dw_os_wall_ms();
    dw_instance_clock_reach(actor->instance, *at_ms * 1000000);
    actor->began_ms = dw_instance_wall_ms(actor->instance);
    actor->taken = false;
    actor->flushed = false;
    actor->answered_bytes = 0;
    actor->answered_too_much = false;
    dw_last_words_release(&actor->said);
    actor->on_answer = on_answer;
    actor->user = user;
    return DW_OK;
}

void dw_actor_receive_undo(dw_actor *actor)
{
    dw_mailbox_put_first(&actor->mailbox, actor->current);
    actor->current = NULL;
}

void dw_actor_receive_flushed(dw_actor *actor)
{
    actor->flushed = true;
}

dw_status dw_actor_receive_end(dw_actor *actor, dw_status status, int32_t result, int exit_code,
                               dw_error *local)
{
    if (status == DW_OK && !actor->flushed && !dw_instance_has_left(actor->instance)) {
        status = dw_instance_flush(actor->instance, local);
    }
    /* What was computed from pages that were not there is nobody's; a guest's own access traps, and
     * this is why. */
    dw_error cut = {.message = ""};
    if (dw_actor_check_files(actor, &cut) != DW_OK) {
        status = cut.code;
        *local = cut;
    }
    if (status == DW_OK) { /* what it has open ends with its message: no snapshot has it */
        status = dw_instance_reset_files(actor->instance, &actor->settings->instance, local);
    }
    status = judge(actor, status, result, exit_code, local);
    dw_mailbox_release(&actor->new_effects);
    dw_mailbox_release(&actor->new_timers);
    dw_mailbox_release(&actor->new_tickets);
    dw_last_words_release(&actor->said);
    dw_free(actor->current);
    actor->current = NULL;
    return status;
}

dw_status dw_actor_receive(dw_actor *actor, dw_write_fn on_answer, void *user, dw_error *err)
{
    dw_status status = dw_actor_receive_begin(actor, on_answer, user, err);
    if (status != DW_OK) {
        return status;
    }
    dw_error local = {.message = ""};
    int32_t result = 0;
    int exit_code = 0;
    status = dw_instance_call_export(actor->instance, DW_ACTOR_EXPORT, &result, &exit_code, &local);
    status = dw_actor_receive_end(actor, status, result, exit_code, &local);
    return status != DW_OK ? dw_fail(err, status, "%s", local.message) : DW_OK;
}

uint64_t dw_actor_timer_ms(const dw_actor *actor)
{
    return actor->timers.first != NULL ? actor->timers.first->number : 0;
}

dw_status dw_actor_fire_timers(dw_actor *actor, uint64_t now_ms, dw_error *err)
{
    while (actor->timers.first != NULL && actor->timers.first->number <= now_ms) {
        if (actor->mailbox.count >= actor->settings->options.message_count_max) {
            return dw_fail(err, DW_E_BUSY, "mailbox: %zu messages wait, which is the limit",
                           actor->mailbox.count);
        }
        dw_message *message = dw_mailbox_take(&actor->timers);
        message->at_ms = now_ms <= DW_ACTOR_AT_MS_MAX ? now_ms : message->number;
        message->number = 0;
        dw_mailbox_put(&actor->mailbox, message);
    }
    return DW_OK;
}

/* ---- forking ---------------------------------------------------------------------------- */

dw_status dw_actor_take_images(dw_actor *actor, dw_error *err)
{
    dw_state_let_go(actor->instance);
    dw_status status = dw_actor_check_files(actor, err);
    for (size_t i = 0; i < dw_state_memory_count(actor->instance) && status == DW_OK; i++) {
        dw_memory_image *image = NULL;
        dw_region *region = dw_state_memory(actor->instance, i);
        status = dw_memory_image_take(&image, region, actor->images[i], NULL, err);
        if (status == DW_OK && actor->images[i] != NULL) { /* were its pages there? */
            status = dw_memory_image_check(actor->images[i], region, err);
        }
        if (status != DW_OK) {
            dw_memory_image_unref(image);
        } else {
            dw_memory_image_unref(actor->images[i]);
            actor->images[i] = image;
        }
    }
    return status;
}

dw_status dw_actor_map_images(dw_actor *actor, dw_memory_image *const *images, dw_error *err)
{
    dw_status status = DW_OK;
    dw_state_let_go(actor->instance);
    for (size_t i = 0; i < dw_state_memory_count(actor->instance) && status == DW_OK; i++) {
        size_t bytes = dw_memory_image_bytes(images[i]);
        status = dw_state_memory_grow(actor->instance, i, bytes, err);
        if (status == DW_OK) {
            status = dw_memory_image_map(images[i], dw_state_memory(actor->instance, i), err);
        }
        if (status == DW_OK) {
            dw_memory_image_unref(actor->images[i]);
            actor->images[i] = dw_memory_image_ref(images[i]);
        }
    }
    return status;
}

static dw_status copy_globals(dw_instance *child, dw_instance *parent, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < dw_state_global_count(parent) && status == DW_OK; i++) {
        dw_global_value value;
        status = dw_state_global(parent, i, &value, err);
        if (status == DW_OK) {
            status = dw_state_set_global(child, i, &value, err);
        }
    }
    return status;
}

static dw_status copy_tables(dw_instance *child, dw_instance *parent, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < dw_state_table_count(parent) && status == DW_OK; i++) {
        uint32_t *entries = NULL;
        size_t count;
        status = dw_state_table(parent, i, &entries, &count, err);
        if (status == DW_OK) {
            status = dw_state_set_table(child, i, entries, count, err);
        }
        dw_free(entries);
    }
    return status;
}

/* What the parent is, once more: memories first, since graphs stand over them. */
static dw_status copy_state(dw_actor *child, dw_actor *parent, dw_error *err)
{
    dw_status status = dw_actor_map_images(child, parent->images, err);
    if (status != DW_OK) {
        return status;
    }
    const dw_repeatable *own = dw_instance_repeatable(parent->instance);
    if (strcmp(child->id, parent->id) == 0) { /* what it was, to go on with or to compare */
        dw_instance_set_repeatable(child->instance, own);
    } else {
        dw_actor_branch_random(child, own);
    }
    status = copy_globals(child->instance, parent->instance, err);
    if (status != DW_OK) {
        return status;
    }
    status = copy_tables(child->instance, parent->instance, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_instance_fork_handles(child->instance, parent->instance, true, err);
    return status == DW_OK ? dw__actor_inherit_frozen(child, parent, err) : status;
}

dw_status dw_actor_fork(dw_actor **out, dw_actor *parent, const char *id, dw_error *err)
{
    dw_actor *child = NULL;
    *out = NULL;
    if (id != NULL && !dw_actor_id_good(id)) {
        return dw_fail(err, DW_E_ARG, "id: '%.40s', %d hexadecimal digits are needed", id,
                       DW_ACTOR_ID_CHARS);
    }
    dw_status status = dw_actor_check_rests(parent, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_take_images(parent, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_create_bare(&child, parent->module, parent->settings, id, err);
    if (status != DW_OK) {
        return status;
    }
    status = copy_state(child, parent, err);
    if (status != DW_OK) {
        dw_actor_destroy(child);
        return status;
    }
    *out = child;
    return DW_OK;
}
