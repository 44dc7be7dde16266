/* Where a step's time goes, by operation: both engines compute their graph node by node, ours in
 * graphs of one node each, libllama's through its own callback. Waking the threads for each node
 * costs some microseconds, so that the sums exceed a step's time; the shares are what counts. Of
 * each kind of operation the best of --rounds steps is told, all of its nodes in a step together.
 *
 * The program is linked with --wrap: our engine's calls of ggml_backend_graph_compute come here. */
#include <ggml-backend.h>
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "sides.h"

#define KINDS_MAX 48

enum ggml_status __real_ggml_backend_graph_compute(ggml_backend_t backend,
                                                   struct ggml_cgraph *graph);
enum ggml_status __wrap_ggml_backend_graph_compute(ggml_backend_t backend,
                                                   struct ggml_cgraph *graph);

/* A kind of operation, and the nanoseconds it took on either side, in this step and at best. */
typedef struct kind {
    char name[48];
    uint64_t took_ns[2];
    uint64_t best_ns[2];
} kind;

/* ggml gives the callbacks no place for data of their own (the first one), so this is global. */
static kind kinds[KINDS_MAX];
static size_t kind_count;
static bool recording;
static uint64_t node_started; /* of libllama's node */

static void put_name(char *name, size_t bytes, const struct ggml_tensor *node)
{
    const struct ggml_tensor *weight = node->src[0];
    if (node->op != GGML_OP_MUL_MAT && node->op != GGML_OP_MUL_MAT_ID) {
        bool custom = node->op == GGML_OP_CUSTOM; /* our own operations have names */
        (void)snprintf(name, bytes, "%s%s", custom ? "our " : "",
                       custom ? ggml_get_name(node) : ggml_op_desc(node));
        return;
    }
    bool output =
        strncmp(weight->name, "output", 6) == 0 || strncmp(weight->name, "token_embd", 10) == 0;
    (void)snprintf(name, bytes, "%s %s%s", ggml_op_desc(node), ggml_type_name(weight->type),
                   output ? " output" : "");
}

static void note(const struct ggml_tensor *node, int which, uint64_t took_ns)
{
    char name[sizeof kinds[0].name];
    if (node->op == GGML_OP_VIEW || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_PERMUTE) {
        return; /* nothing is computed */
    }
    put_name(name, sizeof name, node);
    size_t i = 0;
    while (i < kind_count && strcmp(kinds[i].name, name) != 0) {
        i++;
    }
    if (i == KINDS_MAX) {
        bench_die("more kinds of operations than there is room for");
    }
    if (i == kind_count) {
        kinds[kind_count++] = (kind){.took_ns = {0}};
        (void)snprintf(kinds[i].name, sizeof kinds[i].name, "%s", name);
    }
    kinds[i].took_ns[which] += took_ns;
}

enum ggml_status __wrap_ggml_backend_graph_compute(ggml_backend_t backend,
                                                   struct ggml_cgraph *graph)
{
    if (!recording) {
        return __real_ggml_backend_graph_compute(backend, graph);
    }
    struct ggml_init_params params = {.mem_size = ggml_graph_overhead_custom(8, false) + 1024,
                                      .no_alloc = true};
    struct ggml_context *own = ggml_init(params);
    struct ggml_cgraph *one = own != NULL ? ggml_new_graph_custom(own, 8, false) : NULL;
    enum ggml_status status = one != NULL ? GGML_STATUS_SUCCESS : GGML_STATUS_ALLOC_FAILED;
    for (int i = 0; i < ggml_graph_n_nodes(graph) && status == GGML_STATUS_SUCCESS; i++) {
        struct ggml_tensor *node = ggml_graph_node(graph, i);
        ggml_graph_clear(one);
        ggml_graph_add_node(one, node);
        uint64_t started = dw_os_clock_ns();
        status = __real_ggml_backend_graph_compute(backend, one);
        note(node, 0, dw_os_clock_ns() - started);
    }
    ggml_free(own);
    return status;
}

static bool on_node(struct ggml_tensor *node, bool ask, void *user)
{
    (void)user;
    if (!recording) {
        return !ask; /* wants none; goes on */
    }
    if (ask) {
        node_started = dw_os_clock_ns();
    } else {
        note(node, 1, dw_os_clock_ns() - node_started);
    }
    return true;
}

static void set_callback(struct llama_context_params *params)
{
    params->cb_eval = on_node;
}

static void end_step(int which)
{
    for (size_t i = 0; i < kind_count; i++) {
        uint64_t took = kinds[i].took_ns[which];
        uint64_t *best = &kinds[i].best_ns[which];
        *best = took > 0 && (*best == 0 || took < *best) ? took : *best;
        kinds[i].took_ns[which] = 0;
    }
}

static void profile(sides *s, const char *name, uint32_t depth, uint32_t count)
{
    if (!bench_wants(s->options, name)) {
        return;
    }
    kind_count = 0;
    for (int e = 0; e < 2; e++) {
        recording = false;
        sides_fill(s, &sides_both[e], depth);
    }
    for (int round = 0; round <= s->options->rounds; round++) { /* the first warms up */
        for (int e = 0; e < 2; e++) {
            sides_both[e].trim(s, depth);
            recording = round > 0;
            sides_both[e].step(s, depth, count);
            recording = false;
            end_step(e);
        }
    }
    for (size_t i = 0; i < kind_count; i++) {
        char row[128];
        (void)snprintf(row, sizeof row, "profile/%.40s/%.47s", name, kinds[i].name);
        bench_row(row, "ms", (double)kinds[i].best_ns[0] / 1e6, (double)kinds[i].best_ns[1] / 1e6);
    }
}

int main(int argc, char **argv)
{
    bench_options options = {.rounds = 5, .context = 4608};
    bench_read_options(&options, argc, argv, "Where a step's time goes, by operation.");
    if (options.context < 4160) {
        bench_die("--context: at least 4160 is needed here");
    }
    sides s;
    sides_open(&s, &options, set_callback);
    bench_header();
    profile(&s, "prefill_128", 0, 128);
    profile(&s, "prefill_512", 0, 512);
    profile(&s, "decode_depth_0", 1, 1);
    profile(&s, "decode_depth_1024", 1024, 1);
    profile(&s, "decode_depth_4096", 4096, 1);
    sides_close(&s);
    return 0;
}
