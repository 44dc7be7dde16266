/* What a grammar costs a token: finding which tokens it allows, writing minus infinity over the
 * others' logits, and going on past the one that comes, along texts that the grammars describe. The
 * other side is libllama's grammar sampler over the same vocabulary, which does the same. Two
 * vocabularies: the model's own, and one of 150,000 tokens, which has pairs of these besides.
 * Microseconds of processor time a token, first to last, tables and all: average, median and most,
 * the best round of each token. Less is better. */
#include <gguf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "common.h"
#include "driftwood_abi.h"
#include "sampling/sampler.h"
#include "schema/json_grammar.h"
#include "text/vocab.h"

#define LARGE_COUNT 150000U
#define PAIR_BYTES_MAX 32
#define STEPS_MAX 1024

/* ---- grammars and texts ------------------------------------------------------------------- */

static const char prose[] =
    "\"The river had risen overnight, and by morning the lower road was gone. Anna stood at the "
    "window with her coffee and watched a fence post drift past, then half a gate, then what "
    "looked like somebody's wheelbarrow. Nobody had drawn a map of this (it was called \\\"the "
    "old arm\\\" in letters), so she began one: three houses, a bridge, the mill.\\nBy noon the "
    "water was \\u00fcber den Damm gestiegen. She wrote down the time: 12:04.\"";

static const char document[] =
    "{\"id\": 48213, \"name\": \"Harbour survey\", \"active\": true, \"owner\": {\"first\": "
    "\"Ingrid\", \"last\": \"Halvorsen\", \"roles\": [\"admin\", \"editor\", \"reviewer\"]}, "
    "\"points\": [{\"x\": 12.5, \"y\": -3.75, \"label\": \"pier\"}, {\"x\": 14.0, \"y\": 8, "
    "\"label\": \"light house\"}], \"notes\": \"Depth measured twice; see appendix B.\", "
    "\"parent\": null, \"tags\": [], \"ratio\": 6.02e23}";

static const char tool_schema[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"const\":\"book_journey\"},\"arguments\":{"
    "\"type\":\"object\",\"properties\":{\"from\":{\"type\":\"string\",\"maxLength\":40},\"to\":{"
    "\"type\":\"string\"},\"date\":{\"type\":\"string\",\"pattern\":\"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    "$\"},\"class\":{\"enum\":[\"first\",\"second\",\"sleeper\"]},\"passengers\":{\"type\":"
    "\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},"
    "\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":130}},\"required\":[\"name\"]}},"
    "\"remarks\":{\"type\":\"string\"}},\"required\":[\"from\",\"to\",\"date\"]}},\"required\":"
    "[\"name\",\"arguments\"]}";
static const char tool_call[] =
    "{\"name\": \"book_journey\", \"arguments\": {\"from\": \"Bergen\", \"to\": \"Oslo Central\", "
    "\"date\": \"2026-03-14\", \"class\": \"second\", \"passengers\": [{\"name\": \"Ingrid "
    "Halvorsen\", \"age\": 41}, {\"name\": \"Per\"}], \"remarks\": \"A window seat on the left, "
    "please; the view of the lake is best there.\"}}";

static const char enum_schema[] =
    "{\"type\":\"array\",\"items\":{\"enum\":[\"january\",\"february\",\"march\",\"april\",\"may\","
    "\"june\",\"july\",\"august\",\"september\",\"october\",\"november\",\"december\",\"monday\","
    "\"tuesday\",\"wednesday\",\"thursday\",\"friday\",\"saturday\",\"sunday\"]}}";
static const char enum_list[] =
    "[\"january\", \"monday\", \"august\", \"sunday\", \"june\", \"tuesday\", \"december\", "
    "\"friday\", \"march\", \"thursday\", \"october\", \"saturday\"]";

static const char sum_grammar[] = "root ::= (expr \" = \" number \"\\n\")+\n"
                                  "expr ::= term (\" \" [-+*/] \" \" term)*\n"
                                  "term ::= number | ident | \"(\" expr \")\"\n"
                                  "number ::= [0-9]+ (\".\" [0-9]+)?\n"
                                  "ident ::= [a-z] [a-z0-9_]*\n";
static const char sums[] =
    "(3 + x) * 12.5 = 88\ntotal_mass / (2 + count) - 7 = 1900.25\n1 + 2 + 3 * (4 - (5 + six)) = 0\n"
    "alpha * beta * gamma_ray = 31415\n";

