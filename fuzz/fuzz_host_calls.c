/* Every function that guests can import, called from a live guest with arguments made by the
 * fuzzer: real handles and stale ones, pointers inside, at and beyond the edge of memory, lengths
 * that wrap. The guest is made from the import tables, so that a new function is fuzzed without
 * a change here: for import k it exports "c<k>", which takes the arguments from memory.
 * A small random model is granted, so that contexts, samplers and steps are real.
 *
 * An input that begins with ACTOR is of an actor under a runtime: its turns, and those of actors
 * that it makes, ask the import "fuzz" "next" which function to call until the input ends, so that
 * what an actor may do within a turn alone is reached, and what the host makes of it afterwards.
 * With ACTOR_KEPT the runtime has a state folder. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "support.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

#define IMPORTS_MAX 160
#define NN_OFFSET 4096u /* what guests of wasi-nn hand over: nn_data */
#define ARGS_MAX 16
#define ARGS_OFFSET 65024u /* 8 bytes an argument, at the end of the first page */
#define CALLS_MAX 40
#define ACTOR 0xff           /* an input's first byte; no seed of others begins so */
#define ACTOR_KEPT 0xfe      /* likewise */
#define TURNS_MAX 4          /* of the first actor, from outside */
#define TICKET_OFFSET 65016u /* the last result of type i64: 8 bytes */
#define ACTOR_OFFSET 6144u   /* 64 bytes each: actor_data */
#define NEXT_END (-1)        /* what "next" answers beside an import: the turn ends well, */
#define NEXT_FAIL (-2)       /* with an error, */
#define NEXT_TRAP (-3)       /* with a trap */
/* libllama's SPM tokenizer is quadratic in bytes that the vocabulary lacks: 128 KiB take seconds
 * here, which would be all that the fuzzer does. */
#define TEXT_BYTES_MAX 4096
#define MEMORY_BYTES_MAX ((uint64_t)128 << 10)
#define WAT_BYTES_MAX 65536
#define RESULTS_KEPT 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct guest {
    dw_engine *engine;
    dw_model *model;
    dw_module *module;
    const dw_host_import *imports[IMPORTS_MAX];
    size_t import_count;
    size_t nn_first; /* from here to nn_end those of wasi-nn */
    size_t nn_end;
    size_t actor_first; /* likewise those of actors, and of WASI, which end the table */
    size_t wasi_first;
} guest;

typedef struct reader {
    const uint8_t *data;
    size_t left;
} reader;

static uint32_t next_byte(reader *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static uint32_t next_word(reader *in)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        word = word << 8 | next_byte(in);
    }
    return word;
}

static void die(const char *what, const dw_error *err)
{
    (void)fprintf(stderr, "fuzz_host_calls: %s: %s\n", what, err != NULL ? err->message : "");
    abort();
}

/* ---- the guest ---- */

typedef struct text {
    char bytes[WAT_BYTES_MAX];
    size_t length;
} text;

static void say(text *to, const char *format, ...) DW_PRINTF(2, 3);
static void say(text *to, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int length = vsnprintf(to->bytes + to->length, sizeof to->bytes - to->length, format, list);
    va_end(list);
    if (length < 0 || (size_t)length >= sizeof to->bytes - to->length) {
        die("the guest's text is too long", NULL);
    }
    to->length += (size_t)length;
}

static const char *type_name(char letter)
{
    switch (letter) {
    case 'i':
        return "i32";
    case 'I':
        return "i64";
    case 'f':
        return "f32";
    default:
        return "f64";
    }
}

static void move_last(guest *one, const char *name)
{
    size_t last = one->import_count - 1;
    for (size_t i = 0; i < last; i++) {
        if (strcmp(one->imports[i]->name, name) == 0) {
            const dw_host_import *moved = one->imports[i];
            memmove(&one->imports[i], &one->imports[i + 1], (last - i) * sizeof moved);
            one->imports[last] = moved;
        }
    }
}

static bool is_nn(const guest *one, size_t index)
{
    return index >= one->nn_first && index < one->nn_end;
}

static void say_import(text *to, const guest *one, size_t index)
{
    const dw_host_import *import = one->imports[index];
    const char *module = is_nn(one, index)          ? DW_NN_IMPORT_MODULE
                         : index >= one->wasi_first ? "wasi_snapshot_preview1"
                                                    : DW_IMPORT_MODULE;
    say(to, "(import \"%s\" \"%s\" (func $f%zu", module, import->name, index);
    const char *at = import->signature;
    for (; *at != ':'; at++) {
        say(to, " (param %s)", type_name(*at));
    }
    for (at++; *at != '\0'; at++) {
        say(to, " (result %s)", type_name(*at));
    }
    say(to, "))\n");
}

