/* Monte Carlo tree search over tokens: nodes are chosen by upper confidence bounds, opened with
 * their 4 likeliest tokens, and valued by texts that are played out from there, PLAYS (4) at
 * once. What is wanted is a likely text that ends soon. (Kocsis and Szepesvari, 2006.) */
#include <driftwood_helpers.h>

#define WAYS 4
#define NODES_MAX 1024
#define DEPTH_MAX 24
#define PLAY_TOKENS 12
#define PLAYS_MAX 8

typedef struct node {
    int32_t token;
    uint32_t children; /* the first of WAYS; 0: none yet */
    uint32_t visits;
    double sum;
} node;

static int32_t model;
static node nodes[NODES_MAX];
static uint32_t node_count = 1;

static double bound(const node *one, uint32_t parent_visits)
{
    return one->visits == 0
               ? 1e9
               : one->sum / one->visits + 0.7 * sqrt(log((double)parent_visits + 1) / one->visits);
}

static uint32_t choose(const node *parent)
{
    uint32_t best = parent->children;
    for (uint32_t i = 1; i < WAYS; i++) {
        uint32_t other = parent->children + i;
        if (bound(&nodes[other], parent->visits) > bound(&nodes[best], parent->visits)) {
            best = other;
        }
    }
    return best;
}

/* From 0 to 1: how likely its tokens are on average, and a fifth for an end. */
static double value_of(const dw_branch *play)
{
    double mean = play->count > 0 ? exp(play->log_probability / play->count) : 1.0;
    return 0.8 * mean + (play->ended ? 0.2 : 0.0);
}

static double play_out(int32_t context, int32_t last, uint32_t plays, uint64_t seed)
{
    static dw_branch all[PLAYS_MAX];
    double sum = 0.0;
    for (uint32_t i = 0; i < plays; i++) {
        all[i] = dw_branch_of(dw_fork_of(context), dw_sampler_of(model, 0.8, seed * 16 + i), last,
                              PLAY_TOKENS);
    }
    dw_branches_grow(model, all, plays);
    for (uint32_t i = 0; i < plays; i++) {
        sum += value_of(&all[i]);
        dw_branch_close(&all[i]);
    }
    return sum / plays;
}

static void simulate(int32_t root, int32_t last, uint32_t plays, uint64_t seed)
{
    uint32_t path[DEPTH_MAX + 1] = {0};
    int32_t tokens[DEPTH_MAX + 1] = {last};
    uint32_t depth = 0;
    while (nodes[path[depth]].children != 0 && depth < DEPTH_MAX) {
        path[depth + 1] = choose(&nodes[path[depth]]);
        depth++;
        tokens[depth] = nodes[path[depth]].token;
    }
    int32_t context = dw_fork_of(root);
    if (nodes[path[depth]].visits > 0 && depth < DEPTH_MAX && node_count + WAYS <= NODES_MAX) {
        int32_t top[WAYS];
        uint32_t held = (uint32_t)dw_must(dw_context_length(context), "length");
        dw_must(dw_forward_top(context, tokens, depth + 1, top, NULL, WAYS), "forward_top");
        dw_must(dw_context_trim(context, held + depth), "trim");
        nodes[path[depth]].children = node_count;
        for (uint32_t i = 0; i < WAYS; i++) {
            nodes[node_count++] = (node){.token = top[i]};
        }
    } else if (depth > 0) {
        dw_must(dw_forward(context, tokens, depth, NULL), "forward");
    }
    double value = play_out(context, tokens[depth], plays, seed);
    dw_must(dw_context_close(context), "close");
    for (uint32_t i = 0; i <= depth; i++) {
        nodes[path[i]].visits++;
        nodes[path[i]].sum += value;
    }
}

int main(void)
{
    dw_abi_model_info info;
    model = dw_first_model(&info);
    uint32_t rounds = dw_setting("ROUNDS", 24);
    uint32_t plays = dw_setting("PLAYS", 4);
    uint32_t count;
    if (plays < 1 || plays > PLAYS_MAX) {
        dw_die("PLAYS: 1 to 8");
    }
    int32_t *prompt = dw_turn_of(model, NULL, dw_prompt("Greet me."), &count);
    int32_t root = dw_context_of(model, prompt, count, DEPTH_MAX + PLAY_TOKENS + 8);
    for (uint32_t i = 0; i < rounds; i++) {
        simulate(root, prompt[count - 1], plays, i + 1);
    }
    int32_t text[DEPTH_MAX];
    uint32_t length = 0;
    const node *at = &nodes[0];
    double mean = at->sum / at->visits;
    while (at->children != 0 && length < DEPTH_MAX) { /* where it went most */
        const node *most = &nodes[at->children];
        for (uint32_t i = 1; i < WAYS; i++) {
            most = nodes[at->children + i].visits > most->visits ? &nodes[at->children + i] : most;
        }
        if (most->visits == 0) {
            break;
        }
        at = most;
        text[length++] = at->token;
    }
    printf("%s\n", dw_text_of(model, text, length));
    printf("tree search: %u rounds, %u nodes; value %.3f, on average %.3f\n", rounds, node_count,
           at->visits > 0 ? at->sum / at->visits : 0.0, mean);
    return 0;
}
