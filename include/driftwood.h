/* Driftwood: WebAssembly guests beside a compute device, on the same memory.
 *
 * This header is the whole embedding API. Reading order:
 *
 *   the process   version, log, allocator, and what else a process has one of
 *   dw_limits     what guests and actors may take
 *   dw_engine     a device opened for use, and the WebAssembly runtime beside it
 *   dw_model      one GGUF file, loaded for an engine: weights, vocabulary, chat template
 *   dw_session    tokens to logits and the next token, in C, without a guest
 *   dw_module     one compiled guest
 *   dw_instance   a guest with its own linear memory, and what it was granted
 *   dw_actor      a guest that lives between messages, and can be forked and saved
 *   dw_scheduler  many guests at once, whose steps go through the device together
 *   dw_runtime    many actors at once, with mailboxes, tenants and supervision
 *   files         GGUF and snapshot files looked into without an engine
 *   dw_doctor     whether the chain from guest memory to the device is whole on this machine
 *
 * A guest's linear memory is also the device's buffer: what the guest writes is what the
 * device reads, at the same address, and the other way round.
 *
 * Ownership: `create`/`open` give the caller an object that `destroy`/`close` ends; destroying
 * NULL is fine. A module and a model are counted by the instances that use them, so they may be
 * unreferenced in any order; the engine must be destroyed last.
 * Threads: an engine, its models, its modules and a runtime may be used from several at once. An
 * instance, an actor and a session are used from one at a time, except for
 * dw_instance_cancel and dw_instance_interrupt, which any thread and any signal handler may call.
 * No object may be used while it is destroyed. A section or a function may say otherwise.
 * Callbacks are called on the thread that called Driftwood, before that call returns; those of the
 * log and the allocator on any. They return: no longjmp and no C++ exception leaves them. They may
 * call Driftwood, but for those two. The object that is at work is busy then: what would use or
 * change it answers DW_E_STATE, and to destroy it, or what it depends on, does nothing but tell the
 * log. Each callback says what else holds.
 * Stacks: a function needs at most 32 KiB of the caller's stack, whatever it is given, so that
 * threads of 64 KiB do; what is deeper runs on a stack of Driftwood's, on the same thread. A guest
 * has 1 MiB on every thread and traps beyond it.
 * Errors: every function that can fail returns a dw_status, 0 being success, and fills `err`
 * (which may be NULL) with one line that names what was wrong, the value and the limit.
 * Options: zero (NULL, false) is the default of each member: none or off, where its comment says
 * nothing else.
 * Structs: one that begins with `struct_bytes` may get further members at its end in later
 * versions. The caller sets struct_bytes to its size, for options and for what is filled in alike:
 *
 *   dw_engine_options options = {.struct_bytes = sizeof options, .threads = 2};
 *   dw_engine_stats stats = {.struct_bytes = sizeof stats};
 *
 * A program that was compiled with an older header gives shorter structs: members that it does not
 * know are zero, which is their default, or are not filled in. One with a newer header gives longer
 * ones: what the library does not know must be zero (else DW_E_UNSUPPORTED), and is filled in with
 * zeros. A struct_bytes that is not set is DW_E_ARG, and the struct is left as it was. Getters
 * without `err` can fail for this reason alone, where they name no other: they also log it, and a
 * caller who sets struct_bytes as above need not look at their status. Structs without struct_bytes
 * stay as they are.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIFTWOOD_H
#define DRIFTWOOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DW_VERSION "0.1.0"
/* major * 1,000,000 + minor * 1,000 + patch */
#define DW_VERSION_NUMBER 1000

#if defined(__GNUC__) || defined(__clang__)
#define DW_API __attribute__((visibility("default")))
#define DW_PRINTF(format_index, first_index) \
    __attribute__((format(printf, format_index, first_index)))
#define DW_MUST_CHECK __attribute__((warn_unused_result))
#else
#define DW_API
#define DW_PRINTF(format_index, first_index)
#define DW_MUST_CHECK
#endif

/* Every status there is: name, value, text, HTTP status. Guests see the same values. */
#define DW_STATUS_LIST(X)                                           \
    X(DW_OK, 0, "ok", 200)                                          \
    X(DW_E_ARG, -1, "invalid argument", 400)                        \
    X(DW_E_RANGE, -2, "outside the allowed range", 400)             \
    X(DW_E_ALIGN, -3, "misaligned", 400)                            \
    X(DW_E_HANDLE, -4, "no such handle", 400)                       \
    X(DW_E_TYPE, -5, "wrong type", 400)                             \
    X(DW_E_SHAPE, -6, "shapes do not fit", 400)                     \
    X(DW_E_OVERLAP, -7, "ranges overlap", 400)                      \
    X(DW_E_LIMIT, -8, "over the limit", 429)                        \
    X(DW_E_MEMORY, -9, "out of memory", 507)                        \
    X(DW_E_BUSY, -10, "busy", 503)                                  \
    X(DW_E_STATE, -11, "not possible in this state", 409)           \
    X(DW_E_UNSUPPORTED, -12, "not supported", 501)                  \
    X(DW_E_FORMAT, -13, "malformed", 422)                           \
    X(DW_E_NOT_FOUND, -14, "not found", 404)                        \
    X(DW_E_IO, -15, "input or output failed", 500)                  \
    X(DW_E_DEVICE, -16, "the device failed", 500)                   \
    X(DW_E_TRAP, -17, "the guest trapped", 500)                     \
    X(DW_E_NUMERIC, -18, "not a number where one is needed", 422)   \
    X(DW_E_CANCELLED, -19, "cancelled", 499)                        \
    X(DW_E_SPACE, -20, "the caller's buffer is too small", 400)     \
    X(DW_E_DENIED, -21, "not granted", 403)                         \
    X(DW_E_END, -22, "end of input", 400)

typedef enum dw_status {
#define DW_STATUS_ENUM(name, value, text, http) name = (value),
    DW_STATUS_LIST(DW_STATUS_ENUM)
#undef DW_STATUS_ENUM
} dw_status;

/* On the caller's stack; no allocation. `message` is one line without a newline. */
typedef struct dw_error {
    dw_status code;
    char message[248];
} dw_error;

/* "DW_E_ARG" and "invalid argument"; for a value outside the list, "DW_E_?" and "unknown status".
 * Static storage. Thread: any. */
DW_API const char *dw_status_name(dw_status status);
DW_API const char *dw_status_text(dw_status status);
/* 400; for a value outside the list, 500. Thread: any. */
DW_API int dw_status_http(dw_status status);
/* Fill `err` (may be NULL) with `code` and a formatted message, which is cut where it is too long,
 * and return `code`: for callbacks that return a status, and for callers' own code. Thread: any. */
DW_API dw_status dw_fail(dw_error *err, dw_status code, const char *format, ...) DW_PRINTF(3, 4);
/* Put "format: " before the message that `err` holds and return `code`: for a caller that knows
 * which thing the callee's complaint is about. Thread: any. */
DW_API dw_status dw_fail_within(dw_error *err, dw_status code, const char *format, ...)
    DW_PRINTF(3, 4);

/* ---- the process ------------------------------------------------------------------------ */

/* What a process has one of, and Driftwood sets:
 *
 *   ggml's and libllama's log callbacks   whenever devices are looked for or a vocabulary is
 *                                         loaded. Lines also go to a callback that was set before.
 *   ggml's abort callback                 at the first call of ggml that may abort, once. An abort
 *   std::terminate's handler              inside such a call becomes DW_E_DEVICE or DW_E_MEMORY;
 *                                         any other goes to the handler that was set before.
 *   a handler of SIGBUS                   ours, at the first engine, for pages of mapped files that
 *                                         were truncated (dw_engine_options.no_file_guards). Faults
 *                                         elsewhere go to the handler that was set before.
 *   handlers of SIGSEGV, SIGBUS, SIGILL   Wasmtime's, at the first engine. Faults that are not in a
 *   and SIGFPE                            guest's code go to the handlers that were set before.
 *
 * Handlers of your own are therefore set before the first call of Driftwood. One that is set later
 * takes the place of ours: then an abort of ggml ends the process, and a guest's fault does.
 * Driftwood reads no environment variables, changes no locale, prints nothing unless the log says
 * so, and never exits; only an assertion about its own state aborts, with a line on standard
 * error. */

/* DW_VERSION and DW_VERSION_NUMBER of the library that runs, where the macros are those of the
 * header that was compiled against. Static storage. Thread: any. */
DW_API const char *dw_version(void);
DW_API uint32_t dw_version_number(void);

typedef enum dw_log_level {
    DW_LOG_NONE = 0,
    DW_LOG_ERROR,
    DW_LOG_WARN,
    DW_LOG_INFO,
    DW_LOG_DEBUG,
} dw_log_level;

/* One line without a newline, until the call returns. Called on whichever thread has something to
 * tell, several at a time, in the middle of its work and with locks held: it must not call
 * Driftwood. What would wait or change something answers DW_E_STATE, and logs nothing. */
typedef void (*dw_log_fn)(void *user, dw_log_level level, const char *line);

/* Let lines of `level` and more urgent ones go to `on_line`, NULL: to standard error, each as
 * "driftwood: LEVEL: LINE". DW_LOG_NONE, as it is at the start: there are none. Diagnostics only:
 * errors are returned. Thread: any, but not while another thread is inside of Driftwood. */
DW_API void dw_log_set(dw_log_level level, dw_log_fn on_line, void *user);

/* Where Driftwood's own memory comes from. Each function gets `user` first. */
typedef struct dw_allocator {
    size_t struct_bytes;
    void *(*allocate)(void *user, size_t bytes); /* > 0, aligned as malloc's; NULL: none */
    void *(*resize)(void *user, void *block, size_t bytes); /* NULL: none; the block stands */
    void (*release)(void *user, void *block);              /* not NULL */
    void *user;
} dw_allocator;

/* Use these functions instead of malloc, realloc and free, from any thread, until the process ends.
 * It is the first call of Driftwood. They must not call it: as with the log, and what needs memory
 * there gets none. Memory that does not come this way: what is mapped (guests'
 * memories, KV logs, model files), and the own memory of ggml, libllama, Wasmtime, Jansson and the
 * C++ runtime. Errors: DW_E_STATE (something has been allocated before), DW_E_ARG. */
DW_API DW_MUST_CHECK dw_status dw_allocator_set(const dw_allocator *allocator, dw_error *err);

/* Bytes of this process's memory that are in RAM now; 0: the system does not say. Thread: any. */
DW_API size_t dw_resident_bytes(void);

/* ---- devices --------------------------------------------------------------------------- */

typedef enum dw_device_kind {
    DW_DEVICE_CPU = 0,
    DW_DEVICE_GPU = 1,
    DW_DEVICE_IGPU = 2,
    DW_DEVICE_OTHER = 3,
} dw_device_kind;

typedef struct dw_device_info {
    size_t struct_bytes;
    char name[64];         /* "CPU", "CUDA0", "Vulkan0", "Metal": what --device takes */
    char description[128]; /* the maker's words */
    char backend[32];      /* ggml's backend: "CPU", "CUDA", "Vulkan", "Metal" */
    dw_device_kind kind;
    bool unified;          /* reads host pages at full speed: weights and KV stay where they are */
    bool shares_host;      /* can take guest memory as its own buffer (link 3) */
    size_t memory_bytes;   /* 0: the backend does not say */
    size_t memory_free_bytes;
    char problem[192];     /* why it cannot be used; empty: as far as known it can */
} dw_device_info;

/* How many devices this build and machine have; at least the CPU. Thread: any. */
DW_API size_t dw_device_count(void);
/* Fill `info` for device `index` < dw_device_count(). Thread: any. Errors: DW_E_RANGE, DW_E_ARG
 * (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_device_get_info(size_t index, dw_device_info *info,
                                                  dw_error *err);
#define DW_DEVICE_NOTE_BYTES 192
/* One line -> text [capacity], cut where it is too long (DW_DEVICE_NOTE_BYTES are enough): why
 * devices that this build could use are not there (a driver that is missing or too old).
 * Thread: any. Errors: DW_E_END (nothing to report). */
DW_API DW_MUST_CHECK dw_status dw_device_note(char *text, size_t capacity, dw_error *err);

/* ---- limits ------------------------------------------------------------------------------ */

/* No limit: a value that those limits may have whose highest it is. */
#define DW_LIMIT_NONE UINT64_MAX

typedef enum dw_limit_unit {
    DW_LIMIT_BYTES,
    DW_LIMIT_COUNT,
    DW_LIMIT_MS,
    DW_LIMIT_TOKENS,
    DW_LIMIT_STEPS,
} dw_limit_unit;

/* Every limit that a guest or an actor meets: name, dw_limit_unit without its prefix, default,
 * lowest, highest, the option of the program beside `--limit NAME=VALUE` ("" where there is none),
 * what it bounds. A row makes the member of dw_limits and its name in options and files; it wants
 * the table of docs/security.md printed anew, and a guest in tests/unit/test_limits.c. A version's
 * new rows stand at the end. */
#define DW_LIMIT_LIST(X)                                                                           \
    X(memory_bytes, BYTES, UINT64_C(64) << 30, 65536, UINT64_C(1) << 50, "--memory-max",           \
      "all that a guest takes of its host: the parts below together")                              \
    X(linear_bytes, BYTES, UINT64_C(4) << 30, 65536, UINT64_C(64) << 30, "",                       \
      "linear memories together")                                                                  \
    X(tables_bytes, BYTES, UINT64_C(256) << 20, 4096, UINT64_C(4) << 30, "",                       \
      "WebAssembly tables together")                                                               \
    X(code_bytes, BYTES, UINT64_C(1) << 30, 65536, UINT64_C(16) << 30, "",                         \
      "compiled code of the module, beyond its first MiB")                                         \
    X(samplers_bytes, BYTES, UINT64_C(1) << 30, 4096, UINT64_C(64) << 30, "",                      \
      "samplers, with their grammars and masks")                                                   \
    X(texts_bytes, BYTES, UINT64_C(2) << 30, 4096, UINT64_C(64) << 30, "",                       \
      "texts, tokens and answers that the host holds while it works on them")                      \
    X(graphs_bytes, BYTES, UINT64_C(2) << 30, 4096, UINT64_C(1) << 40, "",                         \
      "tensor graphs, with what lies between their inputs and outputs")                            \
    X(kv_bytes, BYTES, UINT64_C(64) << 30, 4096, UINT64_C(1) << 50, "",                            \
      "keys and values of contexts, as far as they are filled")                                    \
    X(mail_bytes, BYTES, UINT64_C(2) << 30, 4096, UINT64_C(64) << 30, "",                          \
      "messages, timers and effects that wait in an actor")                                        \
    X(memories, COUNT, 16, 1, 16, "", "linear memories of a module")                               \
    X(tables, COUNT, 16, 1, 16, "", "tables of a module")                                          \
    X(table_elements, COUNT, 1000000, 1, 10000000, "", "elements of each table")                   \
    X(handles, COUNT, 4096, 1, 4096, "", "open handles of all kinds together")                     \
    X(contexts, COUNT, 16, 1, 4096, "", "open contexts")                                           \
    X(context_tokens, TOKENS, DW_LIMIT_NONE, 1, DW_LIMIT_NONE, "--context",                        \
      "tokens of each context, which never holds more than its model's own length")                \
    X(graphs, COUNT, 256, 1, 4096, "", "open tensor graphs")                                       \
    X(graph_scratch_bytes, BYTES, UINT64_C(1) << 30, 4096, UINT64_C(64) << 30, "",                 \
      "what lies between inputs and outputs of all tensor graphs together")                        \
    X(grammar_bytes, BYTES, UINT64_C(1) << 20, 64, UINT64_C(1) << 20, "",                          \
      "text of a grammar or of a JSON Schema")                                                     \
    X(text_bytes, BYTES, UINT64_C(16) << 20, 1024, UINT64_C(16) << 20, "",                         \
      "one text that is tokenised")                                                                \
    X(chat_bytes, BYTES, UINT64_C(16) << 20, 1024, UINT64_C(16) << 20, "",                         \
      "request of a chat")                                                                         \
    X(timeout_ms, MS, DW_LIMIT_NONE, 1, DW_LIMIT_NONE, "--timeout",                                \
      "time of one run or call, by the monotonic clock")                                           \
    X(cpu_timeout_ms, MS, DW_LIMIT_NONE, 1, DW_LIMIT_NONE, "--cpu-time",                           \
      "processor time of one run or call, of the thread that runs the guest")                      \
    X(messages, COUNT, 1024, 1, 1000000, "", "messages that wait in an actor")                     \
    X(message_bytes, BYTES, UINT64_C(1) << 20, 1, UINT32_MAX, "", "one message to an actor")       \
    X(timers, COUNT, 256, 1, 1000000, "", "timers that an actor has set")                          \
    X(timer_ms, MS, UINT64_C(31622400000), 1, UINT64_C(31622400000), "",                           \
      "how far ahead a timer may be set")                                                          \
    X(effects, COUNT, 256, 1, 1000000, "",                                                         \
      "messages, spawns and forks that an actor asks for while it works on one message")           \
    X(attempts, COUNT, 3, 1, 1000000, "",                                                          \
      "tries of a message in a state folder before it is set aside")                               \
    X(message_timeout_ms, MS, 600000, 1, DW_LIMIT_NONE, "",                                        \
      "time of an actor's work on one message, beside timeout_ms")                                 \
    X(fuel, STEPS, DW_LIMIT_NONE, 1, DW_LIMIT_NONE, "--fuel",                                      \
      "instructions of one run or call; the same on every machine")                                \
    X(mail, COUNT, 16384, 1, 1000000, "",                                                          \
      "messages that wait for an actor in a state folder, or were set aside")                      \
    X(spawns, COUNT, 64, 1, 1000000, "",                                                           \
      "spawns and forks that an actor asks for while it works on one message")                     \
    X(caused_messages, COUNT, 4096, 1, 1000000000, "",                                             \
      "messages between actors that come of one from outside")                                     \
    X(descendants, COUNT, 1024, 1, 10000000, "",                                                   \
      "actors that descend from one that was made from outside")                                   \
    X(generations, COUNT, 256, 1, 256, "",                                                         \
      "generations of actors behind one that was made from outside")                               \
    X(actors, COUNT, 65536, 1, 10000000, "", "actors in a state folder")                           \
    X(folder_bytes, BYTES, UINT64_C(128) << 30, 65536, UINT64_C(1) << 60, "",                      \
      "files of a state folder")                                                                   \
    X(grammar_steps, STEPS, UINT64_C(2621440), 1000, UINT64_C(67108864), "",                       \
      "steps that a grammar takes to find what may come next, of about 15 ns")                     \
    X(files, COUNT, 256, 1, 65536, "",                                                             \
      "files and folders that a guest has open, beside those it was granted")                      \
    X(module_bytes, BYTES, UINT64_C(128) << 20, 64, UINT64_C(128) << 20, "",                       \
      "a module, as it is given")                                                                  \
    X(module_types, COUNT, 10000, 1, 10000, "", "types of a module")                               \
    X(module_imports, COUNT, 10000, 1, 10000, "", "imports of a module")                           \
    X(module_functions, COUNT, 100000, 1, 100000, "",                                              \
      "functions of a module, without those that it imports")                                      \
    X(module_globals, COUNT, 100000, 1, 100000, "", "global variables of a module")                \
    X(module_exports, COUNT, 100000, 1, 100000, "", "exports of a module")                         \
    X(module_segments, COUNT, 100000, 1, 100000, "",                                               \
      "segments of data in a module, and as many of elements")                                     \
    X(function_bytes, BYTES, UINT64_C(2) << 20, 64, UINT64_C(2) << 20, "",                         \
      "code of a function of a module")                                                            \
    X(function_locals, COUNT, 50000, 1, 50000, "", "local variables of a function of a module")    \
    X(function_compile_ms, MS, 8000, 1, 8000, "",                                                  \
      "time of a core that compiling a function takes, as it is counted beforehand")               \
    X(compile_ms, MS, 180000, 1, 180000, "",                                                       \
      "the same of all functions of a module")                                                     \
    X(compile_excess_ms, MS, 20000, 1, 20000, "",                                                  \
      "what of that is beyond 1.5 times what code of their length takes")                          \
    X(prefix_bytes, BYTES, UINT64_C(4) << 30, 65536, UINT64_C(1) << 60, "",                        \
      "files of beginnings of prompts that a runtime keeps")                                       \
    X(upgrade_bytes, BYTES, UINT64_C(256) << 20, 64, UINT64_C(4) << 30, "",                        \
      "what an actor's module hands over to the one that takes its place")                         \
    X(groups, COUNT, 64, 1, 4096, "", "groups that an actor is in")                                \
    X(group_members, COUNT, 1024, 1, 1000000, "", "actors in a group")                             \
    X(clock_ns, COUNT, 1, 1, UINT64_C(1000000000), "",                                             \
      "nanoseconds by which a guest's clocks go on: more is less, of two the coarser counts")     \
    X(device_kv_bytes, BYTES, DW_LIMIT_NONE, 65536, DW_LIMIT_NONE, "--kv-memory",                  \
      "keys and values of all contexts on a device, pages that are shared once")                   \
    X(answer_bytes, BYTES, UINT64_C(1) << 30, 1, DW_LIMIT_NONE, "",                                \
      "what an actor answers and prints while it works on one message")                            \
    X(actor_bytes, BYTES, UINT64_C(128) << 30, 65536, UINT64_C(1) << 60, "",                       \
      "files of an actor in a state folder")                                                       \
    X(tickets, COUNT, 256, 1, 65536, "", "messages that an actor is still to answer")              \
    X(ticket_ms, MS, 86400000, 1, UINT64_C(31622400000), "",                                       \
      "how long it may take for that")                                                             \
    X(unread_bytes, BYTES, UINT64_C(64) << 20, 4096, UINT64_C(64) << 30, "",                       \
      "of an actor's answers by tickets, what was not taken yet; of one that is longer a piece")   \
    X(watches, COUNT, 256, 1, 65536, "",                                                           \
      "actors that an actor watches, and actors that watch one")                                   \
    X(saved_contexts, COUNT, 256, 1, 65536, "", "contexts that a tenant has saved under names")    \
    X(saved_context_bytes, BYTES, UINT64_C(16) << 30, 65536, UINT64_C(1) << 60, "",                \
      "files of contexts that a tenant has saved under names")                                     \
    X(adapter_sets, COUNT, 8, 1, 256, "",                                                          \
      "sets of adapters, with their scales, that a guest's contexts have together")                \
    X(tenant_unread_bytes, BYTES, UINT64_C(256) << 20, 4096, UINT64_C(1) << 40, "",                \
      "of all answers by tickets of a tenant's actors, what was not taken yet, as unread_bytes")   \
    X(all_unread_bytes, BYTES, UINT64_C(1) << 30, 4096, UINT64_C(1) << 40, "",                     \
      "of all actors of a runtime, likewise; a tenant has its share of it by its weight")          \
    X(parked_kv_bytes, BYTES, UINT64_C(16) << 30, 1, DW_LIMIT_NONE, "",                            \
      "keys and values of actors out of memory that stay on a device while nobody wants the room")