static size_t find_import(const guest *one, const char *name)
{
    size_t i = 0;
    while (i < one->import_count && strcmp(one->imports[i]->name, name) != 0) {
        i++;
    }
    return i;
}

/* Results of all types come back as an i32, which is what dw_instance_call takes. What is generated
 * ahead ends with its call, so that one waits for it. */
static void say_export(text *to, const guest *one, size_t index)
{
    const dw_host_import *import = one->imports[index];
    const char *colon = strchr(import->signature, ':');
    char result = colon[1];
    say(to, "(func $c%zu (export \"c%zu\") (result i32) (local $last i64)", index, index);
    const char *after = result == 'I'   ? " local.set $last (i64.store (i32.const 65016) "
                                          "(local.get $last)) (i32.wrap_i64 (local.get $last))"
                        : result == 'f' ? " i32.trunc_sat_f32_s"
                        : result == 'F' ? " i32.trunc_sat_f64_s"
                        : result == 0   ? " i32.const 0"
                                        : "";
    for (const char *at = import->signature; at < colon; at++) {
        say(to, " (%s.load offset=%zu (i32.const %u))", type_name(*at),
            (size_t)(at - import->signature) * 8, ARGS_OFFSET);
    }
    say(to, " call $f%zu%s", index, after);
    if (strcmp(import->name, "generate_begin") == 0) {
        say(to, " (drop (call $f%zu (i32.load (i32.const %u))))", find_import(one, "generate_wait"),
            ARGS_OFFSET);
    }
    size_t last = (size_t)(colon - import->signature) - 1;
    if (is_nn(one, index) &&
        (strncmp(import->name, "load_by", 7) == 0 || strncmp(import->name, "init", 4) == 0)) {
        say(to,
            " (if (result i32) (then (i32.const 0)) (else (i32.load (i32.load offset=%zu "
            "(i32.const %u)))))",
            last * 8, ARGS_OFFSET); /* the handle, which goes to memory */
    }
    say(to, ")\n");
}

/* The import that it asks, and its turn. */
static void say_receive(text *to, size_t import_count)
{
    say(to, "(table funcref (elem");
    for (size_t i = 0; i < import_count; i++) {
        say(to, " $c%zu", i);
    }
    say(to,
        " $grow))\n(type $called (func (result i32)))\n"
        "(func (export \"driftwood_receive\") (result i32) (local $which i32) (local $was i32)\n"
        "(loop $again\n"
        " (local.set $which (call $next (local.get $was)))\n"
        " (if (i32.eq (local.get $which) (i32.const %d)) (then (return (i32.const 0))))\n"
        " (if (i32.eq (local.get $which) (i32.const %d)) (then (return (i32.const %d))))\n"
        " (if (i32.eq (local.get $which) (i32.const %d)) (then unreachable))\n"
        " (local.set $was (call_indirect (type $called) (local.get $which)))\n"
        " (br $again)) unreachable)\n",
        NEXT_END, NEXT_FAIL, DW_E_STATE, NEXT_TRAP);
}

static void make_module(guest *to)
{
    static text wat;
    say(&wat, "(module\n");
    for (size_t i = 0; i < to->import_count; i++) {
        say_import(&wat, to, i);
    }
    say(&wat, "(import \"fuzz\" \"next\" (func $next (param i32) (result i32)))\n"
              "(memory (export \"memory\") 1 2)\n"
              "(func $grow (export \"grow\") (result i32) (memory.grow (i32.const 1)))\n");
    for (size_t i = 0; i < to->import_count; i++) {
        say_export(&wat, to, i);
    }
    say_receive(&wat, to->import_count);
    say(&wat, ")\n");
    wasm_byte_vec_t wasm;
    wasmtime_error_t *error = wasmtime_wat2wasm(wat.bytes, wat.length, &wasm);
    if (error != NULL) {
        die("the guest's text is wrong", NULL);
    }
    dw_error err;
    if (dw_module_create(&to->module, to->engine, wasm.data, wasm.size, &err) != DW_OK) {
        die("module", &err);
    }
    wasm_byte_vec_delete(&wasm);
}

