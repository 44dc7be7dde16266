/* Guests that take as much as they can of one kind of memory, and hold it. Each export answers how
 * often it was given some before it was refused, or a bound of its own. */
#include <driftwood_guest.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define TEXT_BYTES (4u << 20)

static char text[TEXT_BYTES];
static int32_t tokens[TEXT_BYTES];
static DW_ALIGNED float values[64];
static DW_ALIGNED float result[64];
static int32_t model;

static int32_t open_model(void)
{
    model = model > 0 ? model : dw_model_open("", 0);
    return model;
}

EXPORT("pages") int32_t pages(void)
{
    int32_t count = 0;
    for (; count < 4096; count++) {
        size_t before = __builtin_wasm_memory_grow(0, 1);
        if (before == (size_t)-1) {
            break;
        }
        memset((void *)(before * 65536), 1, 65536);
    }
    return count;
}

EXPORT("samplers") int32_t samplers(void)
{
    const dw_sampler_params params = {.temperature = 1.0f,
                                      .top_k = 40,
                                      .top_p = 0.9f,
                                      .min_p = 0.05f,
                                      .typical_p = 0.9f,
                                      .xtc_probability = 0.5f,
                                      .xtc_threshold = 0.1f,
                                      .repeat_penalty = 1.1f,
                                      .penalty_tokens = 4096,
                                      .dry_multiplier = 0.8f,
                                      .struct_bytes = sizeof params};
    int32_t count = 0;
    while (count < 3000 && dw_sampler_create(open_model(), &params) > 0) {
        count++;
    }
    return count;
}

EXPORT("grammars") int32_t grammars(void)
{
    static const char rule[] = "root ::= ([a-z] | [0-9] | \"x\" [A-Z]){2000}";
    int32_t count = 0;
    for (; count < 1000; count++) {
        int32_t sampler = dw_sampler_create(open_model(), NULL);
        if (sampler < 0 ||
            dw_sampler_grammar(sampler, model, rule, (uint32_t)sizeof rule - 1) < 0) {
            break;
        }
    }
    return count;
}

EXPORT("contexts") int32_t contexts(void)
{
    for (int32_t i = 0; i < 48; i++) {
        tokens[i] = 20 + i;
    }
    int32_t count = 0;
    for (; count < 16; count++) {
        int32_t context = dw_context_create(open_model(), 0);
        if (context < 0 || dw_forward(context, tokens, 48, NULL) < 0) {
            break;
        }
    }
    return count;
}

EXPORT("forks") int32_t forks(void)
{
    for (int32_t i = 0; i < 48; i++) {
        tokens[i] = 20 + i;
    }
    int32_t context = dw_context_create(open_model(), 0);
    if (context < 0 || dw_forward(context, tokens, 48, NULL) < 0) {
        return 0;
    }
    int32_t count = 0;
    for (; count < 15; count++) {
        int32_t fork = dw_context_fork(context);
        if (fork < 0 || dw_context_trim(fork, 1) < 0 || dw_forward(fork, tokens, 47, NULL) < 0) {
            break;
        }
    }
    return count;
}

/* Of every kind that costs little, until no more may be open. */
EXPORT("handles") int32_t handles(void)
{
    int32_t count = 0;
    while (count < 16 && dw_context_create(open_model(), 16) > 0) {
        count++;
    }
    for (int32_t i = 0; i < 256 && dw_graph_create() > 0; i++) {
        count++;
    }
    while (count < 4096 && dw_sampler_create(open_model(), NULL) > 0) {
        count++;
    }
    return count;
}

/* Of many tensors, with 4 MiB between input and output. */
EXPORT("graphs") int32_t graphs(void)
{
    const uint32_t ne[4] = {64, 1, 1, 1};
    const dw_op_params params = {.i = {64, 1 << 14, 1, 1}};
    int32_t count = 0;
    for (; count < 64; count++) {
        int32_t graph = dw_graph_create();
        int32_t tensor = dw_graph_tensor(graph, DW_F32, ne, values);
        int32_t big = dw_graph_op(graph, DW_OP_REPEAT, (int32_t[4]){tensor}, &params);
        for (int i = 0; i < 1000; i++) {
            tensor = dw_graph_op(graph, DW_OP_NEG, (int32_t[4]){tensor}, NULL);
        }
        int32_t total = dw_graph_op(graph, DW_OP_SUM, (int32_t[4]){big}, NULL);
        if (graph < 0 || total < 0 || dw_graph_output(graph, total, result) < 0 ||
            dw_graph_build(graph) < 0 || dw_graph_run(graph) < 0) {
            break;
        }
    }
    return count;
}

EXPORT("words") int32_t words(void)
{
    for (uint32_t i = 0; i < TEXT_BYTES; i++) {
        text[i] = i % 6 == 5 ? ' ' : (char)('a' + i % 5);
    }
    return dw_tokenize(open_model(), text, TEXT_BYTES / 2, tokens, TEXT_BYTES, 0);
}

EXPORT("one_word") int32_t one_word(void)
{
    memset(text, 'a', TEXT_BYTES);
    return dw_tokenize(open_model(), text, TEXT_BYTES / 2, tokens, TEXT_BYTES, 0);
}

EXPORT("chat") int32_t chat(void)
{
    static const char head[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"";
    static const char tail[] = "\"}]}";
    memset(text, 'a', TEXT_BYTES);
    memcpy(text, head, sizeof head - 1);
    memcpy(text + TEXT_BYTES - sizeof tail, tail, sizeof tail - 1);
    return dw_chat_render(open_model(), text, TEXT_BYTES - 1, (char *)tokens, sizeof tokens);
}

/* A request of as many small values as one may have. */
static int32_t many_values(const char *value, uint32_t count)
{
    static const char head[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"x\": [0";
    static const char tail[] = "]}]}";
    uint32_t at = sizeof head - 1;
    memcpy(text, head, at);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(text + at, value, 3);
        at += 3;
    }
    memcpy(text + at, tail, sizeof tail - 1);
    return dw_chat_render(open_model(), text, at + sizeof tail - 1, (char *)tokens, sizeof tokens);
}

/* As many as a request may have, nearly. */
EXPORT("values") int32_t values_of_json(void)
{
    return many_values(",[]", 450000);
}

EXPORT("objects") int32_t objects(void)
{
    return many_values(",{}", 320000);
}

/* An answer as long as one is read, and the message that it becomes. */
EXPORT("answer") int32_t answer(void)
{
    static const char request[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}";
    memset(text, 'a', TEXT_BYTES);
    return dw_chat_parse(open_model(), request, sizeof request - 1, text, TEXT_BYTES, 0,
                         (char *)tokens, sizeof tokens);
}
