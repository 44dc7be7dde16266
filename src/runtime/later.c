/* Answers that come later: a message that is done, whose sender still waits. Its mail stays with
 * the record until the actor has given the last piece, by its ticket, or nobody waits any more. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

/* Who takes nothing for now is asked again. */
#define AGAIN_NS UINT64_C(5000000)

struct dw__piece {
    struct dw__piece *next;
    size_t told;
    size_t bytes;
    unsigned char content[]; /* [bytes] */
};

static void drop_pieces(dw__mail *mail)
{
    while (mail->pieces != NULL) {
        struct dw__piece *piece = mail->pieces;
        mail->pieces = piece->next;
        dw_free(piece);
    }
    mail->last_piece = NULL;
}

void dw__later_release(dw_runtime *runtime, dw__mail *mail)
{
    if (mail->later) {
        dw__alarm_unreserve(runtime, &mail->piece_alarm);
        drop_pieces(mail);
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

/* What was told of the first piece; false: no more of them now. With the lock. */
static bool advance(dw_runtime *runtime, dw__mail *mail, ptrdiff_t taken)
{
    struct dw__piece *piece = mail->pieces;
    if (taken == -EAGAIN && !mail->over_now) {
        mail->piece_alarm.ring = ring_again;
        dw__alarm_set(runtime, &mail->piece_alarm,
                      runtime->platform.clock_ns(runtime->platform.user) + AGAIN_NS);
        return false;
    }
    if (taken <= 0) { /* nobody hears the rest */
        mail->deaf = true;
        drop_pieces(mail);
        return false;
    }
    piece->told +=
        (size_t)taken < piece->bytes - piece->told ? (size_t)taken : piece->bytes - piece->told;
    if (piece->told == piece->bytes) {
        mail->pieces = piece->next;
        mail->last_piece = mail->pieces != NULL ? mail->last_piece : NULL;
        dw_free(piece);
    }
    return mail->pieces != NULL && !mail->over_now;
}

void dw__later_tell(dw_runtime *runtime, dw__mail *mail)
{
    (void)pthread_mutex_lock(&runtime->lock);
    bool more = mail->pieces != NULL && !mail->over_now;
    while (more) {
        const struct dw__piece *piece = mail->pieces;
        (void)pthread_mutex_unlock(&runtime->lock);
        ptrdiff_t taken =
            mail->on_answer(mail->user, piece->content + piece->told, piece->bytes - piece->told);
        (void)pthread_mutex_lock(&runtime->lock);
        more = advance(runtime, mail, taken);
    }
    mail->telling = false;
    dw__later_settle(runtime, mail);
}

/* ---- the mail -------------------------------------------------------------------------------- */

/* Its end is told, once its pieces were. */
void dw__later_settle(dw_runtime *runtime, dw__mail *mail)
{
    if (!mail->over || mail->telling || (mail->pieces != NULL && !mail->over_now)) {
        return;
    }
    dw_error error = mail->error;
    dw__record *record = dw__find_any(runtime, mail->to);
    if (mail->kept_by_record && record != NULL) {
        (void)dw__mailbox_take_number(&record->later, mail->number);
        mail->kept_by_record = false;
        runtime->later_count--;
    }
    drop_pieces(mail);
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
    }
    if (status != DW_OK) {
        mail->ticket = 0;
        error.code = status;
        dw__mail_end(runtime, mail, &error);
        return;
    }
    mail->later = mail->kept_by_record = true;
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

static dw_status add_piece(dw__mail *mail, const dw__ask *asked, dw_error *err)
{
    const size_t bytes = asked->mail->bytes;
    if (bytes == 0 || mail->on_answer == NULL || mail->deaf) {
        return DW_OK;
    }
    struct dw__piece *piece = dw_alloc(1, sizeof *piece + bytes);
    if (piece == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of an answer", bytes);
    }
    piece->bytes = bytes;
    memcpy(piece->content, asked->mail->content, bytes);
    if (mail->last_piece != NULL) {
        mail->last_piece->next = piece;
    } else {
        mail->pieces = piece;
    }
    mail->last_piece = piece;
    return DW_OK;
}

void dw__later_answer(dw_runtime *runtime, dw__record *record, const dw__ask *asked)
{
    dw__mail *mail = find(record, asked->ticket);
    dw_error error = {.code = DW_OK, .message = ""};
    if (mail == NULL || mail->over) { /* nobody waits any more: whoever did was told why */
        return;
    }
    dw_status status = add_piece(mail, asked, &error);
    if (mail->pieces != NULL && mail->piece_alarm.place == 0) {
        tell_soon(runtime, mail);
    }
    if (status != DW_OK || asked->last) {
        error.code = status;
        end(runtime, mail, &error);
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
