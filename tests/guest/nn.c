/* A guest of wasi-nn, as those that were built for WasmEdge are: it knows nothing of Driftwood.
 *   nn MODEL SETTINGS METADATA MODE PROMPT...
 * MODE: whole (compute), single (token by token), embed. For each prompt the text, and the counts
 * on standard error; "errno N" where a call answers one that is not 0. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NN(name) __attribute__((import_module("wasi_ephemeral_nn"), import_name(name)))

typedef struct tensor {
    const uint32_t *dimensions;
    uint32_t dimension_count;
    uint32_t type;
    const char *data;
    uint32_t data_bytes;
} tensor;

NN("load_by_name_with_config")
int32_t load_by_name_with_config(const char *name, uint32_t bytes, const char *settings,
                                 uint32_t settings_bytes, uint32_t *graph);
NN("init_execution_context") int32_t init_execution_context(uint32_t graph, uint32_t *context);
NN("set_input") int32_t set_input(uint32_t context, uint32_t index, const tensor *input);
NN("compute") int32_t compute(uint32_t context);
NN("compute_single") int32_t compute_single(uint32_t context);
NN("fini_single") int32_t fini_single(uint32_t context);
NN("get_output")
int32_t get_output(uint32_t context, uint32_t index, char *buffer, uint32_t capacity,
                   uint32_t *bytes);
NN("get_output_single")
int32_t get_output_single(uint32_t context, uint32_t index, char *buffer, uint32_t capacity,
                          uint32_t *bytes);
NN("unload") int32_t unload(uint32_t graph);

static char room[1 << 20];

static int32_t give(uint32_t context, uint32_t index, const char *text)
{
    static const uint32_t one = 1;
    const tensor input = {&one, 1, 3, text, (uint32_t)strlen(text)};
    return set_input(context, index, &input);
}

static int print_output(uint32_t context, int single)
{
    uint32_t bytes = 0;
    int32_t error = single ? get_output_single(context, 0, room, sizeof room, &bytes)
                           : get_output(context, 0, room, sizeof room, &bytes);
    if (error != 0) {
        return error;
    }
    (void)fwrite(room, 1, bytes, stdout);
    return 0;
}

static int run(uint32_t context, const char *mode, const char *prompt)
{
    int32_t error = give(context, 0, prompt);
    uint32_t bytes = 0;
    if (error == 0 && strcmp(mode, "single") == 0) {
        while ((error = compute_single(context)) == 0 || error == 100) {
            int32_t failed = print_output(context, 1);
            if (failed != 0 || error == 100) {
                error = failed;
                break;
            }
        }
    } else if (error == 0) {
        error = compute(context);
        if (error == 0 || error == 101) {
            int32_t failed = print_output(context, 0);
            error = failed != 0 ? failed : error;
        }
    }
    (void)fputc('\n', stdout);
    if (get_output(context, 1, room, sizeof room, &bytes) == 0) {
        (void)fprintf(stderr, "%.*s\n", (int)bytes, room);
    }
    if (strcmp(mode, "single") == 0) {
        (void)fini_single(context);
    }
    return error;
}

int main(int argc, char **argv)
{
    uint32_t graph = 0;
    uint32_t context = 0;
    if (argc < 6) {
        return 2;
    }
    int32_t error = load_by_name_with_config(argv[1], (uint32_t)strlen(argv[1]), argv[2],
                                             (uint32_t)strlen(argv[2]), &graph);
    if (error == 0) {
        error = init_execution_context(graph, &context);
    }
    if (error == 0 && argv[3][0] != '\0') {
        error = give(context, 1, argv[3]);
    }
    for (int i = 5; i < argc && error == 0; i++) {
        error = run(context, argv[4], argv[i]);
    }
    if (error != 0) {
        (void)printf("errno %d\n", (int)error);
    } else {
        error = unload(graph);
    }
    return error == 0 ? 0 : 1;
}