/* What a guest may take, in the units of DW_LIMIT_LIST. 0: the default. */
typedef struct dw_limits {
    size_t struct_bytes;
#define DW_LIMIT_MEMBER(name, unit, usual, lowest, highest, option, what) uint64_t name;
    DW_LIMIT_LIST(DW_LIMIT_MEMBER)
#undef DW_LIMIT_MEMBER
} dw_limits;

/* Texts are static. */
typedef struct dw_limit_info {
    size_t struct_bytes;
    const char *name;
    dw_limit_unit unit;
    uint64_t usual;     /* the default; DW_LIMIT_NONE: there is none */
    uint64_t lowest;
    uint64_t highest;   /* DW_LIMIT_NONE: it may be "none" */
    const char *option; /* of the program, beside --limit; "" */
    const char *what;   /* it bounds */
} dw_limit_info;

DW_API size_t dw_limit_count(void);
/* Row `index` < dw_limit_count(). Thread: any. Errors: DW_E_RANGE, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_limit_get_info(size_t index, dw_limit_info *info, dw_error *err);
/* "bytes", "count", "ms", "tokens", "steps"; "?" for other values. Static. */
DW_API const char *dw_limit_unit_name(dw_limit_unit unit);
#define DW_LIMIT_TEXT_BYTES 32
/* A value as dw_limits_set takes it, in the largest unit that tells it wholly: "64K", "30s",
 * "none". */
DW_API void dw_limit_format(dw_limit_unit unit, uint64_t value, char text[DW_LIMIT_TEXT_BYTES]);

/* Set the limit `name` from text: a whole number, of bytes with K, M, G or T behind it if wanted,
 * of time with ms, s, m, h or d (without: ms), or "none". `limits` has its struct_bytes set.
 * Errors, each with name, value and what is allowed: DW_E_NOT_FOUND (no limit of this name),
 * DW_E_ARG (no such number), DW_E_RANGE; `limits` is as it was. */
DW_API DW_MUST_CHECK dw_status dw_limits_set(dw_limits *limits, const char *name, const char *text,
                                             dw_error *err);
/* Set limits from a manifest: `json` [bytes] is one JSON object of names to values, whole numbers
 * in the limit's unit or texts as above. Errors: those of dw_limits_set, DW_E_FORMAT (what is not
 * JSON, where; a value of another type; a name twice), DW_E_LIMIT (over 1 MiB), DW_E_MEMORY;
 * `limits` is as it was. */
DW_API DW_MUST_CHECK dw_status dw_limits_read(dw_limits *limits, const char *json, size_t bytes,
                                              dw_error *err);

/* ---- engine ---------------------------------------------------------------------------- */

typedef struct dw_engine dw_engine;
typedef struct dw_import dw_import; /* below: a function for guests */

typedef struct dw_engine_options {
    size_t struct_bytes;
    const char *device;  /* a name from dw_device_get_info; NULL: the first usable GPU that can
                            share host memory, else the CPU */
    int threads;         /* CPU threads for device work; 0: the machine's real cores */
    bool stage_memory;   /* copy guest memory to the device and back, even where it is shared: to
                            compare with */
    /* Of memory for all contexts on the device, its own or, where they lie in host pages, the
     * host's; 0: limits->device_kv_bytes. */
    uint64_t kv_bytes_max;
    /* Functions that guests may import beside those of module "driftwood" and of WASI; copied, with
     * their texts. */
    const dw_import *const *imports; /* [import_count] */
    size_t import_count;
    /* Install no handler of SIGBUS of ours: a mapped file that is truncated then ends the process.
     * Of the first engine only: the handler stays as long as the process. */
    bool no_file_guards;
    /* Count guests' instructions, for the limit `fuel`: code is compiled for it, and runs some 5 to
     * 30 % slower. Without it a guest with such a limit is refused. */
    bool counts_fuel;
    /* Keys and values of prompts' beginnings, kept for contexts that begin alike
     * (dw_instance_share_prefixes); 0: 1 GiB. */
    uint64_t prefix_bytes_max;
    /* For what it compiles: those of module_bytes to compile_excess_ms; and device_kv_bytes and
     * parked_kv_bytes. The others are of instances. Borrowed for the call; NULL: the defaults. */
    const dw_limits *limits;
    /* A folder where compiled modules are kept for later processes, made where it is missing; NULL:
     * none. It must be its user's alone (DW_E_DENIED), and is refused to guests as a folder that
     * they may write, as are those above it and in it. Copied. */
    const char *module_cache;
    uint64_t module_cache_bytes_max; /* what was not used for longest goes; 0: 512 MiB */
    bool traces_calls; /* for dw_instance_options.on_trace; each call of a guest takes longer */
    bool perf_map;     /* compiled functions are named in /tmp/perf-PID.map, for perf(1) */
    /* Guests' logits and tensors must begin at a multiple of 64 bytes, as some devices want it. */
    bool strict_align;
} dw_engine_options;

/* `options` may be NULL. Errors: DW_E_NOT_FOUND (no such device; the message lists those there
 * are), DW_E_ARG (threads; imports: which, and why), DW_E_RANGE (limits), DW_E_DEVICE, DW_E_MEMORY,
 * DW_E_LIMIT. */
DW_API DW_MUST_CHECK dw_status dw_engine_create(dw_engine **out, const dw_engine_options *options,
                                                dw_error *err);
/* Everything that was made with it must be gone: models, modules, instances, actors, sessions,
 * schedulers and runtimes. While models or guests are there it stays, and the log says so. */
DW_API void dw_engine_destroy(dw_engine *engine);
/* The device it uses. Thread: any. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_engine_get_device_info(const dw_engine *engine, dw_device_info *info);

/* What uses the device in this engine, now. Bytes of its own memory unless said otherwise. */
typedef struct dw_engine_stats {
    size_t struct_bytes;
    uint64_t memory_bytes;         /* it has; 0: it does not say */
    uint64_t memory_free_bytes;    /* whoever uses the rest, other processes too */
    uint64_t models;
    uint64_t weights_bytes;
    uint64_t weights_mapped_bytes; /* of files, read where they are mapped */
    uint64_t contexts;
    uint64_t kv_bytes;             /* with what is kept ready: dw_kv_stats.ready_bytes */
    uint64_t kv_host_bytes;        /* in host pages; those that contexts share count once */
    uint64_t work_bytes;           /* between graphs' inputs and outputs */
    uint64_t view_bytes;           /* for guest memory that the device could not be given */
    uint64_t registered_bytes;     /* of host memory, locked for the device */
    uint64_t staged_bytes;         /* so far: copied to and from view_bytes */
    uint64_t modules_compiled;     /* so far */
    uint64_t modules_found;        /* so far: compiled before, in the module cache */
    uint64_t kv_mapped_bytes;      /* of snapshots and prefixes, read where they are mapped */
    uint64_t matrices;             /* of models, on CUDA devices; the others are ggml's */
    uint64_t matrices_served;      /* of those: by kernels of ours in steps of few tokens */
    uint64_t repacked_bytes;       /* of weights_bytes: a second form for these kernels */
    uint64_t matrices_wide;        /* of matrices: in steps of many by cuBLAS, as nodes of ours */
    uint64_t expert_matrices;      /* of matrices: one for all of a layer's experts */
    uint64_t expert_matrices_served; /* of these: in matrices_served */
} dw_engine_stats;
/* Thread: any. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_engine_get_stats(dw_engine *engine, dw_engine_stats *stats);

/* What contexts have of the memory of a device that has its own (CUDA), or of the host's pages
 * where the device computes on these (the CPU). Where the device's own is short, contexts that are
 * not in use are evicted to host memory, the least recently used first, and restored when they are
 * used. Where host pages are, prefixes are forgotten, a runtime's actors that rest are parked, and
 * who finds no room is refused (DW_E_MEMORY). Counts are of all since the engine was made. */
typedef struct dw_kv_stats {
    size_t struct_bytes;
    uint64_t limit_bytes;     /* of device_bytes, or of pages_bytes; 0: as much as there is */
    uint64_t device_bytes;    /* had of the device now, what is kept ready with it */
    uint64_t ready_bytes;     /* no context's, kept for the next */
    uint64_t host_bytes;      /* of host memory, for what was evicted */
    uint64_t context_count;
    uint64_t resident_count;  /* of them, those that are on the device with all they hold */
    uint64_t eviction_count;  /* of contexts */
    uint64_t evicted_bytes;   /* that crossed the bus for it */
    uint64_t restore_count;
    uint64_t restored_bytes;
    uint64_t growth_count;    /* allocations that contexts grew by */
    uint64_t wait_count;      /* of these, those that a step had to wait for */
    uint64_t copied_bytes;    /* within the device, for forks and for rewriting what is shared */
    uint64_t pages_bytes;     /* of host pages that the device computes on, each once */
    uint64_t mapped_bytes;    /* of files, beside these: the system may drop their pages */
    /* Of device_bytes what is kept of actors that have left memory (parked_kv_bytes), of each all
     * that it has, and of how many contexts; how many of these came back, and were given up for
     * others or for the limit. */
    uint64_t kept_bytes;
    uint64_t kept_count;
    uint64_t kept_found_count;
    uint64_t kept_lost_count;
} dw_kv_stats;

/* Thread: any. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_engine_get_kv_stats(const dw_engine *engine, dw_kv_stats *stats);
/* All contexts on the device may have `bytes` from here on (0: the default of device_kv_bytes);
 * what they have already stays. Thread: any. Errors: DW_E_MEMORY, DW_E_DEVICE. */
DW_API DW_MUST_CHECK dw_status dw_engine_set_kv_limit(dw_engine *engine, uint64_t bytes,
                                                      dw_error *err);

/* Beginnings of prompts that are kept. Counts are of all since the engine was made. */
typedef struct dw_prefix_stats {
    size_t struct_bytes;
    uint64_t bytes;      /* of keys and values that are kept; what prefixes have in common once */
    uint64_t limit_bytes;
    uint64_t prefixes;
    uint64_t lookups;    /* prompts long enough to be looked for */
    uint64_t hits;
    uint64_t hit_tokens; /* of prompts, that were not computed */
    uint64_t evictions;  /* of prefixes, those not used for longest first */
} dw_prefix_stats;
/* Thread: any. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_engine_get_prefix_stats(dw_engine *engine, dw_prefix_stats *stats);
/* ---- models ---------------------------------------------------------------------------- */

typedef struct dw_model dw_model;

typedef struct dw_model_info {
    size_t struct_bytes;
    const char *name;          /* general.name, else the file's; until the model goes */
    const char *architecture;  /* "llama" */
    uint64_t parameter_count;
    uint64_t weights_bytes;
    uint32_t vocab_count;
    uint32_t layer_count;
    uint32_t embedding_length;
    uint32_t context_length;      /* tokens the model was trained for */
    uint64_t kv_bytes_per_token;  /* 0: an encoder */
    bool weights_mapped;       /* the device reads the mapped file; false: they were uploaded */
    bool encoder;              /* gives embeddings of texts, and has no contexts (BERT) */
    uint32_t head_count;
    uint32_t kv_head_count;
    uint32_t head_length;      /* numbers in one head's key */
    uint32_t window;           /* tokens that sliding-window layers look back; 0: no such layers */
    uint32_t expert_count;     /* of each layer; 0: not a mixture of experts */
    uint32_t expert_used_count;
} dw_model_info;

/* Load the GGUF file at `path` for `engine`: maps it read-only, checks every range in it, and
 * uploads the weights only where the device is discrete. The file must not be changed while the
 * model is in use; it may be removed. Thread: any.
 * Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_FORMAT (damaged file: what and where),
 * DW_E_UNSUPPORTED (an architecture, tensor type or tokenizer outside the table), DW_E_MEMORY
 * (the device has too little for the weights: how much is missing, and what would fit). */
DW_API DW_MUST_CHECK dw_status dw_model_open(dw_model **out, dw_engine *engine, const char *path,
                                             dw_error *err);

typedef struct dw_model_options {
    size_t struct_bytes;
    /* While weights are uploaded, on the opening thread: `done` of `total` bytes are there, from 0
     * on. false: give up. May be NULL. It may use the engine and its other models. */
    bool (*on_upload)(void *user, uint64_t done, uint64_t total);
    void *user;
    /* A folder of Driftwood's in which fingerprints are kept from one process to the next, by the
     * files' device, inode, size and times; made where it is missing. One that cannot be written to
     * is read only. NULL: none is kept. Copied. */
    const char *fingerprint_folder;
    bool begin_fingerprint; /* once it is loaded, in the background */
    /* While a caller waits for the fingerprint, on its thread: false: give up. May be NULL. It may
     * use the model; to ask for its fingerprint is DW_E_STATE there. */
    bool (*on_fingerprint)(void *user, uint64_t done, uint64_t total);
    void *fingerprint_user;
    /* A chat template in place of the file's: its text in Jinja, or the name of another one in the
     * file (tokenizer.chat_template.NAME) or of one of dw_chat_template_name's. NULL: the file's
     * own. */
    const char *chat_template;
    /* Load the vocabulary when a guest is made that imports functions of it, or who first asks for
     * it waits; not beside the weights: for those who may end before. */
    bool vocab_when_used;
} dw_model_options;

/* The same with options, which may be NULL. Errors: also DW_E_CANCELLED (on_upload), DW_E_ARG;
 * DW_E_UNSUPPORTED (chat_template: an unknown name), DW_E_FORMAT (chat_template: line, column). */
DW_API DW_MUST_CHECK dw_status dw_model_open_with(dw_model **out, dw_engine *engine,
                                                  const char *path,
                                                  const dw_model_options *options, dw_error *err);
/* The same from an open descriptor of a regular file, which stays the caller's and may be closed
 * afterwards. The file is opened again through it, read-only, so the process must still be allowed
 * to; where the descriptor stands in the file does not matter, nor does it move. Messages call it
 * `name`, which is also the model's where the file has none. Errors: also DW_E_ARG (`fd` is not
 * open), DW_E_IO (not a regular file), DW_E_UNSUPPORTED (a model in several parts). */
DW_API DW_MUST_CHECK dw_status dw_model_open_fd(dw_model **out, dw_engine *engine, int fd,
                                                const char *name, const dw_model_options *options,
                                                dw_error *err);
/* Count one more user; returns `model`. Thread: any. */
DW_API dw_model *dw_model_ref(dw_model *model);
/* One less; the last one's call destroys it. NULL is fine. Thread: any. */
DW_API void dw_model_unref(dw_model *model);
/* Forget kept beginnings of prompts (dw_prefix_stats), but for pinned ones, of a model, or NULL: of
 * all. A model stays in memory while any of its is kept. What a runtime has in files
 * (prefix_path) stays there. Thread: any. */
DW_API void dw_engine_forget_prefixes(dw_engine *engine, const dw_model *model);
/* Thread: any. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_model_get_info(const dw_model *model, dw_model_info *info);

#define DW_FINGERPRINT_BYTES 72 /* "gguf2:", 64 hexadecimal digits, a NUL, room */
/* Which model it is: a hash of all that decides its results (docs/models.md), the same for every
 * file of the same model. Computed once, by a thread that yields to others, from when the first
 * actor is granted the model or dw_model_options says so; this call waits for it and takes part.
 * Where the files were changed since, it is computed anew. With adapters that new contexts begin
 * with it is another one: of all of these together.
 * Errors: DW_E_MEMORY, DW_E_IO (the files; also cut short), DW_E_CANCELLED (on_fingerprint).
 * Thread: any. Blocks. */
DW_API DW_MUST_CHECK dw_status dw_model_fingerprint(dw_model *model,
                                                    char text[DW_FINGERPRINT_BYTES],
                                                    dw_error *err);

/* Whether the model is the one of a fingerprint: a present one, or one of snapshots of version 1,
 * "gguf1:", which samples 12 KiB of each tensor only. Waits for the whole hash only where the two
 * could be equal. Errors: as dw_model_fingerprint. Thread: any. Blocks. */
DW_API DW_MUST_CHECK dw_status dw_model_matches(dw_model *model, const char *fingerprint,
                                                bool *matches, dw_error *err);

/* ---- adapters: LoRA from GGUF files, docs/models.md#adapters ---- */

typedef struct dw_adapter_options {
    size_t struct_bytes;
    /* By which guests and people know it: at most 200 characters of ASCII that are no blanks, which
     * no other of the model's has. */
    const char *name;
    const char *path; /* a GGUF file as convert_lora_to_gguf.py writes it */
    /* With which contexts begin that nobody chooses adapters for, from -1000 to 1000, usually 1; 0:
     * without it. */
    float scale;
    const char *fingerprint_folder; /* as dw_model_options'; NULL: none */
} dw_adapter_options;

/* Load an adapter for the model, which has it until it goes. Contexts that are there stay as they
 * are. The file is read, and not needed afterwards. `options` is copied.
 * Errors, each with the file: DW_E_NOT_FOUND, DW_E_IO, DW_E_FORMAT (a key or tensor missing, or
 * with what cannot be), DW_E_UNSUPPORTED (another kind of adapter or architecture, a tensor that
 * the model lacks or that is none that adapters change), DW_E_NUMERIC (not finite),
 * DW_E_ARG (name, scale; the same adapter twice), DW_E_LIMIT (64 adapters, rank 4,096, name),
 * DW_E_MEMORY, DW_E_DEVICE. Thread: any. */
DW_API DW_MUST_CHECK dw_status dw_model_add_adapter(dw_model *model,
                                                    const dw_adapter_options *options,
                                                    dw_error *err);

typedef struct dw_adapter_info {
    size_t struct_bytes;
    const char *name;        /* as the next, until the model goes */
    const char *fingerprint; /* of its keys and tensors, as dw_model_fingerprint's */
    float scale;             /* of contexts that nobody chooses adapters for */
    float alpha;             /* adapter.lora.alpha */
    uint32_t rank;           /* the largest of its pairs' */
    uint64_t pair_count;     /* matrices that it changes */
    uint64_t bytes;          /* of the device's memory */
    const char *path;        /* of its file when it was loaded, as the name */
} dw_adapter_info;

/* Thread: any. */
DW_API size_t dw_model_adapter_count(const dw_model *model);
/* Adapter `index` below that, in the order in which they were added. Thread: any. Errors:
 * DW_E_RANGE, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_model_get_adapter(const dw_model *model, size_t index,
                                                    dw_adapter_info *info, dw_error *err);

/* What a fingerprint cost. */
typedef struct dw_fingerprint_stats {
    size_t struct_bytes;
    bool known;          /* it is computed */
    bool kept;           /* it was read from the folder of fingerprints, and nothing was hashed */
    uint64_t bytes;      /* of tensors, all together */
    uint64_t hashed_bytes;
    uint64_t hash_ns;    /* from the first thread's start until it was known */
    uint64_t wait_ns;    /* that callers waited for it */
    uint32_t threads;    /* at most so many at a time */
} dw_fingerprint_stats;

/* Does not wait. Thread: any. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_model_get_fingerprint_stats(dw_model *model, dw_fingerprint_stats *stats);

/* ---- text ------------------------------------------------------------------------------ */

/* Room of the caller's: items [capacity]; the function sets `count` to how many there are, also
 * where it returns DW_E_SPACE because they do not fit. Text has no NUL behind it. */
typedef struct dw_token_room {
    int32_t *items;
    size_t capacity;
    size_t count;
} dw_token_room;
typedef struct dw_text_room {
    char *items;
    size_t capacity;
    size_t count;
} dw_text_room;

typedef struct dw_vocab_info {
    size_t struct_bytes;
    uint32_t token_count;
    int32_t bos_token; /* -1: none, so for all of these */
    int32_t eos_token;
    int32_t eot_token;
    int32_t newline_token;
    bool adds_bos;     /* dw_model_tokenize with DW_TOKENIZE_SPECIAL puts it in front */
    const char *chat_template; /* the model's own; NULL: none; until the model goes */
} dw_vocab_info;

typedef struct dw_chat_message {
    const char *role; /* "system", "user", "assistant" or "tool" */
    const char *content;
} dw_chat_message;

/* The guests' header has the same values. */
/* Add what the model wants in front (BOS), and behind where texts are whole: an encoder's SEP, the
 * EOS of a model for embeddings. Nothing goes behind a prompt, which the model is to continue. */
#define DW_TOKENIZE_SPECIAL 1
#define DW_TOKENIZE_PARSE 2     /* text such as <|im_start|> stands for its special token */
#define DW_DETOKENIZE_SPECIAL 1 /* show special tokens as text */

/* A model's vocabulary may still be on its way when dw_model_open returns; these wait for it.
 * Thread: any. Errors of all: DW_E_UNSUPPORTED (a file without a vocabulary), DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_model_get_vocab_info(const dw_model *model, dw_vocab_info *info,
                                                       dw_error *err);
/* text [bytes] -> tokens. `flags`: DW_TOKENIZE_*; the text of a chat template is to be parsed, what
 * users wrote is not. Bytes that are not UTF-8 count as U+FFFD.
 * Errors: DW_E_SPACE, DW_E_LIMIT (over 16 MiB). */
