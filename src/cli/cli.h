/* What the commands share. Errors go to standard error as one line, "driftwood: ...".
 * Exit status: 0 good, 1 it failed, 2 a wrong command line, 130 interrupted; `run` hands the
 * guest's own on. */
#ifndef DW_CLI_CLI_H
#define DW_CLI_CLI_H

#include <signal.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/util.h"

#define DW_CLI_PATH_MAX 4096
#define DW_CLI_DIRS_MAX 32 /* folders that a command grants */
#define DW_CLI_USAGE 2
#define DW_CLI_INTERRUPTED 130
#define DW_CLI_DEFAULT_MODEL "SmolLM2-135M-Instruct.Q4_1"

/* The commands: argv[0] is "driftwood", for getopt's own messages. */
int dw_cli_run(int argc, char **argv);
int dw_cli_chat(int argc, char **argv);
int dw_cli_doctor(int argc, char **argv);
int dw_cli_devices(int argc, char **argv);
int dw_cli_models(int argc, char **argv);
int dw_cli_pull(int argc, char **argv);
int dw_cli_inspect(int argc, char **argv);
int dw_cli_eval(int argc, char **argv);
int dw_cli_actor(int argc, char **argv);
int dw_cli_serve(int argc, char **argv);
int dw_cli_check(int argc, char **argv);
int dw_cli_limits(int argc, char **argv);
int dw_cli_top(int argc, char **argv);
int dw_cli_new(int argc, char **argv);
int dw_cli_build(int argc, char **argv);

/* Loading a model: options that show how an upload goes, once it takes longer than a second on a
 * terminal, and let Ctrl-C end it (DW_E_CANCELLED). From _begin to _end one at a time. */
typedef struct dw_cli_load {
    dw_model_options options;
    bool began;
    bool caught;
    bool shown;
    uint64_t shown_ns;
    struct sigaction before;
} dw_cli_load;
const dw_model_options *dw_cli_load_begin(dw_cli_load *load);
void dw_cli_load_end(dw_cli_load *load);
/* dw_model_open so. */
/* Print a model file's chat templates; the exit code of the command. */
int dw_cli_inspect_template(const char *name);
/* The model of dw_cli_find_model, opened as a file; `path` [DW_CLI_PATH_MAX]. Errors: also those of
 * dw_gguf_open. */
dw_status dw_cli_open_gguf(dw_gguf **gguf, char *path, const char *name, dw_error *err);
/* The template in a file, for free(); *source NULL: `given` (NULL: none) is a name. Errors:
 * DW_E_IO, DW_E_LIMIT, DW_E_ARG. */
dw_status dw_cli_read_template(const char *given, char **source, dw_error *err);
/* For actors, of which most messages need no vocabulary: that is loaded when it is first used. */
dw_status dw_cli_open_actors_model(dw_model **model, dw_engine *engine, const char *path,
                                   dw_error *err);
/* `chat_template`: a file with one, or a name; NULL: the model's own. */
dw_status dw_cli_open_model(dw_model **model, dw_engine *engine, const char *path,
                            const char *chat_template, dw_error *err);

/* "driftwood: ..." and a line end to standard error; returns `exit_code`. Nothing once standard
 * output has failed: that is the error then, and is told at the end (cli/output.h). */
int dw_cli_fail(int exit_code, const char *format, ...) DW_PRINTF(2, 3);
/* The same for what `err` says. */
int dw_cli_fail_with(const dw_error *err);

/* "driftwood: note: ..." to standard error: what is not as it was asked for, but no error. */
void dw_cli_note(const char *format, ...) DW_PRINTF(1, 2);
/* Names for such a note, "--temp, --top-k". */
typedef struct dw_cli_names {
    char text[2048]; /* "": none; room for every option there is */
} dw_cli_names;
void dw_cli_names_add(dw_cli_names *names, const char *name);

/* Whole numbers and fractions as typed: all of the text, within [min, max], no NaN.
 * `what` names the option. Errors: DW_E_ARG, DW_E_RANGE, DW_E_NUMERIC. */
dw_status dw_cli_whole(const char *what, const char *text, uint64_t min, uint64_t max,
                       uint64_t *value, dw_error *err);
dw_status dw_cli_number(const char *what, const char *text, double min, double max, double *value,
                        dw_error *err);
/* Bytes: a whole number with K, M or G behind it if wanted. */
dw_status dw_cli_bytes(const char *what, const char *text, uint64_t min, uint64_t max,
                       uint64_t *value, dw_error *err);
/* f16, q8_0 or f32, after --kv-type. Errors: DW_E_ARG. */
dw_status dw_cli_kv_type(const char *text, dw_kv_type *type, dw_error *err);

/* The folder in it where fingerprints are kept; NULL: there is no such place. Valid until the
 * process ends. */
const char *dw_cli_fingerprint_folder(void);
/* The folder in it where compiled guests are kept. Errors: DW_E_NOT_FOUND, DW_E_LIMIT. */
dw_status dw_cli_module_folder(char *path, size_t capacity, dw_error *err);
/* Called while a fingerprint is waited for (dw_model_options.on_fingerprint): a line on the
 * terminal, where it takes long. */
bool dw_cli_on_fingerprint(void *user, uint64_t done, uint64_t total);
/* The folder models are kept in: $XDG_CACHE_HOME/driftwood or ~/.cache/driftwood. */
dw_status dw_cli_model_folder(char *path, size_t capacity, dw_error *err);
/* The file of a model given by path or by a name in that folder: with or without .gguf, in any
 * case of letters, or the start of one name only. NULL: the default. Errors: DW_E_NOT_FOUND. */
dw_status dw_cli_find_model(char *path, size_t capacity, const char *name, dw_error *err);
/* The file of a guest given by path, or by a bare name beside the program or in
 * $DRIFTWOOD_GUESTS. Errors: DW_E_NOT_FOUND. */
dw_status dw_cli_find_guest(char *path, size_t capacity, const char *name, dw_error *err);

/* Whether `is_it` says so of the file of a guest that came along; it is asked no further then. */
bool dw_cli_search_guests(bool (*is_it)(void *user, const char *path, const char *what), void *user,
                          const char *what);

/* Where what is written to `path` goes. `*stream`: into what is there, standard output for -, or a
 * pipe or device; else a file at `place`, which is `path` behind all links, to be written beside it
 * and renamed. Errors: DW_E_ARG (a folder), DW_E_LIMIT, DW_E_IO. */
dw_status dw_cli_place(const char *path, char place[DW_CLI_PATH_MAX], bool *stream, dw_error *err);
/* An empty file in $TMPDIR or /tmp, open for reading and writing, which a killed process does not
 * leave. `path` is good for opening it again while `*fd` is open. On failure `path` is "" and `*fd`
 * -1. */
dw_status dw_cli_temporary(char *path, size_t capacity, int *fd, dw_error *err);
/* Close and remove it; `path` is "" afterwards. Nothing with "" and -1. */
void dw_cli_remove_temporary(char *path, int fd);

#endif