typedef struct work {
    const char *name;
    const char *schema; /* NULL: */
    const char *grammar;
    const char *text;
} work;

static const work all[] = {
    {"json", "{\"type\":\"object\"}", NULL, document},
    {"tool", tool_schema, NULL, tool_call},
    {"string", "{\"type\":\"string\"}", NULL, prose},
    {"enums", enum_schema, NULL, enum_list},
    {"sums", NULL, sum_grammar, sums},
};

/* ---- the large vocabulary ----------------------------------------------------------------- */

typedef struct vocab_maker {
    const char **tokens; /* [LARGE_COUNT] */
    const char **merges;
    int32_t *types;
    uint32_t count;
    size_t merge_count;
    uint32_t *slots; /* over tokens, + 1 */
    uint64_t random;
} vocab_maker;

#define SLOTS (1U << 19)

static uint32_t draw(vocab_maker *m, uint32_t sides)
{
    m->random = m->random * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (uint32_t)((m->random >> 32) * sides >> 32);
}

/* Add a token, unless it is there. */
static bool add(vocab_maker *m, const char *text, int32_t type)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *c = text; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    }
    uint32_t slot = (uint32_t)(hash >> 20) % SLOTS;
    for (; m->slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        if (strcmp(m->tokens[m->slots[slot] - 1], text) == 0) {
            return false;
        }
    }
    m->tokens[m->count] = text;
    m->types[m->count] = type;
    m->slots[slot] = ++m->count;
    return true;
}

static const char *join(const char *a, const char *between, const char *b)
{
    size_t bytes = strlen(a) + strlen(between) + strlen(b) + 1;
    char *joined = dw_alloc(bytes, 1);
    if (joined == NULL) {
        bench_die("no memory");
    }
    (void)snprintf(joined, bytes, "%s%s%s", a, between, b);
    return joined;
}

/* Pairs of two tokens, each with its merge, as byte-pair encoding would have made them of more
 * text. */
static void add_pairs(vocab_maker *m, uint32_t base)
{
    while (m->count < LARGE_COUNT) {
        uint32_t a = draw(m, base);
        uint32_t b = draw(m, base);
        const char *first = m->tokens[a];
        const char *second = m->tokens[b];
        bool normal = m->types[a] == 1 && m->types[b] == 1;
        if (!normal || strncmp(second, "\xc4\xa0", 2) == 0 ||
            strlen(first) + strlen(second) > PAIR_BYTES_MAX) {
            continue;
        }
        const char *joined = join(first, "", second);
        if (add(m, joined, 1)) {
            m->merges[m->merge_count++] = join(first, " ", second);
        } else {
            dw_free((void *)(uintptr_t)joined);
        }
    }
}

static int64_t key_of(const struct gguf_context *gguf, const char *key)
{
    int64_t id = gguf_find_key(gguf, key);
    if (id < 0) {
        bench_die("the model has no byte-pair vocabulary");
    }
    return id;
}

/* A file of the model's vocabulary and more, without tensors. */
static void write_large(const char *model, const char *path)
{
    struct gguf_init_params none = {.no_alloc = true};
    struct gguf_context *from = gguf_init_from_file(model, none);
    struct gguf_context *to = gguf_init_empty();
    vocab_maker m = {.random = 1};
    if (from == NULL || to == NULL) {
        bench_die("the model's file cannot be read");
    }
    int64_t tokens = key_of(from, "tokenizer.ggml.tokens");
    int64_t merges = key_of(from, "tokenizer.ggml.merges");
    const int32_t *types = gguf_get_arr_data(from, key_of(from, "tokenizer.ggml.token_type"));
    uint32_t base = (uint32_t)gguf_get_arr_n(from, tokens);
    m.merge_count = gguf_get_arr_n(from, merges);
    m.tokens = dw_alloc(LARGE_COUNT + base, sizeof *m.tokens);
    m.types = dw_alloc(LARGE_COUNT + base, sizeof *m.types);
    m.merges = dw_alloc(LARGE_COUNT + m.merge_count, sizeof *m.merges);
    m.slots = dw_alloc(SLOTS, sizeof *m.slots);
    if (m.tokens == NULL || m.types == NULL || m.merges == NULL || m.slots == NULL) {
        bench_die("no memory");
    }
    for (uint32_t i = 0; i < base; i++) {
        (void)add(&m, gguf_get_arr_str(from, tokens, i), types[i]);
    }
    for (size_t i = 0; i < m.merge_count; i++) {
        m.merges[i] = gguf_get_arr_str(from, merges, i);
    }
    add_pairs(&m, base);
    gguf_set_kv(to, from);
    gguf_set_arr_str(to, "tokenizer.ggml.tokens", m.tokens, m.count);
    gguf_set_arr_str(to, "tokenizer.ggml.merges", m.merges, m.merge_count);
    gguf_set_arr_data(to, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, m.types, m.count);
    if (!gguf_write_to_file(to, path, true)) {
        bench_die("the large vocabulary cannot be written");
    }
    gguf_free(to);
    gguf_free(from); /* the texts that were joined live as long as the program */
    dw_free((void *)(uintptr_t)m.tokens);
    dw_free((void *)(uintptr_t)m.merges);
    dw_free(m.types);
    dw_free(m.slots);
}

