/* A program of somebody who embeds Driftwood, in what C and C++ have in common: nearly all of
 * dw_runtime_ over a state folder, from the installed header and library alone (check_install.sh).
 *
 *   ./embedding FOLDER
 *
 * Its guest answers "pong", and fails on an empty message. */
#include <driftwood.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* (module (import "driftwood" "reply" (func (param i32 i32) (result i32))) (memory (export "memory")
 * 1) (data (i32.const 16) "pong") (func (export "driftwood_receive") (result i32) i32.const 16
 * i32.const 4 call 0)) */
static const unsigned char guest[] = {
    0,    'a',  's', 'm',  1,    0,    0,   0,   1,    11,  2,    0x60, 2,    0x7f, 0x7f, 1,
    0x7f, 0x60, 0,   1,    0x7f, 2,    19,  1,   9,    'd', 'r',  'i',  'f',  't',  'w',  'o',
    'o',  'd',  5,   'r',  'e',  'p',  'l', 'y', 0,    0,   3,    2,    1,    1,    5,    3,
    1,    0,    1,   7,    30,   2,    6,   'm', 'e',  'm', 'o',  'r',  'y',  2,    0,    17,
    'd',  'r',  'i', 'f',  't',  'w',  'o', 'o', 'd',  '_', 'r',  'e',  'c',  'e',  'i',  'v',
    'e',  0,    1,   10,   10,   1,    8,   0,   0x41, 16,  0x41, 4,    0x10, 0,    0x0b, 11,
    10,   1,    0,   0x41, 16,   0x0b, 4,   'p', 'o',  'n', 'g'};

static dw_error error;

static void must(dw_status status, dw_status wanted, const char *what, int line)
{
    if (status != wanted) {
        fprintf(stderr, "embedding: line %d: %s: %s, not %s: %s\n", line, what,
                dw_status_name(status), dw_status_name(wanted), error.message);
        exit(1);
    }
}

#define GOOD(call) must(call, DW_OK, #call, __LINE__)
#define ENDS(status, call) must(call, status, #call, __LINE__)
#define CHECK(truth) must((truth) ? DW_OK : DW_E_STATE, DW_OK, #truth, __LINE__)
#define NEW(type, name)                                                                            \
    type name;                                                                                     \
    memset(&name, 0, sizeof name);                                                                 \
    name.struct_bytes = sizeof name

typedef struct id {
    char text[DW_ACTOR_ID_CHARS + 1];
} id;

/* What callbacks saw; each is called by one thread at a time, and looked at after a wait. */
static char answer[64];
static size_t answered;
static int ends;
static int events;
static int listed;
static size_t written;

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    for (size_t i = 0; i < count && answered + 1 < sizeof answer; i++) {
        answer[answered++] = (char)bytes[i];
    }
    answer[answered] = '\0';
    return (ptrdiff_t)count;
}

static ptrdiff_t count_bytes(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    written += count;
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_runtime_end *end)
{
    ends += end->status == DW_OK && end->actor[0] != '\0' && user == &ends;
}

static void on_event(void *user, const dw_event *event)
{
    (void)user;
    events += event->kind != 0;
}

static void take_info(void *user, const char *actor, const dw_runtime_actor_info *info,
                      const dw_error *problem)
{
    (void)user;
    listed += actor[0] != '\0' && problem == NULL && info->struct_bytes != 0;
}

static void take_path(void *user, const char *path)
{
    (void)user;
    listed += path[0] != '\0';
}

static void take_message(void *user, const dw_runtime_message *message)
{
    (void)user;
    listed += message->number != 0;
}

static void call(dw_runtime *runtime, const char *to)
{
    NEW(dw_request, request);
    request.message = "ping";
    request.message_bytes = 4;
    request.on_answer = keep;
    answered = 0;
    GOOD(dw_runtime_call(runtime, to, &request, &error));
    CHECK(strcmp(answer, "pong") == 0);
}

