/* Tree of thought: from each of KEEP (2) texts WIDTH (4) next steps are tried, together, DEPTH (3)
 * times; the model says of each whether it helps ("yes" against "no"), and the best go on. */
#include <driftwood_helpers.h>

#define WIDTH_MAX 8
#define STEP_TOKENS 12
#define TEXT_MAX 512

typedef struct node {
    int32_t context; /* with all but its last token */
    int32_t last;
    double value;
    int32_t text[TEXT_MAX];
    uint32_t count;
} node;

static int32_t model;
static dw_abi_model_info info;
static node nodes[2][WIDTH_MAX * WIDTH_MAX];
static dw_branch tries[WIDTH_MAX * WIDTH_MAX];
static uint32_t computed;

/* How much likelier "yes" is than "no", behind a question that is forgotten again. */
static void judge(node *all, uint32_t count)
{
    uint32_t n;
    uint32_t yes_count;
    int32_t *question = dw_tokens_of(model, "\nDoes this help? Answer:", 0, &n);
    int32_t yes = *dw_tokens_of(model, " yes", 0, &yes_count);
    int32_t no = *dw_tokens_of(model, " no", 0, &yes_count);
    static dw_forward_step steps[WIDTH_MAX * WIDTH_MAX];
    static int32_t tokens[WIDTH_MAX * WIDTH_MAX][64];
    for (uint32_t i = 0; i < count; i++) {
        tokens[i][0] = all[i].last;
        memcpy(tokens[i] + 1, question, n * sizeof *question);
        steps[i] = (dw_forward_step){.context = all[i].context,
                                     .tokens = tokens[i],
                                     .token_count = n + 1,
                                     .row_count = 1,
                                     .rows = dw_aligned(info.vocab_count, sizeof(float))};
    }
    dw_forward_all(steps, count);
    for (uint32_t i = 0; i < count; i++) {
        all[i].value = (double)(steps[i].rows[yes] - steps[i].rows[no]);
        computed += n + 1;
        dw_must(dw_context_trim(all[i].context, (uint32_t)steps[i].status - n - 1), "trim");
        free(steps[i].rows);
    }
}

/* -> how many there are in `to`, the best first */
static uint32_t expand(node *from, uint32_t count, node *to, uint32_t width, uint32_t level)
{
    uint32_t made = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < width; k++) {
            int32_t sampler = dw_sampler_of(model, 0.9, 1 + level * 100 + i * 10 + k);
            tries[made] =
                dw_branch_of(dw_fork_of(from[i].context), sampler, from[i].last, STEP_TOKENS);
            to[made++] = from[i];
        }
        dw_must(dw_context_close(from[i].context), "close");
    }
    computed += dw_branches_grow(model, tries, made);
    for (uint32_t i = 0; i < made; i++) {
        memcpy(to[i].text + to[i].count, tries[i].tokens, tries[i].count * sizeof(int32_t));
        to[i].count += tries[i].count;
        to[i].context = tries[i].context;
        to[i].last = tries[i].last;
        dw_must(dw_sampler_close(tries[i].sampler), "close");
        free(tries[i].tokens);
    }
    judge(to, made);
    for (uint32_t i = 1; i < made; i++) { /* in order */
        for (uint32_t k = i; k > 0 && to[k].value > to[k - 1].value; k--) {
            node other = to[k];
            to[k] = to[k - 1];
            to[k - 1] = other;
        }
    }
    return made;
}

int main(void)
{
    model = dw_first_model(&info);
    uint32_t width = dw_setting("WIDTH", 4);
    uint32_t keep = dw_setting("KEEP", 2);
    uint32_t depth = dw_setting("DEPTH", 3);
    uint32_t count;
    if (width < 1 || width > WIDTH_MAX || keep < 1 || keep > WIDTH_MAX || depth > 40) {
        dw_die("WIDTH and KEEP: 1 to 8, DEPTH: at most 40");
    }
    int32_t *prompt =
        dw_turn_of(model, NULL, dw_prompt("How do I find north without a compass?"), &count);
    nodes[0][0] = (node){.context = dw_context_of(model, prompt, count, TEXT_MAX + 64),
                         .last = prompt[count - 1]};
    uint32_t kept = 1;
    double worst = 0.0;
    double from = dw_seconds();
    for (uint32_t level = 0; level < depth; level++) {
        node *to = nodes[(level + 1) % 2];
        uint32_t made = expand(nodes[level % 2], kept, to, width, level);
        worst = to[made - 1].value;
        kept = made < keep ? made : keep;
        for (uint32_t i = kept; i < made; i++) {
            dw_must(dw_context_close(to[i].context), "close");
        }
    }
    double took = dw_seconds() - from;
    const node *best = &nodes[depth % 2][0];
    printf("%s\n", dw_text_of(model, best->text, best->count));
    printf("tree of %u levels: best value %.2f, worst of the last level %.2f; %u tokens, %.1f a "
           "second\n",
           depth, best->value, worst, computed, computed / took);
    return 0;
}
