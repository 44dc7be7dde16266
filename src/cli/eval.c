/* driftwood eval: how well a model predicts a text, and what it makes of each position. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define WINDOW_DEFAULT 512
#define SLICE_TOKENS 128U /* whose logits are in memory at once */
#define TEXT_BYTES_MAX ((size_t)16 << 20)

static const char usage[] =
    "usage: driftwood eval perplexity --text FILE [OPTION...]\n"
    "       driftwood eval logits --text FILE --out FILE [OPTION...]\n"
    "\n"
    "perplexity tells how well a model predicts a text: exp of the mean loss a token, over the\n"
    "second half of each window. logits writes what the model makes of each position of a text, "
    "as\n"
    "a safetensors file: \"logits\", F32 [positions, vocabulary], and \"tokens\", I32 "
    "[positions].\n"
    "\n"
    "  --text FILE    the text, at most 16 MiB\n"
    "  --out FILE     what logits writes; -: to standard output, and nothing else there\n"
    "  --model M      a GGUF file, or a name in the cache (`driftwood models`)\n"
    "  --context N    tokens of a window, each window from an empty context on; default for\n"
    "                 perplexity 512, for logits the whole text or the model's length\n"
    "  --tokens N     use the text's first N tokens only\n"
    "  --kv-type T    keys and values in f16, q8_0 or f32; default f16\n"
    "  --device D     see `driftwood devices`; default: the first GPU, else the CPU\n"
    "  --threads N    CPU threads; default: the machine's cores\n"
    "  -j, --json     {\"perplexity\", \"error\", \"tokens\", \"windows\", \"context\"}, or\n"
    "                 {\"positions\", \"vocabulary\", \"context\"}\n"
    "  -h, --help     this text\n";

typedef struct eval_options {
    const char *model;
    const char *text;
    const char *out;
    const char *device;
    uint64_t context; /* 0: the default */
    uint64_t tokens;  /* 0: all */
    uint64_t threads;
    dw_kv_type kv_type;
    bool as_json;
} eval_options;

typedef struct subject {
    dw_engine *engine;
    dw_model *model;
    dw_model_info info;
    int32_t *tokens; /* [count] */
    size_t count;
} subject;