DW_API DW_MUST_CHECK dw_status dw_model_tokenize(const dw_model *model, const char *text,
                                                 size_t bytes, uint32_t flags,
                                                 dw_token_room *tokens, dw_error *err);
/* tokens [count] -> text. `flags`: DW_DETOKENIZE_*. A token may be part of a UTF-8 character.
 * Errors: DW_E_SPACE, DW_E_RANGE (a token outside the vocabulary). */
DW_API DW_MUST_CHECK dw_status dw_model_detokenize(const dw_model *model, const int32_t *tokens,
                                                   size_t count, uint32_t flags,
                                                   dw_text_room *text, dw_error *err);
/* messages [count] -> the text that the model was trained to read; `open_answer`: it ends with the
 * opening of the assistant's turn. Tokenised as one text, what messages spell like control tokens
 * becomes those: dw_chat_prompt_tokens keeps it text. Errors: those of dw_chat_render, DW_E_SPACE,
 * DW_E_ARG (another role), DW_E_LIMIT (4,096 messages, 16 MiB). */
DW_API DW_MUST_CHECK dw_status dw_model_apply_template(const dw_model *model,
                                                       const dw_chat_message *messages,
                                                       size_t count, bool open_answer,
                                                       dw_text_room *text, dw_error *err);
/* Whether generation ends at `token`; false for one outside the vocabulary. */
DW_API bool dw_model_is_end(const dw_model *model, int32_t token);

/* ---- chats ------------------------------------------------------------------------------ */

/* A request is JSON text, an object with OpenAI's names:
 *   messages (required): objects with role, content (text, a list of {"type": "text", "text"}, or
 *     null), and name, tool_calls, tool_call_id, reasoning_content and what else the model's
 *     template knows
 *   tools, tool_choice, parallel_tool_calls, response_format
 *   add_generation_prompt (true), continue_final_message (false: the last message goes on)
 *   enable_thinking, reasoning_effort, documents, chat_template_kwargs: variables of the template
 *   now: seconds since 1970 that the template takes for now; an actor that keeps it in its memory
 *     renders the same tomorrow
 * Others are refused. The model's own chat template is executed, with what Hugging Face's library
 * gives to templates; its time and memory are bounded. */

/* A request as the model reads it. Immutable. Thread: any. */
typedef struct dw_chat_prompt dw_chat_prompt;

/* `seconds` since 1970: what the template takes for now. A prompt counts the model.
 * Errors: DW_E_UNSUPPORTED (no template), DW_E_FORMAT (the template: line, column and why),
 * DW_E_ARG (the request: place and value; or what the template says to it, line and column),
 * DW_E_LIMIT, DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_chat_render(dw_chat_prompt **out, dw_model *model,
                                              const char *request, size_t bytes, int64_t seconds,
                                              dw_error *err);
DW_API void dw_chat_prompt_destroy(dw_chat_prompt *prompt);
/* [*bytes], with a NUL behind; until the prompt goes. */
DW_API const char *dw_chat_prompt_text(const dw_chat_prompt *prompt, size_t *bytes);
/* The text consists of pieces in order, of the template and of messages in turn: piece `index` has
 * *bytes, and comes from a message or a tool where *is_content. false: there are fewer. */
DW_API bool dw_chat_prompt_piece(const dw_chat_prompt *prompt, size_t index, size_t *bytes,
                                 bool *is_content);
/* The tokens of the text from byte `skip` on, which begins a character: of what follows a part that
 * a context holds already, or with 0 of it all, with BOS in front exactly once where the model
 * wants it. Control tokens are recognised in the template's pieces alone.
 * Errors: DW_E_SPACE, DW_E_ARG (skip), DW_E_LIMIT, DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_chat_prompt_tokens(const dw_chat_prompt *prompt, size_t skip,
                                                     dw_token_room *tokens, dw_error *err);

/* How a model's answers to a request are written, and one answer that is being read. Texts that it
 * returns are JSON, borrowed until the next call with the same answer. Thread: one at a time. */
typedef struct dw_chat_answer dw_chat_answer;

/* The request's tools and settings count, not its messages. Errors: as dw_chat_render. */
DW_API DW_MUST_CHECK dw_status dw_chat_answer_create(dw_chat_answer **out, dw_model *model,
                                                     const char *request, size_t bytes,
                                                     dw_error *err);
DW_API void dw_chat_answer_destroy(dw_chat_answer *answer);
/* More of the model's text, special tokens with their texts (DW_DETOKENIZE_SPECIAL). *delta: what
 * is new, {"content"?, "reasoning_content"?, "tool_calls"?: [{"index", "id", "type", "function":
 * {"name", "arguments"}}]}; NULL: nothing is. What a delta said stands: joined, they are the
 * message. A tool call comes when it is whole. Errors: DW_E_LIMIT (4 MiB), DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_chat_answer_feed(dw_chat_answer *answer, const char *text,
                                                   size_t bytes, const char **delta,
                                                   dw_error *err);
/* The text has ended. *delta: the last one, or NULL. *message: the whole, {"role", "content",
 * "reasoning_content"?, "tool_calls"?, "note"?}; with a note where the text does not follow the
 * model's format, and what could not be read is in the content. Errors: DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_chat_answer_finish(dw_chat_answer *answer, const char **delta,
                                                     const char **message, dw_error *err);

typedef struct dw_chat_info {
    size_t struct_bytes;
    const char *name;           /* of the kind of format */
    const char *thinking_begin; /* "": the model does not think aloud */
    const char *thinking_end;
    const char *const *stops; /* [stop_count]: texts that end an answer, besides the end tokens */
    size_t stop_count;
    const char *generation_prompt; /* what the template puts at the front of an answer */
    const char *grammar; /* GBNF that holds tool calls or the response format to their schemas; ""
                            without */
    bool grammar_begins_later; /* where a call begins; false: at once */
    const char *note; /* what of a schema could not be held to, and why; "": nothing */
} dw_chat_info;

/* What `info` points to lives as long as the answer. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_chat_answer_get_info(const dw_chat_answer *answer, dw_chat_info *info);

/* The source of the template that serves requests with or without tools; NULL: there is none. Until
 * the model goes. Thread: any. */
DW_API const char *dw_model_chat_template(const dw_model *model, bool with_tools);
/* The names of templates for files without one. NULL: there are no more. */
DW_API const char *dw_chat_template_name(size_t index);

/* ---- generating without a guest --------------------------------------------------------- */

/* How a context keeps its keys and values: halves, blocks of 32 bytes under one scale (half the
 * memory of halves, nearly as exact), or floats. */
typedef enum dw_kv_type { DW_KV_F16 = 0, DW_KV_Q8_0 = 1, DW_KV_F32 = 2 } dw_kv_type;

/* A context (a token history and its KV cache), memory that the device reads tokens from and
 * writes logits to, and a sampler.
 * Thread: one at a time; steps on one model wait for each other. */
typedef struct dw_session dw_session;

typedef struct dw_session_options {
    size_t struct_bytes;
    uint32_t tokens_max; /* of the context; 0: the model's own length */
    uint32_t rows_max;   /* of logits that one step returns; 0: 1 */
    dw_kv_type kv_type;  /* 0: DW_KV_F16 */
} dw_session_options;

/* An empty one; it counts the model. `options` may be NULL. Errors: DW_E_RANGE (tokens_max beyond
 * the model's length), DW_E_UNSUPPORTED (kv_type does not suit the model; an encoder),
 * DW_E_MEMORY, DW_E_DEVICE. */
DW_API DW_MUST_CHECK dw_status dw_session_create(dw_session **out, dw_model *model,
                                                 const dw_session_options *options, dw_error *err);
/* One that holds what `parent` holds, sampler and all, without computing it again; the two go on
 * independently. Errors: DW_E_MEMORY, DW_E_DEVICE; the parent is as it was. */
DW_API DW_MUST_CHECK dw_status dw_session_fork(dw_session **out, dw_session *parent, dw_error *err);
DW_API void dw_session_destroy(dw_session *session);

/* The history: tokens [dw_session_length], borrowed until the next step or trim. */
DW_API uint32_t dw_session_length(const dw_session *session);
DW_API const int32_t *dw_session_tokens(const dw_session *session);
/* Logits in a row. */
DW_API uint32_t dw_session_vocab_count(const dw_session *session);
/* Forget tokens from `length` on. Errors: DW_E_RANGE (longer than it is). */
DW_API DW_MUST_CHECK dw_status dw_session_trim(dw_session *session, uint32_t length, dw_error *err);

/* An adapter of the session's model, by its place below dw_model_adapter_count, and what is
 * multiplied with what it adds. */
typedef struct dw_adapter_scale {
    uint32_t adapter;
    float scale; /* from -1000 to 1000; 0: without it */
} dw_adapter_scale;

/* While it holds no tokens: from now on it has these adapters, [count], in the place of those with
 * which it began; 0: none. Forks have their parent's. Errors: DW_E_STATE (it holds tokens, whose
 * keys and values are of the adapters before: dw_session_trim to 0 first), DW_E_RANGE (no such
 * adapter), DW_E_ARG (one twice, a scale), DW_E_LIMIT (more than 64), DW_E_MEMORY: as it was. */
DW_API DW_MUST_CHECK dw_status dw_session_set_adapters(dw_session *session,
                                                       const dw_adapter_scale *adapters,
                                                       size_t count, dw_error *err);
/* How many it has; the first `capacity` of them go to `adapters`. */
DW_API size_t dw_session_adapters(const dw_session *session, dw_adapter_scale *adapters,
                                  size_t capacity);

/* Append tokens [count] and compute the logits of the last `rows` of them, at most rows_max:
 * `*logits` (may be NULL) is [rows][vocab_count] float32, borrowed until the next step.
 * Blocks: for as long as the device computes. Errors: DW_E_RANGE (a token outside the vocabulary,
 * rows), DW_E_LIMIT (more than the context can hold), DW_E_NUMERIC (the model gave NaN),
 * DW_E_MEMORY, DW_E_DEVICE; the session holds what it held, but no row to sample from. */
DW_API DW_MUST_CHECK dw_status dw_session_forward(dw_session *session, const int32_t *tokens,
                                                  uint32_t count, uint32_t rows,
                                                  const float **logits, dw_error *err);

/* How tokens are chosen. Zero is off, where nothing else is said. */
typedef struct dw_sampler_options {
    size_t struct_bytes;
    uint64_t seed;              /* the same seed and logits give the same tokens */
    float temperature;          /* 0: always the likeliest; what follows is then ignored, but for
                                   biases and the grammar */
    int32_t top_k;
    float top_p;
    float min_p;
    float typical_p;
    float top_n_sigma;
    float temperature_range;    /* temperature +- this, by entropy */
    float temperature_exponent; /* of that; 0: 1 */
    float repeat_penalty;
    float frequency_penalty;
    float presence_penalty;
    int32_t penalty_tokens;     /* how far back the penalties look; 0: 64; at most 4,096 */
    float xtc_probability;
    float xtc_threshold;        /* 0: 0.1 */
    float dry_multiplier;
    float dry_base;             /* 0: 1.75 */
    int32_t dry_allowed_length; /* 0: 2 */
    int32_t dry_tokens;         /* how far back DRY looks; 0: 4,096, the most */
    const char *const *dry_breakers; /* [dry_breaker_count]: DRY looks no further back than these */
    size_t dry_breaker_count;
    float mirostat_tau;         /* Mirostat 2 takes the place of the cuts */
    float mirostat_eta;         /* 0: 0.1 */
    const int32_t *bias_tokens; /* [bias_count]: their logits get */
    const float *biases;        /* [bias_count] added; minus infinity rules one out */
    size_t bias_count;
    const char *grammar;        /* GBNF (llama.cpp's notation); NULL: none */
    const char *json_schema;    /* JSON Schema, instead of a grammar; NULL: none */
} dw_sampler_options;

/* Choose so from now on, from a fresh start; without this call, or with NULL, always the likeliest.
 * What `options` points to is copied. Errors: DW_E_RANGE and DW_E_NUMERIC (which parameter, its
 * value), DW_E_ARG (the grammar: line and column; both a grammar and a schema), DW_E_FORMAT and
 * DW_E_UNSUPPORTED (the schema), DW_E_LIMIT, DW_E_MEMORY; the session is as it was. */
DW_API DW_MUST_CHECK dw_status dw_session_set_sampler(dw_session *session,
                                                      const dw_sampler_options *options,
                                                      dw_error *err);
/* Whether texts can be held to a JSON Schema (dw_sampler_options.json_schema), and what of it they
 * are not held to: formats that no grammar serves, or what is held more narrowly than might be
 * expected.
 *   notes  [capacity]: a line each, with its line break, NUL-terminated, cut where it is full;
 *          empty: nothing. May be NULL with 0.
 * Thread: any. Errors: DW_E_FORMAT, DW_E_UNSUPPORTED (what, and where), DW_E_LIMIT, DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_json_schema_check(const char *schema, char *notes,
                                                    size_t capacity, dw_error *err);
/* From now on hold what is chosen to a chat's request, in place of a grammar set before: tool
 * calls, or with response_format the whole answer, to their schemas. After the prompt. *held:
 * whether the request asks for either; may be NULL. Errors: those of dw_chat_answer_create; the
 * session is as it was. */
DW_API DW_MUST_CHECK dw_status dw_session_hold_to_chat(dw_session *session, const char *request,
                                                       size_t bytes, bool *held, dw_error *err);
/* Choose a token from the last row of the last step, which had one, and let penalties and grammar
 * remember it. It is not appended: that is the next step's. Errors: DW_E_STATE (no row),
 * DW_E_NUMERIC (no token that the grammar allows, NaN), DW_E_LIMIT (the grammar). */
DW_API DW_MUST_CHECK dw_status dw_session_sample(dw_session *session, int32_t *token,
                                                 dw_error *err);

typedef struct dw_perplexity {
    size_t struct_bytes;
    double value;
    double error;    /* standard error of value */
    uint64_t scored; /* tokens predicted */
    uint32_t windows;
} dw_perplexity;

/* How well the model predicts tokens [count], as llama-perplexity has it: of each whole window of
 * options->tokens_max tokens (0: 512) the second half is predicted, with the first token replaced
 * by BOS where the model adds one. rows_max is not used. Thread: any.
 * Blocks: for as long as the device computes. Errors: DW_E_ARG (less than one window, or a window
 * below 4), those of dw_session_create and dw_session_forward. */
DW_API DW_MUST_CHECK dw_status dw_model_perplexity(dw_model *model, const int32_t *tokens,
                                                   size_t count, const dw_session_options *options,
                                                   dw_perplexity *result, dw_error *err);

/* ---- guests ---------------------------------------------------------------------------- */

typedef struct dw_module dw_module;
typedef struct dw_instance dw_instance;

/* Compile `wasm` [wasm_bytes], a core WebAssembly module in binary form, which is borrowed for the
 * call. Thread: any.
 * Errors: DW_E_FORMAT (not WebAssembly, or invalid), DW_E_UNSUPPORTED (memory64, threads, a
 * component, an import that nobody provides: the message names it; no memory; nothing to run),
 * DW_E_LIMIT (over 128 MiB; 100,000 functions, globals, exports or segments; 10,000 types or
 * imports; a function of over 2 MiB or 50,000 locals; what would take the compiler more than 8 s
 * of a core for a function, 180 s for all, or 20 s and half as much again beyond what their length
 * takes, by a count of instructions, blocks and locals made before it begins), DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_module_create(dw_module **out, dw_engine *engine,
                                                const void *wasm, size_t wasm_bytes,
                                                dw_error *err);
/* The same from a file. Errors: also DW_E_NOT_FOUND, DW_E_IO. */
DW_API DW_MUST_CHECK dw_status dw_module_open(dw_module **out, dw_engine *engine,
                                              const char *path, dw_error *err);
/* Whether it imports a function of Driftwood's whose name begins with `prefix`: "model_", say, for
 * a guest that needs a model. Thread: any. */
DW_API bool dw_module_imports_any(const dw_module *module, const char *prefix);
/* Whether it imports functions that need a model: those of "model_", or of wasi-nn. Thread: any. */
DW_API bool dw_module_uses_models(const dw_module *module);
/* As dw_model_ref and dw_model_unref. Thread: any. */
DW_API dw_module *dw_module_ref(dw_module *module);
DW_API void dw_module_unref(dw_module *module);

/* Where a guest's WASI output goes. NULL: to the process's own stream.
 * Returns the bytes taken, or a negative value to make the guest's write fail: minus an errno,
 * which the guest is told. Minus EAGAIN: none can be taken now; the host waits a while, at most
 * 10 ms, and asks again with the same bytes. A guest's time runs while a callback does, but ends it
 * only afterwards: one that could block should answer that instead.
 * Thread, of this and of the next two: the one that runs the guest, under a scheduler the
 * scheduler's. The guest's instance is busy, and so are its actor and the scheduler. */
typedef ptrdiff_t (*dw_write_fn)(void *user, const unsigned char *bytes, size_t count);
/* One message for a guest that asks with dw_input: fill `buffer` [capacity] and return the
 * message's whole length in bytes (more than `capacity`: the guest asks again with more room, and
 * must then get the same message), or -1 at the end of input. */
typedef ptrdiff_t (*dw_input_fn)(void *user, char *buffer, size_t capacity);
/* `done` of `total` prompt tokens computed. Under a scheduler whose device has a thread of its own
 * it is called there. */
typedef void (*dw_progress_fn)(void *user, uint32_t done, uint32_t total);

/* A host folder granted to a guest under a name of its own. */
typedef struct dw_dir {
    const char *host_path;
    const char *guest_path;
    bool writable;
} dw_dir;

/* A guest's call of a tool of its host's (the import `call`), and what there is to know of it while
 * the function below goes on: its tool's name, what is asked [bytes], the actor that asks ("": it
 * is none). */
typedef struct dw_tool_call dw_tool_call;
DW_API const char *dw_tool_call_get_name(const dw_tool_call *call);
DW_API const void *dw_tool_call_get_request(const dw_tool_call *call, size_t *bytes);
DW_API const char *dw_tool_call_get_actor(const dw_tool_call *call);
/* Whether the guest waits no more, since its time is over or it was asked to stop: the answer is
 * nobody's, and the guest's end waits for the function. */
DW_API bool dw_tool_call_is_left(const dw_tool_call *call);
/* The next bytes of the answer, copied, up to 1 MiB in all. Errors: DW_E_LIMIT, DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_tool_call_answer(dw_tool_call *call, const void *bytes,
                                                   size_t count, dw_error *err);
/* Carries a call out. What it returns the guest gets, with the message in `err`; DW_E_DENIED: there
 * is no such tool for this guest. Thread: one of the call's own, so that it may block; the guest
 * waits, others go on. It returns soon after dw_tool_call_is_left says so, and touches neither the
 * guest's instance nor its actor. */
typedef dw_status (*dw_call_fn)(void *user, dw_tool_call *call, dw_error *err);

typedef struct dw_instance_options {
    size_t struct_bytes;
    dw_model *const *models;      /* [model_count], granted; the first is the default */
    size_t model_count;
    const char *const *args;      /* [arg_count], argv; argv[0] is the guest's name */
    size_t arg_count;
    const char *const *env_names; /* [env_count]; of two of one name the last counts */
    const char *const *env_values;
    size_t env_count;
    const dw_dir *dirs;           /* [dir_count] */
    size_t dir_count;
    bool inherit_stdin;           /* the guest reads the process's standard input; false, or where
                                     that is closed: nothing */
    dw_write_fn on_stdout;        /* NULL: the process's own streams */
    dw_write_fn on_stderr;
    dw_input_fn on_input;         /* NULL: dw_input answers DW_E_END */
    dw_progress_fn on_progress;   /* may be NULL */
    void *user;                   /* given to all of the above */
    uint64_t memory_bytes_max;    /* all that it takes of the host; 0: see dw_limits */
    uint32_t context_tokens_max;  /* of each context; 0: the model's own length */
    uint32_t context_count_max;   /* open at a time; 0: 16 */
    uint64_t timeout_ms;          /* for one run, whatever the guest is in; 0: none */
    dw_kv_type kv_type;           /* of its contexts; 0: DW_KV_F16 */
    const char *chat_template;    /* for its chats in the place of the models', as that of
                                     dw_model_options; NULL: the models' */
    uint64_t cpu_timeout_ms;      /* the same of processor time: of the thread that runs the guest,
                                     in host functions too; 0: none */
    /* All limits, copied; NULL: the defaults. Where a member above bounds the same and is not 0, it
     * counts: memory_bytes_max (memory_bytes), context_tokens_max, context_count_max (contexts),
     * timeout_ms and cpu_timeout_ms. */
    const dw_limits *limits;
    dw_call_fn on_call; /* its tools; NULL: it has none */
    /* After each call of a function of module "driftwood", where the engine traces calls: its name,
     * arguments, result and time, as "forward(1, 65536, 5, 0, 0) = 5  1234.5 us". It must not call
     * Driftwood. */
    void (*on_trace)(void *user, const char *line);
    void *trace_user;
    /* [model_count]: names by which the guest finds the models, beside their own (dw_model_info):
     * at most 200 characters of ASCII that are no blanks, copied. An entry that is NULL or empty:
     * by its own alone; so are all where this is NULL. */
    const char *const *model_names;
} dw_instance_options;

/* A fresh guest with its own linear memory. `options` may be NULL; what it points to is copied
 * or, for models, counted. Errors: DW_E_ARG (kv_type, a text that is not UTF-8), DW_E_UNSUPPORTED,
 * DW_E_LIMIT (the module's memory is larger than memory_bytes_max), DW_E_TRAP (its start function),
 * DW_E_MEMORY, DW_E_NOT_FOUND (a dir); of
 * chat_template DW_E_UNSUPPORTED (an unknown name), DW_E_FORMAT (line, column). */
