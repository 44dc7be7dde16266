/* The socket at which other programs look at a runtime. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

static char folder[] = "/tmp/dw-control-XXXXXX";
static char path[64];

static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Up to a line's end; false: it was closed. */
static bool read_line(int fd, char *line, size_t capacity)
{
    size_t count = 0;
    while (count + 1 < capacity) {
        ssize_t got = read(fd, line + count, 1);
        if (got <= 0) {
            return false;
        }
        if (line[count] == '\n') {
            line[count] = '\0';
            return true;
        }
        count++;
    }
    return false;
}

static json_t *ask(int fd, const char *request)
{
    static char line[1 << 20];
    json_error_t bad;
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    assert_true(read_line(fd, line, sizeof line));
    json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, &bad);
    assert_non_null(root);
    return root;
}

static dw_status open_at(runtime_fixture *f, const char *where, dw_error *error)
{
    const dw_runtime_options options = {.struct_bytes = sizeof options, .control_path = where};
    dw_status status = dw_runtime_open(&f->runtime, f->actors->engine, &options, error);
    if (status == DW_OK) {
        wasm_signals_restore();
    }
    return status;
}

static void test_control_answers(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    struct stat about;
    assert_int_equal(open_at(f, path, &error), DW_OK);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    (void)runtime_spawned(f, f->echo, NULL);
    assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_OK);
    int fd = dial();
    json_t *root = ask(fd, "overview guest 1\n");
    assert_string_equal(json_string_value(json_object_get(root, "format")), "driftwood-overview");
    const json_t *actors = json_object_get(root, "actors");
    assert_int_equal(json_array_size(actors), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(actors, 0), "id")),
                        id.text);
    assert_int_equal(json_integer_value(json_object_get(root, "actors_left_out")), 1);
    json_decref(root);
    root = ask(fd, "overview\n"); /* the next on the same connection */
    assert_int_equal(json_array_size(json_object_get(root, "actors")), 2);
    json_decref(root);
    root = ask(fd, "overview tokens\n");
    assert_string_equal(json_string_value(json_object_get(root, "order")), "tokens");
    json_decref(root);
    close(fd);
    dw_runtime_close(f->runtime);
    assert_int_not_equal(stat(path, &about), 0);
}

static void test_control_refuses(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char line[512];
    char flood[400];
    static const char *const wrong[] = {"\n",
                                        "stop\n",
                                        "overview speed\n",
                                        "overview guest 0\n",
                                        "GET / HTTP/1.1\r\n",
                                        "overview guest 4097\n",
                                        "overview guest 1 1\n",
                                        "overview guest -1\n",
                                        "overview guest 99999999999999999999\n"};
    assert_int_equal(open_at(f, path, &error), DW_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int fd = dial();
        json_t *root = ask(fd, wrong[i]);
        assert_non_null(json_string_value(json_object_get(root, "error")));
        json_decref(root);
        assert_false(read_line(fd, line, sizeof line)); /* it was told, and left */
        close(fd);
    }
    memset(flood, 'a', sizeof flood);
    int fd = dial();
    assert_true(write(fd, flood, sizeof flood) > 0);
    assert_true(read_line(fd, line, sizeof line));
    assert_non_null(strstr(line, "255 bytes"));
    close(fd);
    dw_runtime *other = NULL; /* somebody is there already */
    const dw_runtime_options same = {.struct_bytes = sizeof same, .control_path = path};
    assert_int_equal(dw_runtime_open(&other, f->actors->engine, &same, &error), DW_E_STATE);
    wasm_signals_restore();
    dw_runtime_close(f->runtime);
    memset(flood, 'p', sizeof flood - 1);
    flood[sizeof flood - 1] = '\0';
    assert_int_equal(open_at(f, flood, &error), DW_E_LIMIT);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    close(file);
    assert_int_equal(open_at(f, path, &error), DW_E_ARG); /* and it is left as it is */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_at(f, "/nowhere/at/all", &error), DW_E_IO);
}

/* What a process left that was killed goes. */
static void test_control_takes_over(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_int_equal(open_at(f, path, &error), DW_OK);
    fd = dial();
    json_decref(ask(fd, "overview\n"));
    close(fd);
    dw_runtime_close(f->runtime);
}

/* More clients than there may be, who say nothing or do not read, hold nobody up: not the runtime,
 * and others only until their time is over. */
static void test_control_bounds_clients(void **state)
{
    enum { CLIENTS = 40, ACTORS = 700 };
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    int fds[CLIENTS];
    assert_int_equal(open_at(f, path, &error), DW_OK);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    for (int i = 0; i < ACTORS; i++) { /* an answer that no socket holds */
        (void)runtime_spawned(f, f->echo, NULL);
    }
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial();
        if (fds[i] >= 0 && i % 2 == 0) {
            (void)!write(fds[i], "overview guest 4096\n", 20);
        }
    }
    uint64_t began = dw_os_clock_ns();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_OK);
    }
    assert_true(dw_os_clock_ns() - began < UINT64_C(5000000000));
    json_t *root = NULL;
    while (root == NULL) { /* at last there is room again */
        int fd = dial();
        char byte;
        if (fd >= 0 && write(fd, "overview guest 1\n", 17) == 17 && read(fd, &byte, 1) == 1) {
            root = json_true();
        }
        close(fd);
        assert_true(dw_os_clock_ns() - began < UINT64_C(60000000000));
        usleep(50000);
    }
    dw_runtime_close(f->runtime); /* with clients that are connected */
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
}

static int open_all(void **state)
{
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/control", folder);
    (void)signal(SIGPIPE, SIG_IGN); /* of this test's own writes */
    return runtime_fixture_open(state);
}

static int close_all(void **state)
{
    (void)unlink(path);
    (void)rmdir(folder);
    return runtime_fixture_close(state);
}

int main(void)
{
    wasm_signals_save();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_answers),
        cmocka_unit_test(test_control_refuses),
        cmocka_unit_test(test_control_takes_over),
        cmocka_unit_test(test_control_bounds_clients),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
