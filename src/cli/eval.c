/* driftwood eval: how well a model predicts a text. */
#include <getopt.h>
#include <jansson.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "cli/cli.h"
#include "driftwood_abi.h"
#include "engine/score.h"

#define TEXT_BYTES_MAX ((size_t)16 << 20)

static const char usage[] =
    "usage: driftwood eval perplexity --text FILE [OPTION...]\n"
    "\n"
    "Tells how well a model predicts a text: exp of the mean loss a token, over the second half "
    "of\n"
    "each window.\n"
    "\n"
    "  --text FILE    the text, at most 16 MiB\n"
    "  --model M      a GGUF file, or a name in the cache (`driftwood models`)\n"
    "  --context N    tokens of a window; default 512\n"
    "  --tokens N     use the text's first N tokens only\n"
    "  --device D     see `driftwood devices`; default: the first GPU, else the CPU\n"
    "  --threads N    CPU threads; default: the machine's cores\n"
    "  -j, --json     {\"perplexity\", \"error\", \"tokens\", \"windows\", \"context\"}\n"
    "  -h, --help     this text\n";

typedef struct eval_options {
    const char *model;
    const char *text;
    const char *device;
    uint64_t context;
    uint64_t tokens; /* 0: all */
    uint64_t threads;
    bool as_json;
} eval_options;

/* Tokens of the file, the caller's to free. A text has at most as many as bytes, and BOS. */
static dw_status read_tokens(const eval_options *options, dw_model *model, int32_t **tokens,
                             size_t *count, dw_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    dw_status status = dw_os_read_file(options->text, TEXT_BYTES_MAX, &text, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    size_t capacity = bytes + 8;
    *tokens = dw_alloc(capacity, sizeof **tokens);
    if (*tokens == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for %zu tokens", capacity);
    } else {
        status = dw_vocab_tokenize(dw_model_vocab(model), text, bytes, *tokens, capacity,
                                   DW_TOKENIZE_SPECIAL, count, err);
    }
    dw_free(text);
    if (status == DW_OK && options->tokens > 0 && *count > options->tokens) {
        *count = (size_t)options->tokens;
    }
    return status;
}

static void print_result(const eval_options *options, const dw_perplexity *result)
{
    if (!options->as_json) {
        printf("perplexity %.4f +- %.4f over %u windows of %u tokens\n", result->value,
               result->error, result->windows, (unsigned)options->context);
        return;
    }
    json_t *line =
        json_pack("{s:f, s:f, s:I, s:I, s:I}", "perplexity", result->value, "error", result->error,
                  "tokens", (json_int_t)result->windows * (json_int_t)options->context, "windows",
                  (json_int_t)result->windows, "context", (json_int_t)options->context);
    (void)json_dumpf(line, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(line);
}

static int perplexity(const eval_options *options)
{
    char path[DW_CLI_PATH_MAX];
    dw_error error;
    dw_device *device = NULL;
    dw_model *model = NULL;
    dw_scorer *scorer = NULL;
    int32_t *tokens = NULL;
    size_t count = 0;
    dw_perplexity result;
    dw_status status = dw_cli_find_model(path, sizeof path, options->model, &error);
    if (status == DW_OK) {
        status = dw_device_open(&device, options->device, (int)options->threads, &error);
    }
    if (status == DW_OK) {
        status = dw_model_load(&model, device, path, &error);
    }
    if (status == DW_OK) {
        status = read_tokens(options, model, &tokens, &count, &error);
    }
    if (status == DW_OK) {
        status = dw_scorer_create(&scorer, model, (uint32_t)options->context, &error);
    }
    if (status == DW_OK) {
        status = dw_scorer_perplexity(scorer, tokens, count, &result, &error);
    }
    if (status == DW_OK) {
        print_result(options, &result);
    }
    dw_scorer_destroy(scorer);
    dw_free(tokens);
    dw_model_unref(model);
    dw_device_close(device);
    return status == DW_OK ? 0 : dw_cli_fail_with(&error);
}

static dw_status take_option(eval_options *options, int option, dw_error *err)
{
    switch (option) {
    case 'm':
        options->model = optarg;
        return DW_OK;
    case 't':
        options->text = optarg;
        return DW_OK;
    case 'd':
        options->device = optarg;
        return DW_OK;
    case 'c':
        return dw_cli_whole("--context", optarg, 4, INT32_MAX, &options->context, err);
    case 'n':
        return dw_cli_whole("--tokens", optarg, 1, INT32_MAX, &options->tokens, err);
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
                                         {"device", required_argument, NULL, 'd'},
                                         {"context", required_argument, NULL, 'c'},
                                         {"tokens", required_argument, NULL, 'n'},
                                         {"threads", required_argument, NULL, 'p'},
                                         {"json", no_argument, NULL, 'j'},
                                         {"help", no_argument, NULL, 'h'},
                                         {NULL, 0, NULL, 0}};
    eval_options options = {.context = 512};
    dw_error error;
    int option;
    while ((option = getopt_long(argc, argv, "jh", list, NULL)) != -1) {
        if (option == 'h') {
            (void)fputs(usage, stdout);
            return 0;
        }
        if (option == '?') {
            return DW_CLI_USAGE;
        }
        if (take_option(&options, option, &error) != DW_OK) {
            return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
        }
    }
    if (optind + 1 != argc || strcmp(argv[optind], "perplexity") != 0) {
        return dw_cli_fail(DW_CLI_USAGE, "eval takes one thing to do: perplexity");
    }
    if (options.text == NULL) {
        return dw_cli_fail(DW_CLI_USAGE, "eval perplexity needs --text FILE");
    }
    return perplexity(&options);
}
