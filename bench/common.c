#include "common.h"

#include <getopt.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "kernels/attention_kernel.h"
#include "kernels/matmul_kernel.h"

void bench_die(const char *what)
{
    (void)fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

void bench_temporary(char path[BENCH_PATH_BYTES], const char *what)
{
    const char *folder = getenv("TMPDIR");
    int length = snprintf(path, BENCH_PATH_BYTES, "%s/dw-bench-%s-XXXXXX",
                          folder != NULL ? folder : "/tmp", what);
    int fd = length > 0 && length < BENCH_PATH_BYTES ? mkstemp(path) : -1;
    if (fd < 0) {
        bench_die("cannot make a file in $TMPDIR");
    }
    (void)close(fd);
}

/* ---- options ---- */

const char *bench_default_model(void)
{
    static char path[4096];
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    bool has_cache = cache != NULL && cache[0] != '\0';
    (void)snprintf(path, sizeof path, "%s%s/driftwood/SmolLM2-135M-Instruct.Q4_1.gguf",
                   has_cache      ? cache
                   : home != NULL ? home
                                  : "",
                   has_cache ? "" : "/.cache");
    return path;
}

static void show_help(const char *program, const char *about)
{
    (void)printf(
        "usage: %s [OPTION...]\n\n%s\n\n"
        "  -m, --model FILE    a GGUF file (default: the model of `make model`)\n"
        "  -d, --device NAME   of both sides (default: CPU)\n"
        "  -g, --choose        steps end with the likeliest token instead of logits: ours where\n"
        "                      they are computed, libllama's from the logits that it gives\n"
        "  -t, --threads N     threads of each side (default: the real cores)\n"
        "  -n, --rounds N      rounds, of which the best counts\n"
        "  -r, --rows A,B      only these rows; a name's beginning will do\n"
        "  -c, --context N     tokens that contexts are made for\n"
        "  -k, --kv TYPE       keys and values: f16 (default), q8_0\n"
        "  -e, --extra KIND    what libllama may copy weights into: none, repack (all\n"
        "                      but AMX), all (its default; traps where AMX is only shown)\n"
        "  -s, --side NAME     whose steps are run: both, ours, theirs (for profilers)\n"
        "  -M, --median        medians of the rounds and of their ratios, not the best of each\n"
        "  -p, --pass-over N   none of the first N of our CPU kernels: with 1 and AVX-512 here,\n"
        "                      AVX2's\n"
        "  -h, --help          this text\n",
        program, about);
}

static long number_of(const char *option, const char *text, long most)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 1 || value > most) {
        (void)fprintf(stderr, "bench: --%s: '%s', a number from 1 to %ld is needed\n", option, text,
                      most);
        exit(2);
    }
    return value;
}

static int one_of(const char *option, const char *text, const char *const names[3])
{
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    (void)fprintf(stderr, "bench: --%s: '%s', there are %s, %s, %s\n", option, text, names[0],
                  names[1], names[2]);
    exit(2);
}

static bench_extra extra_of(const char *text)
{
    static const char *const names[] = {"none", "repack", "all"};
    return (bench_extra)one_of("extra", text, names);
}

static bench_sides sides_of(const char *text)
{
    static const char *const names[] = {"both", "ours", "theirs"};
    return (bench_sides)one_of("side", text, names);
}

static void pass_over(const char *text)
{
    const size_t count = (size_t)number_of("pass-over", text, 8);
    dw_matmul_kernels_pass_over(count);
    dw_attention_kernels_pass_over(count);
}

static void read_option(bench_options *options, int option, const char *value)
{
    switch (option) {
    case 'm':
        options->model = value;
        break;
    case 'd':
        options->device = value;
        break;
    case 'g':
        options->choose = true;
        break;
    case 't':
        options->threads = (int)number_of("threads", value, 512);
        break;
    case 'n':
        options->rounds = (int)number_of("rounds", value, 100000);
        break;
    case 'r':
        options->rows = value;
        break;
    case 'c':
        options->context = (uint32_t)number_of("context", value, 1 << 20);
        break;
    case 'e':
        options->extra = extra_of(value);
        break;
    case 's':
        options->sides = sides_of(value);
        break;
    case 'k':
        options->kv_q8 = strcmp(value, "q8_0") == 0;
        if (!options->kv_q8 && strcmp(value, "f16") != 0) {
            bench_die("--kv: f16 or q8_0");
        }
        break;
    case 'M':
        options->median = true;
        break;
    case 'p':
        pass_over(value);
        break;
    default:
        exit(2);
    }
}

