/* A guest that does one thing which takes longer than it is given, in as few calls of the host as
 * there is a way to: `hostile ACT N`. It leaves with 9 if the host let it go on, with 8 if the host
 * refused it something before. */
#include <driftwood_guest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#define REFUSED 8
#define WENT_ON 9

static uint32_t n;

static void *room(size_t bytes)
{
    void *block = malloc(bytes);
    if (block == NULL) {
        exit(REFUSED);
    }
    return block;
}

static int32_t good(int32_t result)
{
    if (result < 0) {
        char message[256] = "";
        (void)dw_last_error(message, sizeof message);
        (void)fprintf(stderr, "refused: %d %s\n", (int)result, message);
        exit(REFUSED);
    }
    return result;
}

static int32_t *tokens_of(uint32_t count)
{
    int32_t *tokens = room(count * sizeof *tokens);
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = 10 + (int32_t)(i % 200);
    }
    return tokens;
}

static void spin(void)
{
    for (volatile uint32_t i = 0;; i++) {}
}

/* A prompt of n tokens. */
static void forward(void)
{
    int32_t context = good(dw_context_create(dw_model_open("", 0), n));
    (void)dw_forward(context, tokens_of(n), n, NULL);
}

static void embed(void)
{
    int32_t model = good(dw_model_open("", 0));
    float *rows = room(65536 * sizeof *rows);
    (void)dw_embed(model, tokens_of(n), n, DW_POOLING_MEAN, 0, rows);
}

/* Texts of n tokens, by an encoder. */
static void encode(void)
{
    int32_t model = good(dw_model_open("encoder", 7));
    int32_t *tokens = tokens_of(n);
    float *row = room(65536 * sizeof *row);
    for (;;) {
        (void)dw_embed(model, tokens, n, DW_POOLING_MEAN, 0, row);
    }
}

/* One product of three matrices of n x n. */
static void product(void)
{
    uint32_t ne[4] = {n, n, 1, 1};
    float *data = room(2 * (size_t)n * n * sizeof *data);
    memset(data, 0, (size_t)n * n * sizeof *data);
    int32_t graph = good(dw_graph_create());
    int32_t a = good(dw_graph_tensor(graph, DW_F32, ne, data));
    int32_t inputs[4] = {a, a, 0, 0};
    int32_t c = good(dw_graph_op(graph, DW_OP_MATMUL, inputs, NULL));
    good(dw_graph_output(graph, c, data + (size_t)n * n));
    good(dw_graph_build(graph));
    (void)dw_graph_run(graph);
}

/* One operation on n rows of 65,536 numbers. */
static void elements(int32_t op)
{
    uint32_t ne[4] = {65536, n, 1, 1};
    size_t bytes = (size_t)n * 65536 * sizeof(float);
    float *data = room(bytes);
    memset(data, 0, bytes);
    int32_t graph = good(dw_graph_create());
    int32_t last = good(dw_graph_tensor(graph, DW_F32, ne, data));
    for (int i = 0; i < 200; i++) {
        int32_t inputs[4] = {last, 0, 0, 0};
        last = good(dw_graph_op(graph, op, inputs, NULL));
    }
    good(dw_graph_output(graph, last, room(bytes)));
    good(dw_graph_build(graph));
    (void)dw_graph_run(graph);
}

/* n bytes of text. */
static void tokenize(void)
{
    int32_t model = good(dw_model_open("", 0));
    char *text = room(n);
    for (uint32_t i = 0; i < n; i++) {
        text[i] = i % 10 == 9 ? ' ' : (char)('a' + i * 7 % 26);
    }
    (void)dw_tokenize(model, text, n, room(n * sizeof(int32_t)), n, 0);
}

/* n bytes, and not a word's end among them, for a model's tokenizer, as often as it lets. */
static void word_of(const char *name)
{
    int32_t model = good(dw_model_open(name, (uint32_t)strlen(name)));
    char *text = room(n);
    int32_t *tokens = room(n * sizeof *tokens);
    for (uint32_t i = 0; i < n; i++) {
        text[i] = (char)('a' + (i ^ i >> 3) % 26);
    }
    for (;;) {
        (void)dw_tokenize(model, text, n, tokens, n, 0);
    }
}