DW_API DW_MUST_CHECK dw_status dw_instance_create(dw_instance **out, dw_module *module,
                                                  const dw_instance_options *options,
                                                  dw_error *err);
/* Not while it runs: it stays then, and the log says so. */
DW_API void dw_instance_destroy(dw_instance *instance);

/* Let the guest have random numbers and clocks of its own from now on, as actors have
 * (docs/actors.md), so that it does the same each time: the numbers follow from `seed`, which is no
 * secret, and the clocks begin at `start_ms` since 1970, and go on by 100 ns when they are read and
 * by what the guest sleeps. Errors: DW_E_STATE (it runs, or is an actor's), DW_E_RANGE (start_ms,
 * beyond the year 2262). */
DW_API DW_MUST_CHECK dw_status dw_instance_repeat(dw_instance *instance, uint64_t seed,
                                                  uint64_t start_ms, dw_error *err);

/* Run a command guest's `_start` to its end. `exit_code` may be NULL; a guest that returns or
 * calls proc_exit sets it, to the code it gave (any int32; shells see & 255), and the status is
 * DW_OK. Blocks: for as long as the guest runs.
 * Errors: DW_E_TRAP (with the trap's reason), DW_E_CANCELLED, DW_E_LIMIT (timeout_ms,
 * cpu_timeout_ms, fuel), DW_E_STATE (it has run already: a command runs once). */
DW_API DW_MUST_CHECK dw_status dw_instance_run(dw_instance *instance, int *exit_code,
                                               dw_error *err);

/* Call an exported function of type () -> i32 or () -> (), as often as wanted.
 * `result` may be NULL. Errors: DW_E_NOT_FOUND, DW_E_TYPE, and those of dw_instance_run. */
DW_API DW_MUST_CHECK dw_status dw_instance_call(dw_instance *instance, const char *function,
                                                int32_t *result, dw_error *err);

/* The functions that the guest was in when it last trapped, the innermost 20, a line each as
 * Wasmtime writes them; "": it has not, or it is not known. Messages name those that they have room
 * for. Lines of source are there where the module carries them (DWARF) and the environment variable
 * WASMTIME_BACKTRACE_DETAILS is 1 when the engine is made, as the program does. Until its next
 * call. */
DW_API const char *dw_instance_backtrace(const dw_instance *instance);

/* Where the guest's time goes: its functions are noted at each 10 ms of running, from here to
 * dw_instance_end_profile, which hands out a profile that https://profiler.firefox.com opens. The
 * name stands in it. Not while the guest runs. Errors: DW_E_STATE (one is under way, or none is),
 * DW_E_MEMORY, DW_E_IO (`write` answers 0 or less). */
DW_API DW_MUST_CHECK dw_status dw_instance_begin_profile(dw_instance *instance, const char *name,
                                                         dw_error *err);
DW_API DW_MUST_CHECK dw_status dw_instance_end_profile(dw_instance *instance, dw_write_fn write,
                                                       void *user, dw_error *err);

/* From here on its contexts share beginnings of prompts with those of other guests of `scope`, any
 * text, a tenant's name say: whole blocks of 64 tokens, from the context's first on, that one of
 * them has computed since are not computed again by the others, and stand in memory once. A guest
 * cannot see it but by the time that it takes. NULL: no more, as at first. Prefixes outlive the
 * guests, up to prefix_bytes_max. A fork does as its parent. Not while the guest runs.
 * Errors: DW_E_MEMORY; then some of its contexts may share and others not. */
DW_API DW_MUST_CHECK dw_status dw_instance_share_prefixes(dw_instance *instance, const char *scope,
                                                          dw_error *err);
enum {
    DW_PREFIX_PUBLIC = 1, /* for all scopes: whoever begins alike learns that somebody did */
    DW_PREFIX_PINNED = 2  /* it stays whatever else is wanted, up to prefix_bytes_max in all */
};
/* Keep the whole blocks of what its contexts hold: an operator's system prompts, say. Without flags
 * that happens by itself at the end of each prompt. Not while the guest runs.
 * Errors: DW_E_ARG (flags), DW_E_STATE (it shares no prefixes; a context was shifted or thawed),
 * DW_E_LIMIT (pinned ones would be over prefix_bytes_max), DW_E_MEMORY, DW_E_DEVICE. */
DW_API DW_MUST_CHECK dw_status dw_instance_keep_prefixes(dw_instance *instance, unsigned flags,
                                                         dw_error *err);

/* A folder of contexts that guests save under names (context_save) and open again: in other guests,
 * runs and processes, several of which may use it. It is made when something is saved. Errors:
 * DW_E_ARG, DW_E_LIMIT (a path that is too long), DW_E_MEMORY. Thread of all: any. */
typedef struct dw_contexts dw_contexts;
DW_API DW_MUST_CHECK dw_status dw_contexts_open(dw_contexts **out, const char *path, dw_error *err);
/* NULL is fine. Not before those that were granted it are destroyed. */
DW_API void dw_contexts_close(dw_contexts *contexts);

typedef struct dw_saved_context {
    size_t struct_bytes;
    const char *tenant; /* borrowed for the call, as the next two */
    const char *name;
    const char *model;  /* its fingerprint */
    dw_kv_type kv_type;
    uint32_t token_count;
    uint64_t bytes;    /* of its file */
    uint64_t saved_ms; /* since 1970 */
} dw_saved_context;
/* What a tenant has saved; NULL: all have. In no order. Errors: DW_E_ARG, DW_E_IO. */
DW_API DW_MUST_CHECK dw_status dw_contexts_list(dw_contexts *contexts, const char *tenant,
                                                void (*take)(void *user,
                                                             const dw_saved_context *saved),
                                                void *user, dw_error *err);
/* Whoever has it open keeps what it has. `tenant` NULL: "". Errors: DW_E_ARG, DW_E_NOT_FOUND,
 * DW_E_IO. */
DW_API DW_MUST_CHECK dw_status dw_contexts_remove(dw_contexts *contexts, const char *tenant,
                                                  const char *name, dw_error *err);

/* What a guest may save and open: copied, but for `contexts`. A pattern is a name, or the beginning
 * of one and '*'. Names are the tenant's own. How many and how large they are together say the
 * guest's limits saved_contexts and saved_context_bytes. */
typedef struct dw_contexts_grant {
    size_t struct_bytes;
    dw_contexts *contexts;
    const char *tenant;        /* NULL: "" */
    const char *const *reads;  /* [read_count]: to open */
    size_t read_count;
    const char *const *writes; /* [write_count]: to save */
    size_t write_count;
} dw_contexts_grant;
/* In the place of what was granted before; at first nothing is. Not while the guest runs. A fork
 * has the same. Actors of a runtime have what their tenant has. Errors: DW_E_ARG, DW_E_LIMIT (256
 * patterns), DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_instance_grant_contexts(dw_instance *instance,
                                                          const dw_contexts_grant *grant,
                                                          dw_error *err);

/* Ask the guest to stop what it is doing: host functions that take long answer DW_E_CANCELLED, and
 * waits of WASI EINTR, until the guest asks for its next input or takes the cancellation. A guest
 * that does not care goes on. Thread: any. Async-signal-safe. */
DW_API void dw_instance_cancel(dw_instance *instance);
/* End the guest, whether it cares or not, and whatever it is in: the run returns DW_E_CANCELLED, as
 * with its time DW_E_LIMIT, some milliseconds later. Waits end at once, its own code at the next
 * loop or call, host functions where they look at it: between parts of some milliseconds. What has
 * begun on a GPU, and a callback of yours, is waited for. Thread: any. Async-signal-safe. */
DW_API void dw_instance_interrupt(dw_instance *instance);

/* The guest's linear memory: borrowed, of dw_instance_memory_bytes bytes, at an address that
 * stays the same as it grows. Not to be touched while the guest runs. */
DW_API void *dw_instance_memory(dw_instance *instance);
DW_API size_t dw_instance_memory_bytes(const dw_instance *instance);

/* What an instance has done so far. Times are of the host's monotonic clock. */
typedef struct dw_instance_stats {
    size_t struct_bytes;
    uint64_t prompt_tokens;          /* prefilled: steps of several tokens or on an empty context */
    uint64_t prompt_ns;
    uint64_t found_tokens;           /* of prompts, not computed: others had (prefixes) */
    uint64_t generated_tokens;       /* chosen by a sampler, or decoded one by one */
    uint64_t decoded_tokens;         /* steps of one token on a context that holds some */
    uint64_t decode_ns;
    uint64_t device_placed_bytes;    /* payload that the device wrote once more: to its place, or
                                        to where a token is chosen from all logits */
    uint64_t device_staged_bytes;    /* payload that was copied, for a device that could not be
                                        given the guest's pages (dw_instance_staging): 0 where it
                                        computes on these */
    uint64_t host_calls;             /* calls from the guest into the host */
    uint64_t graph_runs;             /* tensor graphs run by the guest */
    uint64_t fuel;                   /* instructions of the last run or call, where the engine
                                        counts them; else 0 */
    uint64_t guest_ns;               /* turns that it had under a scheduler, with host functions */
    uint64_t device_ns;              /* there: its part, by tokens, of the runs that it took part
                                        in, and work that goes alone (embeddings, graphs) */
} dw_instance_stats;

/* Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_instance_get_stats(const dw_instance *instance, dw_instance_stats *stats);

/* What an instance takes of one limit: the whole, a part of it, or open handles. */
typedef struct dw_account_info {
    size_t struct_bytes;
    const char *name; /* of the limit, static */
    dw_limit_unit unit;
    uint64_t now;
    uint64_t most;    /* so far */
    uint64_t limit;
} dw_account_info;

DW_API size_t dw_account_info_count(void);
/* Of limit `index` < dw_account_info_count(), in the order of DW_LIMIT_LIST: memory_bytes first,
 * which is all bytes together, then its parts, then handles. Thread: any.
 * Errors: DW_E_RANGE, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_instance_get_account(const dw_instance *instance, size_t index,
                                                       dw_account_info *info, dw_error *err);

/* Why the guest's memory is copied to the device and back, where it is; NULL: it is not. Until the
 * guest runs again. */
DW_API const char *dw_instance_staging(const dw_instance *instance);

/* ---- actors ---------------------------------------------------------------------------- */

/* A guest that exports `driftwood_receive`, () -> i32, and lives between messages: its memory,
 * globals, contexts, samplers, tensor graphs and mailbox stay. The host calls driftwood_receive
 * once a message; the guest takes the message with dw_input, and what it prints or gives to
 * dw_reply meanwhile is its answer. */
typedef struct dw_actor dw_actor;

#define DW_ACTOR_ID_CHARS 16 /* lower-case hexadecimal digits */

typedef struct dw_actor_options {
    size_t struct_bytes;
    /* Of its guest. Folders and standard input cannot be granted, since neither could be saved;
     * on_input is not used, and on_stdout only for what is printed outside of a message. */
    const dw_instance_options *instance; /* NULL: nothing is granted */
    uint32_t message_count_max; /* waiting at a time; 0: 1,024 */
    size_t message_bytes_max;   /* of each; 0: 1 MiB */
} dw_actor_options;

/* A fresh actor: the guest's `_initialize` has run. `options` may be NULL; what it points to is
 * copied or counted. Errors: those of dw_instance_create; DW_E_UNSUPPORTED (no driftwood_receive;
 * state that cannot be saved: the message says which; folders or standard input); DW_E_RANGE (a
 * member that bounds the same as a limit and is what that may not be), DW_E_LIMIT (more than 64
 * models, 4,096 arguments or variables). */
DW_API DW_MUST_CHECK dw_status dw_actor_spawn(dw_actor **out, dw_module *module,
                                              const dw_actor_options *options, dw_error *err);
/* Not while it works: as with an instance. */
DW_API void dw_actor_destroy(dw_actor *actor);
/* [DW_ACTOR_ID_CHARS] and a NUL; as long as the actor lives. */
DW_API const char *dw_actor_id(const dw_actor *actor);
/* Its instance, borrowed: for dw_instance_get_stats, _memory, _cancel and _interrupt. */
DW_API dw_instance *dw_actor_instance(dw_actor *actor);

/* Put a message [bytes] into the mailbox; `from` is an actor's id, or NULL: from outside. An actor
 * has a clock of its own (docs/actors.md), which is at the time of the message when that is begun:
 * now, or of the second function `at_ms` since 1970, so that the same message at the same time to
 * the same state gives the same again; 0: when it is begun. Errors: DW_E_LIMIT (a message too
 * long), DW_E_BUSY (the mailbox is full), DW_E_ARG, DW_E_RANGE (at_ms, beyond the year 2262),
 * DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_actor_send(dw_actor *actor, const char *from,
                                             const void *message, size_t bytes, dw_error *err);
DW_API DW_MUST_CHECK dw_status dw_actor_send_at(dw_actor *actor, const char *from,
                                                const void *message, size_t bytes, uint64_t at_ms,
                                                dw_error *err);
/* dw_actor_send_at for what a watch tells of the actor `from`: its guest sees that it is the host's
 * word (message_kind). A runtime does so by itself. */
DW_API DW_MUST_CHECK dw_status dw_actor_notify(dw_actor *actor, const char *from,
                                               const void *message, size_t bytes, uint64_t at_ms,
                                               dw_error *err);
/* Messages waiting. */
DW_API size_t dw_actor_waiting(const dw_actor *actor);
/* Let the actor work on its next message. `on_answer` (may be NULL) gets the answer piece by piece,
 * as it is made. Blocks: for as long as the guest works.
 * Errors: DW_E_END (no message waits); what driftwood_receive returned, if negative, and the actor
 * lives on; DW_E_TRAP, DW_E_LIMIT (timeout_ms), DW_E_CANCELLED: it broke off in the middle, and
 * from then on every call answers DW_E_STATE: thaw it as it was, or destroy it. */
DW_API DW_MUST_CHECK dw_status dw_actor_receive(dw_actor *actor, dw_write_fn on_answer, void *user,
                                                dw_error *err);

/* A child that is what the parent is now, but for its id and an empty mailbox without timers. They
 * share what neither writes, and go on independently. `id` is one that the parent was told in a
 * DW_EFFECT_FORK, or NULL. Errors: DW_E_STATE (a call is under way, or it broke off), DW_E_ARG,
 * DW_E_MEMORY, DW_E_UNSUPPORTED. The parent is as it was. */
DW_API DW_MUST_CHECK dw_status dw_actor_fork(dw_actor **out, dw_actor *parent, const char *id,
                                             dw_error *err);
/* An actor of `module` with what `actor` is, its id too, to be used in its place: the module that
 * `actor` has hands over what it declares (it exports driftwood_state), the new one takes it and
 * asks for the handles that it keeps (it exports driftwood_upgrade; docs/guest-abi.md has both).
 * Mailbox, timers, effects, settings and limits are the same. `actor` is as it was, for the caller
 * to destroy, or where this failed to go on with. Its next freeze is a full one.
 * Errors: DW_E_STATE (it is at work, or broke off), DW_E_UNSUPPORTED (the module does not export
 * driftwood_upgrade, or can be no actor's), DW_E_ARG (another engine's), DW_E_TYPE; what the
 * guests' functions answer; those of dw_actor_spawn and dw_instance_call. */
DW_API DW_MUST_CHECK dw_status dw_actor_upgrade(dw_actor **out, dw_actor *actor, dw_module *module,
                                                dw_error *err);

/* What an actor asked its host for while it worked on messages that ended well. The host carries
 * effects out in order and then drops them; until then they are part of the actor's state and count
 * towards its limit `effects`. */
typedef enum dw_effect_kind {
    DW_EFFECT_SEND = 1,  /* `message` to `actor` */
    DW_EFFECT_SPAWN = 2, /* a new actor `actor` of `guest`; `message` is its first */
    DW_EFFECT_FORK = 3,  /* a fork of this one, `actor`; `message` is its first */
    DW_EFFECT_STOP = 4,  /* the end of this one */
    DW_EFFECT_JOIN = 5,  /* this one into the group `guest` */
    DW_EFFECT_LEAVE = 6, /* this one out of the group `guest` */
    DW_EFFECT_LATER = 7, /* the message that this came of is answered later, by `ticket` */
    DW_EFFECT_ANSWER = 8, /* `message` is the next piece of that answer, the `last` one or not */
    DW_EFFECT_WATCH = 9,  /* tell this one what becomes of `actor`, by dw_actor_notify */
    DW_EFFECT_UNWATCH = 10 /* not any more */
} dw_effect_kind;

typedef struct dw_actor_effect {
    size_t struct_bytes;
    dw_effect_kind kind;
    uint64_t number;     /* of the actor's effects, from 1 on */
    const char *actor;   /* an id; "" from STOP to ANSWER, and where `guest` says to whom */
    const char *guest;   /* SPAWN: a name; "": a guest of the same module. SEND: "@NAME" or "#GROUP"
                            where the guest asked for that; WATCH, UNWATCH: "@NAME", likewise. JOIN,
                            LEAVE: the group */
    const void *message; /* [message_bytes] */
    size_t message_bytes;
    uint64_t ticket; /* of LATER and ANSWER */
    bool last;       /* of ANSWER */
    uint32_t events; /* of WATCH: DW_WATCH_ON_*, of guest/driftwood_abi.h */
} dw_actor_effect;

DW_API size_t dw_actor_effect_count(const dw_actor *actor);
/* Effect `index` < dw_actor_effect_count, borrowed until effects are dropped. Errors: DW_E_RANGE,
 * DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_actor_effect_at(const dw_actor *actor, size_t index,
                                                  dw_actor_effect *effect, dw_error *err);
/* Drop the first `count` effects, or all there are, if these are fewer. */
DW_API void dw_actor_drop_effects(dw_actor *actor, size_t count);

/* When the next timer is due, in milliseconds since 1970; 0: none is set. */
DW_API uint64_t dw_actor_timer_ms(const dw_actor *actor);
/* Put the messages of timers due at `now_ms` into the mailbox. Errors: DW_E_BUSY (it is full; the
 * rest stay). */
DW_API DW_MUST_CHECK dw_status dw_actor_fire_timers(dw_actor *actor, uint64_t now_ms,
                                                    dw_error *err);

/* One of an actor's contexts. */
typedef struct dw_context_info {
    size_t struct_bytes;
    int32_t handle;       /* the guest's */
    uint32_t token_count;
    uint32_t tokens_max;
    dw_kv_type kv_type;
    const int32_t *tokens; /* [token_count], until the actor works or is destroyed */
} dw_context_info;

/* Contexts that the guest has open; they are numbered in the order of their handles. */
DW_API size_t dw_actor_context_count(const dw_actor *actor);
/* Context `index` < dw_actor_context_count. Errors: DW_E_RANGE, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_actor_get_context_info(const dw_actor *actor, size_t index,
                                                         dw_context_info *info, dw_error *err);
/* A session on context `index` itself, not on a copy: steps change the actor's state. It returns
 * one row of logits, and is destroyed before the actor works or goes. Errors: DW_E_RANGE,
 * DW_E_STATE (a call is under way), those of dw_session_create. */
DW_API DW_MUST_CHECK dw_status dw_actor_open_context(dw_session **out, dw_actor *actor,
                                                     size_t index, dw_error *err);

/* ---- own imports ----------------------------------------------------------------------- */

/* Functions that a host program gives its guests beside those of module "driftwood" and of WASI. A
 * guest imports them by module and name; every module of the engine may.
 *
 *   static dw_status look_up(void *user, dw_import_call *call, const dw_value *args,
 *                            dw_value *results, dw_error *err)
 *   {
 *       void *key;
 *       uint32_t bytes = (uint32_t)args[1].i32;
 *       dw_status status =
 *           dw_import_call_range(call, (uint32_t)args[0].i32, bytes, 1, &key, err);
 *       if (status == DW_OK) {
 *           results[0].i32 = table_find(user, key, bytes);
 *       }
 *       return status;
 *   }
 *   const dw_import own = {.struct_bytes = sizeof own, .module = "host", .name = "look_up",
 *                          .signature = "ii:i", .call = look_up, .user = &table};
 *
 * An import is not part of a guest's state: a snapshot has only its name, in the actor's module. An
 * engine that lacks the import refuses the module, and so dw_actor_thaw: DW_E_UNSUPPORTED, with a
 * message that names the import. */

/* A WebAssembly value; the signature says which member it is. */
typedef union dw_value {
    int32_t i32; /* also pointers and sizes: cast to uint32_t */
    int64_t i64;
    float f32;
    double f64;
} dw_value;

/* One call by a guest, until the callback returns. */
typedef struct dw_import_call dw_import_call;

/* The function itself.
 *   args     [parameters]
 *   results  [results], zero at first
 * Returns DW_OK: the guest goes on with `results`. Any other status is a failure, for which `err`
 * should be filled in; `results` then do not matter. The guest traps: its call ends with DW_E_TRAP
 * and the message of `err`. With answers_status it gets the status as the result instead, and the
 * message from dw_last_error.
 * Thread: the one that runs the guest, and as many at once as run guests of the engine; on the
 * guest's stack, of which 6 MiB are left at least. Under a scheduler it is the scheduler's thread:
 * all other guests wait until it returns. The calling instance is busy: calls of it, and of its
 * actor's receive, fork and freeze, are DW_E_STATE. Others may be used. */
typedef dw_status (*dw_import_fn)(void *user, dw_import_call *call, const dw_value *args,
                                  dw_value *results, dw_error *err);

struct dw_import {
    size_t struct_bytes;
    const char *module;    /* UTF-8, like `name`, each of 1 to 256 bytes; not "driftwood", nor
                              "wasi_snapshot_preview1" */
    const char *name;
    const char *signature; /* parameters, a colon, results, a letter a value: i (i32), I (i64),
                              f (f32), F (f64); at most 16 on a side: "iiI:i" */
    dw_import_fn call;
    void *user;            /* given to `call`; must stay good as long as the engine */
    bool answers_status;   /* a failure is a result; the signature ends with ":i" */
};

