/* What actors may ask of the folder that they live in. A guest is refused where it asks, by
 * dw__store_guard; what only shows when an effect is carried out (another actor has taken the
 * room meanwhile), by dw__store_check_room. */
#include <inttypes.h>

#include "base/os.h"
#include "store/store_internal.h"

/* A timer that waits so long begins anew: what one from outside has caused is bounded by time
 * then, not by number. */
#define TIMER_ANEW_MS 1000

/* ---- causes ------------------------------------------------------------------------------ */

static uint64_t new_cause(void)
{
    uint64_t cause = 0;
    while (cause == 0) {
        dw_os_random(&cause, sizeof cause);
        cause &= INT64_MAX; /* a whole number of JSON */
    }
    return cause;
}

void dw__store_note_cause(dw_store *store, uint64_t cause, uint64_t caused)
{
    dw__store_cause *known = &store->causes[cause % DW__STORE_CAUSES];
    if (cause != 0 && (known->cause != cause || known->count < caused)) {
        *known = (dw__store_cause){.cause = cause, .count = caused};
    }
}

/* One more message for the same cause. The count travels with each message and is the store's
 * largest: after a restart it goes on from those of the messages that wait. */
static dw_status count_caused(dw_store *store, dw_message *current, dw_message *message,
                              dw_error *err)
{
    const uint64_t limit = store->own_limits.caused_messages;
    current->cause = current->cause != 0 ? current->cause : new_cause();
    dw__store_cause *known = &store->causes[current->cause % DW__STORE_CAUSES];
    uint64_t count = current->caused;
    if (known->cause == current->cause && known->count > count) {
        count = known->count;
    }
    if (count >= limit) {
        return dw_fail(err, DW_E_LIMIT,
                       "message: one from outside has caused %" PRIu64 ", which is the limit "
                       "(caused_messages)",
                       limit);
    }
    *known = (dw__store_cause){.cause = current->cause, .count = count + 1};
    message->cause = current->cause;
    message->caused = count + 1;
    return DW_OK;
}

/* ---- room -------------------------------------------------------------------------------- */

dw_status dw__store_check_folder(dw_store *store, size_t more, bool exactly, dw_error *err)
{
    const dw_limits *limits = &store->own_limits;
    size_t count = 0;
    dw_status status = dw_actor_folder_count(store->folder, &count, err);
    if (status != DW_OK) {
        return status;
    }
    if (count + more > limits->actors) {
        return dw_fail(err, DW_E_LIMIT,
                       "actors: %zu in the state folder, limit %" PRIu64 " (actors)", count,
                       limits->actors);
    }
    return dw_actor_folder_check_bytes(store->folder, limits->folder_bytes, exactly, err);
}

dw_status dw__store_check_room(dw_store *store, const dw_actor *parent, size_t more, dw_error *err)
{
    const dw_limits *limits = &store->own_limits;
    const char *id = dw_actor_id(parent);
    size_t count = 0;
    const dw_descent *descent = NULL;
    dw_status status = dw__store_check_folder(store, more, true, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__store_descent(store, id, &descent, err);
    if (status != DW_OK) {
        return status;
    }
    if (descent->depth + 1 > limits->generations) {
        return dw_fail(err, DW_E_LIMIT,
                       "generations: %u would descend from each other, limit %" PRIu64
                       " (generations)",
                       descent->depth + 1, limits->generations);
    }
    status = dw_actor_folder_count_tree(store->folder, dw_descent_head(descent, id), &count, err);
    if (status == DW_OK && count + more > limits->descendants) {
        return dw_fail(err, DW_E_LIMIT,
                       "descendants: %zu of one actor are there, limit %" PRIu64 " (descendants)",
                       count, limits->descendants);
    }
    return status;
}

dw_status dw__store_guard(void *user, dw_actor *actor, dw_message *message, dw_error *err)
{
    dw_store *store = user;
    dw_message *current = dw_actor_current(actor);
    const bool makes = message->kind == DW_EFFECT_SPAWN || message->kind == DW_EFFECT_FORK;
    if (message->kind == DW_EFFECT_STOP) {
        return DW_OK;
    }
    if (message->kind == DW_EFFECT_JOIN || message->kind == DW_EFFECT_LEAVE ||
        (message->kind == DW_EFFECT_SEND && message->actor[0] == '\0')) {
        return dw_fail(err, DW_E_UNSUPPORTED, "names and groups of actors are a runtime's");
    }
    if (message->kind == 0 && message->number >= dw_os_wall_ms() + TIMER_ANEW_MS) {
        return DW_OK;
    }
    if (makes) {
        size_t asked = dw_actor_asked_to_make(actor);
        if (asked >= store->own_limits.spawns) {
            return dw_fail(err, DW_E_LIMIT,
                           "spawns and forks: %zu for one message, which is the limit (spawns)",
                           asked);
        }
        dw_status status = dw__store_check_room(store, actor, asked + 1, err);
        if (status != DW_OK) {
            return status;
        }
    } else if (message->kind == DW_EFFECT_SEND) {
        dw_status status =
            dw_actor_folder_check_bytes(store->folder, store->own_limits.folder_bytes, false, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return count_caused(store, current, message, err);
}