/* A text has at most as many tokens as bytes, and BOS and EOS. */
static dw_status read_tokens(subject *of, const eval_options *options, dw_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    dw_status status = dw_cli_read_file(options->text, TEXT_BYTES_MAX, &text, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    dw_token_room room = {.capacity = bytes + 8};
    room.items = of->tokens = dw_cli_alloc(room.capacity, sizeof *room.items);
    status = room.items != NULL
                 ? dw_model_tokenize(of->model, text, bytes, DW_TOKENIZE_SPECIAL, &room, err)
                 : dw_fail(err, DW_E_MEMORY, "no memory for %zu tokens", room.capacity);
    free(text);
    of->count = room.count;
    if (status == DW_OK && options->tokens > 0 && of->count > options->tokens) {
        of->count = (size_t)options->tokens;
    }
    return status;
}

/* `line` on a line of its own; it is released. */
static void print_json(json_t *line)
{
    dw_cli_print_json(line, JSON_COMPACT);
}

static void print_perplexity(const eval_options *options, uint32_t window,
                             const dw_perplexity *result)
{
    if (!options->as_json) {
        dw_cli_print("perplexity %.4f +- %.4f over %u windows of %u tokens\n", result->value,
                     result->error, result->windows, window);
        return;
    }
    json_t *line = json_pack("{s:f, s:f, s:I, s:I, s:I}", "perplexity", result->value, "error",
                             result->error, "tokens", (json_int_t)result->windows * window,
                             "windows", (json_int_t)result->windows, "context", (json_int_t)window);
    print_json(line);
}

static dw_status open_subject(subject *of, const eval_options *options, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    dw_engine_options engine = {
        .struct_bytes = sizeof engine, .device = options->device, .threads = (int)options->threads};
    dw_status status = dw_cli_find_model(path, sizeof path, options->model, err);
    if (status == DW_OK) {
        status = dw_engine_create(&of->engine, &engine, err);
    }
    if (status == DW_OK) {
        status = dw_cli_open_model(&of->model, of->engine, path, NULL, err);
    }
    if (status != DW_OK) {
        return status;
    }
    of->info.struct_bytes = sizeof of->info;
    dw_model_get_info(of->model, &of->info);
    return read_tokens(of, options, err);
}

static void close_subject(subject *of)
{
    free(of->tokens);
    dw_model_unref(of->model);
    dw_engine_destroy(of->engine);
}

static int perplexity(const eval_options *options)
{
    subject of = {.count = 0};
    dw_perplexity result = {.struct_bytes = sizeof result};
    dw_error error;
    uint32_t window = options->context == 0 ? WINDOW_DEFAULT : (uint32_t)options->context;
    dw_session_options session = {
        .struct_bytes = sizeof session, .tokens_max = window, .kv_type = options->kv_type};
    dw_status status = open_subject(&of, options, &error);
    if (status == DW_OK) {
        status = dw_model_perplexity(of.model, of.tokens, of.count, &session, &result, &error);
    }
    if (status == DW_OK) {
        print_perplexity(options, window, &result);
    }
    close_subject(&of);
    return status == DW_OK ? 0 : dw_cli_fail_with(&error);
}

/* ---- logits ------------------------------------------------------------------------------- */

static dw_status put(FILE *file, const char *path, const void *bytes, size_t count, dw_error *err)
{
    if (file == stdout) {
        dw_cli_put(bytes, count);
        return dw_cli_output_failed() ? dw_fail(err, DW_E_IO, "standard output") : DW_OK;
    }
    if (count > 0 && fwrite(bytes, 1, count, file) != count) {
        return dw_fail(err, DW_E_IO, "%s: %s", path, strerror(errno));
    }
    return DW_OK;
}

/* The head of a safetensors file (its README, "Format"): the header's length in 8 bytes, little
 * endian, and the header, JSON, filled up with spaces so that the data begin at a multiple of 8. */
static dw_status put_head(FILE *file, const char *path, size_t rows, size_t columns, dw_error *err)
{
    char head[512];
    unsigned char length[8];
    size_t logits_end = rows * columns * sizeof(float);
    int bytes =
        snprintf(head, sizeof head,
                 "{\"logits\":{\"dtype\":\"F32\",\"shape\":[%zu,%zu],\"data_offsets\":[0,%zu]},"
                 "\"tokens\":{\"dtype\":\"I32\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}}",
                 rows, columns, logits_end, rows, logits_end, logits_end + rows * sizeof(int32_t));
    while (bytes > 0 && (size_t)bytes < sizeof head && bytes % 8 != 0) {
        head[bytes++] = ' ';
    }
    for (int i = 0; i < 8; i++) {
        length[i] = (unsigned char)((uint64_t)bytes >> 8 * i);
    }
    dw_status status = put(file, path, length, sizeof length, err);
    return status == DW_OK ? put(file, path, head, (size_t)bytes, err) : status;
}

/* A window after another, each from an empty context on, in slices. */
static dw_status put_logits(FILE *file, const char *path, dw_session *session, const subject *of,
                            uint32_t window, dw_error *err)
{
    size_t row_bytes = of->info.vocab_count * sizeof(float);
    dw_status status = DW_OK;
    for (size_t at = 0; status == DW_OK && at < of->count;) {
        size_t in_window = at % window;
        size_t left = window - in_window < of->count - at ? window - in_window : of->count - at;
        uint32_t count = left < SLICE_TOKENS ? (uint32_t)left : SLICE_TOKENS;
        const float *logits;
        status = in_window == 0 ? dw_session_trim(session, 0, err) : DW_OK;
        if (status == DW_OK) {
            status = dw_session_forward(session, of->tokens + at, count, count, &logits, err);
        }
        if (status == DW_OK) {
            status = put(file, path, logits, count * row_bytes, err);
        }
        at += count;
    }
    return status == DW_OK ? put(file, path, of->tokens, of->count * sizeof(int32_t), err) : status;
}

static dw_status put_all(FILE *file, const char *path, dw_session *session, const subject *of,
                         uint32_t window, dw_error *err)
{
    dw_status status = put_head(file, path, of->count, of->info.vocab_count, err);
    if (status == DW_OK) {
        status = put_logits(file, path, session, of, window, err);
    }
    if (file != stdout && fclose(file) != 0 && status == DW_OK) {
        status = dw_fail(err, DW_E_IO, "%s: %s", path, strerror(errno));
    }
    return status;
}

/* A file is written beside its place and moved there when it is whole. */
static dw_status write_logits(const eval_options *options, dw_session *session, const subject *of,
                              uint32_t window, dw_error *err)
{
    char place[DW_CLI_PATH_MAX];
    char path[DW_CLI_PATH_MAX];
    bool stream = false;
    dw_status status = dw_cli_place(options->out, place, &stream, err);
    if (status != DW_OK) {
        return status;
    }
    int bytes = snprintf(path, sizeof path, "%s%s", place, stream ? "" : ".partial");
    if (bytes < 0 || (size_t)bytes >= sizeof path) {
        return dw_fail(err, DW_E_LIMIT, "--out: a path of more than %zu bytes", sizeof path - 9);
    }
    FILE *file = strcmp(options->out, "-") == 0 ? stdout : fopen(path, "wbe");
    if (file == NULL) {
        return dw_fail(err, DW_E_IO, "%s: %s", path, strerror(errno));
    }
    status = put_all(file, path, session, of, window, err);
    if (status == DW_OK && !stream && rename(path, place) != 0) {
        status = dw_fail(err, DW_E_IO, "%s: %s", options->out, strerror(errno));
    }
    if (status != DW_OK && !stream) {
        (void)remove(path);
    }
    return status;
}

static int logits(const eval_options *options)
{
    subject of = {.count = 0};
    dw_session *session = NULL;
    dw_error error;
    uint32_t window = (uint32_t)options->context;
    dw_status status = open_subject(&of, options, &error);
    if (status == DW_OK && of.count == 0) {
        status = dw_fail(&error, DW_E_ARG, "%s: the text has no tokens", options->text);
    }
    if (status == DW_OK && window == 0) {
        window = of.count < of.info.context_length ? (uint32_t)of.count : of.info.context_length;
    }
    if (status == DW_OK) {
        dw_session_options wanted = {.struct_bytes = sizeof wanted,
                                     .tokens_max = window,
                                     .rows_max = window < SLICE_TOKENS ? window : SLICE_TOKENS,
                                     .kv_type = options->kv_type};
        status = dw_session_create(&session, of.model, &wanted, &error);
    }
    if (status == DW_OK) {
        status = write_logits(options, session, &of, window, &error);
    }
    bool told = status == DW_OK && strcmp(options->out, "-") != 0;
    if (told && options->as_json) {
        json_t *line = json_pack("{s:I, s:I, s:I}", "positions", (json_int_t)of.count, "vocabulary",
                                 (json_int_t)of.info.vocab_count, "context", (json_int_t)window);
        print_json(line);
    } else if (told) {
        dw_cli_print("%s: logits of %zu positions, %u each, in windows of %u\n", options->out,
                     of.count, of.info.vocab_count, window);
    }
    dw_session_destroy(session);
    close_subject(&of);
    return status == DW_OK ? 0 : dw_cli_fail_with(&error);
}

/* ---- options ------------------------------------------------------------------------------ */

static dw_status take_option(eval_options *options, int option, dw_error *err)
{
    switch (option) {
    case 'm':
        options->model = optarg;
        return DW_OK;
    case 't':
        options->text = optarg;
        return DW_OK;
    case 'o':
        options->out = optarg;
        return DW_OK;
    case 'd':
        options->device = optarg;
        return DW_OK;
    case 'c':
        return dw_cli_whole("--context", optarg, 1, INT32_MAX, &options->context, err);
    case 'n':
        return dw_cli_whole("--tokens", optarg, 1, INT32_MAX, &options->tokens, err);
    case 'k':
        return dw_cli_kv_type(optarg, &options->kv_type, err);
    case 'p':
        return dw_cli_whole("--threads", optarg, 1, 512, &options->threads, err);
    default:
        options->as_json = true;
        return DW_OK;
    }
}

int dw_cli_eval(int argc, char **argv)
{
    static const struct option list[] = {{"model", required_argument, NULL, 'm'},
                                         {"text", required_argument, NULL, 't'},
                                         {"out", required_argument, NULL, 'o'},
                                         {"device", required_argument, NULL, 'd'},
                                         {"context", required_argument, NULL, 'c'},
                                         {"tokens", required_argument, NULL, 'n'},
                                         {"kv-type", required_argument, NULL, 'k'},
                                         {"threads", required_argument, NULL, 'p'},
                                         {"json", no_argument, NULL, 'j'},
                                         {"help", no_argument, NULL, 'h'},
                                         {NULL, 0, NULL, 0}};
    eval_options options = {.context = 0};
    dw_error error;
    int option;
    while ((option = getopt_long(argc, argv, "jh", list, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s", usage);
            return 0;
        }
        if (option == '?') {
            return DW_CLI_USAGE;
        }
        if (take_option(&options, option, &error) != DW_OK) {
            return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
        }
    }
    const char *what = optind + 1 == argc ? argv[optind] : "";
    bool of_logits = strcmp(what, "logits") == 0;
    if (!of_logits && strcmp(what, "perplexity") != 0) {
        return dw_cli_fail(DW_CLI_USAGE, "eval takes one thing to do: perplexity or logits");
    }
    if (options.text == NULL || (of_logits && options.out == NULL)) {
        return dw_cli_fail(DW_CLI_USAGE, "eval %s needs --text FILE%s", what,
                           of_logits ? " and --out FILE" : "");
    }
    if (!of_logits && options.context > 0 && options.context < 4) {
        return dw_cli_fail(DW_CLI_USAGE, "--context: %u, perplexity needs at least 4",
                           (unsigned)options.context);
    }
    if (!of_logits && options.out != NULL) {
        return dw_cli_fail(DW_CLI_USAGE, "eval perplexity takes no --out");
    }
    if (of_logits && options.as_json && strcmp(options.out, "-") == 0) {
        dw_cli_note("--json: no effect where logits go to standard output");
    }
    return of_logits ? logits(&options) : perplexity(&options);
}