/* For the model in the file at `path`. */
static void add_adapter(dw_model *model, const char *path)
{
    char file[] = "/tmp/fuzz_host_calls.XXXXXX";
    int fd = mkstemp(file);
    if (fd < 0) {
        die("no temporary file", NULL);
    }
    (void)close(fd);
    dw_error err;
    const tiny_adapter adapter = {.rank = 2, .seed = 1, .type = GGML_TYPE_F32};
    const dw_adapter_options options = {
        .struct_bytes = sizeof options, .name = "a", .path = file, .scale = 0.0F};
    tiny_adapter_write(file, path, &adapter);
    if (dw_model_add_adapter(model, &options, &err) != DW_OK) {
        die("adapter", &err);
    }
    (void)unlink(file);
}

static void make_model(guest *to)
{
    char path[] = "/tmp/fuzz_host_calls.XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) {
        die("no temporary file", NULL);
    }
    (void)close(fd);
    tiny_options options = tiny_defaults();
    tiny_model_write(path, &options);
    dw_error err;
    if (dw_model_open(&to->model, to->engine, path, &err) != DW_OK) {
        die("model", &err);
    }
    add_adapter(to->model, path);
    (void)unlink(path);
}

static void add_imports(guest *to, const dw_host_import *table)
{
    for (const dw_host_import *import = table; import->name != NULL; import++) {
        if (to->import_count == IMPORTS_MAX || strchr(import->signature, ':') == NULL) {
            die("more imports than there is room for", NULL);
        }
        to->imports[to->import_count++] = import;
    }
}

/* Those of WASI that do not wait. */
static const dw_host_import wasi_imports[] = {
    {"random_get", "ii:i", NULL},
    {"clock_time_get", "iIi:i", NULL},
    {"clock_res_get", "ii:i", NULL},
    {"args_get", "ii:i", NULL},
    {"args_sizes_get", "ii:i", NULL},
    {"environ_get", "ii:i", NULL},
    {"environ_sizes_get", "ii:i", NULL},
    {"fd_write", "iiii:i", NULL},
    {"fd_read", "iiii:i", NULL},
    {"fd_seek", "iIii:i", NULL},
    {"fd_close", "i:i", NULL},
    {"fd_fdstat_get", "ii:i", NULL},
    {"fd_prestat_get", "ii:i", NULL},
    {"fd_prestat_dir_name", "iii:i", NULL},
    {"path_open", "iiiiiIIii:i", NULL},
    {"sched_yield", ":i", NULL},
    {NULL, NULL, NULL},
};

static dw_status next(void *user, dw_import_call *call, const dw_value *args, dw_value *results,
                      dw_error *err);

static const guest *the_guest(void)
{
    static guest one;
    if (one.module != NULL) {
        return &one;
    }
    dw_error err;
    static const dw_import own = {.struct_bytes = sizeof own,
                                  .module = "fuzz",
                                  .name = "next",
                                  .signature = "i:i",
                                  .call = next};
    static const dw_import *const owns[] = {&own};
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = "CPU",
                                 .threads = 1,
                                 .imports = owns,
                                 .import_count = 1};
    if (dw_engine_create(&one.engine, &options, &err) != DW_OK) {
        die("engine", &err);
    }
    /* The seeds name imports by their place here: new tables go behind the others. */
    const dw_host_import *const tables[] = {
        dw_host_imports,    dw_tensor_imports,  dw_model_imports,  dw_vocab_imports,
        dw_context_imports, dw_forward_imports, dw_sampler_imports};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        add_imports(&one, tables[i]);
    }
    move_last(&one, "forward_sample");
    add_imports(&one, dw_generate_imports);
    add_imports(&one, dw_many_imports);
    add_imports(&one, dw_tool_imports);
    static const char *const later[] = {"forward_top",    "sampler_fork",       "context_rows",
                                        "context_logits", "forward_embeddings", "token_embeddings",
                                        "context_window"};
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        move_last(&one, later[i]);
    }
    add_imports(&one, dw_tree_imports);
    one.nn_first = one.import_count;
    add_imports(&one, dw_nn_imports);
    one.nn_end = one.import_count;
    add_imports(&one, dw_lora_imports);
    move_last(&one, "context_save");
    move_last(&one, "context_open");
    move_last(&one, "context_remove");
    one.nn_first -= 3; /* which were before */
    one.nn_end -= 3;
    one.actor_first = one.import_count;
    add_imports(&one, dw_actor_imports);
    one.wasi_first = one.import_count;
    add_imports(&one, wasi_imports);
    make_model(&one);
    make_module(&one);
    return &one;
}

/* ---- arguments ---- */