/* Items [count], of item_bytes each, at a guest's address, checked against the guest's memory as it
 * is now: they are the guest's own bytes, to read and write until the callback returns. `*items` is
 * NULL where count is 0. Errors: DW_E_RANGE, DW_E_ALIGN (item_bytes is 2, 4 or 8, and `pointer` not
 * a multiple of it), DW_E_ARG (item_bytes is 0), DW_E_STATE (the callback has returned). */
DW_API DW_MUST_CHECK dw_status dw_import_call_range(dw_import_call *call, uint32_t pointer,
                                                    uint64_t count, size_t item_bytes,
                                                    void **items, dw_error *err);
/* Who calls. The actor is NULL where the instance is no actor's, or not yet: in the start function
 * and the constructors. */
DW_API dw_instance *dw_import_call_instance(const dw_import_call *call);
DW_API dw_actor *dw_import_call_actor(const dw_import_call *call);
/* The `user` of the options that the instance, or the actor, was made or thawed with. */
DW_API void *dw_import_call_user(const dw_import_call *call);
/* The guest was cancelled or interrupted, or its time is over: a callback that takes long should
 * return. */
DW_API bool dw_import_call_is_cancelled(const dw_import_call *call);

/* ---- snapshots ------------------------------------------------------------------------- */

/* An actor in one file: docs/snapshot.md. A full snapshot holds all of it; a delta what changed
 * since another file, its base, was written, and is of use only with that and the base's own. */

typedef struct dw_freeze_options {
    size_t struct_bytes;
    bool delta;          /* if the actor was frozen or thawed before, as a delta upon that; false:
                            as a full snapshot */
    bool without_module; /* name the module by its hash only; false: it is in the file */
    /* dw_actor_freeze: the file grows under this name, on the same file system as `path`, until it
     * is whole; what is there is replaced. NULL: beside `path`. A process that is killed leaves
     * it. */
    const char *part_path;
} dw_freeze_options;

typedef struct dw_freeze_stats {
    size_t struct_bytes;
    char identity[33];     /* of the file: the hash of its header, which holds those of its data */
    bool delta;
    uint64_t file_bytes;
    uint64_t kv_bytes;     /* of it, keys and values */
    /* of linear memory: in a delta what changed, else all of it; what is zero takes no room in the
     * file */
    uint64_t memory_bytes;
    uint64_t new_bytes;     /* of keys and values, and of blocks of 4,096 bytes of linear memory,
                               that files did not hold before */
    uint64_t written_bytes; /* of the file: holes are not written */
} dw_freeze_stats;

/* Write the actor to the file at `path`, which is there whole and on the disk afterwards, or as it
 * was before. `options` and `stats` may be NULL. The actor goes on. Errors: DW_E_STATE (a call is
 * under way, or it broke off), DW_E_IO (with the system's reason), DW_E_UNSUPPORTED,
 * DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_actor_freeze(dw_actor *actor, const char *path,
                                               const dw_freeze_options *options,
                                               dw_freeze_stats *stats, dw_error *err);
/* A freeze in parts, for an actor that is to go on while its file is written: it is held up by the
 * first and the last, some ms for the largest contexts, whatever the file takes. */
typedef struct dw_freezing dw_freezing;

/* Take what the actor is now: images of its memories, forks of its contexts' keys and values, which
 * share pages until it changes them, and copies of the rest. `options` may be NULL. One at a time
 * of an actor, of which dw_actor_freeze and dw_actor_export are refused until it has ended.
 * Errors: those of dw_actor_freeze but DW_E_IO. */
DW_API DW_MUST_CHECK dw_status dw_actor_freeze_begin(dw_freezing **out, dw_actor *actor,
                                                     const dw_freeze_options *options,
                                                     dw_error *err);
/* Write that to the file at `path`, as dw_actor_freeze does. After an error it may be tried again,
 * also elsewhere. `stats` may be NULL. Thread: any, one at a time; the actor may be used, and
 * destroyed, by others meanwhile. Errors: DW_E_IO, DW_E_MEMORY, DW_E_STATE (it is written). */
DW_API DW_MUST_CHECK dw_status dw_freezing_write(dw_freezing *freezing, const char *path,
                                                 dw_freeze_stats *stats, dw_error *err);
/* It is over, and freed. If it was written, the actor's next freeze can be a delta upon it. `actor`
 * is the one that it is of, between calls; NULL: that was destroyed. `freezing` may be NULL. */
DW_API void dw_freezing_end(dw_freezing *freezing, dw_actor *actor);
/* Write a full snapshot to an open pipe, socket or file, from where `fd` stands on; it stays the
 * caller's. options->delta is not looked at. Errors: likewise; what is written by then stays. */
DW_API DW_MUST_CHECK dw_status dw_actor_export(dw_actor *actor, int fd,
                                               const dw_freeze_options *options,
                                               dw_freeze_stats *stats, dw_error *err);

/* An adapter that the model of an actor had, at the scale of its new contexts. */
typedef struct dw_adapter_wanted {
    const char *name;
    const char *fingerprint;
    float scale;      /* 0: for contexts that choose it */
    const char *path; /* where its file was; NULL: not known */
} dw_adapter_wanted;

/* The model that an actor had, and whose it is; borrowed for the call. */
typedef struct dw_model_wanted {
    size_t struct_bytes;
    const char *name;        /* the model's own (dw_model_info) when the actor was written */
    const char *fingerprint;
    const char *tenant; /* NULL: of nobody's, as the next */
    /* Whether the tenant's actors may be granted (dw_tenant_options.models) the model of these
     * names: its own, and the one that a pool has it under. Either may be NULL: there is none, or
     * that grants another. Called as may_have(wanted, ...). Thread: any. */
    bool (*may_have)(const struct dw_model_wanted *wanted, const char *own_name,
                     const char *served_name);
    /* Without adapters; NULL: the snapshot does not say. */
    const char *base_fingerprint;
    const dw_adapter_wanted *adapters; /* [adapter_count], in the order in which it had them */
    size_t adapter_count;
} dw_model_wanted;

/* Opaque: src/snapshot/series_index.h. */
typedef struct dw_series_index dw_series_index;

typedef struct dw_thaw_options {
    size_t struct_bytes;
    const char *const *paths; /* [path_count]: a full snapshot, then deltas, each upon the last */
    size_t path_count;
    dw_model *const *models;  /* [model_count]: found by fingerprint among these */
    size_t model_count;
    /* Asked for a model that is none of these, and for a module that is not in the file; may be
     * NULL. The model is counted for who asks, who gives it back (dw_model_unref); the module is
     * borrowed until dw_actor_thaw returns. On the calling thread; they may open what they are
     * asked for. */
    dw_status (*find_model)(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err);
    dw_status (*find_module)(void *user, const char *sha256, dw_module **module, dw_error *err);
    void *find_user;
    dw_module *module;        /* NULL: the snapshot's own, compiled anew */
    const char *id;           /* NULL: the one it had */
    bool trusted;             /* the file is ours: its data are mapped without being read; false:
                                 they are read and checked against their hashes */
    const dw_kv_type *kv_type; /* NULL: as saved; another one is converted to */
    dw_write_fn on_stdout;    /* as in dw_instance_options */
    dw_write_fn on_stderr;
    dw_progress_fn on_progress;
    void *user;
    /* [path_count], in the place of paths, which is then NULL: open descriptors of regular files,
     * which stay the caller's and may be closed afterwards. The files are opened again through
     * them, read-only; where the descriptors stand does not matter, nor do they move. */
    const int *fds;
    /* Limits anew: those that are set take the place of the snapshot's own, and stay with the
     * actor. Of a file that is not trusted, limits of its own that are higher than the defaults
     * become the defaults. NULL: none are set. */
    const dw_limits *limits;
    /* [dir_count]: for an actor that had folders (dw_tenant_options.dirs). It gets those of the
     * names that it had them under, and no others; what they are on the host is not in a file. */
    const dw_dir *dirs;
    size_t dir_count;
    /* [path_count] or NULL: the identity of each file, "" where it is not known. Where it is, files
     * before it may be left out that hold nothing that is needed, as in a state folder
     * (dw_runtime_list_paths). */
    const char *const *identities;
    /* Nothing of the files stays mapped: what becomes of them afterwards is of no consequence. All
     * is read, and in memory, until the actor is thawed from a file of its own. */
    bool unmapped;
    dw_call_fn on_call; /* as in dw_instance_options */
    /* To be looked at, and frozen: folders of its that are not among `dirs` are no error. An actor
     * that lacks one works on nothing (DW_E_DENIED). */
    bool to_look;
    /* In the place of find_model: of a model with adapters it is told also which these are. */
    dw_status (*find_wanted)(void *user, const dw_model_wanted *wanted, dw_model **model,
                             dw_error *err);
    /* [path_count] or NULL, the runtime's own, of files that are trusted: what snapshots of a
     * series in a state folder hold together, for which the file then stands; NULL: it is one. */
    const dw_series_index *const *indexes;
} dw_thaw_options;

typedef struct dw_thaw_stats {
    size_t struct_bytes;
    uint64_t kv_mapped_bytes;    /* of files, read when they are touched */
    uint64_t kv_converted_bytes; /* read, and written in another type or to another memory */
    uint64_t memory_bytes;
} dw_thaw_stats;

/* The actor of options->paths or options->fds. These files must not be changed while it lives; they
 * may be removed. `stats` may be NULL. Errors: DW_E_NOT_FOUND (a file; a model: the message names
 * it), DW_E_IO, DW_E_FORMAT (damaged, or no snapshot: what and where), DW_E_UNSUPPORTED (another
 * version; a guest that this host does not serve), DW_E_LIMIT (path_count is 0 or over 64; the
 * module's size), DW_E_ARG (both paths and fds, or neither; a descriptor not open; another engine's
 * module; an id that is none), DW_E_DENIED (a folder that it had, not granted), DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_actor_thaw(dw_actor **out, dw_engine *engine,
                                             const dw_thaw_options *options, dw_thaw_stats *stats,
                                             dw_error *err);

/* ---- many guests at once --------------------------------------------------------------- */

/* Runs guests of one engine by turns on one thread (or, where that is asked for, on several), each
 * on a fiber of its own. One that asks for a forward step waits for it while others run; the steps
 * of all that wait go through the device together, each model's weights being read once for all of
 * them. Prompts go in slices next to tokens that are decoded. A guest that only computes is left
 * after 10 ms for others to run, or sooner. One that traps, exits, is cancelled or reaches a limit
 * ends alone.
 *
 * Thread: dw_scheduler_run and dw_scheduler_destroy belong to one thread, the same as long as any
 * guest has not ended; callbacks are called on it, from under them, or with several guest_threads
 * on those. The other functions are for any thread, callbacks included. An instance or actor is the
 * scheduler's from its start until its callback is called, in which it may be used again, or
 * destroyed; meanwhile only its _cancel and _interrupt may be called. */
typedef struct dw_scheduler dw_scheduler;

/* Where a scheduler's device runs. */
typedef enum dw_device_thread {
    DW_DEVICE_THREAD_SHARED, /* guests and device take turns on the scheduler's thread */
    /* On a thread of its own, while guests run: it waits for those that are about to ask for a
     * quarter of the last run at most, so that their steps go together. On a CPU both want the same
     * cores. The thread rests while dw_scheduler_run does not run. */
    DW_DEVICE_THREAD_OWN,
} dw_device_thread;

typedef struct dw_scheduler_options {
    size_t struct_bytes;
    uint32_t guest_count_max;    /* started and not ended; 0: 4,096 */
    uint32_t step_sequences_max; /* guests in one run of the device; 0: 256, which is the most */
    uint32_t step_tokens_max;    /* tokens in one run; 0: 512, which is the most */
    /* Of prompts in a run that decodes as well: the longer such slices, the sooner a prompt is
     * through and the longer the others wait for their next token. 0: on a CPU two for each token
     * that is decoded in the run, at least 32; on CUDA 256; else what step_tokens_max leaves. */
    uint32_t prompt_tokens_max;
    dw_device_thread device_thread;
    /* Threads that guests run on, at most 64, each guest on one for the whole of its call; 0: one,
     * which is in dw_scheduler_run. With more the device has one of its own as well, and callbacks
     * are called on their guests' threads, those of different guests at once; what is submitted is
     * still called on the first. */
    uint32_t guest_threads;
} dw_scheduler_options;

/* `options` may be NULL. The engine outlives it. Errors: DW_E_MEMORY (also threads), DW_E_LIMIT
 * (descriptors), DW_E_RANGE (guest_threads). */
DW_API DW_MUST_CHECK dw_status dw_scheduler_create(dw_scheduler **out, dw_engine *engine,
                                                   const dw_scheduler_options *options,
                                                   dw_error *err);
/* Guests that have not ended are interrupted and run to their ends first: their callbacks get
 * DW_E_CANCELLED. Not from inside a callback, nor from another thread than its guests': it stays
 * then, and the log says so. */
DW_API void dw_scheduler_destroy(dw_scheduler *scheduler);

/* How a guest's call ended. */
typedef struct dw_call_end {
    size_t struct_bytes;
    dw_status status; /* that of dw_instance_run or dw_actor_receive */
    int exit_code;
    const dw_error *error; /* where status is not DW_OK; until the callback returns */
} dw_call_end;
typedef void (*dw_call_end_fn)(void *user, const dw_call_end *end);

/* Run a command guest's `_start` as dw_instance_run does. `on_end` (may be NULL) is called once
 * when it is through. The instance's timeout runs from its first turn.
 * Errors: DW_E_BUSY (guest_count_max), DW_E_ARG (another engine's), DW_E_STATE (the scheduler is
 * being destroyed), DW_E_MEMORY: then `on_end` is not called. */
DW_API DW_MUST_CHECK dw_status dw_scheduler_start(dw_scheduler *scheduler, dw_instance *instance,
                                                  dw_call_end_fn on_end, void *user,
                                                  dw_error *err);
/* Let an actor work on its next message as dw_actor_receive does. `user` is for both callbacks.
 * Errors: those of dw_scheduler_start. */
DW_API DW_MUST_CHECK dw_status dw_scheduler_receive(dw_scheduler *scheduler, dw_actor *actor,
                                                    dw_write_fn on_answer, dw_call_end_fn on_end,
                                                    void *user, dw_error *err);
/* Call `on_turn` once on the scheduler's thread, between turns; wakes it if it waits.
 * Errors: DW_E_STATE, DW_E_MEMORY: then it is not called. */
DW_API DW_MUST_CHECK dw_status dw_scheduler_submit(dw_scheduler *scheduler,
                                                   void (*on_turn)(void *user), void *user,
                                                   dw_error *err);

typedef enum dw_run_until {
    DW_RUN_UNTIL_IDLE,    /* all guests have ended, or dw_scheduler_stop */
    DW_RUN_UNTIL_STOPPED, /* dw_scheduler_stop; waits for more to come */
} dw_run_until;

/* Run guests. Blocks: until what `until` says. Where it was stopped, guests stay where they are,
 * and the next run goes on with them. Errors: DW_E_STATE (from inside a callback; another thread
 * runs it, or began its guests). */
DW_API DW_MUST_CHECK dw_status dw_scheduler_run(dw_scheduler *scheduler, dw_run_until until,
                                                dw_error *err);
/* Let dw_scheduler_run return after the present round; if none is under way, the next at once. */
DW_API void dw_scheduler_stop(dw_scheduler *scheduler);

/* What a scheduler has done so far. */
typedef struct dw_scheduler_stats {
    size_t struct_bytes;
    uint64_t started;             /* guests' calls */
    uint64_t ended;
    uint64_t guests;              /* started and not ended: each has a fiber from its first turn */
    uint64_t most_guests;         /* at a time */
    uint64_t rounds;              /* all that could had their turn */
    uint64_t resumes;             /* turns of guests */
    uint64_t preemptions;         /* turns that ended because of their length */
    uint64_t steps;               /* runs of the device for forward steps */
    uint64_t step_tokens;         /* in all of them */
    uint64_t step_sequences;      /* guests taking part, summed over the runs */
    uint64_t most_step_sequences; /* in one run */
    uint64_t jobs;                /* embeddings, tensor graphs, context shifts: one at a time */
    uint64_t device_ns;           /* spent in runs and jobs */
    uint64_t guest_ns;            /* spent in guests and in going from one to the next */
    /* Between runs of the device, while there was something to do; by its own clock, on CUDA. */
    uint64_t device_idle_ns;
    uint64_t device_idle_times;   /* how many such times there were */
    uint64_t device_idle_median_ns; /* how long the most usual of them was, to a fifth */
} dw_scheduler_stats;

/* Thread: any. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_scheduler_get_stats(dw_scheduler *scheduler, dw_scheduler_stats *stats);

/* ---- many actors at once ------------------------------------------------------------------- */

/* Makes actors, gives them messages, carries out what they ask for, and starts anew those that
 * broke off, on threads of its own: the guests of all that work run by turns, and their steps go
 * through the device together. The actors are in memory, and go with the runtime; or they live in a
 * state folder (dw_runtime_options.path), and are in memory while they work and after it.
 *
 * Thread: any, callbacks included. Functions that say "Blocks" wait for an actor, and are
 * DW_E_STATE on the runtime's own threads, which callbacks are called on.
 * Callbacks: on_end, events and on_problem one at a time, in the order in which things happened;
 * on_answer on the thread that runs the guest, one at a time for an actor. Others wait while a
 * callback does.
 * An `id` is an actor's id, or "TENANT@NAME" for the one of that name; "@NAME" is the tenant "".
 * Errors of all that take one: DW_E_NOT_FOUND (no such actor, or it is stopping), DW_E_ARG (neither
 * 16 hexadecimal digits nor a name); of all that return a status also DW_E_STATE (the runtime is
 * being closed) and DW_E_MEMORY. */
typedef struct dw_runtime dw_runtime;

/* What an actor may ask for: nothing that it was not granted. Its children get what it has. */
enum {
    DW_MAY_SPAWN = 1,
    DW_MAY_FORK = 2,
    DW_MAY_SEND_KIN = 4,     /* to the tree of whom it descends from, and to itself */
    DW_MAY_SEND_TENANT = 8,  /* to all actors of its tenant */
    DW_MAY_SEND_ANY = 16,    /* to actors of every tenant */
    DW_MAY_SET_TIMERS = 32,
    DW_MAY_JOIN = 64,        /* groups of its tenant, and leave them */
    DW_MAY_ALL = 127,
};

/* Of a tenant's that could work, one of higher priority has more turns and more time: 16 to 4 to
 * 1. */
typedef enum dw_priority {
    DW_PRIORITY_NORMAL = 0,
    DW_PRIORITY_HIGH = 1,
    DW_PRIORITY_LOW = 2,
} dw_priority;

/* What becomes of an actor that broke off in the middle of a message. */
typedef enum dw_supervision {
    DW_SUPERVISE_RESTART = 0, /* it is what it was when it was frozen last, or else at first, and
                                 goes on with what waits */
    DW_SUPERVISE_STOP = 1,    /* it ends, and what waits for it is cancelled */
} dw_supervision;

/* When what an actor has done is on the disk, of a runtime with a path. Its messages are there
 * before they are accepted, whatever this says; one is gone from there once the actor's state with
 * it is written. A process that ends has those that are not worked on again by the next, each with
 * what it asks for under the numbers it had: at least once, and what an actor asked for (a message
 * to another, an actor made, its end) once: a message with which it asked for something is written
 * with all of that at once, whatever this says. */
typedef enum dw_durability {
    DW_DURABLE_DEFAULT = 0, /* of a spawn: the tenant's; of a tenant: the runtime's: EACH */
    DW_DURABLE_EACH = 1,    /* before its end is told, each message */
    DW_DURABLE_SECONDS = 2, /* so many seconds after the first message that is not, at most */
    DW_DURABLE_PARK = 3,    /* when it leaves memory, or as many messages are not as wait at most
                               (limit `mail`) */
} dw_durability;

