/* A guest of wasi-nn, as those that were built for WasmEdge are: it knows nothing of Driftwood.
 *   nn MODEL SETTINGS METADATA MODE PROMPT...
 * MODE: whole (compute), single (token by token), embed. For each prompt the text, and the counts
 * on standard error; "errno N" where a call answers one that is not 0. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn.h"

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