static void word(void)
{
    word_of("");
}

static void word_pieces(void)
{
    word_of("encoder");
}

static void unigrams(void)
{
    word_of("unigrams");
}

/* n MiB of memory that nobody has touched, and then again and again. */
static char *mebibytes(void)
{
    size_t pages = __builtin_wasm_memory_grow(0, (size_t)n * 16 + 1);
    if (pages == SIZE_MAX) {
        exit(REFUSED);
    }
    return (char *)(pages * 65536);
}

__attribute__((target("bulk-memory"))) static void fill(void)
{
    char *memory = mebibytes();
    for (int value = 1;; value++) {
        __builtin_memset(memory, value, (size_t)n << 20);
    }
}

__attribute__((target("bulk-memory"))) static void copy(void)
{
    char *memory = mebibytes();
    for (size_t by = 1;; by = 65536 - by) { /* forth and back */
        __builtin_memmove(memory + by, memory + 65536 - by, (size_t)n << 20);
    }
}

static void detokenize(void)
{
    int32_t model = good(dw_model_open("", 0));
    for (;;) {
        (void)dw_detokenize(model, tokens_of(n), n, room(n * 8), n * 8, 0);
    }
}

static void shift(void)
{
    int32_t context = good(dw_context_create(dw_model_open("", 0), n));
    good(dw_forward(context, tokens_of(n), n, NULL));
    for (;;) {
        (void)dw_context_shift(context, 1, 1);
    }
}

/* ---- chats and grammars ------------------------------------------------------------------- */

static const char request[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}";

/* By a template that was chosen for it, until it is asked no more. */
static void render(void)
{
    int32_t model = good(dw_model_open("", 0));
    for (;;) {
        (void)dw_chat_render(model, request, sizeof request - 1, room(1000), 1000);
    }
}

/* An answer of n bytes. */
static void parse(void)
{
    int32_t model = good(dw_model_open("", 0));
    char *answer = room(n);
    char *message = room(2 * n);
    memset(answer, 'a', n);
    for (;;) {
        (void)dw_chat_parse(model, request, sizeof request - 1, answer, n, 0, message, 2 * n);
    }
}

/* Of as many steps as are allowed. */
static void grammar(void)
{
    static const char rule[] = "root ::= (\"a\"? \"a\"? \"a\"? \"a\"?){0,2000} \"b\"";
    int32_t model = good(dw_model_open("", 0));
    int32_t sampler = good(dw_sampler_create(model, NULL));
    for (;;) {
        (void)dw_sampler_grammar(sampler, model, rule, sizeof rule - 1);
    }
}

/* A schema of n values. */
static void schema(void)
{
    int32_t model = good(dw_model_open("", 0));
    int32_t sampler = good(dw_sampler_create(model, NULL));
    size_t capacity = (size_t)n * 16 + 64;
    char *text = room(capacity);
    size_t at = (size_t)snprintf(text, capacity, "{\"enum\": [null");
    for (uint32_t i = 0; i < n; i++) {
        unsigned value = (unsigned)(i * 2654435761u);
        at += (size_t)snprintf(text + at, capacity - at, ",\"%x\"", value);
    }
    at += (size_t)snprintf(text + at, capacity - at, "]}");
    for (;;) {
        (void)dw_sampler_json_schema(sampler, model, text, (uint32_t)at);
    }
}

/* ---- waits -------------------------------------------------------------------------------- */

static __wasi_subscription_t clock_of(uint64_t ms)
{
    __wasi_subscription_t wanted = {.userdata = 1};
    wanted.u.tag = __WASI_EVENTTYPE_CLOCK;
    wanted.u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
    wanted.u.u.clock.timeout = ms * 1000000;
    return wanted;
}

static __wasi_subscription_t ready_of(__wasi_eventtype_t what, __wasi_fd_t fd)
{
    __wasi_subscription_t wanted = {.userdata = 2};
    wanted.u.tag = what;
    wanted.u.u.fd_read.file_descriptor = fd;
    return wanted;
}