struct dw_log_entry;
typedef struct dw_runtime_options {
    size_t struct_bytes;
    /* For guests that actors spawn by name; NULL: there are none. What it gives is borrowed until
     * the runtime is closed. */
    dw_status (*find_guest)(void *user, const char *name, dw_module **module, dw_error *err);
    /* What went wrong in actor `id` that nobody waits for; may be NULL. */
    void (*on_problem)(void *user, const char *id, const dw_error *problem);
    void *user;              /* given to these */
    /* Actors at work at a time; 0: 256; at most 65,536. Where actors of some tenants are all of
     * them, others' go beyond it, each tenant's up to its share by weight. */
    uint32_t working_max;
    uint32_t worker_threads; /* which make and fork actors; 0: 2; at most 64 */
    /* JSON [manifest_bytes]: {"limits": {...}, "tenants": {NAME: {"weight": 300, "actors": 50,
     * "may": ["spawn", "fork", "send-kin", "send-tenant", "send-any", "timers", "join"], "models":
     * [NAME or "*"], "tools": [NAME or "*"], "contexts": {"read": [PATTERN...],
     * "write": [PATTERN...]}, "prefixes": "own", "durability": "each",
     * "park_idle_s": 60, "limits": {...}}}, "durability": 5, "park_idle_s": 300,
     * "resident_actors": 4096, "resident_bytes": 8589934592}.
     * Durability is "each", "park" or a number of seconds. Prefixes are "shared" by a tenant's
     * actors unless it says "own". park_idle_s 0 is never. What the options below say counts before
     * it. Limits as dw_limits_read has them; those of `limits` below count
     * before them. What a tenant's entry does not name is not granted, and with a manifest the
     * tenant "" is granted nothing unless it has one. NULL: none. */
    const char *manifest;
    size_t manifest_bytes;
    /* guest_count_max is not used. NULL: on a CPU the defaults; else the device has a thread of its
     * own, and guests one for four cores, at most 4. */
    const dw_scheduler_options *scheduler;
    /* Of each actor, where its own options and its tenant's set nothing, and of the runtime:
     * actors, attempts, spawns, caused_messages, descendants, generations, folder_bytes,
     * prefix_bytes, groups, group_members, and watches of one actor. */
    const dw_limits *limits;
    /* A folder, made where there is none, for beginnings of prompts (dw_instance_share_prefixes):
     * new ones are written there in the background, up to the limit prefix_bytes, those used
     * longest ago giving way to others, pinned ones to none; they are found again by the next
     * runtime on it. Nobody else's meanwhile, and one of an engine at a time. NULL: "prefixes" in
     * the folder `path`, unless another runtime of the engine has one; "": none. */
    const char *prefix_path;
    /* A folder of contexts that actors save under names (dw_contexts_open). NULL: "contexts" in the
     * folder `path`; "", and where there is no such: none can be saved. */
    const char *contexts_path;
    /* A state folder that actors live in, made if it is not there: what was accepted and what was
     * done survive the process. One process at a time. One of an earlier version is taken over,
     * once and whole. Only actors that are at work or were asked for are in memory. NULL: all are,
     * and go with the runtime. */
    const char *path;
    /* For the models of actors in the folder; may be NULL: there are none. What it gives is counted
     * for the runtime, which keeps it for as long as an actor in memory has it, or the beginning of
     * a prompt. It is asked again for the next. `user` as above. */
    dw_status (*find_model)(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err);
    dw_write_fn on_stderr;     /* of guests read from the folder; NULL: the process's own */
    /* Where the newest snapshots of an actor are missing, deleted by hand say, the newest that is
     * there is taken; false: DW_E_FORMAT, which names what is missing. */
    bool accept_older;
    dw_durability durability;  /* where neither the actor nor its tenant say */
    uint32_t durability_s;     /* of DW_DURABLE_SECONDS, at least 1 */
    /* The log: entries of `log_level` and more urgent ones (DW_LOG_NONE: DW_LOG_WARN) go to on_log,
     * on a thread of their own, one at a time, and as JSON, one a line, to the descriptor `log_fd`,
     * which is the caller's and stays open as long as the runtime; NULL and 0: there is none.
     * Nothing waits for either: of more than 1,024 that wait, or `log_rate_max` in a second (0:
     * 1,000), the rest is counted. docs/seeing.md has the events. */
    dw_log_level log_level;
    uint32_t log_rate_max;
    void (*on_log)(void *user, const struct dw_log_entry *entry);
    int log_fd;
    uint32_t slow_message_ms; /* work on a message that takes longer is logged; 0: 60,000 */
    /* Where a local socket is made at which `driftwood top` looks at the runtime, for the same user
     * alone; NULL: there is none. Copied. */
    const char *control_path;
    /* When actors leave memory, of a runtime with a path: those that have had nothing to do for so
     * long (0: 300 s; DW_PARK_NEVER), and as many as are above these bounds. The first to go are
     * those of the lowest priority, of them those used least recently, children before whom they
     * descend from; never one that is pinned, or has something to do. Where all that are in memory
     * have, those that are to come wait; a few may be beyond a bound: those that actors make, and
     * one where all others are pinned. */
    uint32_t park_idle_s;
    uint64_t resident_actors; /* 0: 4,096 */
    uint64_t resident_bytes;  /* that actors take of host and devices (limit kv_bytes and the like
                                 count what one takes); 0: half of the machine's memory */
    /* With a path: actors work when they are asked to, not of themselves. A message from outside
     * has its actor work, on what waits for it before and on that message; all else, timers too,
     * waits for dw_runtime_work or for the next runtime. What cannot be read or written then fails
     * at once, where else it would be tried again. For programs that do one thing and end. */
    bool works_on_request;
    /* With a path: tenants that have actors in the folder and are not there are made, with what
     * the tenant "" has at first. false: such actors stay asleep until
     * dw_runtime_set_tenant. */
    bool makes_tenants;
    /* With a path: to look only, in a folder that must be there and need not be writable: nothing
     * in it is made, changed or removed, and no actor comes into memory. Others may look meanwhile,
     * nobody may work. What would change an actor, or needs it in memory, is DW_E_DENIED. There are
     * no threads but those of the log and of control_path, and prefix_path is not used. */
    bool read_only;
    dw_call_fn on_call; /* of actors read from the folder: their tools; NULL: they have none */
    /* [dir_count], copied; not beside a manifest: what the tenant "" grants its actors at first, as
     * dw_tenant_options.dirs does, and with makes_tenants those that are made. */
    const dw_dir *dirs;
    size_t dir_count;
    /* With makes_tenants: what those that are made have, until dw_runtime_set_tenant says another
     * thing of one; read while the runtime is opened. NULL: what the tenant "" has at first. */
    const struct dw_tenant_options *made_tenants;
    /* In the place of find_model, for whoever finds out which model it is before it is loaded: one
     * that wanted->may_have refuses is DW_E_DENIED, or DW_E_NOT_FOUND. What find_model gives is
     * refused likewise, after it was loaded. */
    dw_status (*find_granted)(void *user, const dw_model_wanted *wanted, dw_model **model,
                              dw_error *err);
} dw_runtime_options;
#define DW_PARK_NEVER UINT32_MAX

typedef struct dw_log_field {
    const char *name;
    uint64_t value;
} dw_log_field;
/* Borrowed until on_log returns. Texts may hold what a guest or a tenant made up. */
typedef struct dw_log_entry {
    size_t struct_bytes;
    dw_log_level level;
    uint64_t time_ms;   /* since 1970 */
    const char *event;  /* what happened: "message-failed" */
    const char *actor;  /* its id; "": none is concerned, as below */
    const char *tenant;
    uint64_t message;   /* its number; 0: none */
    dw_status status;
    const char *limit;  /* the name of the one that was met; "" */
    const char *text;
    const dw_log_field *fields; /* [field_count] */
    size_t field_count;
    uint64_t lost;      /* entries before this one that were not handed on */
    const char *trace_id; /* of dw_request.traceparent, 32 digits; "": none, as the next, of 16 */
    const char *span_id;
} dw_log_entry;

/* `options` may be NULL. The engine outlives it. Errors: DW_E_RANGE (limits, worker_threads,
 * working_max, durability, log_level, log_fd), DW_E_ARG (works_on_request, makes_tenants,
 * read_only without a path; made_tenants without makes_tenants; dirs, a folder without a name,
 * beside a manifest); of path DW_E_BUSY (another process works there: which), DW_E_LIMIT (too
 * long), DW_E_IO, DW_E_FORMAT (a damaged journal, or another program's), DW_E_UNSUPPORTED (a newer
 * version's; read_only: an earlier one's), DW_E_NOT_FOUND (read_only: no such folder); of
 * control_path DW_E_LIMIT (too long for a socket), DW_E_STATE (somebody answers there), DW_E_ARG
 * (there is something else), DW_E_IO; of the manifest DW_E_FORMAT, DW_E_NOT_FOUND (a name that
 * there is not), DW_E_RANGE, DW_E_LIMIT (1 MiB), each with the place; of prefix_path DW_E_IO,
 * DW_E_STATE (the engine's are kept in a folder already), DW_E_BUSY (another has it open),
 * DW_E_FORMAT (it is another's), DW_E_UNSUPPORTED (a newer version's), DW_E_LIMIT; DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_runtime_open(dw_runtime **out, dw_engine *engine,
                                               const dw_runtime_options *options, dw_error *err);
/* All actors are stopped, as by dw_runtime_stop_all; every request that has not ended does, with
 * DW_E_CANCELLED. With a path they stay there, and what they have done is written; a request whose
 * message was accepted ends with DW_E_STATE then: it is worked on when the path is opened again.
 * Prefixes that are not yet in their folder are written. Blocks: until that is
 * done. Not from its callbacks: it stays open then, and the log says so. */
DW_API void dw_runtime_close(dw_runtime *runtime);
/* Wait until nothing is worked on and nothing waits but timers; timeout_ms 0: for as long as it
 * takes. Blocks. Errors: DW_E_LIMIT (timeout_ms). */
DW_API DW_MUST_CHECK dw_status dw_runtime_wait(dw_runtime *runtime, uint64_t timeout_ms,
                                               dw_error *err);

/* What is to be worked on, of a runtime that works on request. */
typedef enum dw_work_kind {
    /* Each actor that was asked for, or got a message since, has one turn: a bound, whatever keeps
     * coming. */
    DW_WORK_TURN = 1,
    /* All that waits in the folder, timers that are due now, and what comes of them. */
    DW_WORK_ALL = 2,
} dw_work_kind;
/* Blocks: until that is done. Errors: DW_E_STATE (the runtime does not work on request; or actors
 * that could not work, of which on_problem is told one by one: the others did), DW_E_RANGE
 * (`what`). */
DW_API DW_MUST_CHECK dw_status dw_runtime_work(dw_runtime *runtime, dw_work_kind what,
                                               dw_error *err);

/* Whose an actor is. Turns, and the time of the threads that guests run on, are shared out among
 * tenants by their weights: one that wants less than its share has it at once, one that wants all
 * there is keeps its weight's part of all weights that are at work, so 95 % with 1,900 beside 100.
 * Actors of a tenant share beginnings of prompts (dw_instance_share_prefixes). */
#define DW_TENANT_NAME_MAX 63 /* bytes of a name */
typedef struct dw_tenant_options {
    size_t struct_bytes;
    uint32_t weight;       /* turns and time beside others'; 0: 100; at most 10,000 */
    uint32_t capabilities; /* DW_MAY_*: the most that its actors are granted */
    uint64_t actors_max;   /* at a time; 0: the runtime's limit */
    const dw_limits *limits; /* as dw_runtime_options.limits, of its actors; clock_ns 0: a million,
                                where the runtime's sets nothing; theirs may not be finer */
    /* [model_count]: names of those that its actors may be granted, copied; NULL: any. Of a pool's
     * the name that it was added under is meant, or its own (dw_model_info) if none was added under
     * that; of others their own. */
    const char *const *models;
    size_t model_count;
    bool no_shared_prefixes; /* its actors do not share beginnings of prompts */
    dw_durability durability; /* where an actor does not say; of a runtime with a path */
    uint32_t durability_s;    /* of DW_DURABLE_SECONDS, at least 1 */
    uint32_t park_idle_s;     /* 0: the runtime's; DW_PARK_NEVER */
    /* [dir_count], copied: folders of the host for its actors, each under a name of its own; at
     * most 64. None: they have none. Actors that are made have them all, in this order. What a
     * guest has open ends with its message. One that comes from a file (the state folder,
     * dw_runtime_import) gets those that it had, by their names, as they are granted then: where
     * one is not granted any more it cannot work, with DW_E_DENIED, until it is again. */
    const dw_dir *dirs;
    size_t dir_count;
    /* Beginnings of prompts of its actors are for all tenants (DW_PREFIX_PUBLIC), from the end of
     * each of their messages on: an operator's own tenant, say, whose actors compute what others'
     * prompts begin with. Not with no_shared_prefixes. */
    bool public_prefixes;
    const char *const *tools; /* [tool_count]: names of those (on_call) that its actors may call,
                                 copied; NULL: any */
    size_t tool_count;
    const char *const *context_reads; /* [context_read_count]: patterns, as of dw_contexts_grant, of
                                         contexts that its actors may open, copied; NULL: any */
    size_t context_read_count;
    const char *const *context_writes; /* [context_write_count]: and may save */
    size_t context_write_count;
} dw_tenant_options;
/* Make a tenant, or change one: actors that are in memory keep what they have. The tenant "" is
 * there from the start, with weight 100 and DW_MAY_ALL. Errors: DW_E_ARG (the name: length, no
 * UTF-8, characters below a space; of a folder), DW_E_RANGE, DW_E_LIMIT (1,024 tenants, 64
 * folders). */
DW_API DW_MUST_CHECK dw_status dw_runtime_set_tenant(dw_runtime *runtime, const char *name,
                                                     const dw_tenant_options *options,
                                                     dw_error *err);

/* How something ended that was asked for. */
typedef struct dw_runtime_end {
    size_t struct_bytes;
    dw_status status;
    const dw_error *error; /* where status is not DW_OK; until the callback returns, as the next */
    const char *actor;     /* the id: of the new one, where one was to be made */
    uint64_t number;       /* dw_runtime_send's, dw_runtime_freeze's */
    const dw_freeze_stats *written; /* what a freeze has written to the disk; NULL: nothing */
} dw_runtime_end;
typedef void (*dw_runtime_end_fn)(void *user, const dw_runtime_end *end);

typedef struct dw_spawn_options {
    size_t struct_bytes;
    const dw_actor_options *actor; /* as for dw_actor_spawn */
    const char *tenant;            /* NULL: "" */
    uint32_t capabilities;         /* DW_MAY_*; 0: it may ask for nothing */
    dw_priority priority;
    dw_supervision supervision;
    uint32_t failures_max;    /* messages in a row in which it breaks off, then it ends; 0: any */
    dw_runtime_end_fn on_end; /* of dw_runtime_begin_spawn: it is made, or not; may be NULL */
    void *user;
    dw_durability durability; /* of a runtime with a path; its children get it, too */
    uint32_t durability_s;    /* of DW_DURABLE_SECONDS, at least 1 */
    const char *name;         /* as of dw_runtime_set_name; NULL: none */
    bool pinned;              /* dw_runtime_set_pinned; not its children */
    /* [folder_count]: of the folders that its tenant grants those that it gets, by their names
     * (dw_tenant_options.dirs), in the tenant's order; its children have the same. NULL: all; where
     * folder_count is 0, not NULL: none. */
    const char *const *folders;
    size_t folder_count;
} dw_spawn_options;

/* A new actor; `id` is set at once, and messages to it wait until it is made. `options` may be
 * NULL; what it points to is copied or counted. on_end is called once. Errors: DW_E_LIMIT (actors,
 * the tenant's), DW_E_NOT_FOUND (no such tenant), DW_E_DENIED (capabilities, a model or a folder
 * that the tenant has not), those of dw_actor_spawn's options: then it is not called, and there is
 * no actor. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_spawn(dw_runtime *runtime, dw_module *module,
                                                      const dw_spawn_options *options,
                                                      char id[DW_ACTOR_ID_CHARS + 1],
                                                      dw_error *err);
/* The same, without on_end; Blocks until it is made. Errors: also dw_actor_spawn's. */
DW_API DW_MUST_CHECK dw_status dw_runtime_spawn(dw_runtime *runtime, dw_module *module,
                                                const dw_spawn_options *options,
                                                char id[DW_ACTOR_ID_CHARS + 1], dw_error *err);
/* Whether dw_runtime_spawn would refuse `options` for what the tenant is granted, for those who
 * find that out before they load models: `names` [count] are the models' own (dw_model_info.name),
 * and models that options->actor has are looked at, too. What changes until then is not foreseen.
 * Thread: any. Errors: DW_E_NOT_FOUND, DW_E_DENIED, DW_E_ARG, DW_E_LIMIT as dw_runtime_spawn has
 * them. */
DW_API DW_MUST_CHECK dw_status dw_runtime_check_spawn(dw_runtime *runtime,
                                                      const dw_spawn_options *options,
                                                      const char *const *names, size_t count,
                                                      dw_error *err);

/* A message from outside. */
typedef struct dw_request {
    size_t struct_bytes;
    const void *message; /* [message_bytes], copied */
    size_t message_bytes;
    uint64_t timeout_ms;       /* until its end; 0: as long as it takes */
    dw_write_fn on_answer;     /* the answer piece by piece, as it is made; may be NULL */
    dw_runtime_end_fn on_end;  /* once, after the last piece; may be NULL */
    void *user;                /* for all of these */
    /* The answer is complete, and `result` is what driftwood_receive returned if negative, else
     * DW_OK; on the thread that runs the guest. What it fails with (the answer could not be passed
     * on, say) is the end of the request; of a runtime with a path the actor is then as it was
     * before, and the message is gone. May be NULL. */
    dw_status (*on_answered)(void *user, dw_status result, dw_error *err);
    /* Of a trace that others keep, for the log and traces: as the header `traceparent` of W3C's
     * Trace Context has it, copied; one that has not that form is left out. NULL: none. */
    const char *traceparent;
} dw_request;

/* Put a message into an actor's mailbox; with a path it is accepted when it is on the disk, and
 * until then its end may be DW_E_IO, DW_E_BUSY or DW_E_NOT_FOUND. An actor works on one message at
 * a time, in the order in which they came. `*number` (may be NULL) is for dw_runtime_cancel.
 * It ends with: what dw_actor_receive returns; DW_E_LIMIT (timeout_ms: where it is being worked on
 * the guest is cancelled, and nothing more of its answer is told); DW_E_CANCELLED (cancelled, or
 * the actor was stopped).
 * Errors: DW_E_LIMIT (a message too long), DW_E_BUSY (mail: the mailbox is full; mail_bytes):
 * then nothing is called. */
DW_API DW_MUST_CHECK dw_status dw_runtime_send(dw_runtime *runtime, const char *id,
                                               const dw_request *request, uint64_t *number,
                                               dw_error *err);
/* The same; Blocks until its end, which is what it returns. on_end is not used; on_answer is called
 * on another thread. */
DW_API DW_MUST_CHECK dw_status dw_runtime_call(dw_runtime *runtime, const char *id,
                                               const dw_request *request, dw_error *err);
/* End a request with DW_E_CANCELLED: a message that waits is worked on no more; where it is being
 * worked on, the guest is asked to stop (dw_instance_cancel), and what it still answers is not
 * told. Errors: DW_E_NOT_FOUND (no such message: it has ended), DW_E_STATE (it was worked on, and
 * what came of it is being written: it ends in a moment, with what that comes to). */
DW_API DW_MUST_CHECK dw_status dw_runtime_cancel(dw_runtime *runtime, const char *id,
                                                 uint64_t number, dw_error *err);
/* End what the actor is working on, whatever it is in, as if it had trapped. Errors: DW_E_END (it
 * works on nothing). */
DW_API DW_MUST_CHECK dw_status dw_runtime_interrupt(dw_runtime *runtime, const char *id,
                                                    dw_error *err);

/* A copy of an actor as it is behind the message that it is working on, without its mail and
 * timers. `child` is set at once, and messages to it wait until it is there.
 * Errors: DW_E_LIMIT (actors, the tenant's), DW_E_BUSY (4,096 such calls wait for the actor); it
 * ends with dw_actor_fork's. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_fork(dw_runtime *runtime, const char *id,
                                                     char child[DW_ACTOR_ID_CHARS + 1],
                                                     dw_runtime_end_fn on_end, void *user,
                                                     dw_error *err);
/* Blocks. */
DW_API DW_MUST_CHECK dw_status dw_runtime_fork(dw_runtime *runtime, const char *id,
                                               char child[DW_ACTOR_ID_CHARS + 1], dw_error *err);
/* Keep what the actor is behind the message that it is working on: a restart, and
 * dw_runtime_rewind, go back there. The number of the freeze, from 1 on, is in the end. The last 8
 * are kept; they take the memory that the actor changes afterwards. With a path each is a file with
 * all of the actor, numbers grow with gaps, and a restart goes back to what was written last. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_freeze(dw_runtime *runtime, const char *id,
                                                       dw_runtime_end_fn on_end, void *user,
                                                       dw_error *err);
/* Blocks. */
DW_API DW_MUST_CHECK dw_status dw_runtime_freeze(dw_runtime *runtime, const char *id,
                                                 uint64_t *number, dw_error *err);
/* Let the actor leave memory behind what it is working on: it is written, unless it is. A message
 * brings it back, as do its timers. Ends well also where it is not in memory. It ends with
 * DW_E_BUSY (more waits for it), DW_E_STATE (it is pinned), what writing it fails with: then it
 * stays, as it is. Errors: DW_E_STATE (there is no path), DW_E_BUSY, DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_park(dw_runtime *runtime, const char *id,
                                                     dw_runtime_end_fn on_end, void *user,
                                                     dw_error *err);
/* Blocks. */
DW_API DW_MUST_CHECK dw_status dw_runtime_park(dw_runtime *runtime, const char *id, dw_error *err);
/* Actors in memory that were granted a model. */
typedef struct dw_runtime_model_use {
    size_t struct_bytes;
    uint64_t working; /* that have something to do, are pinned, or could not be written; without a
                         path all of them */
    uint64_t resting; /* that have nothing to do */
    uint64_t leaving; /* that are about to leave memory */
    uint64_t idle_ms; /* since one of `resting` had something to do; UINT64_MAX: there is none */
} dw_runtime_model_use;

/* Thread: any. Errors: DW_E_STATE (the runtime is being closed), DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_runtime_get_model_use(dw_runtime *runtime, const dw_model *model,
                                                        dw_runtime_model_use *use, dw_error *err);
/* Where none of them works, let those that rest leave memory, as dw_runtime_begin_park does: they
 * are under way when it returns, and `*use` is as it was before. Parents leave behind their
 * children. Once there is none, beginnings of prompts are written and leave memory as well, pinned
 * ones where a folder has them. Called until then, the runtime has no reference to the model.
 * Thread: any. Errors: dw_runtime_get_model_use's, DW_E_IO (prompts could not be written). */
DW_API DW_MUST_CHECK dw_status dw_runtime_park_model(dw_runtime *runtime, const dw_model *model,
                                                     dw_runtime_model_use *use, dw_error *err);
/* Have the actor in memory, so that its next message need not wait for that. It may leave again as
 * any other. It ends with what reading it fails with. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_thaw(dw_runtime *runtime, const char *id,
                                                     dw_runtime_end_fn on_end, void *user,
                                                     dw_error *err);
/* An actor that is pinned stays in memory once it is there; priority says who has more turns, and
 * who leaves memory first. Kept with the actor where there is a path: Blocks until it is written.
 * Errors: DW_E_ARG (priority), DW_E_BUSY (it is being made), DW_E_IO. */
DW_API DW_MUST_CHECK dw_status dw_runtime_set_pinned(dw_runtime *runtime, const char *id,
                                                     bool pinned, dw_error *err);
DW_API DW_MUST_CHECK dw_status dw_runtime_set_priority(dw_runtime *runtime, const char *id,
                                                       dw_priority priority, dw_error *err);
