/* What `driftwood run` does, in a program of your own: a guest answers a prompt with a model,
 * its text streamed to a function here.
 *
 *   cc host.c $(pkg-config --cflags --libs driftwood) -o host
 *   ./host MODEL.gguf generate.wasm "What is driftwood?"
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <driftwood.h>
#include <stdio.h>

static ptrdiff_t on_stdout(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    size_t written = fwrite(bytes, 1, count, stdout);
    return fflush(stdout) == 0 ? (ptrdiff_t)written : -1;
}

static dw_status run(dw_engine *engine, dw_model *model, char **argv, int *exit_code, dw_error *err)
{
    const char *names[] = {"DRIFTWOOD_PROMPT", "DRIFTWOOD_TEMP", "DRIFTWOOD_MAX_TOKENS"};
    const char *values[] = {argv[3], "0", "64"};
    const char *args[] = {"generate"};
    dw_instance_options options = {
        .struct_bytes = sizeof options,
        .models = &model,
        .model_count = 1,
        .args = args,
        .arg_count = 1,
        .env_names = names,
        .env_values = values,
        .env_count = 3,
        .on_stdout = on_stdout,
    };
    dw_module *module = NULL;
    dw_instance *instance = NULL;
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_status status = dw_module_open(&module, engine, argv[2], err);
    if (status == DW_OK) {
        status = dw_instance_create(&instance, module, &options, err);
    }
    if (status == DW_OK) {
        status = dw_instance_run(instance, exit_code, err);
        dw_instance_get_stats(instance, &stats);
        fprintf(stderr, "%llu tokens in, %llu out, %llu bytes copied by the host\n",
                (unsigned long long)stats.prompt_tokens, (unsigned long long)stats.generated_tokens,
                (unsigned long long)stats.device_staged_bytes);
    }
    dw_instance_destroy(instance);
    dw_module_unref(module);
    return status;
}

int main(int argc, char **argv)
{
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_error error;
    int exit_code = 1;
    if (argc != 4) {
        fprintf(stderr, "usage: host MODEL.gguf GUEST.wasm PROMPT\n");
        return 2;
    }
    dw_status status = dw_engine_create(&engine, NULL, &error);
    if (status == DW_OK) {
        status = dw_model_open(&model, engine, argv[1], &error);
    }
    if (status == DW_OK) {
        status = run(engine, model, argv, &exit_code, &error);
    }
    if (status != DW_OK) {
        fprintf(stderr, "host: %s: %s\n", dw_status_text(status), error.message);
        exit_code = 1;
    }
    dw_model_unref(model);
    dw_engine_destroy(engine);
    return exit_code;
}
