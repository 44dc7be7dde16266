/* The one place where C++ exceptions of libllama end. */
#include "text/llama_guard.h"

#include <cstdio>
#include <exception>
#include <string>

#include <gguf.h>

#include "driftwood_abi.h"

static thread_local char why_text[160];

static void tell(const char *text)
{
    (void)std::snprintf(why_text, sizeof why_text, "%s", text);
}

template <typename Call> static int32_t guarded(Call call)
{
    why_text[0] = '\0';
    try {
        return call();
    } catch (const std::exception &error) {
        tell(error.what());
    } catch (...) {
        tell("an unknown exception");
    }
    return DW_LLAMA_THREW;
}

extern "C" const char *dw_llama_why(void)
{
    return why_text;
}

/* For its log libllama writes out each list of a file, the vocabulary's too, and keeps 40
 * characters of it: that is a fifth of the time that a vocabulary takes. Where the linker can put
 * another function in that one's place (cmake/DriftwoodGgufText.cmake), our loads do without. */
static thread_local bool loads_vocab;

#ifdef DW_GGUF_TEXT /* its name for the linker */
std::string their_gguf_text(const struct gguf_context *gguf,
                            int key) __asm__("__real_" DW_GGUF_TEXT);
std::string our_gguf_text(const struct gguf_context *gguf, int key) __asm__("__wrap_" DW_GGUF_TEXT);

std::string our_gguf_text(const struct gguf_context *gguf, int key)
{
    return loads_vocab && gguf_get_kv_type(gguf, key) == GGUF_TYPE_ARRAY
               ? std::string()
               : their_gguf_text(gguf, key);
}
#endif

extern "C" struct llama_model *dw_llama_load_vocab(const char *path)
{
    struct llama_model *model = nullptr;
    loads_vocab = true;
    (void)guarded([&]() -> int32_t {
        ggml_backend_dev_t no_devices[1] = {nullptr};
        struct llama_model_params params = llama_model_default_params();
        params.vocab_only = true;
        params.devices = no_devices; /* else every GPU would be looked at */
        model = llama_model_load_from_file(path, params);
        return 0;
    });
    loads_vocab = false;
    return model;
}

extern "C" int32_t dw_llama_tokenize(const struct llama_vocab *vocab, const char *text,
                                     int32_t text_bytes, int32_t *tokens, int32_t capacity,
                                     uint32_t flags)
{
    return guarded([&] {
        return llama_tokenize(vocab, text, text_bytes, tokens, capacity,
                              (flags & DW_TOKENIZE_SPECIAL) != 0, (flags & DW_TOKENIZE_PARSE) != 0);
    });
}

extern "C" int32_t dw_llama_token_text(const struct llama_vocab *vocab, int32_t token, char *text,
                                       int32_t capacity, bool special)
{
    return guarded([&] { return llama_token_to_piece(vocab, token, text, capacity, 0, special); });
}

extern "C" bool dw_llama_sampler_apply(struct llama_sampler *sampler,
                                       struct llama_token_data_array *list)
{
    return guarded([&] {
               llama_sampler_apply(sampler, list);
               return 0;
           }) == 0;
}

extern "C" struct llama_sampler *dw_llama_dry(const struct llama_vocab *vocab,
                                              const dw_sampler_params *params,
                                              const char *const *breakers, size_t count)
{
    struct llama_sampler *sampler = nullptr;
    (void)guarded([&]() -> int32_t {
        sampler = llama_sampler_init_dry(vocab, params->dry_multiplier, params->dry_base,
                                         params->dry_allowed_length, params->dry_tokens,
                                         const_cast<const char **>(breakers), count);
        return 0;
    });
    return sampler;
}
