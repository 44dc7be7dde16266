/* Choosing a token from a row of 151,936 logits by each cut, against libllama's chain of the same
 * filters: microseconds a token, of the thread's processor time. */
#include <llama.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sampling/sampler.h"

#define TOKENS 151936U
#define ROUNDS 15

typedef struct setting {
    const char *name;
    dw_sampler_params params;
} setting;

static float logits[TOKENS];
static llama_token_data candidates[TOKENS];

static double now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double chance(void)
{
    return (rand() + 1.0) / (RAND_MAX + 2.0);
}

/* Some tokens far above a broad tail. */
static void make_row(void)
{
    srand(1);
    for (uint32_t i = 0; i < TOKENS; i++) {
        logits[i] = (float)(sqrt(-2.0 * log(chance())) * cos(6.283185307179586 * chance()) * 2.5);
    }
    for (int i = 0; i < 40; i++) {
        logits[(uint32_t)rand() % TOKENS] += 6.0F + (float)(rand() % 100) * 0.08F;
    }
}

static struct llama_sampler *make_chain(const dw_sampler_params *p)
{
    struct llama_sampler *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (p->top_k > 0) {
        llama_sampler_chain_add(chain, llama_sampler_init_top_k(p->top_k));
    }
    if (p->typical_p > 0.0F) {
        llama_sampler_chain_add(chain, llama_sampler_init_typical(p->typical_p, 1));
    }
    if (p->top_p > 0.0F) {
        llama_sampler_chain_add(chain, llama_sampler_init_top_p(p->top_p, 1));
    }
    if (p->min_p > 0.0F) {
        llama_sampler_chain_add(chain, llama_sampler_init_min_p(p->min_p, 1));
    }
    if (p->xtc_probability > 0.0F) {
        llama_sampler_chain_add(chain,
                                llama_sampler_init_xtc(p->xtc_probability, p->xtc_threshold, 1, 1));
    }
    llama_sampler_chain_add(
        chain, llama_sampler_init_temp_ext(p->temperature, p->temperature_range, 1.0F));
    llama_sampler_chain_add(chain, llama_sampler_init_dist(1));
    return chain;
}

/* The least of some rounds; negative: it failed. */
static double time_ours(const dw_sampler_params *params)
{
    dw_error err;
    dw_sampler *sampler;
    int32_t token;
    double best = INFINITY;
    if (dw_sampler_create(&sampler, TOKENS, params, &err) != DW_OK) {
        (void)fprintf(stderr, "bench_sampler: %s\n", err.message);
        return -1.0;
    }
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_us();
        if (dw_sampler_choose(sampler, logits, &token, &err) != DW_OK) {
            best = -1.0;
            break;
        }
        best = fmin(best, now_us() - start);
    }
    dw_sampler_destroy(sampler);
    return best;
}

static double time_theirs(const dw_sampler_params *params)
{
    struct llama_sampler *chain = make_chain(params);
    double best = INFINITY;
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_us();
        for (uint32_t k = 0; k < TOKENS; k++) {
            candidates[k] = (llama_token_data){.id = (int32_t)k, .logit = logits[k]};
        }
        llama_token_data_array list = {.data = candidates, .size = TOKENS, .selected = -1};
        llama_sampler_apply(chain, &list);
        best = fmin(best, now_us() - start);
    }
    llama_sampler_free(chain);
    return best;
}

int main(void)
{
    static const setting settings[] = {
        {"temperature", {.temperature = 1.0F}},
        {"top_k 40", {.temperature = 1.0F, .top_k = 40}},
        {"top_k 1000", {.temperature = 1.0F, .top_k = 1000}},
        {"top_p 0.95", {.temperature = 1.0F, .top_p = 0.95F}},
        {"top_p 0.9999", {.temperature = 1.0F, .top_p = 0.9999F}},
        {"min_p 0.05", {.temperature = 1.0F, .min_p = 0.05F}},
        {"typical_p 0.95", {.temperature = 1.0F, .typical_p = 0.95F}},
        {"typical_p 0.2", {.temperature = 1.0F, .typical_p = 0.2F}},
        {"xtc", {.temperature = 1.0F, .xtc_probability = 1.0F, .xtc_threshold = 0.1F}},
        {"temperature_range", {.temperature = 1.0F, .temperature_range = 0.5F}},
    };
    make_row();
    (void)printf("name,unit,ours,theirs,ratio\n");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        double ours = time_ours(&settings[i].params);
        double theirs = time_theirs(&settings[i].params);
        if (ours < 0.0) {
            return 1;
        }
        (void)printf("%s,us,%.0f,%.0f,%.2f\n", settings[i].name, ours, theirs, theirs / ours);
    }
    return 0;
}
