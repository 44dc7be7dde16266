/* An actor's random numbers and its clock in snapshots. Earlier programs did not write them: such
 * an actor has what it was made with, fresh ones of the system's. */
#include <string.h>

#include "base/hash.h"
#include "snapshot/snapshot_parts_internal.h"
#include "wasm/repeatable.h"

bool dw__repeatable_save(const dw_actor *actor, json_t *about)
{
    const dw_repeatable *own = dw_instance_repeatable(actor->instance);
    char text[2 * DW_RANDOM_STREAM_BYTES + 1];
    dw_hex(text, own->random.key, sizeof own->random.key);
    return dw__json_put(about, "random", json_string(text)) &&
           dw__json_put(about, "clock_ns", dw__json_number(own->clock_ns));
}

dw_status dw__repeatable_load(const dw__thaw *t, dw_error *err)
{
    dw_repeatable own = *dw_instance_repeatable(t->actor->instance);
    const char *text = NULL;
    dw_status status = DW_OK;
    if (json_object_get(t->about, "random") != NULL) {
        status = dw__json_text(t->about, "actor", "random", &text, err);
    }
    if (text != NULL && !dw_hex_parse(own.random.key, sizeof own.random.key, text)) {
        return dw_fail(err, DW_E_FORMAT,
                       "actor: 'random' has %zu characters that are no %d "
                       "hexadecimal digits",
                       strlen(text), 2 * DW_RANDOM_STREAM_BYTES);
    }
    if (status == DW_OK && json_object_get(t->about, "clock_ns") != NULL) {
        status = dw__json_whole(t->about, "actor", "clock_ns", DW_CLOCK_NS_MAX, &own.clock_ns, err);
    }
    if (status != DW_OK) {
        return status;
    }
    const char *id = json_string_value(json_object_get(t->about, "id"));
    if (text != NULL && id != NULL && strcmp(id, dw_actor_id(t->actor)) != 0) {
        dw_actor_branch_random(t->actor, &own);
    } else {
        dw_instance_set_repeatable(t->actor->instance, &own);
    }
    return DW_OK;
}
