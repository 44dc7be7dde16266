/* Whether an actor that was frozen and thawed goes on like one that was not: it answers the same,
 * each of its contexts gives the same logits for token after token, and their states are equal. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/actor.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "cli/actor_state.h"
#include "device/device_view.h"
#include "inference/context.h"
#include "model/model.h"
#include "wasm/instance_state.h"

#define PLACE_BYTES ((size_t)65536) /* a multiple that every device takes */

/* ---- logits ------------------------------------------------------------------------------ */

/* Memory of the host's own that a device reads tokens from and writes logits to. */
typedef struct board {
    dw_region *region;
    dw_device_view *view;
    int32_t *token;
    float *logits[2]; /* [vocab_count] each */
    uint32_t vocab_count;
    dw_counters counters;
} board;

static dw_status open_board(board *b, dw_model *model, dw_error *err)
{
    size_t row = 0;
    *b = (board){.vocab_count = dw_model_shape_of(model)->vocab_count};
    if (!dw_round_up(&row, (size_t)b->vocab_count * sizeof(float), PLACE_BYTES)) {
        return dw_fail(err, DW_E_LIMIT, "a vocabulary of %u tokens", b->vocab_count);
    }
    size_t bytes = PLACE_BYTES + 2 * row;
    dw_region_options options = {.reserve_bytes = bytes, .commit_bytes = bytes, .label = "verify"};
    dw_status status = dw_region_create(&b->region, &options, err);
    if (status == DW_OK) {
        unsigned char *base = dw_region_base(b->region);
        b->token = (int32_t *)(void *)base;
        b->logits[0] = (float *)(void *)(base + PLACE_BYTES);
        b->logits[1] = (float *)(void *)(base + PLACE_BYTES + row);
        status = dw_device_view_create(&b->view, dw_model_device(model), b->region,
                                       DW_VIEW_STAGEABLE, err);
    }
    return status;
}

static void close_board(board *b)
{
    dw_device_view_destroy(b->view);
    dw_region_destroy(b->region);
}

static int32_t likeliest(const float *logits, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return (int32_t)best;
}

/* Both contexts go on for `count` tokens, from their last one on, the likeliest each time. One that
 * is full gives up its last tokens for that. */
static dw_status go_on(board *b, dw_context *const *pair, uint32_t count, dw_cli_verdict *verdict,
                       dw_error *err)
{
    uint32_t capacity = dw_context_capacity(pair[0]);
    uint32_t length = dw_context_length(pair[0]);
    size_t row_bytes = b->vocab_count * sizeof(float);
    dw_status status = DW_OK;
    count = count < capacity ? count : capacity;
    *b->token = length > 0 ? dw_context_tokens(pair[0])[length - 1] : 0;
    for (size_t i = 0; i < 2 && status == DW_OK && length > capacity - count; i++) {
        status = dw_context_trim(pair[i], capacity - count, err);
    }
    for (uint32_t n = 0; n < count && status == DW_OK && verdict->where[0] == '\0'; n++) {
        for (size_t i = 0; i < 2 && status == DW_OK; i++) {
            dw_step step = {.view = b->view,
                            .tokens = b->token,
                            .token_count = 1,
                            .logits = b->logits[i],
                            .logits_rows = 1,
                            .counters = &b->counters};
            status = dw_context_forward(pair[i], &step, err);
        }
        if (status == DW_OK && memcmp(b->logits[0], b->logits[1], row_bytes) != 0) {
            (void)snprintf(verdict->where, sizeof verdict->where,
                           "the logits of a context of %u tokens, %u tokens later", length, n + 1);
        }
        verdict->tokens++;
        verdict->logits += b->vocab_count;
        *b->token = likeliest(b->logits[0], b->vocab_count);
    }
    return status;
}

static dw_context *context_of(dw_actor *actor, size_t slot)
{
    return dw_handle_at(dw_instance_handles(dw_actor_instance(actor)), DW_HANDLE_CONTEXT, slot);
}

static dw_status compare_contexts(dw_actor *const *pair, uint32_t count, dw_cli_verdict *verdict,
                                  dw_error *err)
{
    size_t slots = dw_instance_handles(dw_actor_instance(pair[0]))->capacity;
    dw_status status = DW_OK;
    for (size_t i = 0; i < slots && status == DW_OK && verdict->where[0] == '\0'; i++) {
        dw_context *contexts[] = {context_of(pair[0], i), context_of(pair[1], i)};
        board b;
        if (contexts[0] == NULL && contexts[1] == NULL) {
            continue;
        }
        if (contexts[0] == NULL || contexts[1] == NULL ||
            dw_context_length(contexts[0]) != dw_context_length(contexts[1])) {
            (void)snprintf(verdict->where, sizeof verdict->where, "their contexts");
            return DW_OK;
        }
        status = open_board(&b, dw_context_model(contexts[0]), err);
        if (status == DW_OK) {
            status = go_on(&b, contexts, count, verdict, err);
        }
        close_board(&b);
    }
    return status;
}

