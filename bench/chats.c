#include "chats.h"

#include <stdio.h>

#include "common.h"

void bench_must(dw_status status, const dw_error *error)
{
    if (status != DW_OK) {
        bench_die(error->message);
    }
}

void bench_chats_open(bench_chats *chats, const char *model, const char *device, int threads)
{
    dw_error error;
    const dw_engine_options engine = {.struct_bytes = sizeof engine,
                                      .device = device != NULL ? device : "CPU",
                                      .threads = threads};
    *chats = (bench_chats){.engine = NULL};
    bench_must(dw_engine_create(&chats->engine, &engine, &error), &error);
    bench_must(dw_model_open(&chats->model, chats->engine, model, &error), &error);
    bench_must(
        dw_module_open(&chats->guest, chats->engine, DW_TEST_GUESTS_DIR "/chat.wasm", &error),
        &error);
}

void bench_chats_run(bench_chats *chats, const dw_runtime_options *options)
{
    dw_error error;
    bench_must(dw_runtime_open(&chats->runtime, chats->engine, options, &error), &error);
}

void bench_chats_close(bench_chats *chats)
{
    dw_runtime_close(chats->runtime);
    dw_module_unref(chats->guest);
    dw_model_unref(chats->model);
    dw_engine_destroy(chats->engine);
}

void bench_chats_spawn(bench_chats *chats, const bench_chat *chat, char id[DW_ACTOR_ID_CHARS + 1])
{
    dw_error error;
    char tokens[16];
    bool has_system = chat->system != NULL && chat->system[0] != '\0';
    const char *const names[] = {"DRIFTWOOD_TEMP", "DRIFTWOOD_PAST_END", "DRIFTWOOD_MAX_TOKENS",
                                 "DRIFTWOOD_SYSTEM"};
    const char *const values[] = {"0", "1", tokens, chat->system};
    (void)snprintf(tokens, sizeof tokens, "%u", chat->answer);
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &chats->model,
                                    .model_count = 1,
                                    .env_names = names,
                                    .env_values = values,
                                    .env_count = has_system ? 4 : 3,
                                    .context_tokens_max = chat->context_tokens};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .actor = &actor};
    bench_must(dw_runtime_begin_spawn(chats->runtime, chats->guest, &options, id, &error), &error);
}
