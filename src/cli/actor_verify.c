/* Whether an actor that was frozen and thawed goes on like one that was not: it answers the same,
 * each of its contexts gives the same logits for token after token, and their states are equal. */
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/actor_state.h"

/* ---- logits ------------------------------------------------------------------------------ */

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
static dw_status go_on(dw_session *const *pair, const dw_context_info *info, uint32_t count,
                       dw_cli_verdict *verdict, dw_error *err)
{
    uint32_t length = info->token_count;
    uint32_t vocab_count = dw_session_vocab_count(pair[0]);
    count = count < info->tokens_max ? count : info->tokens_max;
    int32_t token = length > 0 ? info->tokens[length - 1] : 0;
    for (size_t i = 0; i < 2 && length > info->tokens_max - count; i++) {
        dw_status status = dw_session_trim(pair[i], info->tokens_max - count, err);
        if (status != DW_OK) {
            return status;
        }
    }
    for (uint32_t n = 0; n < count && verdict->where[0] == '\0'; n++) {
        const float *logits[2];
        for (size_t i = 0; i < 2; i++) {
            dw_status status = dw_session_forward(pair[i], &token, 1, 1, &logits[i], err);
            if (status != DW_OK) {
                return status;
            }
        }
        if (memcmp(logits[0], logits[1], vocab_count * sizeof(float)) != 0) {
            (void)snprintf(verdict->where, sizeof verdict->where,
                           "the logits of a context of %u tokens, %u tokens later", length, n + 1);
        }
        verdict->tokens++;
        verdict->logits += vocab_count;
        token = likeliest(logits[0], vocab_count);
    }
    return DW_OK;
}

static dw_status compare_context(dw_actor *const *pair, size_t index, uint32_t count,
                                 dw_cli_verdict *verdict, dw_error *err)
{
    dw_session *sessions[] = {NULL, NULL};
    dw_context_info infos[2] = {{.struct_bytes = sizeof infos[0]},
                                {.struct_bytes = sizeof infos[1]}};
    dw_status status = DW_OK;
    for (size_t i = 0; i < 2 && status == DW_OK; i++) {
        status = dw_actor_get_context_info(pair[i], index, &infos[i], err);
        if (status == DW_OK) {
            status = dw_actor_open_context(&sessions[i], pair[i], index, err);
        }
    }
    if (status == DW_OK &&
        (infos[0].handle != infos[1].handle || infos[0].token_count != infos[1].token_count)) {
        (void)snprintf(verdict->where, sizeof verdict->where, "their contexts");
    } else if (status == DW_OK) {
        status = go_on(sessions, &infos[0], count, verdict, err);
    }
    dw_session_destroy(sessions[0]);
    dw_session_destroy(sessions[1]);
    return status;
}

static dw_status compare_contexts(dw_actor *const *pair, uint32_t count, dw_cli_verdict *verdict,
                                  dw_error *err)
{
    size_t contexts = dw_actor_context_count(pair[0]);
    if (contexts != dw_actor_context_count(pair[1])) {
        (void)snprintf(verdict->where, sizeof verdict->where, "their contexts");
        return DW_OK;
    }
    dw_status status = DW_OK;
    for (size_t i = 0; i < contexts && status == DW_OK && verdict->where[0] == '\0'; i++) {
        status = compare_context(pair, i, count, verdict, err);
    }
    return status;
}

/* ---- answers and state ------------------------------------------------------------------- */

/* An answer may be as long as 4 GiB: its hash is kept. */
typedef struct said {
    struct sha256_ctx hash;
    uint64_t count;
} said;

static ptrdiff_t collect(void *user, const unsigned char *bytes, size_t count)
{
    said *to = user;
    sha256_update(&to->hash, count, bytes);
    to->count += count;
    return (ptrdiff_t)count;
}

static dw_status ask(dw_actor *actor, const char *message, uint64_t at_ms, said *answer,
                     dw_error *err)
{
    dw_status status = dw_actor_send_at(actor, NULL, message, strlen(message), at_ms, err);
    while (status == DW_OK && dw_actor_waiting(actor) > 0) {
        status = dw_actor_receive(actor, collect, answer, err);
    }
    return status;
}

static dw_status compare_answers(dw_actor *const *pair, const char *message,
                                 dw_cli_verdict *verdict, dw_error *err)
{
    said answers[2];
    uint8_t digests[2][SHA256_DIGEST_SIZE];
    dw_status status = DW_OK;
    const uint64_t at_ms = (uint64_t)time(NULL) * 1000; /* of both: their clocks tell it */
    for (size_t i = 0; i < 2 && status == DW_OK; i++) {
        answers[i].count = 0;
        sha256_init(&answers[i].hash);
        status = ask(pair[i], message, at_ms, &answers[i], err);
        sha256_digest(&answers[i].hash, sizeof digests[i], digests[i]);
    }
    if (status == DW_OK) {
        verdict->answer_bytes = answers[0].count;
        bool equal = answers[0].count == answers[1].count &&
                     memcmp(digests[0], digests[1], sizeof digests[0]) == 0;
        (void)snprintf(verdict->where, sizeof verdict->where, "%s", equal ? "" : "the answers");
    }
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
                           : "the state behind equal answers (of a guest that reads files, say)");
    }
    return status;
}

/* A name that is removed at the next opening, should this process be killed. In a folder that
 * cannot be written there is none; the file is then among those of everybody. */
static dw_status file_for_copies(const dw_cli_actors *actors, char path[DW_CLI_PATH_MAX],
                                 dw_error *err)
{
    const char *folder = getenv("TMPDIR");
    int length;
    if (!actors->read_only) {
        length = snprintf(path, DW_CLI_PATH_MAX, "%s/.tmp-verify", actors->path);
    } else {
        length = snprintf(path, DW_CLI_PATH_MAX, "%s/driftwood-verify-%ld",
                          folder != NULL && folder[0] == '/' ? folder : "/tmp", (long)getpid());
    }
    return length > 0 && length < DW_CLI_PATH_MAX
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT, "verify: a path of %d bytes, limit %d", length,
                         DW_CLI_PATH_MAX - 1);
}

dw_status dw_cli_actors_verify(dw_cli_actors *actors, const char *id, const dw_cli_trial *trial,
                               dw_cli_verdict *verdict, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    const char *list[] = {path};
    dw_actor *pair[] = {NULL, NULL};
    *verdict = (dw_cli_verdict){.equal = false};
    dw_status status = file_for_copies(actors, path, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_cli_actors_copy(actors, id, NULL, &pair[0], NULL, err);
    if (status == DW_OK) {
        status = dw_actor_freeze(pair[0], path, NULL, NULL, err);
    }
    if (status == DW_OK) {
        dw_thaw_options options = {.struct_bytes = sizeof options,
                                   .paths = list,
                                   .path_count = 1,
                                   .to_look = true,
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