/* ---- measuring ---------------------------------------------------------------------------- */

typedef struct trip {
    const dw_vocab *vocab;
    const char *grammar;
    int32_t tokens[STEPS_MAX]; /* [count] */
    size_t count;
    float *logits;          /* [vocab_count] */
    llama_token_data *data; /* [vocab_count] */
    double us[2][STEPS_MAX];
    uint32_t allowed[2][STEPS_MAX];
} trip;

/* Processor time of this thread: neither side has another. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static double us_since(uint64_t started)
{
    return (double)(cpu_ns() - started) / 1e3;
}

static void go_ours(trip *t)
{
    dw_error err = {0};
    dw_sampler *sampler = NULL;
    uint32_t vocab_count = dw_vocab_count(t->vocab);
    uint64_t started = cpu_ns();
    if (dw_sampler_create(&sampler, vocab_count, NULL, &err) != DW_OK ||
        dw_sampler_set_grammar(sampler, t->vocab, t->grammar, strlen(t->grammar), &err) != DW_OK) {
        bench_die(err.message);
    }
    for (size_t i = 0; i < t->count; i++) {
        memset(t->logits, 0, vocab_count * sizeof *t->logits);
        started = i == 0 ? started : cpu_ns();
        if (dw_sampler_mask(sampler, t->logits, &err) != DW_OK) {
            bench_die(err.message);
        }
        double us = us_since(started);
        t->allowed[0][i] = 0;
        for (uint32_t k = 0; k < vocab_count; k++) {
            t->allowed[0][i] += t->logits[k] == 0.0F;
        }
        started = cpu_ns();
        if (dw_sampler_remember(sampler, t->tokens[i], &err) != DW_OK) {
            bench_die(err.message);
        }
        us += us_since(started);
        t->us[0][i] = t->us[0][i] > 0.0 && t->us[0][i] < us ? t->us[0][i] : us;
    }
    dw_sampler_destroy(sampler);
}

static void go_theirs(trip *t)
{
    const struct llama_vocab *vocab = dw_vocab_llama(t->vocab);
    uint32_t vocab_count = dw_vocab_count(t->vocab);
    uint64_t started = cpu_ns();
    struct llama_sampler *sampler = llama_sampler_init_grammar(vocab, t->grammar, "root");
    for (size_t i = 0; i < t->count; i++) {
        for (uint32_t k = 0; k < vocab_count; k++) {
            t->data[k] = (llama_token_data){.id = (int32_t)k};
        }
        llama_token_data_array list = {.data = t->data, .size = vocab_count, .selected = -1};
        started = i == 0 ? started : cpu_ns();
        llama_sampler_apply(sampler, &list);
        double us = us_since(started);
        t->allowed[1][i] = 0;
        for (uint32_t k = 0; k < vocab_count; k++) {
            t->allowed[1][i] += t->data[k].logit == 0.0F;
        }
        started = cpu_ns();
        llama_sampler_accept(sampler, t->tokens[i]);
        us += us_since(started);
        t->us[1][i] = t->us[1][i] > 0.0 && t->us[1][i] < us ? t->us[1][i] : us;
    }
    llama_sampler_free(sampler);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_rows(trip *t, const char *name)
{
    static const char *const kinds[] = {"average", "median", "most"};
    double value[2][3];
    for (size_t side = 0; side < 2; side++) {
        double sum = 0.0;
        for (size_t i = 0; i < t->count; i++) {
            sum += t->us[side][i];
        }
        qsort(t->us[side], t->count, sizeof t->us[side][0], ascending);
        value[side][0] = sum / (double)t->count;
        value[side][1] = t->us[side][t->count / 2];
        value[side][2] = t->us[side][t->count - 1];
    }
    for (size_t k = 0; k < 3; k++) {
        char row[64];
        (void)snprintf(row, sizeof row, "%s_%s", name, kinds[k]);
        bench_row(row, "us", value[0][k], value[1][k]);
    }
}

static void measure(trip *t, const work *of, const char *size, const bench_options *options)
{
    dw_error err = {0};
    char name[48];
    char *made = NULL;
    (void)snprintf(name, sizeof name, "%s_%s", of->name, size);
    if (!bench_wants(options, name)) {
        return;
    }
    if (of->schema != NULL &&
        dw_json_grammar_make(&made, of->schema, strlen(of->schema), &err) != DW_OK) {
        bench_die(err.message);
    }
    t->grammar = made != NULL ? made : of->grammar;
    if (dw_vocab_tokenize(t->vocab, of->text, strlen(of->text), t->tokens, STEPS_MAX, 0, &t->count,
                          &err) != DW_OK) {
        bench_die(err.message);
    }
    memset(t->us, 0, sizeof t->us);
    for (int round = 0; round < options->rounds; round++) {
        go_ours(t);
        go_theirs(t);
    }
    for (size_t i = 0; i < t->count; i++) {
        /* libllama lets control tokens pass as text, and bytes that are not UTF-8. */
        if (t->allowed[0][i] > t->allowed[1][i] || t->allowed[0][i] + 2000 < t->allowed[1][i]) {
            (void)fprintf(stderr, "%s, token %zu: %u allowed, libllama allows %u\n", name, i,
                          t->allowed[0][i], t->allowed[1][i]);
        }
    }
    print_rows(t, name);
    dw_free(made);
}

