/* Answers that come later: a message that is done, whose sender still waits. Its mail stays with
 * the record until the actor has given the last piece, by its ticket, or nobody waits any more. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"
#include "runtime/shares.h"

/* Who takes nothing for now is asked again. */
#define AGAIN_NS UINT64_C(5000000)

/* Of one answer, what waits and was not taken yet. A piece that is longer may wait alone. */
#define UNREAD_BYTES_MAX ((size_t)16 << 20)
#define UNREAD_PIECES_MAX ((size_t)16384)

/* The record that its pieces are charged to, beside its tenant; NULL: it has gone, or has no more
 * to do with it. */
static dw__record *holder_of(const dw_runtime *runtime, const dw__mail *mail)
{
    return mail->kept_by_record ? dw__find_any(runtime, mail->to) : NULL;
}

/* What a piece takes of memory: short ones more than they say. */
static size_t bytes_of(size_t count, size_t bytes)
{
    return count * sizeof(dw__mail) + bytes;
}

static void leave_record(const dw_runtime *runtime, const dw__mail *mail, size_t bytes)
{
    dw__record *record = holder_of(runtime, mail);
    if (record != NULL) {
        DW_ASSERT(record->unread_bytes >= bytes);
        record->unread_bytes -= bytes;
    }
}

/* Its tenant and all together have it as long as it is there, whoever has gone. */
static void let_go(dw_runtime *runtime, const dw__mail *mail, size_t bytes)
{
    leave_record(runtime, mail, bytes);
    DW_ASSERT(mail->tenant->unread_bytes >= bytes && runtime->unread_bytes >= bytes);
    mail->tenant->unread_bytes -= bytes;
    runtime->unread_bytes -= bytes;
}

static void drop_pieces(dw_runtime *runtime, dw__mail *mail)
{
    let_go(runtime, mail, bytes_of(mail->pieces.count, mail->pieces.bytes));
    for (dw__mail *piece = dw__mailbox_take(&mail->pieces); piece != NULL;
         piece = dw__mailbox_take(&mail->pieces)) {
        dw_free(piece);
    }
    mail->piece_told = 0;
}

