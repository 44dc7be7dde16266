/* A prefix tree: questions that begin alike, each prefix computed once and forked, against each
 * question from its start. */
#include <driftwood_helpers.h>

static const char *const subjects[] = {"the sea", "the moon", "a horse", "bread"};
static const char *const asked[] = {" Say its color.", " Say its smell.", " Say its sound."};
#define SUBJECTS (sizeof subjects / sizeof subjects[0])
#define ASKED (sizeof asked / sizeof asked[0])

static const char common[] =
    "You are asked about things of this world. Answer in one sentence, in plain words, as one who "
    "has seen, heard and smelled a great deal, and say nothing of yourself. The thing is ";

static uint32_t computed;

static void append(int32_t model, int32_t context, const char *text, uint32_t flags)
{
    uint32_t count;
    int32_t *tokens = dw_tokens_of(model, text, flags, &count);
    dw_must(dw_forward(context, tokens, count, NULL), "forward");
    computed += count;
    free(tokens);
}

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    double from = dw_seconds();
    for (size_t s = 0; s < SUBJECTS; s++) {
        for (size_t a = 0; a < ASKED; a++) {
            int32_t context = dw_must(dw_context_create(model, 512), "context");
            append(model, context, common, DW_TOKENIZE_SPECIAL);
            append(model, context, subjects[s], 0);
            append(model, context, asked[a], 0);
            dw_must(dw_context_close(context), "close");
        }
    }
    double alone = dw_seconds() - from;
    uint32_t alone_tokens = computed;
    computed = 0;
    from = dw_seconds();
    int32_t root = dw_must(dw_context_create(model, 512), "context");
    append(model, root, common, DW_TOKENIZE_SPECIAL);
    for (size_t s = 0; s < SUBJECTS; s++) {
        int32_t branch = dw_fork_of(root);
        append(model, branch, subjects[s], 0);
        for (size_t a = 0; a < ASKED; a++) {
            int32_t leaf = dw_fork_of(branch);
            append(model, leaf, asked[a], 0);
            dw_must(dw_context_close(leaf), "close");
        }
        dw_must(dw_context_close(branch), "close");
    }
    double tree = dw_seconds() - from;
    printf("%zu questions: %u tokens as a tree, %u one by one; %.2f times as fast\n",
           SUBJECTS * ASKED, computed, alone_tokens, alone / tree);
    return 0;
}