/* Let the actor be what it was at freeze `number`; 0: the last, or where there was none what it was
 * at first. What waits in its mailbox still does. It ends with DW_E_NOT_FOUND (no such freeze is
 * kept), and dw_actor_fork's errors: then the actor is as it was. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_rewind(dw_runtime *runtime, const char *id,
                                                       uint64_t number, dw_runtime_end_fn on_end,
                                                       void *user, dw_error *err);
/* Blocks. */
DW_API DW_MUST_CHECK dw_status dw_runtime_rewind(dw_runtime *runtime, const char *id,
                                                 uint64_t number, dw_error *err);

/* Keep what the actor's contexts hold behind the message that it is working on, as
 * dw_instance_keep_prefixes does: with DW_PREFIX_PUBLIC for all tenants, and with DW_PREFIX_PINNED
 * for good. So an operator publishes a system prompt: an actor of his computes it, and may be
 * stopped afterwards. It ends with that one's errors. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_keep_prefixes(dw_runtime *runtime, const char *id,
                                                              unsigned flags,
                                                              dw_runtime_end_fn on_end, void *user,
                                                              dw_error *err);
/* Blocks. */
DW_API DW_MUST_CHECK dw_status dw_runtime_keep_prefixes(dw_runtime *runtime, const char *id,
                                                        unsigned flags, dw_error *err);

/* Put another module under the actor, behind the message that it is working on, as dw_actor_upgrade
 * does; `module` is counted until the end. What waits in its mailbox, its timers, its id, grants,
 * limits and counters stay. It is frozen then, and the number of the freeze is in the end: so a
 * restart does not bring the module before back; dw_runtime_rewind to an earlier freeze does. In a
 * state folder one transaction says that the actor is of the new module, which goes into the
 * folder, and what it is then. It ends with dw_actor_upgrade's errors: then the actor is as it
 * was. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_upgrade(dw_runtime *runtime, const char *id,
                                                        dw_module *module,
                                                        dw_runtime_end_fn on_end, void *user,
                                                        dw_error *err);
/* Blocks. `*number` (may be NULL): of the freeze. */
DW_API DW_MUST_CHECK dw_status dw_runtime_upgrade(dw_runtime *runtime, const char *id,
                                                  dw_module *module, uint64_t *number,
                                                  dw_error *err);

/* An actor may have a name, of 1 to 63 letters, digits, '.', '_' and '-', which no other of its
 * tenant has: instead of the one that it had; NULL: it has none any more. A fork has none, and is
 * in no groups. With a path names and groups are in the folder: they are as they were when it is
 * opened again, and found whether their actors are in memory or not. Errors: DW_E_ARG (no such
 * name), DW_E_STATE (another has it), DW_E_IO, DW_E_BUSY (the actor is being made). */
#define DW_NAME_MAX 63
DW_API DW_MUST_CHECK dw_status dw_runtime_set_name(dw_runtime *runtime, const char *id,
                                                   const char *name, dw_error *err);
/* The id of the actor of that name. `tenant` NULL: "". Errors: DW_E_ARG, DW_E_NOT_FOUND. */
DW_API DW_MUST_CHECK dw_status dw_runtime_find(dw_runtime *runtime, const char *tenant,
                                               const char *name, char id[DW_ACTOR_ID_CHARS + 1],
                                               dw_error *err);
/* An actor is in groups of its tenant, named as actors are, until it leaves them or ends: a group
 * is there while it has members. Errors: DW_E_ARG (no such name), DW_E_LIMIT (groups,
 * group_members), DW_E_IO, DW_E_BUSY; of the second DW_E_NOT_FOUND (it is not in it). */
DW_API DW_MUST_CHECK dw_status dw_runtime_join(dw_runtime *runtime, const char *id,
                                               const char *group, dw_error *err);
DW_API DW_MUST_CHECK dw_status dw_runtime_quit(dw_runtime *runtime, const char *id,
                                               const char *group, dw_error *err);
/* A group is "TENANT#GROUP"; "#GROUP" is the tenant "". Ids of at most `capacity` members, in the
 * order in which they joined -> ids; `*count`: how many there are. Errors: DW_E_ARG,
 * DW_E_NOT_FOUND (no such group). */
DW_API DW_MUST_CHECK dw_status dw_runtime_list_group(dw_runtime *runtime, const char *group,
                                                     char (*ids)[DW_ACTOR_ID_CHARS + 1],
                                                     size_t capacity, size_t *count,
                                                     dw_error *err);
/* dw_runtime_send to every member, each a message of its own, accepted or refused; on_answer and
 * on_end are called for each that is accepted: `*accepted` (may be NULL), how many. Errors:
 * DW_E_ARG, DW_E_NOT_FOUND (no such group); where all are refused those of dw_runtime_send. */
DW_API DW_MUST_CHECK dw_status dw_runtime_send_group(dw_runtime *runtime, const char *group,
                                                     const dw_request *request,
                                                     uint64_t *accepted, dw_error *err);

/* Write the actor, as it is behind the message that it is working on, as dw_actor_export does;
 * what waits in its mailbox is not in it. Blocks. Errors: those of dw_actor_export. */
DW_API DW_MUST_CHECK dw_status dw_runtime_export(dw_runtime *runtime, const char *id, int fd,
                                                 dw_error *err);
/* The same; `fd` stays open until its end. The actor works on nothing while it is written: not to a
 * pipe that somebody may be slow to read. */
DW_API DW_MUST_CHECK dw_status dw_runtime_begin_export(dw_runtime *runtime, const char *id, int fd,
                                                       dw_runtime_end_fn on_end, void *user,
                                                       dw_error *err);
/* Take in an actor under a new id: dw_actor_thaw's of `thaw`, for the tenant and with the grants of
 * `options`, whose `actor` is not used. It is frozen as number 1. Blocks. Errors: those of
 * dw_actor_thaw and dw_runtime_spawn. */
DW_API DW_MUST_CHECK dw_status dw_runtime_import(dw_runtime *runtime, const dw_thaw_options *thaw,
                                                 const dw_spawn_options *options,
                                                 char id[DW_ACTOR_ID_CHARS + 1], dw_error *err);

/* The end of an actor. From now on there is no such actor; what it works on is interrupted, what
 * waits for it is cancelled. With a path it has gone from there first: DW_E_IO, and it is as it
 * was. */
DW_API DW_MUST_CHECK dw_status dw_runtime_stop(dw_runtime *runtime, const char *id, dw_error *err);
/* The same for the actor and all that descend from it, or for all there are: with a path as one,
 * after a failure all are there, and when the process ends in the middle all or none. `*count` (may
 * be NULL): how many. */
DW_API DW_MUST_CHECK dw_status dw_runtime_stop_tree(dw_runtime *runtime, const char *id,
                                                    uint64_t *count, dw_error *err);
DW_API DW_MUST_CHECK dw_status dw_runtime_stop_all(dw_runtime *runtime, uint64_t *count,
                                                   dw_error *err);

/* Copy the ids of at most `capacity` actors that come after `after` ("": from the first on) in the
 * order of their ids, each with a NUL -> ids [*count]. */
DW_API DW_MUST_CHECK dw_status dw_runtime_list(dw_runtime *runtime, const char *after,
                                               char (*ids)[DW_ACTOR_ID_CHARS + 1], size_t capacity,
                                               size_t *count, dw_error *err);

/* The whole id of the actor in the state folder whose id begins with `start`. Errors:
 * DW_E_NOT_FOUND, DW_E_ARG (no hexadecimal digits; the start of several), DW_E_STATE (there is no
 * path). */
DW_API DW_MUST_CHECK dw_status dw_runtime_find_id(dw_runtime *runtime, const char *start,
                                                  char id[DW_ACTOR_ID_CHARS + 1], dw_error *err);
/* The module of this hash (SHA-256, 64 digits) that the state folder holds; borrowed until the
 * runtime is closed. For dw_thaw_options.find_module. Errors: DW_E_NOT_FOUND, DW_E_FORMAT (it is
 * damaged), DW_E_IO, DW_E_STATE (there is no path). */
DW_API DW_MUST_CHECK dw_status dw_runtime_find_module(dw_runtime *runtime, const char *sha256,
                                                      dw_module **module, dw_error *err);

typedef struct dw_runtime_actor_info {
    size_t struct_bytes;
    char parent[DW_ACTOR_ID_CHARS + 1]; /* forked from or spawned by, whether or not that is there
                                           still; "": made from outside */
    char tenant[DW_TENANT_NAME_MAX + 1];
    uint32_t depth; /* generations that actors made, since one that was made from outside */
    uint32_t capabilities;
    dw_priority priority;
    dw_supervision supervision;
    bool working;
    uint64_t waiting;        /* messages in its mailbox */
    uint64_t set_aside;      /* messages given up: dw_runtime_list_mail */
    uint64_t done;           /* messages worked on */
    uint64_t failed;         /* of them, those that ended with an error */
    uint64_t restarts;
    uint64_t answered_bytes;
    uint64_t work_ns;        /* from each message's beginning to its end, with others' turns */
    uint64_t freezes;        /* the number of the last; 0: none */
    uint64_t timer_ms;       /* when the next timer is due, since 1970; 0: none */
    uint64_t prompt_tokens;    /* as of dw_instance_stats, of all its messages */
    uint64_t generated_tokens;
    uint64_t memory_bytes;     /* that it takes of its host */
    uint64_t found_tokens;     /* of prompts, not computed: others of its tenant had */
    uint64_t queue_ns;         /* that messages waited in its mailbox before work on them began */
    uint64_t guest_ns;         /* as of dw_instance_stats, of all its messages, as the next */
    uint64_t device_ns;
    uint64_t written_bytes;    /* to the disk, for what it is */
    uint64_t parks;            /* times that it left memory */
    uint64_t thaws;            /* and came back */
    uint64_t message;          /* the number of what it works on; 0: nothing, or a timer's */
    uint64_t working_ns;       /* since it began with that */
    bool resident;             /* it is in memory; elsewhere counters are those that were written */
    dw_durability durability;  /* that holds for it; DW_DURABLE_DEFAULT: there is no path */
    uint32_t durability_s;
    char name[DW_NAME_MAX + 1]; /* "": none */
    uint64_t groups;            /* that it is in */
    bool pinned;
    uint64_t idle_ns;          /* it could leave memory, and has had nothing to do for so long */
    uint64_t snapshot_count;   /* snapshots that its state on the disk consists of; 0: none, or they
                                  do not belong together */
    uint64_t snapshot_bytes;   /* of them */
    uint64_t snapshot_done;    /* messages in that state */
} dw_runtime_actor_info;
/* Errors: DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_runtime_get_actor_info(dw_runtime *runtime, const char *id,
                                                         dw_runtime_actor_info *info,
                                                         dw_error *err);

/* `id`, `info` and `problem` are borrowed until it returns. `problem` is NULL, or why the actor's
 * snapshots cannot be read: then `info` has none. It may use the runtime, but for closing it. */
typedef void (*dw_runtime_info_fn)(void *user, const char *id, const dw_runtime_actor_info *info,
                                   const dw_error *problem);
/* The same of many actors: of up to `max`, from 1 to 4,096, in the order of their ids, from the
 * first behind the id `after` on (NULL: from the first there is), call `take` for each, on the
 * caller's thread; for none where there are no more. What it costs does not depend on how many
 * there are beside. Of those that are not in memory `groups` is 0. Errors: DW_E_ARG (after),
 * DW_E_RANGE (max), DW_E_IO. */
DW_API DW_MUST_CHECK dw_status dw_runtime_list_infos(dw_runtime *runtime, const char *after,
                                                     size_t max, dw_runtime_info_fn take,
                                                     void *user, dw_error *err);
/* Call `take`, on the caller's thread, for each file of the actor's state on the disk, in order, as
 * of dw_thaw_options.paths; files between them that hold nothing of it any more may be gone, so
 * that `identities` are needed too (dw_snapshot_file_get_info). What the actor did since it was
 * written is not in them, and when it is written again they may go, unless the runtime only looks.
 * Errors: DW_E_FORMAT (one is missing: which), DW_E_IO, DW_E_STATE (there is no path). */
DW_API DW_MUST_CHECK dw_status dw_runtime_list_paths(dw_runtime *runtime, const char *id,
                                                     void (*take)(void *user, const char *path),
                                                     void *user, dw_error *err);
/* A copy of the actor as it is on the disk, which has nothing to do with the runtime: as
 * dw_actor_thaw of its files, whatever becomes of them meanwhile. What the actor has done since it
 * was written is not in it. `options` are those of dw_actor_thaw without paths, fds and identities;
 * `find_module` NULL: the folder's; `id` NULL: its own. The copy is the caller's to destroy, and
 * may outlive the runtime. `stats` may be NULL. Errors: those of
 * dw_runtime_list_paths and dw_actor_thaw. Thread: any. Blocks: while it is read. */
DW_API DW_MUST_CHECK dw_status dw_runtime_copy(dw_actor **out, dw_runtime *runtime, const char *id,
                                               const dw_thaw_options *options,
                                               dw_thaw_stats *stats, dw_error *err);
/* Numbers of the freezes of an actor that are kept, from the first on: at most `capacity` ->
 * numbers [*count]. Errors: DW_E_IO. */
DW_API DW_MUST_CHECK dw_status dw_runtime_list_freezes(dw_runtime *runtime, const char *id,
                                                       uint64_t *numbers, size_t capacity,
                                                       size_t *count, dw_error *err);

typedef struct dw_runtime_stats {
    size_t struct_bytes;
    uint64_t actors;
    uint64_t working;
    uint64_t most_working;
    uint64_t waiting;  /* messages in mailboxes */
    uint64_t accepted; /* messages so far, of actors too; as the next */
    uint64_t ended;
    uint64_t failed;
    uint64_t made;     /* actors */
    uint64_t stopped;
    uint64_t restarts;
    uint64_t lost_events; /* that subscribers were not told, being too slow */
    uint64_t lost_log_entries; /* that were too many */
    uint64_t uptime_ns;
    /* Of all actors there have been, as of dw_runtime_actor_info. */
    uint64_t messages; /* worked on */
    uint64_t work_ns;
    uint64_t queue_ns;
    uint64_t guest_ns;
    uint64_t device_ns;
    uint64_t prompt_tokens;
    uint64_t generated_tokens;
    uint64_t found_tokens;
    uint64_t answered_bytes;
    uint64_t written_bytes;
    uint64_t parks;
    uint64_t thaws;
    uint64_t resident;    /* actors in memory */
    uint64_t freezes;     /* files of actors' states, written to the path */
    uint64_t new_bytes;   /* keys and values, and pages of memories, that these had to hold */
    uint64_t resident_bytes; /* that actors in memory take, as they said last */
    uint64_t queued;      /* actors that wait for room in memory */
} dw_runtime_stats;
/* Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_runtime_get_stats(dw_runtime *runtime, dw_runtime_stats *stats);
/* The scheduler's part. Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_runtime_get_scheduler_stats(dw_runtime *runtime, dw_scheduler_stats *stats);
/* Beginnings of prompts in the folder prefix_path; all 0 where there is none. */
typedef struct dw_runtime_prefix_stats {
    size_t struct_bytes;
    uint64_t files;
    uint64_t bytes;         /* of the files */
    uint64_t limit_bytes;   /* prefix_bytes */
    uint64_t written_bytes; /* since the runtime was opened, as the next two */
    uint64_t loaded;        /* files */
    uint64_t dropped;       /* files that gave way to others, or were damaged */
    uint64_t unsaved;       /* prefixes that wait to be written */
} dw_runtime_prefix_stats;
/* Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_runtime_get_prefix_stats(dw_runtime *runtime, dw_runtime_prefix_stats *stats);
typedef struct dw_runtime_tenant_info {
    size_t struct_bytes;
    uint32_t weight;
    uint32_t capabilities;
    uint64_t actors;   /* now, as the next two */
    uint64_t working;
    uint64_t ready;    /* that wait for their turns */
    uint64_t messages; /* worked on; of all actors that it has had, as what follows */
    uint64_t failed;
    uint64_t work_ns;
    uint64_t queue_ns;
    uint64_t guest_ns;
    uint64_t device_ns;
    uint64_t prompt_tokens;
    uint64_t generated_tokens;
    uint64_t found_tokens;
    uint64_t answered_bytes;
    uint64_t written_bytes;
    uint64_t parks;
    uint64_t thaws;
} dw_runtime_tenant_info;
/* What actors have done so far in messages that they work on now is in it as of the last look at
 * them: dw_runtime_get_actor_info, dw_runtime_overview. Errors: DW_E_NOT_FOUND (no such tenant),
 * DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_runtime_get_tenant_info(dw_runtime *runtime, const char *name,
                                                          dw_runtime_tenant_info *info,
                                                          dw_error *err);
/* Names of at most `capacity` tenants that come after `after` (NULL: from the first on) in the
 * order of their bytes -> names [*count]. */
DW_API DW_MUST_CHECK dw_status dw_runtime_list_tenants(dw_runtime *runtime, const char *after,
                                                       char (*names)[DW_TENANT_NAME_MAX + 1],
                                                       size_t capacity, size_t *count,
                                                       dw_error *err);
/* An actor, or NULL: the runtime with its tenants, as one line of JSON -> text; docs/seeing.md has
 * what is in it. Errors: DW_E_SPACE. */
DW_API DW_MUST_CHECK dw_status dw_runtime_describe(dw_runtime *runtime, const char *id,
                                                   dw_text_room *text, dw_error *err);

/* Which actors come first: those that are at work, and of each what has most of it. */
typedef enum dw_overview_order {
    DW_ORDER_DEVICE = 0, /* device_ns */
    DW_ORDER_GUEST,      /* guest_ns */
    DW_ORDER_TOKENS,     /* prompt_tokens, generated_tokens */
    DW_ORDER_MEMORY,     /* memory_bytes */
    DW_ORDER_WAITING,    /* messages */
} dw_overview_order;
typedef struct dw_overview_options {
    size_t struct_bytes;
    dw_overview_order order;
    uint32_t actors_max; /* 0: 256; at most 65,536 */
} dw_overview_options;
/* All that is to be seen, as one line of JSON that `write` is given, on the caller's thread: the
 * runtime, its scheduler, tenants, and actors up to `actors_max`; docs/seeing.md has what is in it.
 * The runtime goes on meanwhile: it is looked at in parts. `options` may be NULL. Errors:
 * DW_E_RANGE (order, actors_max), DW_E_IO (`write` did not take it). */
DW_API DW_MUST_CHECK dw_status dw_runtime_overview(dw_runtime *runtime,
                                                   const dw_overview_options *options,
                                                   dw_write_fn write, void *user, dw_error *err);

typedef struct dw_trace_options {
    size_t struct_bytes;
    int fd;             /* the caller's; open until dw_runtime_trace_end */
    uint64_t bytes_max; /* of the file: what comes later is left out; 0: 256 MiB; at least 4,096 */
} dw_trace_options;
typedef struct dw_trace_stats {
    size_t struct_bytes;
    uint64_t events; /* in the file */
    uint64_t lost;   /* that are not: it was full, or whoever takes it too slow */
    uint64_t bytes;
} dw_trace_stats;
/* Write from now on what becomes of messages to `fd`, as JSON that Perfetto reads
 * (https://ui.perfetto.dev): their waits, the guests' turns, the device's steps, answers, and what
 * caused what; docs/seeing.md has the rest. A thread of its own writes; nothing waits for it.
 * Errors: DW_E_STATE (a trace is under way), DW_E_RANGE (fd, bytes_max). */
DW_API DW_MUST_CHECK dw_status dw_runtime_trace_begin(dw_runtime *runtime,
                                                      const dw_trace_options *options,
                                                      dw_error *err);
/* The file is complete, also on failure; closing the runtime does this first. `stats` may be NULL.
 * Blocks: until it is written; a pipe that is full for a second is left. Errors: DW_E_STATE (none
 * is under way), DW_E_IO (what could not be written). */
DW_API DW_MUST_CHECK dw_status dw_runtime_trace_end(dw_runtime *runtime, dw_trace_stats *stats,
                                                    dw_error *err);

/* A message in an actor's mailbox. */
typedef struct dw_runtime_message {
    size_t struct_bytes;
    uint64_t number;
    const char *from; /* an actor's id; "": from outside */
    uint64_t bytes;
    bool set_aside; /* given up, since the actor's work on it failed as often as the limit
                       `attempts` says: it waits for its owner. Of messages that nobody waits
                       for. */
    uint32_t attempts;  /* so far, that failed */
    const char *reason; /* of the last one's failure; "" */
} dw_runtime_message;
/* Call `take` for each message that waits or was set aside, on the caller's thread; it must not
 * call the runtime. With a path they are in the order of their numbers, which are those of the
 * messages there, not dw_runtime_send's. Messages that are in the actor itself, of timers and of an
 * imported actor, are not among them until they are set aside. */
DW_API DW_MUST_CHECK dw_status dw_runtime_list_mail(dw_runtime *runtime, const char *id,
                                                    void (*take)(void *user,
                                                                 const dw_runtime_message *message),
                                                    void *user, dw_error *err);
/* The content of message `number`, as dw_runtime_list_mail has it: `take` gets it, once. Errors:
 * DW_E_NOT_FOUND (no such message), DW_E_IO (`take` failed). */
DW_API DW_MUST_CHECK dw_status dw_runtime_read_mail(dw_runtime *runtime, const char *id,
                                                    uint64_t number, dw_write_fn take, void *user,
                                                    dw_error *err);
/* Drop message `number`, which waits (a request ends with DW_E_CANCELLED) or was set aside;
 * DW_MAIL_ALL: all that were set aside. `*count` (may be NULL): how many. Errors: DW_E_NOT_FOUND
 * (no such message, or it is being worked on). */
#define DW_MAIL_ALL UINT64_MAX
DW_API DW_MUST_CHECK dw_status dw_runtime_drop_mail(dw_runtime *runtime, const char *id,
                                                    uint64_t number, uint64_t *count,
                                                    dw_error *err);
