/* Snapshots that were changed, with checksums made to fit: opened, thawed by who trusts them and by
 * who does not, worked on, frozen and thawed again. Whatever they say, the process goes on, and an
 * actor that was thawed is one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "snapshot_fixture.h"
#include "support.h"
#include "torture.h"

#define HEADER_UNIT ((size_t)65536)
#define NUMBERS_MAX 4096

static struct {
    actor_fixture *fixture;
    uint8_t *bytes; /* of a good snapshot */
    size_t size;
    char path[64];
    char again[64];
} base;

static struct {
    uint64_t made;
    uint64_t opened;
    uint64_t thawed;
    uint64_t answered;
    uint64_t frozen;
} counts;

/* ---- a good one ---------------------------------------------------------------------------- */

static ptrdiff_t swallow(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

static dw_status tell_actor(dw_actor *actor, const char *text, dw_error *err)
{
    dw_status status = dw_actor_send(actor, NULL, text, strlen(text), err);
    return status == DW_OK ? dw_actor_receive(actor, swallow, NULL, err) : status;
}

/* With a context, a sampler, messages that wait, timers and effects. */
static void make_base(void)
{
    static const char *const messages[] = {"m", "s7", "n40", "g3", "f", "+5", "F3", "N+7", "D+1",
                                           "A+2"};
    void *state = NULL;
    dw_error err = {.message = ""};
    wasm_signals_save();
    assert_int_equal(actor_fixture_open(&state), 0);
    wasm_signals_restore();
    base.fixture = state;
    (void)snprintf(base.path, sizeof base.path, "/tmp/dw-torture-%d.snapshot", (int)getpid());
    (void)snprintf(base.again, sizeof base.again, "/tmp/dw-torture-%d.again", (int)getpid());
    dw_instance_options instance = {.struct_bytes = sizeof instance, .timeout_ms = 2000};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_actor *actor = actor_spawned(base.fixture, &options);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        assert_int_equal(tell_actor(actor, messages[i], &err), DW_OK);
    }
    assert_int_equal(dw_actor_send(actor, NULL, "+1", 2, &err), DW_OK);
    assert_int_equal(dw_actor_freeze(actor, base.path, NULL, NULL, &err), DW_OK);
    dw_actor_destroy(actor);
    base.bytes = snapshot_fixture_read(base.path, &base.size);
}

/* ---- changes ------------------------------------------------------------------------------- */

static json_int_t extreme(torture *t, json_int_t near)
{
    static const json_int_t values[] = {0,         1,         -1,         2,          255,
                                        65535,     65536,     1000000,    INT32_MAX,  INT32_MIN,
                                        UINT32_MAX, 1ll << 32, INT64_MAX, INT64_MIN, 4096,
                                        INT64_MAX / 2, INT64_MAX / 2 + 1, INT64_MAX - 1, 0x7fff};
    switch (torture_below(t, 4)) {
    case 0:
        return near + 1;
    case 1:
        return near - 1;
    case 2:
        return (json_int_t)((uint64_t)near * (1 + torture_below(t, 1000)));
    default:
        return values[torture_below(t, sizeof values / sizeof values[0])];
    }
}

static json_t *another(torture *t, const json_t *value)
{
    switch (torture_below(t, 8)) {
    case 0:
        return json_string("0123456789abcdef");
    case 1:
        return json_null();
    case 2:
        return json_array();
    case 3:
        return json_object();
    case 4:
        return json_true();
    case 5:
        return json_real(1e300);
    default:
        return json_integer(extreme(t, json_integer_value(value)));
    }
}

/* Walk to a value somewhere and change it; false: nothing was. */
static bool change_within(torture *t, json_t *value) /* NOLINT(misc-no-recursion) */
{
    const char *key;
    json_t *member;
    size_t count = json_is_object(value) ? json_object_size(value) : json_array_size(value);
    size_t which = count > 0 ? torture_below(t, count) : 0;
    if (json_is_array(value) && count > 0) {
        json_t *item = json_array_get(value, which);
        if ((json_is_object(item) || json_is_array(item)) && torture_below(t, 8) > 0) {
            return change_within(t, item);
        }
        return torture_below(t, 6) == 0
                   ? json_array_remove(value, which) == 0
                   : (torture_below(t, 6) == 0 ? json_array_append(value, item) == 0
                                               : json_array_set_new(value, which, another(t, item)) == 0);
    }
    json_object_foreach(value, key, member)
    {
        if (which-- > 0) {
            continue;
        }
        if ((json_is_object(member) || json_is_array(member)) && torture_below(t, 8) > 0) {
            return change_within(t, member);
        }
        return torture_below(t, 6) == 0 ? json_object_del(value, key) == 0
                                        : json_object_set_new(value, key, another(t, member)) == 0;
    }
    return false;
}

