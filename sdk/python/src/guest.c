/* The guest `python`: pocketpy with the module `driftwood`. It runs the files that were packed into it
 * (`driftwood build`), or the file named as its argument.
 *
 * As an actor it runs them once, for its first message, and then calls their function `receive` for
 * each. The whole interpreter is in the guest's memory, and is saved with it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../packed_files.inc.h"
#include "driftwood_guest.h"
#include "embedded.inc.h" /* embedded_driftwood ...: modules in Python */
#include "python.h"

static enum { BEFORE, FAILED, READY } state;
static int exit_status = 1; /* of a program that failed */

/* ---- files ---------------------------------------------------------------------------------- */

/* With a NUL behind, for free(). */
static char *copied(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
        copy[bytes] = '\0';
    }
    return copy;
}

/* A file's text with a NUL, for free(). */
static char *read_file(const char *path)
{
    FILE *stream = fopen(path, "rb");
    char *text = NULL;
    size_t room = 0;
    size_t bytes = 0;
    while (stream != NULL) {
        if (room - bytes < 2) {
            room = room == 0 ? 65536 : 2 * room;
            char *more = realloc(text, room);
            if (more == NULL) {
                free(text);
                text = NULL;
                break;
            }
            text = more;
        }
        size_t got = fread(text + bytes, 1, room - bytes - 1, stream);
        bytes += got;
        text[bytes] = '\0';
        if (got == 0) {
            break;
        }
    }
    if (stream != NULL) {
        fclose(stream);
    }
    return text;
}

/* A module's source, for free(). NULL: there is none. */
static char *source_of(const char *path, int *bytes)
{
    static const struct {
        const char *name;
        const char *text;
        size_t bytes;
    } own[] = {{"driftwood.py", embedded_driftwood, sizeof embedded_driftwood - 1},
               {"driftwood_raw.py", embedded_raw, sizeof embedded_raw - 1},
               {"re.py", embedded_re, sizeof embedded_re - 1}};
    char found[256];
    uint32_t size;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(path, own[i].name) == 0) {
            return copied(own[i].text, own[i].bytes);
        }
    }
    const char *text = packed_file(path, &size, found);
    if (text != NULL) {
        return copied(text, size);
    }
    (void)bytes; /* of compiled modules, which are not looked for */
    size_t length = strlen(path);
    bool python = length > 3 && strcmp(path + length - 3, ".py") == 0;
    return packed.bytes == 0 && python ? read_file(path) : NULL;
}

static void print_text(const char *text)
{
    fputs(text, stdout);
}

static void flush_text(void)
{
    fflush(stdout);
}

/* ---- running -------------------------------------------------------------------------------- */

/* What SystemExit says: nothing or a number is main's status, anything else is told, as Python has it. */
static int status_of_exit(py_Ref code)
{
    if (py_isnone(code)) {
        return 0;
    }
    if (py_isint(code)) {
        return (int)(py_toint(code) & 0xff);
    }
    if (py_isbool(code)) {
        return py_tobool(code);
    }
    if (py_str(code)) {
        int bytes;
        const char *text = py_tostrn(py_retval(), &bytes);
        fprintf(stderr, "%.*s\n", bytes, text);
    }
    return 1;
}

/* The exception on standard error; a DriftwoodError's code, else DW_E_ARG. 0: the program left with
 * SystemExit, and well. */
static int32_t tell(py_StackRef before)
{
    int32_t status = DW_E_ARG;
    fflush(stdout);
    if (py_matchexc(tp_SystemExit)) {
        py_push(py_retval());
        py_clearexc(NULL);
        exit_status = py_getattr(py_peek(-1), py_name("code")) ? status_of_exit(py_retval()) : 1;
        py_clearexc(before);
        return exit_status == 0 ? 0 : DW_E_ARG;
    }
    exit_status = 1;
    char *text = py_formatexc();
    fprintf(stderr, "%s\n", text != NULL ? text : "an exception");
    free(text);
    if (py_matchexc(tp_Exception)) {
        py_push(py_retval());
        py_clearexc(NULL);
        if (py_getattr(py_peek(-1), py_name("code")) && py_isint(py_retval()) &&
            py_toint(py_retval()) < 0) {
            status = (int32_t)py_toint(py_retval());
        }
    }
    py_clearexc(before);
    return status;
}

static int32_t run_text(const char *text, const char *name, py_Ref module)
{
    py_StackRef before = py_peek(0);
    return py_exec(text, name, EXEC_MODE, module) ? 0 : tell(before);
}

/* Functions of a class in prelude.py become methods of a type that is built in. */
static bool add_method(py_Name name, py_Ref value, void *type)
{
    if (py_istype(value, tp_function)) {
        py_setdict(type, name, value);
    }
    return true;
}

