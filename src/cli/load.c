/* Loading a model with a line on the terminal, where it takes long, and an end by Ctrl-C. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define TEMPLATE_BYTES_MAX ((size_t)1 << 20)
#define SHOWN_AFTER_NS UINT64_C(1000000000)
#define SHOWN_EVERY_NS UINT64_C(100000000)

/* A signal handler has no argument of its own. */
static volatile sig_atomic_t interrupted;

static void on_sigint(int number)
{
    (void)number;
    interrupted = 1;
}

static bool on_upload(void *user, uint64_t done, uint64_t total)
{
    dw_cli_load *load = user;
    uint64_t now_ns = dw_cli_clock_ns();
    if (!load->began) { /* only now: a load without an upload ends by Ctrl-C as it always did */
        struct sigaction action = {.sa_handler = on_sigint};
        (void)sigemptyset(&action.sa_mask);
        interrupted = 0;
        load->caught = sigaction(SIGINT, &action, &load->before) == 0;
        load->began = true;
        load->shown_ns = now_ns + SHOWN_AFTER_NS - SHOWN_EVERY_NS;
    }
    if (now_ns >= load->shown_ns + SHOWN_EVERY_NS && isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\rweights: %.1f of %.1f GB on the device", (double)done / 1e9,
                      (double)total / 1e9);
        (void)fflush(stderr);
        load->shown_ns = now_ns;
        load->shown = true;
    }
    return interrupted == 0;
}

bool dw_cli_on_fingerprint(void *user, uint64_t done, uint64_t total)
{
    static uint64_t began_ns;
    static uint64_t shown_ns;
    static bool shown;
    uint64_t now_ns = dw_cli_clock_ns();
    (void)user;
    began_ns = began_ns == 0 || done == 0 ? now_ns : began_ns;
    if (now_ns - began_ns > SHOWN_AFTER_NS && now_ns - shown_ns > SHOWN_EVERY_NS && done < total &&
        isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\rfingerprint of the model: %.1f of %.1f GB", (double)done / 1e9,
                      (double)total / 1e9);
        shown_ns = now_ns;
        shown = true;
    }
    if (done >= total && shown) {
        (void)fprintf(stderr, "\r\033[K");
        shown = false;
    }
    (void)fflush(stderr);
    return true;
}

const dw_model_options *dw_cli_load_begin(dw_cli_load *load)
{
    *load = (dw_cli_load){.options = {.struct_bytes = sizeof load->options,
                                      .on_upload = on_upload,
                                      .user = load,
                                      .fingerprint_folder = dw_cli_fingerprint_folder(),
                                      .on_fingerprint = dw_cli_on_fingerprint}};
    return &load->options;
}

void dw_cli_load_end(dw_cli_load *load)
{
    if (load->caught) {
        (void)sigaction(SIGINT, &load->before, NULL);
    }
    if (load->shown) {
        (void)fprintf(stderr, "\r\033[K");
        (void)fflush(stderr);
    }
}

dw_status dw_cli_open_gguf(dw_gguf **gguf, char *path, const char *name, dw_error *err)
{
    *gguf = NULL;
    dw_status status = dw_cli_find_model(path, DW_CLI_PATH_MAX, name, err);
    return status == DW_OK ? dw_gguf_open(gguf, path, err) : status;
}

dw_status dw_cli_read_template(const char *given, char **source, dw_error *err)
{
    size_t bytes = 0;
    *source = NULL;
    if (given == NULL || access(given, F_OK) != 0) {
        return DW_OK;
    }
    dw_status status = dw_cli_read_file(given, TEMPLATE_BYTES_MAX, source, &bytes, err);
    if (status == DW_OK && memchr(*source, '\0', bytes) != NULL) {
        status = dw_fail(err, DW_E_ARG, "%s: a zero byte in it", given);
    }
    if (status != DW_OK) {
        free(*source);
        *source = NULL;
    }
    return status;
}

dw_status dw_cli_open_model(dw_model **model, dw_engine *engine, const char *path,
                            const char *chat_template, dw_error *err)
{
    dw_cli_load load;
    char *source = NULL;
    dw_model_options options = *dw_cli_load_begin(&load);
    dw_status status = dw_cli_read_template(chat_template, &source, err);
    if (status == DW_OK) {
        options.chat_template = source != NULL ? source : chat_template;
        status = dw_model_open_with(model, engine, path, &options, err);
    }
    free(source);
    dw_cli_load_end(&load);
    return status;
}

dw_status dw_cli_open_actors_model(dw_model **model, dw_engine *engine, const char *path,
                                   dw_error *err)
{
    dw_cli_load load;
    dw_model_options options = *dw_cli_load_begin(&load);
    options.vocab_when_used = true;
    dw_status status = dw_model_open_with(model, engine, path, &options, err);
    dw_cli_load_end(&load);
    return status;
}