static void measure_all(const char *path, const char *size, const bench_options *options)
{
    struct gguf_init_params none = {.no_alloc = true};
    struct gguf_context *gguf = gguf_init_from_file(path, none);
    dw_error err = {0};
    dw_vocab *vocab = NULL;
    trip *t = dw_alloc(1, sizeof *t);
    if (gguf == NULL || t == NULL) {
        bench_die("the file cannot be read");
    }
    uint32_t count = (uint32_t)gguf_get_arr_n(gguf, key_of(gguf, "tokenizer.ggml.tokens"));
    gguf_free(gguf);
    if (dw_vocab_open(&vocab, path, count, &err) != DW_OK) {
        bench_die(err.message);
    }
    const dw_token_texts *texts;
    uint64_t started = cpu_ns();
    if (dw_vocab_token_texts(vocab, &texts, &err) != DW_OK) {
        bench_die(err.message);
    }
    char name[48];
    (void)snprintf(name, sizeof name, "texts_%s", size);
    bench_figure(name, "us", us_since(started));
    const dw_token_trie *trie;
    started = cpu_ns();
    if (dw_token_texts_trie(texts, &trie, &err) != DW_OK) {
        bench_die(err.message);
    }
    (void)snprintf(name, sizeof name, "tree_%s", size);
    bench_figure(name, "us", us_since(started));
    t->vocab = vocab;
    t->logits = dw_alloc(count, sizeof *t->logits);
    t->data = dw_alloc(count, sizeof *t->data);
    if (t->logits == NULL || t->data == NULL) {
        bench_die("no memory");
    }
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        measure(t, &all[i], size, options);
    }
    dw_free(t->logits);
    dw_free(t->data);
    dw_free(t);
    dw_vocab_close(vocab);
}

int main(int argc, char **argv)
{
    bench_options options = {.rounds = 3};
    bench_read_options(&options, argc, argv,
                       "Masks of grammars against libllama's grammar sampler, us a token.");
    char path[BENCH_PATH_BYTES];
    bench_temporary(path, "vocab");
    bench_header();
    measure_all(options.model, "own", &options);
    write_large(options.model, path);
    measure_all(path, "150k", &options);
    (void)unlink(path);
    return 0;
}