/* The same, to let what was set aside wait again, behind all others and without earlier attempts.
 * Errors: also DW_E_ARG (it waits). */
DW_API DW_MUST_CHECK dw_status dw_runtime_retry_mail(dw_runtime *runtime, const char *id,
                                                     uint64_t number, uint64_t *count,
                                                     dw_error *err);

typedef enum dw_event_kind {
    DW_EVENT_MADE = 1,  /* an actor: spawned or forked, by `other` or from outside */
    DW_EVENT_ACCEPTED,  /* message `number` is in its mailbox, from `other` or from outside */
    DW_EVENT_BEGAN,     /* to work on it; 0: on that of a timer */
    DW_EVENT_ANSWERED,  /* `bytes` of it */
    DW_EVENT_ENDED,     /* its work on it: `status`, and `text` where that is not DW_OK */
    DW_EVENT_SET_ASIDE, /* message `number`, as of dw_runtime_list_mail: `text` says why */
    DW_EVENT_RESTARTED,
    DW_EVENT_FROZEN,    /* freeze `number` */
    DW_EVENT_REWOUND,
    DW_EVENT_STOPPED,   /* it is gone */
    DW_EVENT_UPGRADED,  /* to another module, and frozen as `number` */
    DW_EVENT_PARKED,    /* it has left memory */
    DW_EVENT_THAWED,    /* it has come back */
} dw_event_kind;

/* Texts and bytes are borrowed until the callback returns. */
typedef struct dw_event {
    size_t struct_bytes;
    dw_event_kind kind;
    const char *actor;
    const char *other; /* an actor's id; "" */
    uint64_t number;
    uint64_t time_ms; /* since 1970 */
    dw_status status;
    const char *text; /* "" */
    const unsigned char *bytes; /* [byte_count] */
    size_t byte_count;
    uint64_t lost; /* events before this one that could not be kept: 65,536 wait at most */
    const char *tenant; /* whose the actor is; NULL: it is not known any more */
} dw_event;

/* Call `on_event` for what happens from now on to the actor, or with `id` NULL to all. Errors:
 * DW_E_LIMIT (1,024 subscriptions). */
DW_API DW_MUST_CHECK dw_status dw_runtime_subscribe(dw_runtime *runtime, const char *id,
                                                    void (*on_event)(void *user,
                                                                     const dw_event *event),
                                                    void *user, uint64_t *subscription,
                                                    dw_error *err);
/* No more. When it returns on_event is not under way, unless it was called from there. A number
 * that is no subscription's is left alone. */
DW_API void dw_runtime_unsubscribe(dw_runtime *runtime, uint64_t subscription);

/* ---- files, without an engine ----------------------------------------------------------- */

/* The head of a GGUF file. Everything it gives out lies in the mapped file, until it is closed.
 * Thread: any, once it is open. */
typedef struct dw_gguf dw_gguf;

/* Bytes in the file, without a NUL behind them; not necessarily UTF-8. */
typedef struct dw_gguf_string {
    const char *text;
    size_t bytes;
} dw_gguf_string;

typedef struct dw_gguf_info {
    size_t struct_bytes;
    uint64_t bytes;          /* of all its files */
    uint64_t weights_bytes;  /* of them, tensors' */
    uint64_t parameter_count;
    size_t tensor_count;
    uint32_t part_count;     /* files; at least 1 */
} dw_gguf_info;

typedef struct dw_gguf_tensor_info {
    size_t struct_bytes;
    const char *name;
    const char *type;     /* ggml's name: "q4_1" */
    uint64_t shape[4];    /* the fastest dimension first; 1 where there are fewer */
    uint64_t bytes;
    uint64_t file_offset; /* of its data, in file */
    uint32_t part;
    uint32_t type_number; /* in the file format */
} dw_gguf_tensor_info;

/* Map the file at `path`, and the others of a model in parts, and check all that their heads say.
 * Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_FORMAT (what, and where), DW_E_UNSUPPORTED (version, big
 * endian, a part that is not the first), DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_gguf_open(dw_gguf **out, const char *path, dw_error *err);
DW_API void dw_gguf_close(dw_gguf *gguf);
/* Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_gguf_get_info(const dw_gguf *gguf, dw_gguf_info *info);
/* Tensor `index` < tensor_count. Errors: DW_E_RANGE, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_gguf_get_tensor_info(const dw_gguf *gguf, size_t index,
                                                       dw_gguf_tensor_info *info, dw_error *err);
typedef struct dw_fingerprint_options {
    size_t struct_bytes;
    const char *folder; /* dw_model_options.fingerprint_folder */
    bool ignore_kept;   /* hash even so, and keep what comes of it */
    bool (*on_progress)(void *user, uint64_t done, uint64_t total); /* as on_fingerprint */
    void *user;
} dw_fingerprint_options;

/* dw_model_fingerprint's, of a file; all of it is read here. `options` and `stats` may be NULL.
 * Errors: as there, DW_E_ARG. */
DW_API DW_MUST_CHECK dw_status dw_gguf_fingerprint_with(const dw_gguf *gguf,
                                                        const dw_fingerprint_options *options,
                                                        char text[DW_FINGERPRINT_BYTES],
                                                        dw_fingerprint_stats *stats, dw_error *err);
/* dw_model_matches, of a file. */
DW_API DW_MUST_CHECK dw_status dw_gguf_matches(const dw_gguf *gguf,
                                               const dw_fingerprint_options *options,
                                               const char *fingerprint, bool *matches,
                                               dw_error *err);
/* dw_gguf_fingerprint_with without options. */
DW_API DW_MUST_CHECK dw_status dw_gguf_fingerprint(const dw_gguf *gguf,
                                                   char text[DW_FINGERPRINT_BYTES],
                                                   dw_error *err);
/* Values by key. Where the key is missing: DW_E_NOT_FOUND, `*value` and `err` untouched, so that a
 * caller with a default need do nothing. Where it has another type or does not fit: DW_E_FORMAT.
 * u32 takes any integer type that holds a value in range. */
DW_API dw_status dw_gguf_u32(const dw_gguf *gguf, const char *key, uint32_t *value, dw_error *err);
DW_API dw_status dw_gguf_text(const dw_gguf *gguf, const char *key, dw_gguf_string *value,
                              dw_error *err);
/* Element `index` of an array of strings, in time proportional to index; `*count` is how many there
 * are, also with DW_E_RANGE. `value` may be NULL, `index` is then not looked at.
 * Errors: DW_E_NOT_FOUND and DW_E_FORMAT likewise, DW_E_RANGE (index). */
DW_API dw_status dw_gguf_text_at(const dw_gguf *gguf, const char *key, size_t index,
                                 dw_gguf_string *value, size_t *count, dw_error *err);

/* A snapshot file: docs/snapshot.md. What it gives out is borrowed until it is closed. Thread: any,
 * once it is open. */
typedef struct dw_snapshot_file dw_snapshot_file;

#define DW_SNAPSHOT_VERIFY 1u /* hash every tensor, look at every filler */

typedef struct dw_snapshot_file_info {
    size_t struct_bytes;
    const char *identity; /* 32 hexadecimal digits */
    uint64_t bytes;
    size_t tensor_count;
} dw_snapshot_file_info;

typedef struct dw_snapshot_tensor_info {
    size_t struct_bytes;
    const char *name;
    const char *dtype;  /* "U8", "I32", "U32", "I64", "F16" or "F32" */
    uint64_t offset;    /* from the file's start */
    uint64_t bytes;
} dw_snapshot_tensor_info;

/* Open the file at `path`, or with FILE.series/BEGIN+BYTES the snapshot in a series
 * (docs/snapshot.md), and check header, seal and layout; with `flags` DW_SNAPSHOT_VERIFY the data
 * too. Errors, each with the file and the byte: DW_E_NOT_FOUND, DW_E_IO, DW_E_FORMAT (no snapshot,
 * damaged or cut), DW_E_UNSUPPORTED (another version), DW_E_LIMIT, DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_snapshot_file_open(dw_snapshot_file **out, const char *path,
                                                     unsigned flags, dw_error *err);
DW_API void dw_snapshot_file_close(dw_snapshot_file *file);
/* Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_snapshot_file_get_info(const dw_snapshot_file *file,
                                           dw_snapshot_file_info *info);
/* A line of its metadata: "kind", "base", "module", "actor" (JSON) and others; NULL: no such. */
DW_API const char *dw_snapshot_file_meta(const dw_snapshot_file *file, const char *key);
/* The tensor of that name. Errors: DW_E_NOT_FOUND, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_snapshot_file_get_tensor_info(const dw_snapshot_file *file,
                                                                const char *name,
                                                                dw_snapshot_tensor_info *info,
                                                                dw_error *err);
/* The whole tensor -> to [capacity]. Errors: DW_E_NOT_FOUND, DW_E_SPACE, DW_E_IO (cut since). */
DW_API DW_MUST_CHECK dw_status dw_snapshot_file_read_tensor(const dw_snapshot_file *file,
                                                            const char *name, void *to,
                                                            size_t capacity, dw_error *err);

/* ---- the doctor ------------------------------------------------------------------------- */

/* What was found when each link of the chain was checked alone, then all together with a guest. */
typedef struct dw_doctor_report dw_doctor_report;

typedef struct dw_doctor_info {
    size_t struct_bytes;
    bool ok;            /* every check is */
    bool has_gpu;       /* the machine has a device that is no CPU */
    size_t check_count;
    char device[64];    /* that was checked: a name from dw_device_get_info */
} dw_doctor_info;

/* Texts are borrowed, as long as the report. */
typedef struct dw_doctor_check_info {
    size_t struct_bytes;
    const char *link; /* "link 1", "link 2", "link 3", "chain" */
    const char *name; /* "region_alignment" */
    const char *what; /* one line for people */
    bool ok;
    double value;
    const char *unit;
    const char *goal; /* "0", "<= 0.03"; NULL: a figure without one */
    const char *note; /* why it failed, or what else there is to say; "" */
} dw_doctor_check_info;

/* Check `device` (NULL: as dw_engine_create chooses) with the guest at `guest_path`, which is
 * doctor_chain.wasm. A check that fails is in the report; an error is what kept the doctor from
 * checking at all. Blocks: for some seconds. Thread: one at a time in a process.
 * Errors: those of dw_engine_create and dw_module_open. */
DW_API DW_MUST_CHECK dw_status dw_doctor_examine(dw_doctor_report **out, const char *device,
                                                 const char *guest_path, dw_error *err);
DW_API void dw_doctor_report_destroy(dw_doctor_report *report);
/* Errors: DW_E_ARG (struct_bytes). */
DW_API dw_status dw_doctor_get_info(const dw_doctor_report *report, dw_doctor_info *info);
/* Check `index` < check_count. Errors: DW_E_RANGE, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_doctor_get_check(const dw_doctor_report *report, size_t index,
                                                   dw_doctor_check_info *check, dw_error *err);

/* ---- models that come and go --------------------------------------------------------------- */

/* Models by name, loaded when they are wanted, one after the other, on a thread of the pool's;
 * unloaded when they have not been used for a while, or others need the memory: the least recently
 * used first, never one in use. In use is one that somebody counts beside the pool, and whom a
 * runtime's actors have that do not rest. Those that rest are parked for it
 * (dw_runtime_park_model), and come back with the model.
 * Thread: any, but for create and destroy. */
typedef struct dw_model_pool dw_model_pool;

typedef enum dw_model_state {
    DW_MODEL_UNLOADED,
    DW_MODEL_LOADING, /* or its turn is yet to come */
    DW_MODEL_LOADED,
} dw_model_state;

#define DW_KEEP_LOADED UINT64_MAX

typedef struct dw_model_pool_options {
    size_t struct_bytes;
    uint64_t bytes_max; /* of the weights of those that are loaded; 0: no limit. Where the device
                           has no room for one, others give way to it as well */
    uint64_t idle_ms;   /* unloaded so long after its last use; 0: it stays */
    const char *chat_template;      /* dw_model_options', of all of them; copied, as the next */
    const char *fingerprint_folder;
    /* The file of a model that is none of the pool's, by its fingerprint, for an actor that has it:
     * `path` [capacity]. On the thread that asks. NULL: there is none. */
    dw_status (*find_path)(void *user, const char *fingerprint, char *path, size_t capacity,
                           dw_error *err);
    /* A model was loaded, or unloaded, or could not be loaded: `error` says why. On the pool's
     * thread. May be NULL. */
    void (*on_change)(void *user, const char *name, dw_model_state state, const dw_error *error);
    void *user;
    /* A model's weights are there, and nobody has it yet: adapters may be added (`name` as it was
     * added, NULL: it is none of those). They count for bytes_max. An error fails the load; after
     * DW_E_MEMORY another model goes, and the load begins anew. On the pool's thread. May be
     * NULL. */
    dw_status (*on_load)(void *user, const char *name, dw_model *model, dw_error *err);
    /* Whether on_load adds adapters to the model of that name: such a one is not what its file is,
     * and for actors that have it (dw_model_pool_find) it is loaded to know. NULL: to none. */
    bool (*has_adapters)(void *user, const char *name);
} dw_model_pool_options;

typedef struct dw_model_pool_info {
    size_t struct_bytes;
    const char *name; /* as long as the pool, as the next */
    const char *path;
    bool named; /* it was added by name */
    dw_model_state state;
    uint64_t done; /* of `total` steps of its load, while it is loading; total 0: it waits */
    uint64_t total;
    uint64_t bytes; /* of its weights, by the head of its file; 0: that cannot be read */
    bool known;     /* it was loaded once: the next two are its own */
    char fingerprint[DW_FINGERPRINT_BYTES];
    dw_model_info model; /* but for its name, which is NULL */
    uint64_t users;      /* who took it and has not given it back */
    uint64_t idle_ms;    /* since it was last used, of one that is loaded and not in use */
    uint64_t keep_ms;    /* and it is unloaded after so long; DW_KEEP_LOADED: never */
    uint64_t loads;
    uint64_t unloads;
    uint64_t failures; /* loads that failed */
    dw_error error;    /* of the last load; code DW_OK: none, or it went well */
} dw_model_pool_info;

/* Errors: DW_E_MEMORY, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_model_pool_create(dw_model_pool **out, dw_engine *engine,
                                                    const dw_model_pool_options *options,
                                                    dw_error *err);
/* A file under a name; it is not loaded yet. Errors: DW_E_ARG (a name that is empty, no UTF-8, or
 * has characters below a space), DW_E_STATE (the name is taken), DW_E_LIMIT (256 models),
 * DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_model_pool_add(dw_model_pool *pool, const char *name,
                                                 const char *path, dw_error *err);
/* The runtime whose actors have the pool's models, once it is open; it outlives the pool's use of
 * it: until dw_model_pool_stop. */
DW_API void dw_model_pool_serve(dw_model_pool *pool, dw_runtime *runtime);
/* A model by name, or, where `name` begins with '/', by the path of its file: counted for the
 * caller, and not unloaded before he gives it back (dw_model_pool_give). Blocks: while it is
 * loaded. Errors: DW_E_NOT_FOUND (no such name), DW_E_BUSY (it does not fit beside those that are
 * in use), DW_E_MEMORY (bytes_max is less than it has), DW_E_STATE (dw_model_pool_stop),
 * DW_E_CANCELLED, DW_E_LIMIT (256 models), those of dw_model_open_with. */
DW_API DW_MUST_CHECK dw_status dw_model_pool_take(dw_model_pool *pool, const char *name,
                                                  dw_model **model, dw_error *err);
/* `model` was taken so, and counts one less. */
DW_API void dw_model_pool_give(dw_model_pool *pool, dw_model *model);
/* As dw_runtime_options.find_model has it, with the pool as `user`: counted for the caller, who
 * calls dw_model_unref. Blocks: while it is loaded. Errors: as dw_model_pool_take. */
DW_API DW_MUST_CHECK dw_status dw_model_pool_find(void *pool, const char *name,
                                                  const char *fingerprint, dw_model **model,
                                                  dw_error *err);
/* Likewise of dw_runtime_options.find_granted: of those with the fingerprint one that the tenant
 * may have. Another is not found, and not loaded. */
DW_API DW_MUST_CHECK dw_status dw_model_pool_find_granted(void *pool, const dw_model_wanted *wanted,
                                                          dw_model **model, dw_error *err);
/* It is unloaded so long after its last use, instead of the options' idle_ms, until it was unloaded
 * once; 0: as soon as nobody uses it; DW_KEEP_LOADED: it stays. Errors: DW_E_NOT_FOUND. */
DW_API DW_MUST_CHECK dw_status dw_model_pool_keep(dw_model_pool *pool, const char *name,
                                                  uint64_t keep_ms, dw_error *err);
DW_API size_t dw_model_pool_count(dw_model_pool *pool);
/* Of number `index` < count. Errors: DW_E_RANGE, DW_E_ARG (struct_bytes). */
DW_API DW_MUST_CHECK dw_status dw_model_pool_get_info(dw_model_pool *pool, size_t index,
                                                      dw_model_pool_info *info, dw_error *err);
/* Nothing is loaded or unloaded any more: what is under way breaks off, and who waits is told
 * DW_E_STATE. The runtime is not used from then on. */
DW_API void dw_model_pool_stop(dw_model_pool *pool);
/* Its models go with those who count them. NULL is fine. */
DW_API void dw_model_pool_destroy(dw_model_pool *pool);

/* ---- HTTP ---------------------------------------------------------------------------------- */

/* Serves models over HTTP to clients of OpenAI's and Anthropic's routes. Each conversation is an
 * actor of the runtime, found again by the text of the next request; docs/http.md has the
 * routes. */
typedef struct dw_server dw_server;

typedef struct dw_server_options {
    size_t struct_bytes;
    const char *listen; /* "HOST:PORT", "[IPV6]:PORT", "unix:PATH"; port 0: one that is free; NULL:
                           "127.0.0.1:8080" */
    dw_model_pool *models; /* those that were added by name, at least one, may be asked for; the
                              first is for requests without one. It outlives the server, and
                              serves `runtime` */
    void *user;
    dw_module *conversation; /* the guest that runs conversations: conversation.wasm, or one that
                                speaks as it does. Counted */
    const char *path; /* a folder for the file conversations.db, by which conversations are found
                         again: the runtime's. NULL: none outlasts its request */
    uint64_t conversations_max; /* kept; 0: 100,000. Those used longest ago go */
    /* Who may ask: text [keys_bytes] of lines "TENANT SHA256", the latter of a key, in hexadecimal
     * digits; "-" is the tenant "". Tenants of which nothing was said (dw_runtime_set_tenant, a
     * manifest, dw_runtime_options.made_tenants) are made: they may do nothing but converse.
     * Requests give their key as "Authorization: Bearer KEY" or "x-api-key: KEY". NULL: anybody
     * may, as tenant "". */
    const char *keys;
    size_t keys_bytes;
    uint32_t connections_max;   /* at a time; 0: 4,096 */
    size_t body_bytes_max;      /* of a request; 0: 64 MiB */
    uint32_t context_tokens_max; /* of conversations, as their actors' options; likewise the next */
    dw_kv_type kv_type;
    const dw_limits *limits; /* copied; NULL: the defaults */
    /* For actors that are to be made of a guest by its name; NULL: of uploaded modules alone. What
     * it gives is borrowed until the runtime is closed. On threads of the server's. */
    dw_status (*find_guest)(void *user, const char *name, dw_module **module, dw_error *err);
    /* Where a local socket is made at which this process's user is answered, without a key and for
     * all tenants: `driftwood actor` asks there. NULL: there is none. */
    const char *own_socket;
    uint64_t snapshot_bytes_max; /* of one that is imported; 0: 16 GiB */
    const char *doctor_guest; /* doctor_chain.wasm's path, for /v1/links; NULL: there is no such
                                 route. Copied */
    /* Pages of other sites that browsers may send requests for, [allowed_origin_count], copied:
     * "https://chat.example", or "*" for all. Others' requests are refused. */
    const char *const *allowed_origins;
    size_t allowed_origin_count;
    /* Requests may name any host. false: an address, localhost, or an allowed origin's host; else
     * a page of a site whose name points to this machine could ask. True where keys are wanted. */
    bool any_host;
    dw_call_fn on_call; /* tools of actors that are made over HTTP, with `user`, as
                           dw_instance_options.on_call; tenants that the server makes of keys may
                           call none. NULL: there are none */
    uint32_t heartbeat_ms; /* after so long without a word a stream's client is told that somebody
                              is there, as its shape allows; 0: 10,000 */
} dw_server_options;

/* Listens when it returns; requests are taken by dw_server_run. The runtime outlives the server.
 * Errors: DW_E_ARG (no model or conversation; the address has no such form), DW_E_STATE
 * (the address is in use), DW_E_IO, DW_E_LIMIT (a path is too long; 65,536 keys), DW_E_FORMAT (the
 * line of keys; conversations.db is something else), DW_E_UNSUPPORTED (it is of a newer version),
 * DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_server_open(dw_server **out, dw_runtime *runtime,
                                              const dw_server_options *options, dw_error *err);
/* Where it listens, as options.listen has it, with the port that was free. Until it is closed. */
DW_API const char *dw_server_address(const dw_server *server);
/* Serve. Blocks: until dw_server_stop, and what is under way then has ended, at most 30 seconds
 * after it. One thread's. */
DW_API DW_MUST_CHECK dw_status dw_server_run(dw_server *server, dw_error *err);
/* Thread: any, and signal handlers. */
DW_API void dw_server_stop(dw_server *server);
/* An entry of the runtime's log, for clients that ask for it: to be called from
 * dw_runtime_options.on_log. Entries of before the last 4,096 are forgotten. Thread: any. */
DW_API void dw_server_take_log(dw_server *server, const dw_log_entry *entry);
/* What is under way ends as dw_server_run says. Not while that runs. NULL: nothing. */
DW_API void dw_server_close(dw_server *server);

#ifdef __cplusplus
}
#endif
#endif