static int32_t prelude(void)
{
    py_GlobalRef module = py_newmodule("_prelude");
    int32_t status = run_text(embedded_prelude, "prelude.py", module);
    if (status == 0) {
        py_applydict(py_getdict(module, py_name("Text")), add_method, py_tpobject(tp_str));
        py_applydict(py_getdict(module, py_name("Bytes")), add_method, py_tpobject(tp_bytes));
        py_applydict(py_getdict(module, py_name("Dict")), add_method, py_tpobject(tp_dict));
        py_applydict(py_getdict(module, py_name("Builtins")), add_method, py_getmodule("builtins"));
        py_setdict(py_getmodule("sys"), py_name("exit"),
                   py_getdict(module, py_name("leave")));
        py_setdict(py_getmodule("builtins"), py_name("exit"), py_getdict(module, py_name("leave")));
        static const char *const names[] = {"frozenset", "OverflowError", "Ellipsis"};
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            py_setdict(py_getmodule("builtins"), py_name(names[i]),
                       py_getdict(module, py_name(names[i])));
        }
    }
    return status;
}

/* Runs the program. */
static int32_t start(const char *path)
{
    char name[256];
    uint32_t bytes = 0;
    const char *first = packed_file(NULL, &bytes, name);
    char *text = NULL;
    if (first != NULL) {
        text = copied(first, bytes);
        path = name;
    } else if (path != NULL) {
        text = read_file(path);
    }
    if (text == NULL && path == NULL) {
        fprintf(stderr, "no Python was packed into this guest; name a file: driftwood run python "
                        "--dir . -- main.py\n");
        return DW_E_NOT_FOUND;
    }
    if (text == NULL) {
        fprintf(stderr, "%s: not found; --dir grants a folder\n", path);
        return DW_E_NOT_FOUND;
    }
    if (state == BEFORE) {
        py_initialize();
    } else {
        py_resetvm();
    }
    state = FAILED;
    py_callbacks()->importfile = source_of;
    py_callbacks()->print = print_text;
    py_callbacks()->flush = flush_text;
    dw_python_amend();
    dw_python_add_native();
    dw_python_add_json();
    int32_t status = prelude();
    if (status == 0) {
        status = run_text(text, path, NULL);
    }
    free(text);
    state = status == 0 ? READY : FAILED;
    return status;
}

int main(int count, char **words)
{
    return start(count > 1 ? words[1] : NULL) == 0 ? 0 : exit_status;
}

/* ---- actors --------------------------------------------------------------------------------- */

/* A piece of the answer: str or bytes. */
static int32_t answer_with(py_Ref value)
{
    int size = 0;
    if (py_isnone(value)) {
        return 0;
    }
    if (py_isstr(value)) {
        const char *text = py_tostrn(value, &size);
        return dw_reply(text, (uint32_t)size);
    }
    if (py_istype(value, tp_bytes)) {
        const unsigned char *data = py_tobytes(value, &size);
        return dw_reply(data, (uint32_t)size);
    }
    fprintf(stderr, "receive gave a %s: str, bytes or None is an answer\n",
            py_tpname(py_typeof(value)));
    return DW_E_ARG;
}

/* What `receive` returned, or yields piece by piece. */
static int32_t answer(py_StackRef before)
{
    py_push(py_retval());
    py_StackRef value = py_peek(-1);
    int32_t status = 0;
    if (!py_istype(value, tp_generator)) {
        status = answer_with(value);
    } else {
        int more = 1;
        while (status == 0 && (more = py_next(value)) == 1) {
            status = answer_with(py_retval());
        }
        status = more < 0 ? tell(before) : status;
    }
    py_clearexc(before);
    return status;
}

/* Calls a function of the program's, with the message where it is given. */
static int32_t call_own(const char *name, const char *message, size_t bytes)
{
    int32_t status = state != READY ? start(NULL) : 0;
    if (status != 0) {
        return status; /* the next message tries anew */
    }
    py_StackRef before = py_peek(0);
    py_ItemRef function = py_getglobal(py_name(name));
    if (function == NULL || !py_callable(function)) {
        fprintf(stderr, "the program has no function `%s`\n", name);
        return DW_E_UNSUPPORTED;
    }
    py_push(function);
    py_pushnil();
    if (message != NULL) {
        dw_python_text(py_pushtmp(), message, bytes);
    }
    return py_vectorcall(message != NULL, 0) ? answer(before) : tell(before);
}

DW_ACTOR_RECEIVE
{
    uint32_t room = 4096;
    char *text = malloc(room);
    int32_t bytes = text != NULL ? dw_input(text, room) : DW_E_MEMORY;
    while (bytes == DW_E_SPACE && room < (1U << 30)) {
        free(text);
        room *= 2;
        text = malloc(room);
        bytes = text != NULL ? dw_input(text, room) : DW_E_MEMORY;
    }
    if (bytes < 0) {
        free(text);
        return bytes;
    }
    dw_python_set_message(text, (size_t)bytes);
    int32_t status = call_own("receive", text, (size_t)bytes);
    free(text);
    return status;
}

/* Another module under the actor: driftwood_state and driftwood_upgrade are the program's `state` and
 * `upgrade`. */
DW_ACTOR_STATE
{
    return call_own("state", NULL, 0);
}

DW_ACTOR_UPGRADE
{
    return call_own("upgrade", NULL, 0);
}