/* What the metadata tells of the actor is JSON in a text. */
static void change_description(torture *t, json_t *header)
{
    static const char *const names[] = {"actor", "module", "kind"};
    json_t *metadata = json_object_get(header, "__metadata__");
    const char *name = names[torture_below(t, 8) < 7 ? 0 : torture_below(t, 3)];
    json_t *inside = json_loads(json_string_value(json_object_get(metadata, name)), 0, NULL);
    if (inside == NULL) {
        return;
    }
    for (uint64_t i = 1 + torture_below(t, 2); i > 0; i--) {
        (void)change_within(t, inside);
    }
    char *text = json_dumps(inside, JSON_COMPACT);
    (void)json_object_set_new(metadata, name, json_string(text));
    free(text);
    json_decref(inside);
}

static void change_data(torture *t, uint8_t *data, size_t bytes)
{
    for (uint64_t i = 1 + torture_below(t, 8); i > 0 && bytes > 0; i--) {
        size_t at = torture_below(t, bytes);
        uint64_t random = torture_random(t);
        size_t count = 1 + torture_below(t, 8);
        for (size_t k = 0; k < count && at + k < bytes; k++) {
            data[at + k] = (uint8_t)(torture_below(t, 3) == 0 ? 0xff : random >> 8 * k);
        }
    }
}

/* ---- and a seal that fits ------------------------------------------------------------------- */

static void fit_checksums(json_t *header, const uint8_t *data, size_t bytes)
{
    const char *name;
    json_t *tensor;
    json_t *checksums = json_object();
    json_object_foreach(header, name, tensor)
    {
        const json_t *range = json_object_get(tensor, "data_offsets");
        json_int_t begin = json_integer_value(json_array_get(range, 0));
        json_int_t end = json_integer_value(json_array_get(range, 1));
        if (strcmp(name, "__metadata__") != 0 && strcmp(name, "seal") != 0 &&
            strncmp(name, "pad.", 4) != 0 && begin >= 0 && begin <= end && (uint64_t)end <= bytes) {
            char digits[DW_HASH128_TEXT];
            dw_hash128_text(digits, data + begin, (size_t)(end - begin));
            (void)json_object_set_new(checksums, name, json_string(digits));
        }
    }
    char *text = json_dumps(checksums, JSON_COMPACT);
    json_t *metadata = json_object_get(header, "__metadata__");
    (void)json_object_set_new(metadata, "checksums", json_string(text));
    free(text);
    json_decref(checksums);
}

static void put(json_t *header, const uint8_t *data, size_t bytes, size_t header_bytes)
{
    char *text = json_dumps(header, JSON_COMPACT);
    size_t length = text != NULL ? strlen(text) : 0;
    if (8 + length > header_bytes) { /* the file's places would move */
        free(text);
        return;
    }
    uint8_t *file = dw_alloc(header_bytes + bytes, 1);
    assert_non_null(file);
    memset(file, ' ', header_bytes);
    for (unsigned i = 0; i < 8; i++) {
        file[i] = (uint8_t)((header_bytes - 8) >> 8 * i);
    }
    if (text != NULL) {
        memcpy(file + 8, text, length);
    }
    memcpy(file + header_bytes, data, bytes);
    if (bytes >= DW_HASH128_BYTES) {
        dw_hash128_of(file + header_bytes + bytes - DW_HASH128_BYTES, file, header_bytes);
    }
    snapshot_fixture_put(base.path, file, header_bytes + bytes);
    dw_free(file);
    free(text);
}