typedef struct session {
    dw_instance *instance;
    int32_t results[RESULTS_KEPT]; /* of earlier calls: handles, tensors, lengths, statuses */
    uint32_t result_count;
} session;

static int32_t recent(const session *in_use, uint32_t back)
{
    uint32_t count = in_use->result_count;
    uint32_t kept = count < RESULTS_KEPT ? count : RESULTS_KEPT;
    return count == 0 ? 0 : in_use->results[(count - 1 - back % kept) % RESULTS_KEPT];
}

static uint32_t next_argument(reader *in, const session *in_use)
{
    uint32_t kind = next_byte(in);
    uint32_t bytes = (uint32_t)dw_instance_memory_bytes(in_use->instance);
    switch (kind % 8) {
    case 0:
    case 1:
        return next_byte(in) % 40;
    case 2:
    case 3:
        return (uint32_t)recent(in_use, kind >> 3);
    case 4:
    case 5:
        return next_byte(in) * 64; /* where poke writes */
    case 6:
        return bytes - next_byte(in) % 65;
    default:
        return next_word(in);
    }
}

/* Something for a pointer to point at: sizes, tensor numbers, parameters, text, tokens. */
static void poke(reader *in, const session *in_use)
{
    unsigned char *memory = dw_instance_memory(in_use->instance);
    uint32_t at = next_byte(in) * 64;
    uint32_t kind = next_byte(in);
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t word = kind % 4 == 0   ? 1 + next_byte(in) % 4
                        : kind % 4 == 1 ? (uint32_t)recent(in_use, next_byte(in))
                        : kind % 4 == 2 ? next_word(in)
                                        : 0x3f000000u;
        if (kind >= 128 && i >= 4) {
            word = kind & 64 ? 0 : 1;
        }
        memcpy(memory + at + i * 4, &word, sizeof word);
    }
}

static ptrdiff_t input(void *user, char *buffer, size_t capacity)
{
    (void)user;
    static const char message[] = "a message";
    if (capacity >= sizeof message) {
        memcpy(buffer, message, sizeof message);
    }
    return (ptrdiff_t)sizeof message - 1;
}

/* As long as what was asked. */
static dw_status on_call(void *user, dw_tool_call *call, dw_error *err)
{
    (void)user;
    size_t bytes;
    const void *request = dw_tool_call_get_request(call, &bytes);
    return dw_tool_call_answer(call, request, bytes, err);
}

static size_t argument_count(const dw_host_import *import)
{
    size_t count = (size_t)(strchr(import->signature, ':') - import->signature);
    if (count > ARGS_MAX) {
        die("an import with too many arguments", NULL);
    }
    return count;
}

/* Which is called, with its arguments in memory. */
static size_t next_call(reader *in, const guest *who, const session *in_use)
{
    size_t index = next_byte(in) % who->import_count;
    unsigned char *memory = dw_instance_memory(in_use->instance);
    size_t count = argument_count(who->imports[index]);
    for (size_t i = 0; i < count; i++) {
        uint64_t argument = next_argument(in, in_use);
        bool text_length = i == 2 && strcmp(who->imports[index]->name, "tokenize") == 0;
        if (text_length && argument <= MEMORY_BYTES_MAX) {
            argument %= TEXT_BYTES_MAX;
        }
        memcpy(memory + ARGS_OFFSET + i * 8, &argument, sizeof argument);
    }
    return index;
}

static void keep_result(session *in_use, int32_t result)
{
    if (result > 0) {
        in_use->results[in_use->result_count % RESULTS_KEPT] = result;
        in_use->result_count++;
    }
}

static void one_call(reader *in, const guest *who, session *in_use)
{
    size_t index = next_call(in, who, in_use);
    char name[16];
    (void)snprintf(name, sizeof name, "c%zu", index);
    int32_t result = 0;
    dw_error err;
    dw_status status = dw_instance_call(in_use->instance, name, &result, &err);
    keep_result(in_use, status == DW_OK ? result : 0);
}

/* A name, settings, and tensors of a prompt and of settings, which pointers of the fuzzer's own
 * would seldom hit. */
static void nn_data(unsigned char *memory)
{
    static const char settings[] = "{\"n-predict\":3,\"temp\":0}";
    const uint32_t prompt[5] = {0, 0, 3, NN_OFFSET, 7};
    const uint32_t more[5] = {0, 0, 3, NN_OFFSET + 64, sizeof settings - 1};
    memcpy(memory + NN_OFFSET, "default", 7);
    memcpy(memory + NN_OFFSET + 64, settings, sizeof settings - 1);
    memcpy(memory + NN_OFFSET + 128, prompt, sizeof prompt);
    memcpy(memory + NN_OFFSET + 192, more, sizeof more);
}