/* ---- answers and state ------------------------------------------------------------------- */

typedef struct said {
    unsigned char *bytes; /* [count] */
    size_t count;
} said;

static ptrdiff_t collect(void *user, const unsigned char *bytes, size_t count)
{
    said *to = user;
    unsigned char *grown = dw_realloc(to->bytes, to->count + count, 1);
    if (grown == NULL) {
        return -1;
    }
    memcpy(grown + to->count, bytes, count);
    to->bytes = grown;
    to->count += count;
    return (ptrdiff_t)count;
}

static dw_status ask(dw_actor *actor, const char *message, said *answer, dw_error *err)
{
    dw_status status = dw_actor_send(actor, NULL, message, strlen(message), err);
    while (status == DW_OK && dw_actor_waiting(actor) > 0) {
        status = dw_actor_receive(actor, collect, answer, err);
    }
    return status;
}

static dw_status compare_answers(dw_actor *const *pair, const char *message,
                                 dw_cli_verdict *verdict, dw_error *err)
{
    said answers[2] = {{NULL, 0}, {NULL, 0}};
    dw_status status = ask(pair[0], message, &answers[0], err);
    if (status == DW_OK) {
        status = ask(pair[1], message, &answers[1], err);
    }
    if (status == DW_OK) {
        verdict->answer_bytes = answers[0].count;
        bool equal = answers[0].count == answers[1].count &&
                     (answers[0].count == 0 ||
                      memcmp(answers[0].bytes, answers[1].bytes, answers[0].count) == 0);
        (void)snprintf(verdict->where, sizeof verdict->where, "%s", equal ? "" : "the answers");
    }
    dw_free(answers[0].bytes);
    dw_free(answers[1].bytes);
    return status;
}

/* All of it, by the identity of a snapshot: the hash of everything in it. */
static dw_status compare_state(dw_actor *const *pair, const char *path, dw_cli_verdict *verdict,
                               dw_error *err)
{
    dw_freeze_stats stats[2] = {{.struct_bytes = sizeof stats[0]},
                                {.struct_bytes = sizeof stats[1]}};
    dw_status status = DW_OK;
    for (size_t i = 0; i < 2 && status == DW_OK; i++) {
        status = dw_actor_freeze(pair[i], path, NULL, &stats[i], err);
    }
    if (status == DW_OK) {
        verdict->state_bytes = stats[0].kv_bytes + stats[0].memory_bytes;
        (void)snprintf(verdict->where, sizeof verdict->where, "%s",
                       strcmp(stats[0].identity, stats[1].identity) == 0
                           ? ""
                           : "the state behind equal answers (a guest that reads the clock, say)");
    }
    return status;
}

dw_status dw_cli_actors_verify(dw_cli_actors *actors, const char *id, const dw_cli_trial *trial,
                               dw_cli_verdict *verdict, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    const char *list[] = {path};
    dw_actor *pair[] = {NULL, NULL};
    *verdict = (dw_cli_verdict){.equal = false};
    (void)snprintf(path, sizeof path, "%s/%sverify", actors->path, DW_FOLDER_TMP);
    dw_status status = dw_store_thaw(actors->store, id, NULL, &pair[0], NULL, err);
    if (status == DW_OK) {
        status = dw_actor_freeze(pair[0], path, NULL, NULL, err);
    }
    if (status == DW_OK) {
        dw_thaw_options options = {.struct_bytes = sizeof options,
                                   .paths = list,
                                   .path_count = 1,
                                   .models = actors->models,
                                   .model_count = actors->model_count};
        status = dw_actor_thaw(&pair[1], actors->engine, &options, NULL, err);
    }
    if (status == DW_OK && trial->message != NULL) {
        status = compare_answers(pair, trial->message, verdict, err);
    }
    if (status == DW_OK && verdict->where[0] == '\0') {
        status = compare_contexts(pair, trial->token_count, verdict, err);
    }
    if (status == DW_OK && verdict->where[0] == '\0') {
        status = compare_state(pair, path, verdict, err);
    }
    verdict->equal = status == DW_OK && verdict->where[0] == '\0';
    dw_actor_destroy(pair[0]);
    dw_actor_destroy(pair[1]);
    (void)unlink(path);
    return status;
}
