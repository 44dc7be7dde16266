/* Guests that run into one limit each: every export asks for more and more of one thing, up to a
 * bound of its own, and answers the first failure, 0 where there was none. What it met in words is
 * in `met`, at the address that the export `words` answers. */
#include <driftwood_guest.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define PAGE_BYTES 65536

static char met[256];
static char text[1 << 20];
static int32_t tokens[1 << 20];
static DW_ALIGNED float values[64];
static DW_ALIGNED float result[64];

EXPORT("words") int32_t words(void)
{
    (void)dw_last_error(met, sizeof met);
    return (int32_t)(uintptr_t)met;
}

/* Pages of the memory: 64 more. memory.grow has no words, so the answer is -1. */
EXPORT("grow") int32_t grow(void)
{
    for (int i = 0; i < 64; i++) {
        if (__builtin_wasm_memory_grow(0, 1) == (size_t)-1) {
            return -1;
        }
    }
    return 0;
}

static int32_t model(void)
{
    static int32_t opened;
    opened = opened > 0 ? opened : dw_model_open("", 0);
    return opened;
}

EXPORT("handles") int32_t handles(void)
{
    for (int i = 0; i < 100; i++) {
        int32_t handle = dw_model_open("", 0);
        if (handle < 0) {
            return handle;
        }
    }
    return 0;
}

EXPORT("contexts") int32_t contexts(void)
{
    for (int i = 0; i < 3; i++) {
        int32_t handle = dw_context_create(model(), 8);
        if (handle < 0) {
            return handle;
        }
    }
    return 0;
}

EXPORT("context_tokens") int32_t context_tokens(void)
{
    int32_t handle = dw_context_create(model(), 48);
    return handle < 0 ? handle : 0;
}

/* A context of 40 tokens, then two forks that write from the beginning on. */
EXPORT("keys") int32_t keys(void)
{
    int32_t context = dw_context_create(model(), 48);
    for (int i = 0; i < 40; i++) {
        tokens[i] = 20 + i;
    }
    int32_t status = context < 0 ? context : dw_forward(context, tokens, 40, NULL);
    for (int i = 0; i < 2 && status >= 0; i++) {
        int32_t fork = dw_context_fork(context);
        status = fork < 0 ? fork : dw_context_trim(fork, 1);
        if (status >= 0) {
            status = dw_forward(fork, tokens, 39, NULL);
        }
    }
    return status < 0 ? status : 0;
}

/* Samplers with a temperature, each with candidates for the whole vocabulary. */
EXPORT("samplers") int32_t samplers(void)
{
    const dw_sampler_params params = {.temperature = 1.0f};
    for (int i = 0; i < 64; i++) {
        int32_t handle = dw_sampler_create(model(), &params);
        if (handle < 0) {
            return handle;
        }
    }
    return 0;
}

/* A grammar whose rules are long once they are written out. */
EXPORT("grammar") int32_t grammar(void)
{
    static const char rule[] = "root ::= (\"a\" | \"b\"){1000}";
    int32_t sampler = dw_sampler_create(model(), NULL);
    return sampler < 0 ? sampler
                       : dw_sampler_grammar(sampler, model(), rule, (uint32_t)sizeof rule - 1);
}

/* One that takes tens of thousands of steps to begin with. */
EXPORT("grammar_steps") int32_t grammar_steps(void)
{
    static const char rule[] = "root ::= (\"a\"? \"a\"?){0,2000} \"b\"";
    int32_t sampler = dw_sampler_create(model(), NULL);
    return sampler < 0 ? sampler
                       : dw_sampler_grammar(sampler, model(), rule, (uint32_t)sizeof rule - 1);
}

EXPORT("grammar_text") int32_t grammar_text(void)
{
    static const char rule[] = "root ::= \"a\"";
    memset(text, ' ', 4096);
    memcpy(text, rule, sizeof rule - 1);
    int32_t sampler = dw_sampler_create(model(), NULL);
    return sampler < 0 ? sampler : dw_sampler_grammar(sampler, model(), text, 4096);
}

EXPORT("tokenise") int32_t tokenise(void)
{
    for (uint32_t i = 0; i < sizeof text; i++) {
        text[i] = i % 6 == 5 ? ' ' : (char)('a' + i % 5);
    }
    int32_t count = dw_tokenize(model(), text, 100000, tokens, sizeof tokens / sizeof *tokens, 0);
    return count < 0 ? count : 0;
}

EXPORT("chat") int32_t chat(void)
{
    static const char head[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"";
    static const char tail[] = "\"}]}";
    memset(text, 'a', 4096);
    memcpy(text, head, sizeof head - 1);
    memcpy(text + 4096, tail, sizeof tail - 1);
    int32_t bytes =
        dw_chat_render(model(), text, 4096 + sizeof tail - 1, (char *)tokens, sizeof tokens);
    return bytes == DW_E_LIMIT ? bytes : 0;
}

static int32_t make_graph(uint32_t rows)
{
    const uint32_t ne[4] = {64, 1, 1, 1};
    const dw_op_params params = {.i = {64, (int32_t)rows, 1, 1}};
    int32_t graph = dw_graph_create();
    if (graph < 0) {
        return graph;
    }
    int32_t tensor = dw_graph_tensor(graph, DW_F32, ne, values);
    int32_t big = dw_graph_op(graph, DW_OP_REPEAT, (int32_t[4]){tensor}, &params);
    int32_t total = dw_graph_op(graph, DW_OP_SUM, (int32_t[4]){big}, NULL);
    int32_t status = dw_graph_output(graph, total, result);
    return status < 0 ? status : dw_graph_build(graph);
}

EXPORT("graphs") int32_t graphs(void)
{
    int32_t status = 0;
    for (int i = 0; i < 3 && status >= 0; i++) {
        status = make_graph(1);
    }
    return status;
}

/* 4 MiB between input and output, twice. */
EXPORT("scratch") int32_t scratch(void)
{
    int32_t status = make_graph(1 << 14);
    return status < 0 ? status : make_graph(1 << 14);
}

EXPORT("spin") int32_t spin(void)
{
    uint64_t end = dw_clock_ns() + 300000000;
    while (dw_clock_ns() < end) {}
    return 0;
}

/* Some 800 ms of a processor's time, however little of it the guest is given. */
EXPORT("work") int32_t work(void)
{
    uint32_t state = 1;
    for (uint32_t i = 0; i < 800000000; i++) {
        state = state * 1664525 + 1013904223;
    }
    return state == 0 ? -1 : 0;
}

/* ---- as an actor: the message says what to do, and how often ------------------------------ */

static int32_t act(char what, uint32_t size)
{
    static const char self[] = "0123456789abcdef";
    char id[17];
    switch (what) {
    case 's':
        return dw_actor_send(self, 16, text, size);
    case 'f':
        return dw_actor_fork(text, size, id, sizeof id);
    case 't':
        return dw_actor_timer(1000, text, size);
    default:
        return dw_actor_timer(100000, text, size);
    }
}

EXPORT("driftwood_receive") int32_t driftwood_receive(void)
{
    struct {
        char what[4];
        uint32_t count;
        uint32_t size;
    } order;
    if (dw_input((char *)&order, sizeof order) != sizeof order) {
        return 0;
    }
    for (uint32_t i = 0; i < order.count; i++) {
        int32_t status = act(order.what[0], order.size);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}