static char saved[64]; /* the folder */

static void remove_folder(const char *path)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", path);
    (void)!system(command);
}

static void remove_saved(void)
{
    remove_folder(saved);
}

static dw_contexts *contexts_folder(void)
{
    static dw_contexts *contexts;
    dw_error err;
    if (contexts == NULL) {
        (void)snprintf(saved, sizeof saved, "/tmp/dw-fuzz-contexts-%ld", (long)getpid());
        if (dw_contexts_open(&contexts, saved, &err) != DW_OK || atexit(remove_saved) != 0) {
            die("contexts", &err);
        }
    }
    return contexts;
}

/* "default" is there to be read, too; few are saved. */
static void grant_contexts(dw_instance *instance)
{
    static const char *const any[] = {"*"};
    dw_contexts *contexts = contexts_folder();
    dw_error err;
    const dw_contexts_grant grant = {.struct_bytes = sizeof grant,
                                     .contexts = contexts,
                                     .reads = any,
                                     .read_count = 1,
                                     .writes = any,
                                     .write_count = 1};
    if (dw_instance_grant_contexts(instance, &grant, &err) != DW_OK) {
        die("contexts", &err);
    }
}

/* ---- an actor's turns ---- */

/* What actors do, whichever has its turn; they run on one thread, but beside the fuzzer's. */
static struct turns {
    pthread_mutex_t lock;
    reader in;
    session in_use;
    unsigned calls;
    dw_runtime *runtime;
} turns = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Whom an actor writes to: itself, what it made last, a name, a group. */
static void actor_data(unsigned char *memory, const char *id)
{
    memcpy(memory + ACTOR_OFFSET, id, DW_ACTOR_ID_CHARS);
    memcpy(memory + ACTOR_OFFSET + 128, "@friend", 7);
    memcpy(memory + ACTOR_OFFSET + 192, "#group", 6);
}

/* What the fuzzer would seldom hit: an id with its length, a ticket, room for an id. */
static void likely_arguments(reader *in, const char *name, unsigned char *memory)
{
    static const uint32_t lengths[] = {DW_ACTOR_ID_CHARS, DW_ACTOR_ID_CHARS, 7, 6};
    uint32_t choice = next_byte(in);
    uint32_t whom = choice >> 1 & 3;
    uint64_t args[6] = {ACTOR_OFFSET + 64 * whom, lengths[whom], NN_OFFSET, 7, 0, 0};
    size_t end = 2; /* of those that are set */
    if ((choice & 1) == 0) {
        return;
    }
    if (strcmp(name, "actor_spawn") == 0) {
        args[0] = args[1] = 0;
        args[4] = ACTOR_OFFSET + 64;
        args[5] = 64;
        end = 6;
    } else if (strcmp(name, "actor_fork") == 0) {
        args[2] = ACTOR_OFFSET + 64;
        args[3] = 64;
        args[1] = 16;
        end = 4;
    } else if (strcmp(name, "actor_send") == 0) {
        end = 4;
    } else if (strcmp(name, "actor_timer") == 0) {
        args[0] = choice >> 3;
        args[1] = NN_OFFSET;
        args[2] = 7;
        end = 3;
    } else if (strcmp(name, "reply_to") == 0) {
        memcpy(args, memory + TICKET_OFFSET, sizeof args[0]);
        args[1] = NN_OFFSET;
        args[2] = 7;
        args[3] = choice >> 7;
        end = 4;
    } else if (strncmp(name, "group_", 6) == 0) {
        args[0] = ACTOR_OFFSET + 193;
        args[1] = 5;
    }
    memcpy(memory + ARGS_OFFSET, args, end * sizeof args[0]);
}

static int32_t next_of_turn(const guest *who, dw_import_call *call)
{
    static const int32_t ends[] = {NEXT_END, NEXT_END, NEXT_FAIL, NEXT_TRAP};
    unsigned char *memory = dw_instance_memory(turns.in_use.instance);
    while (turns.in.left > 0 && turns.calls < CALLS_MAX) {
        uint32_t what = next_byte(&turns.in) % 16;
        turns.calls++;
        if (what < 11) {
            size_t index = next_call(&turns.in, who, &turns.in_use);
            if (index >= who->actor_first && index < who->wasi_first) {
                actor_data(memory, dw_actor_id(dw_import_call_actor(call)));
                likely_arguments(&turns.in, who->imports[index]->name, memory);
            }
            return (int32_t)index;
        }
        if (what == 15) {
            return (int32_t)who->import_count;
        }
        if (what == 14) {
            return ends[next_byte(&turns.in) % 4];
        }
        poke(&turns.in, &turns.in_use);
    }
    return NEXT_END;
}

