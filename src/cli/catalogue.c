/* Names of models that are public, for `driftwood pull`: each stands for an address on Hugging
 * Face. A name is how the file there begins, in lower case, so that --model finds what was fetched
 * by the same name. */
#include <string.h>
#include <strings.h>

#include "cli/fetch.h"

static const dw_cli_known_model models[] = {
    {"smollm2-135m", "bartowski/SmolLM2-135M-Instruct-GGUF", "Q4_K_M", "chat"},
    {"smollm2-360m", "bartowski/SmolLM2-360M-Instruct-GGUF", "Q4_K_M", "chat"},
    {"smollm2-1.7b", "bartowski/SmolLM2-1.7B-Instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"gemma-3-270m", "ggml-org/gemma-3-270m-it-GGUF", "Q8_0", "chat"},
    {"gemma-3-1b", "ggml-org/gemma-3-1b-it-GGUF", "Q4_K_M", "chat"},
    {"gemma-3-4b", "ggml-org/gemma-3-4b-it-GGUF", "Q4_K_M", "chat"},
    {"qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"qwen2.5-1.5b", "Qwen/Qwen2.5-1.5B-Instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"qwen2.5-3b", "Qwen/Qwen2.5-3B-Instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"qwen3-0.6b", "Qwen/Qwen3-0.6B-GGUF", "Q8_0", "chat, tools, reasoning"},
    {"qwen3-1.7b", "Qwen/Qwen3-1.7B-GGUF", "Q8_0", "chat, tools, reasoning"},
    {"qwen3-4b", "Qwen/Qwen3-4B-GGUF", "Q4_K_M", "chat, tools, reasoning"},
    {"qwen3-8b", "Qwen/Qwen3-8B-GGUF", "Q4_K_M", "chat, tools, reasoning"},
    {"qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B-GGUF", "Q4_K_M", "chat, tools, reasoning"},
    {"llama-3.2-1b", "bartowski/Llama-3.2-1B-Instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"llama-3.2-3b", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"meta-llama-3.1-8b", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"mistral-7b", "bartowski/Mistral-7B-Instruct-v0.3-GGUF", "Q4_K_M", "chat, tools"},
    {"phi-3.5-mini", "bartowski/Phi-3.5-mini-instruct-GGUF", "Q4_K_M", "chat"},
    {"granite-3.3-2b", "ibm-granite/granite-3.3-2b-instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"granite-3.3-8b", "ibm-granite/granite-3.3-8b-instruct-GGUF", "Q4_K_M", "chat, tools"},
    {"nomic-embed-text", "nomic-ai/nomic-embed-text-v1.5-GGUF", "Q8_0", "embeddings"},
    {"bge-small-en", "CompendiumLabs/bge-small-en-v1.5-gguf", "Q8_0", "embeddings"},
};

const dw_cli_known_model *dw_cli_known_model_at(size_t index)
{
    return index < sizeof models / sizeof models[0] ? &models[index] : NULL;
}

const dw_cli_known_model *dw_cli_known_model_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (strlen(models[i].name) == length && strncasecmp(models[i].name, name, length) == 0) {
            return &models[i];
        }
    }
    return NULL;
}

dw_status dw_cli_known_address(const char *name, char *address, size_t capacity, dw_error *err)
{
    size_t length = strcspn(name, ":");
    const char *quant = name[length] == ':' && name[length + 1] != '\0' ? name + length + 1 : NULL;
    const dw_cli_known_model *known = dw_cli_known_model_find(name, length);
    if (known == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "'%.100s': no name that `driftwood pull --list` has; hf:OWNER/REPO[:QUANT] "
                       "or a URL is wanted",
                       name);
    }
    if ((size_t)snprintf(address, capacity, "hf:%s:%s", known->repo,
                         quant != NULL ? quant : known->quant) >= capacity) {
        return dw_fail(err, DW_E_LIMIT, "'%.100s': the quantization's name is too long", name);
    }
    return DW_OK;
}
