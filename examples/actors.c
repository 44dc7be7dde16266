/* An actor that lives between messages: each is answered, the text streamed to standard output.
 *
 *   ./actors MODEL.gguf chat.wasm "My name is Ada." "What is my name?"
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <driftwood.h>
#include <stdio.h>
#include <string.h>

static ptrdiff_t show(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    return (ptrdiff_t)fwrite(bytes, 1, count, stdout);
}

int main(int argc, char **argv)
{
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_module *guest = NULL;
    dw_runtime *runtime = NULL;
    dw_instance_options granted = {
        .struct_bytes = sizeof granted, .models = &model, .model_count = 1};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &granted};
    dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .actor = &actor};
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error = {.message = "usage: actors MODEL.gguf GUEST.wasm MESSAGE..."};
    dw_status status = argc < 4 ? DW_E_ARG : dw_engine_create(&engine, NULL, &error);
    status = status != DW_OK ? status : dw_model_open(&model, engine, argv[1], &error);
    status = status != DW_OK ? status : dw_module_open(&guest, engine, argv[2], &error);
    status = status != DW_OK ? status : dw_runtime_open(&runtime, engine, NULL, &error);
    status = status != DW_OK ? status : dw_runtime_spawn(runtime, guest, &spawn, id, &error);
    for (int i = 3; i < argc && status == DW_OK; i++) {
        dw_request request = {.struct_bytes = sizeof request,
                              .on_answer = show,
                              .message = argv[i],
                              .message_bytes = strlen(argv[i])};
        status = dw_runtime_call(runtime, id, &request, &error);
        printf("\n");
    }
    if (status != DW_OK) {
        fprintf(stderr, "actors: %s\n", error.message);
    }
    dw_runtime_close(runtime);
    dw_module_unref(guest);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    return status != DW_OK;
}
