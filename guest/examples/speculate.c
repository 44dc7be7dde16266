/* Draft-model speculation: the model DRAFT (granted under that name; else the first one itself)
 * proposes a tree: 5 tokens, and beside each the one that it found second. The large one looks at
 * all of it in one step and keeps the path that it would have chosen. But for last bits the text is
 * that of plain decoding. */
#include <driftwood_helpers.h>

#define AHEAD 5
#define NODES (1 + 2 * AHEAD)

static dw_abi_model_info info;
static float *rows;

/* The two likeliest behind tokens [count], which are appended. */
static void two_likeliest(int32_t context, const int32_t *tokens, uint32_t count, int32_t top[2])
{
    dw_must(dw_forward_top(context, tokens, count, top, NULL, 2), "draft");
}

/* Behind the text's last token what the draft would say, and where that branches off. */
static void propose(dw_draft_tree *tree, int32_t ahead, const int32_t *text, uint32_t end)
{
    uint32_t behind = (uint32_t)dw_must(dw_context_length(ahead), "length");
    int32_t top[2];
    tree->count = 0;
    int32_t node = dw_draft_add(tree, -1, text[end - 1]);
    two_likeliest(ahead, text + behind, end - behind, top);
    for (int i = 0; i < AHEAD; i++) {
        const int32_t parent = node;
        node = dw_draft_add(tree, parent, top[0]);
        dw_draft_add(tree, parent, top[1]);
        if (i + 1 < AHEAD) {
            const int32_t said = top[0];
            two_likeliest(ahead, &said, 1, top);
        }
    }
}

/* Down the tree by what the large one would choose: nodes to keep, and what it says behind them.
 * Returns how many there are. */
static uint32_t accept(const dw_draft_tree *tree, int32_t model, int32_t path[NODES], int32_t *next)
{
    uint32_t count = 0;
    for (int32_t node = 0; node >= 0; node = dw_draft_find(tree, node, *next)) {
        path[count++] = node;
        *next = dw_must(dw_greedy(model, rows + (size_t)node * info.vocab_count), "greedy");
    }
    return count;
}

int main(void)
{
    int32_t model = dw_first_model(&info);
    uint32_t length = dw_setting("TOKENS", 48);
    const char *name = getenv("DRAFT");
    int32_t draft =
        name != NULL ? dw_must(dw_model_open(name, (uint32_t)strlen(name)), "draft") : model;
    dw_abi_model_info small;
    dw_must(dw_model_info(draft, &small), "draft");
    if (small.vocab_count != info.vocab_count) {
        dw_die("DRAFT: another vocabulary");
    }
    uint32_t count;
    int32_t *prompt = dw_turn_of(model, NULL, dw_prompt("Why is the sky blue?"), &count);
    int32_t large = dw_context_of(model, prompt, count, length + NODES + 1);
    int32_t plain = dw_fork_of(large);
    int32_t ahead = dw_context_of(draft, prompt, count, length + 2 * AHEAD + 2);
    int32_t *text = dw_aligned(count + length + 2 * AHEAD, sizeof *text);
    rows = dw_aligned(NODES * (size_t)info.vocab_count, sizeof *rows);
    memcpy(text, prompt, count * sizeof *text);
    dw_draft_tree tree = dw_draft_tree_of(NODES);
    uint32_t end = count;
    uint32_t runs = 0;
    uint32_t taken = 0;
    double from = dw_seconds();
    while (end < count + length) {
        int32_t path[NODES];
        int32_t next = 0;
        propose(&tree, ahead, text, end);
        dw_draft_forward(&tree, large, rows);
        uint32_t kept = accept(&tree, model, path, &next);
        dw_must(dw_context_keep(large, path, kept), "context_keep");
        uint32_t main_line = end; /* how far the draft's own context is right */
        for (uint32_t i = 1; i < kept; i++) {
            main_line += path[i] == 2 * (int32_t)i - 1 && main_line == end + i - 1;
            text[end + i - 1] = tree.tokens[path[i]];
        }
        if ((uint32_t)dw_must(dw_context_length(ahead), "length") > main_line) {
            dw_must(dw_context_trim(ahead, main_line), "trim");
        }
        text[end + kept - 1] = next; /* the large one's own */
        end += kept;
        taken += kept - 1;
        runs++;
    }
    double took = dw_seconds() - from;
    uint32_t alike = 0;
    from = dw_seconds();
    for (uint32_t i = 0; i < length; i++) {
        dw_must(dw_forward(plain, text + count + i - 1, 1, rows), "plain");
        alike += dw_must(dw_greedy(model, rows), "greedy") == text[count + i];
    }
    double alone = dw_seconds() - from;
    printf("%s\n", dw_text_of(model, text + count, length));
    printf("%u tokens in %u runs of the large model, %.0f of 100 drafts taken; %u of %u tokens "
           "equal; %.2f times as fast\n",
           end - count, runs, 100.0 * taken / (runs * AHEAD), alike, length,
           alone / took * (end - count) / length);
    return 0;
}