static void tenants(dw_runtime *runtime)
{
    char names[4][DW_TENANT_NAME_MAX + 1];
    size_t count = 0;
    NEW(dw_tenant_options, options);
    NEW(dw_runtime_tenant_info, info);
    NEW(dw_spawn_options, spawn);
    options.weight = 50;
    options.capabilities = DW_MAY_ALL;
    GOOD(dw_runtime_set_tenant(runtime, "guests", &options, &error));
    GOOD(dw_runtime_get_tenant_info(runtime, "guests", &info, &error));
    CHECK(info.weight == 50);
    GOOD(dw_runtime_list_tenants(runtime, NULL, names, 4, &count, &error));
    CHECK(count == 2 && strcmp(names[1], "guests") == 0);
    ENDS(DW_E_NOT_FOUND, dw_runtime_get_tenant_info(runtime, "nobody", &info, &error));
    spawn.tenant = "guests";
    GOOD(dw_runtime_check_spawn(runtime, &spawn, NULL, 0, &error));
    spawn.tenant = "nobody";
    ENDS(DW_E_NOT_FOUND, dw_runtime_check_spawn(runtime, &spawn, NULL, 0, &error));
}

static void messages(dw_runtime *runtime, const char *actor)
{
    uint64_t number = 0;
    uint64_t count = 7;
    NEW(dw_request, request);
    request.message = "ping";
    request.message_bytes = 4;
    request.on_end = on_end;
    request.user = &ends;
    ends = 0;
    GOOD(dw_runtime_send(runtime, actor, &request, &number, &error));
    GOOD(dw_runtime_wait(runtime, 60000, &error));
    CHECK(ends == 1 && number > 0);
    ENDS(DW_E_NOT_FOUND, dw_runtime_cancel(runtime, actor, number, &error));
    ENDS(DW_E_END, dw_runtime_interrupt(runtime, actor, &error));
    listed = 0;
    GOOD(dw_runtime_list_mail(runtime, actor, take_message, NULL, &error));
    CHECK(listed == 0);
    ENDS(DW_E_NOT_FOUND, dw_runtime_read_mail(runtime, actor, number, keep, NULL, &error));
    GOOD(dw_runtime_drop_mail(runtime, actor, DW_MAIL_ALL, &count, &error));
    CHECK(count == 0);
    ENDS(DW_E_NOT_FOUND, dw_runtime_retry_mail(runtime, actor, number, &count, &error));
}

static void names(dw_runtime *runtime, const char *actor)
{
    id found;
    id members[2];
    size_t count = 0;
    uint64_t accepted = 0;
    NEW(dw_request, request);
    request.message = "ping";
    request.message_bytes = 4;
    GOOD(dw_runtime_set_name(runtime, actor, "first", &error));
    GOOD(dw_runtime_find(runtime, NULL, "first", found.text, &error));
    CHECK(strcmp(found.text, actor) == 0);
    ENDS(DW_E_ARG, dw_runtime_set_name(runtime, actor, "no name", &error));
    GOOD(dw_runtime_join(runtime, actor, "all", &error));
    GOOD(dw_runtime_list_group(runtime, "#all", &members[0].text, 2, &count, &error));
    CHECK(count == 1 && strcmp(members[0].text, actor) == 0);
    GOOD(dw_runtime_send_group(runtime, "#all", &request, &accepted, &error));
    CHECK(accepted == 1);
    GOOD(dw_runtime_wait(runtime, 60000, &error));
    GOOD(dw_runtime_quit(runtime, actor, "all", &error));
    ENDS(DW_E_NOT_FOUND,
         dw_runtime_list_group(runtime, "#all", &members[0].text, 2, &count, &error));
    memset(found.text, 0, sizeof found.text);
    char start[9];
    memcpy(start, actor, 8);
    start[8] = '\0';
    GOOD(dw_runtime_find_id(runtime, start, found.text, &error));
    CHECK(strcmp(found.text, actor) == 0);
}

static void parking(dw_runtime *runtime, const char *actor)
{
    NEW(dw_runtime_actor_info, info);
    GOOD(dw_runtime_set_priority(runtime, actor, DW_PRIORITY_HIGH, &error));
    GOOD(dw_runtime_set_pinned(runtime, actor, true, &error));
    ENDS(DW_E_STATE, dw_runtime_park(runtime, actor, &error));
    GOOD(dw_runtime_set_pinned(runtime, actor, false, &error));
    GOOD(dw_runtime_park(runtime, actor, &error));
    GOOD(dw_runtime_get_actor_info(runtime, actor, &info, &error));
    CHECK(!info.resident && info.priority == DW_PRIORITY_HIGH && info.snapshot_count > 0);
    ends = 0;
    GOOD(dw_runtime_begin_thaw(runtime, actor, on_end, &ends, &error));
    GOOD(dw_runtime_wait(runtime, 60000, &error));
    CHECK(ends == 1);
    GOOD(dw_runtime_begin_park(runtime, actor, on_end, &ends, &error));
    GOOD(dw_runtime_wait(runtime, 60000, &error));
    CHECK(ends == 2);
    call(runtime, actor);
}

