/* A runtime that works until its standard input ends, for tests/cli/test_top.py.
 *
 *   serve_runtime CONTROL_PATH GUESTS_DIR */
#include <stdio.h>
#include <unistd.h>

#include "driftwood.h"

typedef struct sender {
    dw_runtime *runtime;
    char id[DW_ACTOR_ID_CHARS + 1];
    volatile bool over;
} sender;

/* Again and again. */
static void send_one(sender *s);

static void on_end(void *user, const dw_runtime_end *end)
{
    (void)end;
    send_one(user);
}

static void send_one(sender *s)
{
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "+1",
                                .message_bytes = 2,
                                .on_end = on_end,
                                .user = s};
    if (!s->over) {
        (void)!dw_runtime_send(s->runtime, s->id, &request, NULL, NULL);
    }
}

static dw_status open_all(dw_engine **engine, dw_module **guest, dw_runtime **runtime,
                          const char *const *arguments, dw_error *error)
{
    char path[1024];
    const dw_engine_options cpu = {.struct_bytes = sizeof cpu, .device = "CPU", .threads = 1};
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .control_path = arguments[0], .log_fd = 2};
    (void)snprintf(path, sizeof path, "%s/actor_hostile.wasm", arguments[1]);
    dw_status status = dw_engine_create(engine, &cpu, error);
    status = status != DW_OK ? status : dw_module_open(guest, *engine, path, error);
    return status != DW_OK ? status : dw_runtime_open(runtime, *engine, &options, error);
}

static dw_status spawn_all(dw_runtime *runtime, dw_module *guest, sender *senders, size_t count,
                           dw_error *error)
{
    static const char *const names[] = {"",
                                        "evil\x7f\xc2\x9b"
                                        "2J",
                                        "Gr\xc3\xbc\xc3\x9f"};
    dw_status status = DW_OK;
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        const dw_tenant_options any = {.struct_bytes = sizeof any, .capabilities = DW_MAY_ALL};
        const dw_spawn_options of_it = {.struct_bytes = sizeof of_it, .tenant = names[i % 3]};
        senders[i].runtime = runtime;
        status = i > 0 && i < 3 ? dw_runtime_set_tenant(runtime, names[i], &any, error) : DW_OK;
        status = status != DW_OK ? status
                                 : dw_runtime_spawn(runtime, guest, &of_it, senders[i].id, error);
    }
    return status;
}

int main(int argc, char **argv)
{
    enum { SENDERS = 5 };
    static sender senders[SENDERS];
    dw_engine *engine = NULL;
    dw_module *guest = NULL;
    dw_runtime *runtime = NULL;
    dw_error error = {.message = "usage: serve_runtime CONTROL_PATH GUESTS_DIR"};
    char byte;
    if (argc != 3) {
        (void)fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    const char *const arguments[] = {argv[1], argv[2]};
    dw_status status = open_all(&engine, &guest, &runtime, arguments, &error);
    status = status != DW_OK ? status : spawn_all(runtime, guest, senders, SENDERS, &error);
    for (size_t i = 0; i < SENDERS && status == DW_OK; i++) {
        send_one(&senders[i]);
    }
    if (status != DW_OK) {
        (void)fprintf(stderr, "serve_runtime: %s\n", error.message);
    } else {
        (void)printf("ready\n");
        (void)fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0) {}
    }
    for (size_t i = 0; i < SENDERS; i++) {
        senders[i].over = true;
    }
    dw_runtime_close(runtime);
    dw_module_unref(guest);
    dw_engine_destroy(engine);
    return status != DW_OK;
}
