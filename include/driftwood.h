/* Driftwood: WebAssembly guests beside a compute device, on the same memory.
 *
 * This header is the whole embedding API. Reading order:
 *
 *   dw_engine     a device opened for use, and the WebAssembly runtime beside it
 *   dw_model      one GGUF file, loaded for an engine: weights, vocabulary, chat template
 *   dw_module     one compiled guest
 *   dw_instance   a guest with its own linear memory, and what it was granted
 *
 * A guest's linear memory is also the device's buffer: what the guest writes is what the
 * device reads, at the same address, and the other way round.
 *
 * Ownership: `create`/`open` give the caller an object that `destroy`/`close` ends; destroying
 * NULL is fine. A module and a model are counted by the instances that use them, so they may be
 * unreferenced in any order; the engine must be destroyed last.
 * Threads: an engine may be used from several threads; an instance from one at a time, except
 * for dw_instance_cancel, which any thread and any signal handler may call.
 * Errors: every function that can fail returns a dw_status, 0 being success, and fills `err`
 * (which may be NULL) with one line that names what was wrong, the value and the limit.
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
DW_API int dw_status_http(dw_status status);

/* ---- devices --------------------------------------------------------------------------- */

typedef enum dw_device_kind {
    DW_DEVICE_CPU = 0,
    DW_DEVICE_GPU = 1,
    DW_DEVICE_IGPU = 2,
    DW_DEVICE_OTHER = 3,
} dw_device_kind;

typedef struct dw_device_info {
    char name[64];         /* "CPU", "CUDA0", "Vulkan0", "Metal": what --device takes */
    char description[128]; /* the maker's words */
    char backend[32];      /* ggml's backend: "CPU", "CUDA", "Vulkan", "Metal" */
    dw_device_kind kind;
    bool unified;          /* reads host pages at full speed: weights and KV stay where they are */
    bool shares_host;      /* can take guest memory as its own buffer (link 3) */
    size_t memory_bytes;   /* 0: the backend does not say */
    size_t memory_free_bytes;
} dw_device_info;

/* How many devices this build and machine have; at least the CPU. Thread: any. */
DW_API size_t dw_device_count(void);
/* Fills `info` for device `index` < dw_device_count(). Errors: DW_E_RANGE. */
DW_API DW_MUST_CHECK dw_status dw_device_describe(size_t index, dw_device_info *info,
                                                  dw_error *err);

/* ---- engine ---------------------------------------------------------------------------- */

typedef struct dw_engine dw_engine;

typedef struct dw_engine_options {
    const char *device;  /* a name from dw_device_describe; NULL: the first GPU, else the CPU */
    int threads;         /* CPU threads for device work; 0: the machine's real cores */
} dw_engine_options;

/* `options` may be NULL. Errors: DW_E_NOT_FOUND (no such device; the message lists those there
 * are), DW_E_ARG (threads), DW_E_DEVICE, DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_engine_create(dw_engine **out, const dw_engine_options *options,
                                                dw_error *err);
/* Every model, module and instance of it must be gone. */
DW_API void dw_engine_destroy(dw_engine *engine);
DW_API void dw_engine_device(const dw_engine *engine, dw_device_info *info);

/* ---- models ---------------------------------------------------------------------------- */

typedef struct dw_model dw_model;

typedef struct dw_model_info {
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
} dw_model_info;

/* Load the GGUF file at `path` for `engine`: maps it read-only, checks every range in it, and
 * uploads the weights only where the device is discrete.
 * Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_FORMAT (damaged file: what and where),
 * DW_E_UNSUPPORTED (an architecture, tensor type or tokenizer outside the table), DW_E_MEMORY. */
DW_API DW_MUST_CHECK dw_status dw_model_open(dw_model **out, dw_engine *engine, const char *path,
                                             dw_error *err);
DW_API dw_model *dw_model_ref(dw_model *model);
DW_API void dw_model_unref(dw_model *model);
DW_API void dw_model_describe(const dw_model *model, dw_model_info *info);

/* ---- guests ---------------------------------------------------------------------------- */

typedef struct dw_module dw_module;
typedef struct dw_instance dw_instance;

/* Compile `wasm` [wasm_bytes], a core WebAssembly module in binary form.
 * Errors: DW_E_FORMAT (not WebAssembly, or invalid), DW_E_UNSUPPORTED (memory64, threads, a
 * component, an import that nobody provides: the message names it; no memory; nothing to run). */
DW_API DW_MUST_CHECK dw_status dw_module_create(dw_module **out, dw_engine *engine,
                                                const void *wasm, size_t wasm_bytes,
                                                dw_error *err);
/* The same from a file. Errors: also DW_E_NOT_FOUND, DW_E_IO. */
DW_API DW_MUST_CHECK dw_status dw_module_open(dw_module **out, dw_engine *engine,
                                              const char *path, dw_error *err);
DW_API dw_module *dw_module_ref(dw_module *module);
DW_API void dw_module_unref(dw_module *module);

/* Where a guest's WASI output goes. NULL: to the process's own stream.
 * Returns the bytes taken, or a negative value to make the guest's write fail. */