static void states(dw_runtime *runtime, dw_module *module, const char *actor)
{
    uint64_t number = 0;
    uint64_t numbers[9];
    size_t count = 0;
    id child;
    dw_actor *copy = NULL;
    NEW(dw_thaw_options, thaw);
    GOOD(dw_runtime_freeze(runtime, actor, &number, &error));
    GOOD(dw_runtime_list_freezes(runtime, actor, numbers, 9, &count, &error));
    CHECK(count == 1 && numbers[0] == number);
    call(runtime, actor);
    GOOD(dw_runtime_rewind(runtime, actor, number, &error));
    ENDS(DW_E_NOT_FOUND, dw_runtime_rewind(runtime, actor, number + 1000, &error));
    ends = 0;
    GOOD(dw_runtime_begin_freeze(runtime, actor, on_end, &ends, &error));
    GOOD(dw_runtime_begin_rewind(runtime, actor, 0, on_end, &ends, &error));
    GOOD(dw_runtime_begin_fork(runtime, actor, child.text, on_end, &ends, &error));
    GOOD(dw_runtime_wait(runtime, 60000, &error));
    CHECK(ends == 3);
    call(runtime, child.text);
    GOOD(dw_runtime_fork(runtime, actor, child.text, &error));
    call(runtime, child.text);
    GOOD(dw_runtime_stop(runtime, child.text, &error));
    ENDS(DW_E_NOT_FOUND, dw_runtime_stop(runtime, child.text, &error));
    ENDS(DW_E_UNSUPPORTED, dw_runtime_upgrade(runtime, actor, module, &number, &error));
    call(runtime, actor);
    GOOD(dw_runtime_keep_prefixes(runtime, actor, 0, &error));
    listed = 0;
    GOOD(dw_runtime_list_paths(runtime, actor, take_path, NULL, &error));
    CHECK(listed > 0);
    GOOD(dw_runtime_copy(&copy, runtime, actor, &thaw, NULL, &error));
    CHECK(strcmp(dw_actor_id(copy), actor) == 0);
    dw_actor_destroy(copy);
}

static void travels(dw_runtime *runtime, const char *actor)
{
    id imported;
    FILE *file = tmpfile();
    NEW(dw_thaw_options, thaw);
    NEW(dw_spawn_options, spawn);
    CHECK(file != NULL);
    const int fd = fileno(file);
    GOOD(dw_runtime_export(runtime, actor, fd, &error));
    thaw.fds = &fd;
    thaw.path_count = 1;
    GOOD(dw_runtime_import(runtime, &thaw, &spawn, imported.text, &error));
    fclose(file);
    CHECK(strcmp(imported.text, actor) != 0);
    call(runtime, imported.text);
}

static void looks(dw_runtime *runtime, const char *actor)
{
    static char room[65536];
    char ids[16][DW_ACTOR_ID_CHARS + 1];
    size_t count = 0;
    dw_text_room text;
    NEW(dw_runtime_stats, stats);
    NEW(dw_scheduler_stats, scheduler);
    NEW(dw_runtime_prefix_stats, prefixes);
    memset(&text, 0, sizeof text);
    text.items = room;
    text.capacity = sizeof room;
    GOOD(dw_runtime_list(runtime, "", ids, 16, &count, &error));
    CHECK(count >= 3);
    listed = 0;
    GOOD(dw_runtime_list_infos(runtime, NULL, 100, take_info, NULL, &error));
    CHECK((size_t)listed == count);
    GOOD(dw_runtime_describe(runtime, actor, &text, &error));
    CHECK(text.count > 0 && strncmp(room, "{\"id\"", 5) == 0);
    GOOD(dw_runtime_describe(runtime, NULL, &text, &error));
    text.capacity = 8;
    ENDS(DW_E_SPACE, dw_runtime_describe(runtime, NULL, &text, &error));
    written = 0;
    GOOD(dw_runtime_overview(runtime, NULL, count_bytes, NULL, &error));
    CHECK(written > 100);
    GOOD(dw_runtime_get_stats(runtime, &stats));
    GOOD(dw_runtime_get_scheduler_stats(runtime, &scheduler));
    GOOD(dw_runtime_get_prefix_stats(runtime, &prefixes));
    CHECK(stats.actors == count && stats.parks >= 2 && stats.freezes > 0);
}