static dw_status next(void *user, dw_import_call *call, const dw_value *args, dw_value *results,
                      dw_error *err)
{
    (void)user;
    (void)err;
    (void)pthread_mutex_lock(&turns.lock);
    turns.in_use.instance = dw_import_call_instance(call);
    keep_result(&turns.in_use, args[0].i32);
    nn_data(dw_instance_memory(turns.in_use.instance));
    results[0].i32 = next_of_turn(the_guest(), call);
    (void)pthread_mutex_unlock(&turns.lock);
    return DW_OK;
}

static ptrdiff_t drop(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

static bool goes_on(void)
{
    (void)pthread_mutex_lock(&turns.lock);
    bool more = turns.in.left > 0 && turns.calls < CALLS_MAX;
    (void)pthread_mutex_unlock(&turns.lock);
    return more;
}

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    (void)user;
    (void)name;
    (void)fingerprint;
    (void)err;
    *model = dw_model_ref(the_guest()->model);
    return DW_OK;
}

/* `path` NULL: in memory alone. */
static void run_actor(const guest *who, const dw_instance_options *instance, const char *path)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error err;
    contexts_folder();
    const dw_runtime_options options = {.struct_bytes = sizeof options,
                                        .path = path,
                                        .find_model = find_model,
                                        .contexts_path = saved,
                                        .on_stderr = drop,
                                        .worker_threads = 1};
    const dw_actor_options actor = {
        .struct_bytes = sizeof actor, .instance = instance, .message_count_max = 16};
    const dw_spawn_options spawn = {.struct_bytes = sizeof spawn,
                                    .actor = &actor,
                                    .capabilities = DW_MAY_ALL,
                                    .failures_max = 3,
                                    .name = "friend"};
    if (dw_runtime_open(&turns.runtime, who->engine, &options, &err) != DW_OK ||
        dw_runtime_spawn(turns.runtime, who->module, &spawn, id, &err) != DW_OK) {
        die("actor", &err);
    }
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "a message",
                                .message_bytes = 9,
                                .timeout_ms = 50, /* of one that is answered later */
                                .on_answer = drop};
    for (int i = 0; i < TURNS_MAX && goes_on(); i++) {
        (void)!dw_runtime_call(turns.runtime, id, &request, &err);
    }
    (void)!dw_runtime_wait(turns.runtime, 200, &err);
    dw_runtime_close(turns.runtime);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const guest *who = the_guest();
    reader in = {data, size};
    dw_instance_options options = {.struct_bytes = sizeof options,
                                   .models = &who->model,
                                   .model_count = 1,
                                   .on_input = input,
                                   .on_call = on_call,
                                   .memory_bytes_max = MEMORY_BYTES_MAX,
                                   .context_tokens_max = 64,
                                   .context_count_max = 4};
    dw_error err;
    session in_use = {0};
    if (size > 0 && data[0] >= ACTOR_KEPT) {
        char folder[] = "/tmp/dw-fuzz-actors-XXXXXX";
        turns.in = (reader){data + 1, size - 1};
        turns.in_use = in_use;
        turns.calls = 0;
        options.on_input = NULL;
        options.on_stderr = drop;
        if (data[0] == ACTOR) {
            run_actor(who, &options, NULL);
        } else if (mkdtemp(folder) != NULL) {
            run_actor(who, &options, folder);
            remove_folder(folder);
        }
        return 0;
    }
    if (dw_instance_create(&in_use.instance, who->module, &options, &err) != DW_OK) {
        die("instance", &err);
    }
    grant_contexts(in_use.instance);
    nn_data(dw_instance_memory(in_use.instance));
    for (int i = 0; i < CALLS_MAX && in.left > 0; i++) {
        uint32_t what = next_byte(&in) % 16;
        if (what < 11) {
            one_call(&in, who, &in_use);
        } else if (what < 15) {
            poke(&in, &in_use);
        } else if (what == 15) {
            int32_t result;
            (void)!dw_instance_call(in_use.instance, "grow", &result, &err);
        }
    }
    dw_instance_destroy(in_use.instance);
    return 0;
}