static void make(torture *t)
{
    size_t header_bytes = 8;
    uint64_t length = 0;
    for (unsigned i = 0; i < 8; i++) {
        length |= (uint64_t)base.bytes[i] << 8 * i;
    }
    header_bytes += length;
    size_t bytes = base.size - header_bytes;
    uint8_t *data = dw_alloc(bytes, 1);
    json_t *header = json_loadb((const char *)base.bytes + 8, length, 0, NULL);
    assert_non_null(data);
    assert_non_null(header);
    memcpy(data, base.bytes + header_bytes, bytes);
    uint64_t what = torture_below(t, 8);
    if (what < 5) {
        change_description(t, header);
    } else if (what < 6) {
        (void)change_within(t, header);
    }
    if (what >= 6 || torture_below(t, 4) == 0) {
        change_data(t, data, bytes - DW_HASH128_BYTES);
    }
    if (json_is_object(json_object_get(header, "__metadata__"))) {
        fit_checksums(header, data, bytes);
    }
    put(header, data, bytes, header_bytes);
    json_decref(header);
    dw_free(data);
    counts.made++;
}

/* ---- what is done with them ----------------------------------------------------------------- */

static dw_status thaw(dw_actor **actor, const char *path, bool trusted, dw_error *err)
{
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = &path,
                               .path_count = 1,
                               .models = &base.fixture->model,
                               .model_count = 1,
                               .module = base.fixture->module,
                               .trusted = trusted,
                               .on_stdout = swallow,
                               .on_stderr = swallow};
    *err = (dw_error){.message = ""};
    return dw_actor_thaw(actor, base.fixture->engine, &options, NULL, err);
}

/* An actor that was taken works, or breaks off; what it is then can be frozen and is one again. */
static void work(torture *t, dw_actor *actor)
{
    static const char *const messages[] = {"+1", "g2", "n3", "f", "t1", "k2", "s3", "G2", "q2", "i"};
    dw_error err = {.message = ""};
    dw_actor *again = NULL;
    dw_actor *child = NULL;
    for (uint64_t i = 1 + torture_below(t, 4); i > 0; i--) {
        size_t which = torture_below(t, sizeof messages / sizeof messages[0]);
        counts.answered += tell_actor(actor, messages[which], &err) == DW_OK;
    }
    if (dw_actor_fork(&child, actor, NULL, &err) == DW_OK) {
        dw_actor_destroy(child);
    }
    if (dw_actor_freeze(actor, base.again, NULL, NULL, &err) != DW_OK) {
        return;
    }
    counts.frozen++;
    if (thaw(&again, base.again, false, &err) != DW_OK) {
        fail_msg("frozen, and not to be thawed: %s", err.message);
    }
    dw_actor_destroy(again);
}

static void run(torture *t)
{
    dw_snapshot_file *file = NULL;
    dw_error err = {.message = ""};
    if (base.fixture == NULL) {
        make_base();
    }
    make(t);
    if (dw_snapshot_file_open(&file, base.path, DW_SNAPSHOT_VERIFY, &err) == DW_OK) {
        counts.opened++;
        dw_snapshot_file_close(file);
    } else {
        assert_string_not_equal(err.message, "");
    }
    for (int trusted = 0; trusted < 2; trusted++) {
        dw_actor *actor = NULL;
        dw_status status = thaw(&actor, base.path, trusted, &err);
        if (status != DW_OK) {
            assert_null(actor);
            assert_string_not_equal(err.message, "");
            assert_string_not_equal(dw_status_name(status), "DW_E_?");
            continue;
        }
        counts.thawed++;
        work(t, actor);
        dw_actor_destroy(actor);
    }
}

static void tell(void)
{
    (void)printf("snapshots: %llu changed, %llu opened, %llu thawed, %llu messages answered, %llu "
                 "frozen again\n",
                 (unsigned long long)counts.made, (unsigned long long)counts.opened,
                 (unsigned long long)counts.thawed, (unsigned long long)counts.answered,
                 (unsigned long long)counts.frozen);
    (void)unlink(base.path);
    (void)unlink(base.again);
    void *state = base.fixture;
    dw_free(base.bytes);
    (void)actor_fixture_close(&state);
}

int main(void)
{
    const torture_options options = {
        .name = "torture_snapshot", .run = run, .tell = tell, .seconds = 10};
    return torture_main(&options);
}
