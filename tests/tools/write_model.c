/* write_model PATH [ARCHITECTURE]: a small random model with a tokenizer, for tests/cli/test_serve_models.py and
 * test_serve_malformed.py.
 * write_model --adapter PATH MODEL SEED: a random LoRA adapter for a model's file, for tests/cli/test_lora.py. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiny_adapter.h"
#include "tiny_model.h"

int main(int argc, char **argv)
{
    if (argc < 2 || (strcmp(argv[1], "--adapter") == 0 && argc != 5)) {
        fprintf(stderr, "usage: write_model PATH [ARCHITECTURE]\n"
                        "       write_model --adapter PATH MODEL SEED\n");
        return 2;
    }
    if (argc == 5) {
        const tiny_adapter adapter = {.rank = 8,
                                      .seed = strtoull(argv[4], NULL, 10),
                                      .alpha = 16.0F,
                                      .type = GGML_TYPE_F32};
        tiny_adapter_write(argv[2], argv[3], &adapter);
        return 0;
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