static void wait_for(const __wasi_subscription_t *wanted, size_t count)
{
    __wasi_event_t events[2];
    __wasi_size_t got = 0;
    (void)__wasi_poll_oneoff(wanted, events, count, &got);
}

/* n milliseconds. */
static void sleep_ms(void)
{
    __wasi_subscription_t wanted = clock_of(n);
    wait_for(&wanted, 1);
}

static void poll_input(void)
{
    __wasi_subscription_t wanted[2] = {ready_of(__WASI_EVENTTYPE_FD_READ, 0), clock_of(n)};
    wait_for(wanted, n > 0 ? 2 : 1);
}

static void read_input(void)
{
    char byte;
    __wasi_iovec_t into = {(uint8_t *)&byte, 1};
    __wasi_size_t got = 0;
    (void)__wasi_fd_read(0, &into, 1, &got);
}

/* The same through another number. */
static void read_renumbered(void)
{
    char byte;
    __wasi_iovec_t into = {(uint8_t *)&byte, 1};
    __wasi_size_t got = 0;
    if (__wasi_fd_renumber(0, 2) != 0) {
        exit(REFUSED);
    }
    (void)__wasi_fd_read(2, &into, 1, &got);
}

/* n bytes at a time, until nobody takes them. */
static void write_output(void)
{
    char *bytes = room(n);
    memset(bytes, 'x', n);
    __wasi_ciovec_t from = {(const uint8_t *)bytes, n};
    __wasi_size_t taken = 0;
    while (__wasi_fd_write(1, &from, 1, &taken) == 0) {}
}

static void poll_output(void)
{
    char bytes[4096];
    __wasi_ciovec_t from = {(const uint8_t *)bytes, sizeof bytes};
    __wasi_size_t taken = 0;
    memset(bytes, 'x', sizeof bytes);
    for (;;) {
        __wasi_subscription_t wanted = ready_of(__WASI_EVENTTYPE_FD_WRITE, 1);
        wait_for(&wanted, 1);
        (void)__wasi_fd_write(1, &from, 1, &taken);
    }
}

/* n bytes. */
static void random_bytes(void)
{
    (void)__wasi_random_get(room(n), n);
}

/* A FIFO of the host's, n: for reading, or 1: for writing, or what a link of it names. */
static void open_fifo(void)
{
    static const char *const names[] = {"/d/fifo", "/d/fifo", "/d/link"};
    FILE *file = fopen(names[n % 3], n == 1 ? "w" : "r");
    if (file == NULL) {
        exit(REFUSED);
    }
    (void)fgetc(file);
}

static void yield_forever(void)
{
    for (;;) {
        (void)__wasi_sched_yield();
    }
}

static const struct {
    const char *name;
    void (*act)(void);
} acts[] = {
    {"spin", spin},
    {"forward", forward},
    {"embed", embed},
    {"encode", encode},
    {"product", product},
    {"tokenize", tokenize},
    {"word", word},
    {"word_pieces", word_pieces},
    {"unigrams", unigrams},
    {"fill", fill},
    {"copy", copy},
    {"detokenize", detokenize},
    {"shift", shift},
    {"render", render},
    {"parse", parse},
    {"grammar", grammar},
    {"schema", schema},
    {"sleep", sleep_ms},
    {"poll_input", poll_input},
    {"read", read_input},
    {"read_renumbered", read_renumbered},
    {"write", write_output},
    {"poll_output", poll_output},
    {"random", random_bytes},
    {"yield", yield_forever},
    {"open_fifo", open_fifo},
};

int main(int argc, char **argv)
{
    n = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    for (size_t i = 0; argc > 1 && i < sizeof acts / sizeof acts[0]; i++) {
        if (strcmp(acts[i].name, argv[1]) == 0) {
            acts[i].act();
            return WENT_ON;
        }
    }
    if (argc > 1 && strcmp(argv[1], "exp") == 0) {
        elements(DW_OP_EXP);
        return WENT_ON;
    }
    if (argc > 1 && strcmp(argv[1], "softmax") == 0) {
        elements(DW_OP_SOFTMAX);
        return WENT_ON;
    }
    return REFUSED;
}