typedef ptrdiff_t (*dw_write_fn)(void *user, const unsigned char *bytes, size_t count);
/* One message for a guest that asks with dw_input: fill `buffer` [capacity] and return the
 * message's whole length in bytes (more than `capacity`: the guest asks again with more room, and
 * must then get the same message), or -1 at the end of input. */
typedef ptrdiff_t (*dw_input_fn)(void *user, char *buffer, size_t capacity);
/* `done` of `total` prompt tokens computed. */
typedef void (*dw_progress_fn)(void *user, uint32_t done, uint32_t total);

/* A host folder granted to a guest under a name of its own. */
typedef struct dw_dir {
    const char *host_path;
    const char *guest_path;
    bool writable;
} dw_dir;

/* How a context keeps its keys and values: halves, blocks of 32 bytes under one scale (half the
 * memory of halves, nearly as exact), or floats. */
typedef enum dw_kv_type { DW_KV_F16, DW_KV_Q8_0, DW_KV_F32 } dw_kv_type;

typedef struct dw_instance_options {
    dw_model *const *models;      /* [model_count], granted; the first is the default */
    size_t model_count;
    const char *const *args;      /* [arg_count], argv; argv[0] is the guest's name */
    size_t arg_count;
    const char *const *env_names; /* [env_count] */
    const char *const *env_values;
    size_t env_count;
    const dw_dir *dirs;           /* [dir_count] */
    size_t dir_count;
    bool inherit_stdin;           /* the guest reads the process's standard input */
    dw_write_fn on_stdout;
    dw_write_fn on_stderr;
    dw_input_fn on_input;         /* NULL: dw_input answers DW_E_END */
    dw_progress_fn on_progress;
    void *user;                   /* given to all of the above */
    uint64_t memory_bytes_max;    /* linear memory; 0: 4 GiB */
    uint32_t context_tokens_max;  /* of each context; 0: the model's own length */
    uint32_t context_count_max;   /* open at a time; 0: 16 */
    uint64_t timeout_ms;          /* for one run; 0: none */
    dw_kv_type kv_type;           /* of its contexts */
} dw_instance_options;

/* A fresh guest with its own linear memory. `options` may be NULL; what it points to is copied
 * or, for models, counted. Errors: DW_E_ARG (kv_type), DW_E_UNSUPPORTED, DW_E_LIMIT (the module's
 * memory is larger than memory_bytes_max), DW_E_TRAP (its start function), DW_E_MEMORY,
 * DW_E_NOT_FOUND (a dir). */
DW_API DW_MUST_CHECK dw_status dw_instance_create(dw_instance **out, dw_module *module,
                                                  const dw_instance_options *options,
                                                  dw_error *err);
DW_API void dw_instance_destroy(dw_instance *instance);

/* Run a command guest's `_start` to its end. `exit_code` may be NULL; a guest that returns or
 * calls proc_exit sets it and the status is DW_OK. Blocks: for as long as the guest runs.
 * Errors: DW_E_TRAP (with the trap's reason), DW_E_CANCELLED, DW_E_LIMIT (timeout_ms),
 * DW_E_STATE (it has run already: a command runs once). */
DW_API DW_MUST_CHECK dw_status dw_instance_run(dw_instance *instance, int *exit_code,
                                               dw_error *err);

/* Call an exported function of type () -> i32 or () -> (), as often as wanted.
 * `result` may be NULL. Errors: DW_E_NOT_FOUND, DW_E_TYPE, and those of dw_instance_run. */
DW_API DW_MUST_CHECK dw_status dw_instance_call(dw_instance *instance, const char *function,
                                                int32_t *result, dw_error *err);

/* Ask the guest to stop what it is doing: forward steps answer DW_E_CANCELLED until the guest
 * asks for its next input or takes the cancellation. A guest that does not care goes on.
 * Async-signal-safe. */
DW_API void dw_instance_cancel(dw_instance *instance);
/* End the guest at its next loop or call, whether it cares or not: the run returns
 * DW_E_CANCELLED. Thread: any. Async-signal-safe. */
DW_API void dw_instance_interrupt(dw_instance *instance);

/* The guest's linear memory: borrowed, of dw_instance_memory_bytes bytes, at an address that
 * stays the same as it grows. Not to be touched while the guest runs. */
DW_API void *dw_instance_memory(dw_instance *instance);
DW_API size_t dw_instance_memory_bytes(const dw_instance *instance);

/* What an instance has done so far. Times are of the host's monotonic clock. */
typedef struct dw_stats {
    uint64_t prompt_tokens;          /* prefilled: steps of several tokens or on an empty context */
    uint64_t prompt_ns;
    uint64_t generated_tokens;       /* chosen by a sampler, or decoded one by one */
    uint64_t decoded_tokens;         /* steps of one token on a context that holds some */
    uint64_t decode_ns;
    uint64_t host_copied_bytes;      /* payload that the host copied; 0 on the zero-copy path */
    uint64_t device_placed_bytes;    /* payload that the device wrote once more to place it */
    uint64_t host_calls;             /* calls from the guest into the host */
    uint64_t graph_runs;             /* tensor graphs run by the guest */
} dw_stats;

DW_API void dw_instance_stats(const dw_instance *instance, dw_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
