/* write_model PATH [ARCHITECTURE]: a small random model with a tokenizer, for tests/cli/test_serve_models.py and
 * test_serve_malformed.py. */

#include <stdio.h>
#include <string.h>

#include "tiny_model.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: write_model PATH [ARCHITECTURE]\n");
        return 2;
    }
    static const tiny_architecture llama = {.name = "llama"};
    const char *architecture = argc > 2 ? argv[2] : "llama";
    static const tiny_architecture encoder = {
        .name = "bert", .norms = TINY_SUM, .layer_norm = true, .plain_ffn = true,
        .encoder = true, .learned_positions = true, .tokenizer = "bert"};
    bool encodes = strcmp(architecture, "bert") == 0;
    tiny_options options = tiny_options_of(encodes ? &encoder : &llama, GGML_TYPE_F32);
    if (encodes) {
        options.head_dim = 32;
        options.kv_head_count = options.head_count;
        options.pooling = 1;
    }
    tiny_model_write(argv[1], &options);
    return 0;
}
