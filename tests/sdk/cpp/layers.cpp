// What tests/guest/layers.c says, by this SDK.
#include <stdio.h>
#include <string.h>

#include "driftwood.hpp"

static unsigned bits(float value)
{
    unsigned of;
    memcpy(&of, &value, sizeof of);
    return of;
}

static void print_row(dw::Span<const float> row)
{
    size_t best = 0;
    for (size_t i = 1; i < row.size(); i++) {
        best = row[i] > row[best] ? i : best;
    }
    printf(" %u:%u", static_cast<unsigned>(best), bits(row[best]));
}

static const int32_t prompt[] = {504, 3575, 282, 4649, 314, 260};
static const int32_t draft[] = {10, 20, 30, 40, 50, 60};
static const int32_t parents[] = {-1, 0, 0, 1, 2, -1};

static void trees(const dw::Model &model, dw::Context &context, dw::Floats &rows, size_t vocab)
{
    static const int32_t path[] = {0, 1, 3};
    static const int32_t crossed[] = {3, 1};
    static const int32_t next[] = {70};
    static const uint8_t mask[] = {1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1};
    static const int32_t positions[] = {3, 4, 3};
    context.forward(prompt).must("prompt");
    context.forward_tree(draft, parents, rows, 6).must("tree");
    printf("tree");
    for (size_t i = 0; i < 6; i++) {
        print_row(dw::Span<const float>(rows.data() + i * vocab, vocab));
    }
    bool refused = !context.keep(crossed);
    printf("\nkept %d", static_cast<int>(context.keep(path).must("keep")));
    context.forward(next, rows).must("forward");
    print_row(dw::Span<const float>(rows.data(), vocab));
    dw::Context masked = dw::Context::create(model, 32).must("context");
    masked.forward(dw::TokenSpan(prompt, 3)).must("prompt");
    dw::Tokens tokens = dw::Tokens::of(dw::TokenSpan(draft, 3));
    dw::Tokens places = dw::Tokens::of(positions);
    dw_forward_tree_step step{};
    step.context = masked.handle();
    step.tokens = tokens.data();
    step.token_count = 3;
    step.positions = places.data();
    step.mask = mask;
    step.rows = rows.data();
    step.row_count = 2;
    if (dw_forward_tree(&step) < 0) {
        printf(" failed");
    }
    printf("\nmask");
    print_row(dw::Span<const float>(rows.data(), vocab));
    print_row(dw::Span<const float>(rows.data() + vocab, vocab));
    refused = refused && !masked.forward_tree(draft, dw::TokenSpan(parents, 1));
    printf(" %s\n", refused ? "refused" : "taken");
}

static void many(const dw::Model &model, dw::Context &context, dw::Floats &rows, size_t vocab,
                 uint32_t width)
{
    static const int32_t given[] = {80, 81, 82, 83};
    dw::Tokens one = dw::Tokens::of(dw::TokenSpan(given, 1));
    dw::Tokens two = dw::Tokens::of(dw::TokenSpan(given + 1, 2));
    dw::Tokens other = dw::Tokens::of(dw::TokenSpan(given + 3, 1));
    dw::Context second = context.fork().must("fork");
    dw::Context third = context.fork().must("fork");
    dw::Sampler sampler = dw::Sampler::create(model).must("sampler");
    dw::Tokens top(3);
    dw::Floats chances(3);
    dw::Floats hidden(width);
    dw_forward_step steps[3] = {};
    steps[0].context = context.handle();
    steps[0].tokens = one.data();
    steps[0].token_count = 1;
    steps[0].rows = rows.data();
    steps[0].row_count = 1;
    steps[1].context = second.handle();
    steps[1].flags = DW_FORWARD_LOG_PROBABILITY;
    steps[1].tokens = two.data();
    steps[1].token_count = 2;
    steps[1].sampler = sampler.handle();
    steps[1].top_count = 3;
    steps[1].top_tokens = top.data();
    steps[1].top_log_probabilities = chances.data();
    steps[2].context = third.handle();
    steps[2].flags = DW_FORWARD_HIDDEN;
    steps[2].tokens = other.data();
    steps[2].token_count = 1;
    steps[2].rows = hidden.data();
    steps[2].row_count = 1;
    int32_t through = dw::forward_many(steps).must("many");
    printf("many %d %u", static_cast<int>(through), static_cast<unsigned>(context.length()));
    print_row(dw::Span<const float>(rows.data(), vocab));
    printf(" %d %u %d %d %d %u %u\n", static_cast<int>(steps[1].token),
           bits(steps[1].log_probability), static_cast<int>(top[0]), static_cast<int>(top[1]),
           static_cast<int>(top[2]), bits(chances[2]), bits(hidden[1]));
}

static void tree_among_steps(dw::Context &context, dw::Floats &rows, size_t vocab)
{
    static const int32_t given[] = {20, 30, 40, -1, 0, 0, 84};
    static const int32_t way[] = {0, 2};
    dw::Tokens leaves = dw::Tokens::of(dw::TokenSpan(given, 3));
    dw::Tokens parents = dw::Tokens::of(dw::TokenSpan(given + 3, 3));
    dw::Tokens token = dw::Tokens::of(dw::TokenSpan(given + 6, 1));
    dw::Context fork = context.fork().must("fork");
    dw_tree_shape shape{};
    shape.parents = parents.data();
    dw_forward_step steps[2] = {};
    steps[0].context = context.handle();
    steps[0].tokens = leaves.data();
    steps[0].token_count = 3;
    steps[0].rows = rows.data();
    steps[0].row_count = 3;
    steps[0].tree = &shape;
    steps[1].context = fork.handle();
    steps[1].tokens = token.data();
    steps[1].token_count = 1;
    steps[1].rows = rows.data() + 3 * vocab;
    steps[1].row_count = 1;
    printf("steps %d", static_cast<int>(dw::forward_many(steps).must("steps")));
    for (size_t i = 0; i < 4; i++) {
        print_row(dw::Span<const float>(rows.data() + i * vocab, vocab));
    }
    printf(" %d %d\n", static_cast<int>(steps[1].status),
           static_cast<int>(context.keep(way).must("keep")));
}

int main()
{
    dw::Model model = dw::Model::open().must("model");
    auto info = model.info().must("info");
    dw::Floats rows(static_cast<size_t>(6) * info.vocab_count);
    dw::Context context = dw::Context::create(model, 64).must("context");
    trees(model, context, rows, info.vocab_count);
    many(model, context, rows, info.vocab_count, info.embedding_length);
    tree_among_steps(context, rows, info.vocab_count);
    dw::Context fresh = dw::Context::create(model, 32).must("context");
    dw::Floats embeddings = model.token_embeddings(prompt).must("rows");
    printf("rows %u %u %u", static_cast<unsigned>(embeddings.size()), bits(embeddings[0]),
           bits(embeddings[embeddings.size() - 1]));
    printf(" %d", static_cast<int>(fresh.forward_embeddings(embeddings, 6, rows).must("rows")));
    print_row(dw::Span<const float>(rows.data(), info.vocab_count));
    dw::Floats one = model.embed(prompt).must("embed");
    dw::Floats all = model.embed(prompt, DW_POOLING_NONE, 0).must("embed");
    printf("\nembed %u %u %u %u %u\n", static_cast<unsigned>(one.size()), bits(one[0]),
           bits(one[one.size() - 1]), bits(all[0]), bits(all[all.size() - 1]));
}