static void open_folder(dw_runtime **runtime, dw_engine *engine, const char *path, bool read_only,
                        bool on_request)
{
    NEW(dw_runtime_options, options);
    options.path = path;
    options.read_only = read_only;
    options.works_on_request = on_request;
    GOOD(dw_runtime_open(runtime, engine, &options, &error));
}

/* What is there when it is opened again: to look, and to work when it is told. */
static void again(dw_engine *engine, const char *path, const char *actor)
{
    dw_runtime *runtime = NULL;
    uint64_t count = 0;
    NEW(dw_runtime_actor_info, info);
    NEW(dw_request, request);
    open_folder(&runtime, engine, path, true, false);
    GOOD(dw_runtime_get_actor_info(runtime, actor, &info, &error));
    CHECK(strcmp(info.name, "first") == 0);
    ENDS(DW_E_DENIED, dw_runtime_send(runtime, actor, &request, NULL, &error));
    dw_runtime_close(runtime);
    open_folder(&runtime, engine, path, false, true);
    request.message = "ping";
    request.message_bytes = 4;
    request.on_end = on_end;
    request.user = &ends;
    ends = 0;
    GOOD(dw_runtime_send(runtime, actor, &request, NULL, &error));
    GOOD(dw_runtime_work(runtime, DW_WORK_ALL, &error));
    CHECK(ends == 1);
    GOOD(dw_runtime_stop_tree(runtime, actor, &count, &error));
    CHECK(count >= 1);
    GOOD(dw_runtime_stop_all(runtime, &count, &error));
    dw_runtime_close(runtime);
}

int main(int argc, char **argv)
{
    dw_engine *engine = NULL;
    dw_module *module = NULL;
    dw_runtime *runtime = NULL;
    uint64_t subscription = 0;
    id actor;
    id begun;
    NEW(dw_engine_options, cpu);
    NEW(dw_spawn_options, spawn);
    NEW(dw_trace_options, trace);
    NEW(dw_trace_stats, traced);
    FILE *file = tmpfile();
    cpu.device = "CPU";
    CHECK(argc == 2 && file != NULL);
    GOOD(dw_engine_create(&engine, &cpu, &error));
    GOOD(dw_module_create(&module, engine, guest, sizeof guest, &error));
    open_folder(&runtime, engine, argv[1], false, false);
    trace.fd = fileno(file);
    GOOD(dw_runtime_trace_begin(runtime, &trace, &error));
    GOOD(dw_runtime_subscribe(runtime, NULL, on_event, NULL, &subscription, &error));
    tenants(runtime);
    GOOD(dw_runtime_spawn(runtime, module, NULL, actor.text, &error));
    spawn.tenant = "guests";
    spawn.on_end = on_end;
    spawn.user = &ends;
    GOOD(dw_runtime_begin_spawn(runtime, module, &spawn, begun.text, &error));
    GOOD(dw_runtime_wait(runtime, 60000, &error));
    CHECK(ends == 1);
    call(runtime, actor.text);
    messages(runtime, actor.text);
    names(runtime, actor.text);
    parking(runtime, actor.text);
    states(runtime, module, actor.text);
    travels(runtime, actor.text);
    looks(runtime, actor.text);
    dw_runtime_unsubscribe(runtime, subscription);
    CHECK(events > 5);
    GOOD(dw_runtime_trace_end(runtime, &traced, &error));
    CHECK(traced.events > 0 && traced.lost == 0);
    fclose(file);
    dw_runtime_close(runtime);
    again(engine, argv[1], actor.text);
    dw_module_unref(module);
    dw_engine_destroy(engine);
    printf("embedding: good\n");
    return 0;
}