void bench_read_options(bench_options *options, int argc, char **argv, const char *about)
{
    static const struct option known[] = {
        {"model", required_argument, NULL, 'm'},   {"device", required_argument, NULL, 'd'},
        {"choose", no_argument, NULL, 'g'},        {"threads", required_argument, NULL, 't'},
        {"rounds", required_argument, NULL, 'n'},  {"rows", required_argument, NULL, 'r'},
        {"context", required_argument, NULL, 'c'}, {"extra", required_argument, NULL, 'e'},
        {"side", required_argument, NULL, 's'},    {"kv", required_argument, NULL, 'k'},
        {"median", no_argument, NULL, 'M'},        {"pass-over", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    static const char letters[] = "m:d:gt:n:r:c:e:s:k:Mp:h";
    /* The environment's word for `all`, which came before the option. */
    options->extra = getenv("BENCH_REPACK") != NULL ? BENCH_EXTRA_ALL : options->extra;
    for (int option; (option = getopt_long(argc, argv, letters, known, NULL)) != -1;) {
        if (option == 'h') {
            show_help(argv[0], about);
            exit(0);
        }
        read_option(options, option, optarg);
    }
    if (optind < argc) {
        (void)fprintf(stderr, "bench: unknown argument '%s'; see --help\n", argv[optind]);
        exit(2);
    }
    options->model = options->model != NULL ? options->model : bench_default_model();
    options->device = options->device != NULL ? options->device : "CPU";
    options->threads = options->threads > 0 ? options->threads : dw_os_core_count();
}

bool bench_wants(const bench_options *options, const char *row)
{
    const char *at = options->rows;
    if (at == NULL) {
        return true;
    }
    while (*at != '\0') {
        size_t length = strcspn(at, ",");
        if (length > 0 && strncmp(at, row, length) == 0) {
            return true;
        }
        at += length + (at[length] == ',');
    }
    return false;
}

/* ---- results ---- */

void bench_header(void)
{
    (void)printf("row,unit,driftwood,llama.cpp,ratio\n");
    (void)fflush(stdout);
}

void bench_row(const char *row, const char *unit, double ours, double theirs)
{
    (void)printf("%s,%s,%.5g,%.5g,", row, unit, ours, theirs);
    (void)(theirs > 0 ? printf("%.3f\n", ours / theirs) : printf("\n"));
    (void)fflush(stdout);
}

static int in_order(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

double bench_quantile(double *values, size_t count, double share)
{
    if (count == 0) {
        return NAN;
    }
    qsort(values, count, sizeof *values, in_order);
    return values[(size_t)((double)(count - 1) * share + 0.5)];
}

void bench_rounds(const bench_options *options, const char *row, const char *unit, double *rates[2],
                  int count)
{
    double *ratios = calloc((size_t)count, sizeof *ratios);
    if (ratios == NULL) {
        bench_die("no memory for the rounds");
    }
    for (int i = 0; i < count; i++) {
        ratios[i] = rates[1][i] > 0 ? rates[0][i] / rates[1][i] : 0;
    }
    double *const lists[] = {rates[0], rates[1], ratios};
    double value[3];
    for (int i = 0; i < 3; i++) {
        value[i] = bench_quantile(lists[i], (size_t)count, options->median ? 0.5 : 1);
    }
    if (!options->median) {
        bench_row(row, unit, value[0], value[1]);
    } else {
        (void)printf("%s,%s,%.5g,%.5g,%.3f\n", row, unit, value[0], value[1], value[2]);
        (void)fflush(stdout);
    }
    free(ratios);
}

void bench_figure(const char *name, const char *unit, double value)
{
    (void)printf("%s,%s,%.9g,,\n", name, unit, value);
    (void)fflush(stdout);
}

/* ---- the other side ---- */

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)level;
    if (getenv("BENCH_LOG") != NULL) {
        (void)fputs(text, stderr);
    }
    (void)user;
}

/* The list that libllama goes through when it looks for a place for weights is the backend's own
 * array with a NULL at its end; what is taken out of it before the first load is not seen. */
static void take_out_amx(void)
{
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    void *address = ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu),
                                                      "ggml_backend_dev_get_extra_bufts");
    ggml_backend_dev_get_extra_bufts_t list = NULL;
    memcpy(&list, &address, sizeof list); /* ISO C has no cast from one to the other */
    ggml_backend_buffer_type_t *from = list != NULL ? list(cpu) : NULL;
    ggml_backend_buffer_type_t *to = from;
    for (; from != NULL && *from != NULL; from++) {
        if (strcmp(ggml_backend_buft_name(*from), "AMX") != 0) {
            *to++ = *from;
        }
    }
    if (to != NULL) {
        *to = NULL;
    }
}

struct llama_model *bench_their_model(const char *path, const char *device, bench_extra extra)
{
    llama_log_set(quiet, NULL);
    struct llama_model_params params = llama_model_default_params();
    ggml_backend_dev_t devices[] = {ggml_backend_dev_by_name(device), NULL};
    if (devices[0] == NULL) {
        bench_die("libllama has no such device");
    }
    bool gpu = ggml_backend_dev_type(devices[0]) != GGML_BACKEND_DEVICE_TYPE_CPU;
    params.devices = gpu ? devices : NULL;
    params.n_gpu_layers = gpu ? 999 : 0;
    params.load_mode = LLAMA_LOAD_MODE_MMAP;
    params.use_extra_bufts = extra != BENCH_EXTRA_NONE;
    if (extra == BENCH_EXTRA_REPACK) {
        take_out_amx();
    }
    struct llama_model *model = llama_model_load_from_file(path, params);
    if (model == NULL) {
        bench_die("libllama cannot load the model");
    }
    return model;
}

struct llama_context_params bench_their_params(uint32_t tokens_max, int threads)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = tokens_max;
    params.n_batch = tokens_max;
    params.n_ubatch = 512;
    params.n_threads = threads;
    params.n_threads_batch = threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.no_perf = true;
    return params;
}

struct llama_context *bench_their_context(struct llama_model *model,
                                          const struct llama_context_params *params,
                                          struct ggml_threadpool **pool)
{
    struct llama_context *context = llama_init_from_model(model, *params);
    if (*pool == NULL) {
        struct ggml_threadpool_params wanted;
        ggml_threadpool_params_init(&wanted, params->n_threads);
        *pool = ggml_threadpool_new(&wanted);
    }
    if (context == NULL || *pool == NULL) {
        bench_die("libllama cannot make a context");
    }
    llama_attach_threadpool(context, *pool, *pool);
    return context;
}