void dw__later_release(dw_runtime *runtime, dw__mail *mail)
{
    if (mail->later) {
        dw__alarm_unreserve(runtime, &mail->piece_alarm);
        drop_pieces(runtime, mail);
    }
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell_soon(dw_runtime *runtime, dw__mail *mail)
{
    if (!mail->telling) {
        mail->telling = true;
        mail->piece_notice.kind = DW__TELL_PIECES;
        dw__tell(runtime, &mail->piece_notice);
    }
}

static void ring_again(dw_runtime *runtime, dw__alarm *alarm)
{
    tell_soon(runtime, (dw__mail *)(void *)((char *)alarm - offsetof(dw__mail, piece_alarm)));
}

/* Nobody is told of it again once the runtime has closed. */
static void give_up(dw__mail *mail)
{
    mail->over = mail->over_now = true;
    (void)dw_fail(&mail->error, DW_E_STATE,
                  "ticket %" PRIu64 ": the runtime is being closed, and %zu bytes of the answer "
                  "were not taken",
                  mail->ticket, mail->pieces.bytes - mail->piece_told);
}

/* So much of the answer was taken. */
static void count_taken(dw_runtime *runtime, const dw__mail *mail, const unsigned char *bytes,
                        size_t count)
{
    dw__record *record = dw__find_any(runtime, mail->to);
    const dw__sums more = {.answered_bytes = count};
    if (record != NULL) {
        dw__sum(runtime, record, &more);
    } else {
        dw__sum_gone(runtime, mail->tenant, &more);
    }
    dw__happened_to(runtime, mail->to,
                    &(dw__happening){.kind = DW_EVENT_ANSWERED,
                                     .number = mail->number,
                                     .bytes = bytes,
                                     .byte_count = count});
}

/* What was told of the first piece; false: no more of them now. With the lock. */
static bool advance(dw_runtime *runtime, dw__mail *mail, ptrdiff_t taken)
{
    const dw__mail *piece = mail->pieces.first;
    if (taken == -EAGAIN && !mail->over_now) {
        if (runtime->closing) {
            give_up(mail);
            return false;
        }
        mail->piece_alarm.ring = ring_again;
        dw__alarm_set(runtime, &mail->piece_alarm,
                      runtime->platform.clock_ns(runtime->platform.user) + AGAIN_NS);
        return false;
    }
    if (taken <= 0) { /* nobody hears the rest */
        mail->deaf = true;
        drop_pieces(runtime, mail);
        return false;
    }
    const size_t left = piece->bytes - mail->piece_told;
    const size_t told = (size_t)taken < left ? (size_t)taken : left;
    count_taken(runtime, mail, piece->content + mail->piece_told, told);
    mail->piece_told += told;
    if (mail->piece_told == piece->bytes) {
        let_go(runtime, mail, bytes_of(1, piece->bytes));
        dw_free(dw__mailbox_take(&mail->pieces));
        mail->piece_told = 0;
    }
    return mail->pieces.first != NULL && !mail->over_now;
}

void dw__later_tell(dw_runtime *runtime, dw__mail *mail)
{
    (void)pthread_mutex_lock(&runtime->lock);
    bool more = mail->pieces.first != NULL && !mail->over_now;
    while (more) {
        const dw__mail *piece = mail->pieces.first;
        const size_t told = mail->piece_told;
        (void)pthread_mutex_unlock(&runtime->lock);
        ptrdiff_t taken = mail->on_answer(mail->user, piece->content + told, piece->bytes - told);
        (void)pthread_mutex_lock(&runtime->lock);
        more = advance(runtime, mail, taken);
    }
    mail->telling = false;
    dw__later_settle(runtime, mail);
}

void dw__later_close(dw_runtime *runtime)
{
    for (size_t i = 0; i < runtime->alarm_count;) {
        dw__alarm *alarm = runtime->alarms[i];
        if (alarm->ring == ring_again) {
            dw__alarm_clear(runtime, alarm);
            ring_again(runtime, alarm);
            i = 0;
        } else {
            i++;
        }
    }
}

/* ---- the mail -------------------------------------------------------------------------------- */

/* Its end is told, once its pieces were. */
void dw__later_settle(dw_runtime *runtime, dw__mail *mail)
{
    if (!mail->over || mail->telling || (mail->pieces.first != NULL && !mail->over_now)) {
        return;
    }
    dw_error error = mail->error;
    dw__record *record = dw__find_any(runtime, mail->to);
    drop_pieces(runtime, mail);
    if (mail->kept_by_record && record != NULL) {
        (void)dw__mailbox_take_number(&record->later, mail->number);
        mail->kept_by_record = false;
        runtime->later_count--;
    }
    dw__alarm_clear(runtime, &mail->piece_alarm);
    mail->over = false;
    dw__mail_end(runtime, mail, &error);
}

static void end(dw_runtime *runtime, dw__mail *mail, const dw_error *error)
{
    mail->over = true;
    mail->over_now = mail->over_now || error->code != DW_OK;
    mail->error = *error;
    dw__later_settle(runtime, mail);
}

bool dw__later_end(dw_runtime *runtime, dw__record *record, uint64_t number, const dw_error *error)
{
    dw__mail *mail = record->later.first;
    while (mail != NULL && mail->number != number) {
        mail = mail->next;
    }
    if (mail != NULL) {
        end(runtime, mail, error);
    }
    return mail != NULL;
}

void dw__later_end_all(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    for (dw__mail *mail = dw__mailbox_take(&record->later); mail != NULL;
         mail = dw__mailbox_take(&record->later)) {
        dw_error own;
        (void)dw_fail(&own, error->code, "ticket %" PRIu64 " was never answered: %.180s",
                      mail->ticket, error->message);
        leave_record(runtime, mail, bytes_of(mail->pieces.count, mail->pieces.bytes));
        mail->kept_by_record = false;
        runtime->later_count--;
        end(runtime, mail, mail->over && !mail->over_now ? &mail->error : &own);
    }
}

void dw__later_begin(dw_runtime *runtime, dw__record *record, dw__mail *mail)
{
    dw_error error;
    dw_status status = dw__alarm_reserve(runtime, &error);
    mail->working = false;
    if (status == DW_OK && mail->timeout_ms == 0) {
        status = dw__alarm_reserve(runtime, &error);
        if (status != DW_OK) {
            dw__alarm_unreserve(runtime, &mail->piece_alarm);
        } else {
            mail->timeout_ms = record->limits->ticket_ms;
            dw__set_timeout(runtime, mail);
        }
    } else if (status == DW_OK && mail->alarm.place == 0) { /* it rang while this was written */
        dw__alarm_set(runtime, &mail->alarm, runtime->platform.clock_ns(runtime->platform.user));
    }
    if (status != DW_OK) {
        mail->ticket = 0;
        error.code = status;
        dw__mail_end(runtime, mail, &error);
        return;
    }
    mail->later = mail->kept_by_record = true;
    mail->tenant = record->tenant;
    dw__mailbox_put(&record->later, mail);
    if (++runtime->later_count == 1 && runtime->options.works_on_request) {
        dw__rouse_all(runtime); /* what is due may be what it waits for */
    }
}

/* ---- what actors give ------------------------------------------------------------------------ */

static dw__mail *find(const dw__record *record, uint64_t ticket)
{
    dw__mail *mail = record->later.first;
    while (mail != NULL && mail->ticket != ticket) {
        mail = mail->next;
    }
    return mail;
}

/* Whether there is no room for so much more beside what is held. A piece may be longer alone. */
static bool is_over(size_t held, size_t bytes, uint64_t limit)
{
    return held > 0 && (bytes > limit || held > limit - bytes);
}

/* What all tenants' actors hold is bounded; whoever is within its share of that by its weight has
 * room nevertheless, so that nobody's answers end because of others'. */
static bool is_over_all(const dw_runtime *runtime, const dw__tenant *tenant, size_t bytes)
{
    const uint64_t limit = runtime->own_limits.all_unread_bytes;
    return is_over(runtime->unread_bytes, bytes, limit) && tenant->unread_bytes > 0 &&
           !dw__within_share(runtime, tenant, tenant->unread_bytes + bytes, limit);
}

static dw_status check_tenant(const dw_runtime *runtime, const dw__mail *mail, size_t bytes,
                              dw_error *err)
{
    const dw__tenant *tenant = mail->tenant;
    const uint64_t own = tenant->limits.tenant_unread_bytes;
    const uint64_t limit = own != 0 ? own : runtime->own_limits.tenant_unread_bytes;
    if (is_over(tenant->unread_bytes, bytes, limit)) {
        return dw_fail(err, DW_E_LIMIT,
                       "ticket %" PRIu64 ": %zu bytes more, while %zu of the answers of tenant "
                       "'%.63s' wait that were not taken, limit %" PRIu64 " (tenant_unread_bytes)",
                       mail->ticket, bytes, tenant->unread_bytes, tenant->name, limit);
    }
    if (is_over_all(runtime, tenant, bytes)) { /* others' answers are none of its concern */
        return dw_fail(err, DW_E_LIMIT,
                       "ticket %" PRIu64 ": %zu bytes more, while %zu of the answers of tenant "
                       "'%.63s' wait that were not taken, and all tenants' are at their limit, "
                       "%" PRIu64 " (all_unread_bytes)",
                       mail->ticket, bytes, tenant->unread_bytes, tenant->name,
                       runtime->own_limits.all_unread_bytes);
    }
    return DW_OK;
}

static dw_status check_room(const dw_runtime *runtime, const dw__record *record,
                            const dw__mail *mail, size_t count, dw_error *err)
{
    const size_t waits = mail->pieces.bytes - mail->piece_told;
    const size_t bytes = bytes_of(1, count);
    const uint64_t unread_max = record->limits->unread_bytes;
    if (mail->pieces.count >= UNREAD_PIECES_MAX || is_over(waits, count, UNREAD_BYTES_MAX)) {
        return dw_fail(err, DW_E_LIMIT,
                       "ticket %" PRIu64 ": %zu bytes more of the answer, while %zu in %zu pieces "
                       "wait that were not taken, limits %zu and %zu",
                       mail->ticket, count, waits, mail->pieces.count, UNREAD_BYTES_MAX,
                       UNREAD_PIECES_MAX);
    }
    if (is_over(record->unread_bytes, bytes, unread_max)) {
        return dw_fail(err, DW_E_LIMIT,
                       "ticket %" PRIu64 ": %zu bytes more, while %zu of the actor's answers wait "
                       "that were not taken, limit %" PRIu64 " (unread_bytes)",
                       mail->ticket, bytes, record->unread_bytes, unread_max);
    }
    return check_tenant(runtime, mail, bytes, err);
}

/* Takes the message that was asked for: it becomes the piece. */
static dw_status add_piece(dw_runtime *runtime, dw__record *record, dw__mail *mail, dw__ask *asked,
                           dw_error *err)
{
    const size_t bytes = asked->mail->bytes;
    if (bytes == 0 || mail->deaf) {
        return DW_OK;
    }
    if (mail->on_answer == NULL) {
        count_taken(runtime, mail, asked->mail->content, bytes);
        return DW_OK;
    }
    dw_status status = check_room(runtime, record, mail, bytes, err);
    if (status == DW_OK) {
        const size_t taken = bytes_of(1, bytes);
        record->unread_bytes += taken;
        mail->tenant->unread_bytes += taken;
        runtime->unread_bytes += taken;
        dw__mailbox_put(&mail->pieces, asked->mail);
        asked->mail = NULL;
    }
    return status;
}

void dw__later_answer(dw_runtime *runtime, dw__record *record, dw__ask *asked)
{
    dw__mail *mail = find(record, asked->ticket);
    dw_error error = {.code = DW_OK, .message = ""};
    if (mail == NULL || mail->over) { /* nobody waits any more: whoever did was told why */
        return;
    }
    dw_status status = add_piece(runtime, record, mail, asked, &error);
    if (mail->pieces.first != NULL && mail->piece_alarm.place == 0) {
        tell_soon(runtime, mail);
    }
    if (status != DW_OK || asked->last) {
        error.code = status;
        end(runtime, mail, &error);
    }
}

void dw__later_cut(dw_runtime *runtime, dw__record *record)
{
    dw_error error;
    if (record->stopping && record->later.first != NULL) {
        bool closing = runtime->closing && runtime->keeper != NULL;
        (void)dw_fail(&error, closing ? DW_E_STATE : DW_E_CANCELLED, "%s",
                      closing ? "the runtime is being closed" : "its actor was stopped");
        dw__later_end_all(runtime, record, &error);
    }
}

void dw__later_note(dw__record *record, const dw__ask *asked)
{
    dw__mail *mail = record->current;
    for (; mail != NULL && asked != NULL; asked = asked->next) {
        if (asked->kind == DW_EFFECT_LATER && mail->awaited && !mail->detached) {
            mail->ticket = asked->ticket;
        }
    }
}

bool dw__answers_later(const dw__ask *asked)
{
    while (asked != NULL && asked->kind != DW_EFFECT_LATER) {
        asked = asked->next;
    }
    return asked != NULL;
}
