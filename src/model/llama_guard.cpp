/* The one place where C++ exceptions of libllama end. */
#include "model/llama_guard.h"

#include <cstdio>
#include <exception>

#include "driftwood_abi.h"

static void tell(char *why, size_t why_bytes, const char *text)
{
    if (why_bytes > 0) {
        std::snprintf(why, why_bytes, "%s", text);
    }
}

template <typename Call> static int32_t guarded(char *why, size_t why_bytes, Call call)
{
    try {
        return call();
    } catch (const std::exception &error) {
        tell(why, why_bytes, error.what());
    } catch (...) {
        tell(why, why_bytes, "an unknown exception");
    }
    return DW__LLAMA_THREW;
}

extern "C" struct llama_model *dw__llama_load_vocab(const char *path, char *why, size_t why_bytes)
{
    struct llama_model *model = nullptr;
    (void)guarded(why, why_bytes, [&]() -> int32_t {
        ggml_backend_dev_t no_devices[1] = {nullptr};
        struct llama_model_params params = llama_model_default_params();
        params.vocab_only = true;
        params.devices = no_devices; /* else every GPU would be looked at */
        model = llama_model_load_from_file(path, params);
        return 0;
    });
    return model;
}

extern "C" int32_t dw__llama_tokenize(const struct llama_vocab *vocab, const char *text,
                                      int32_t text_bytes, int32_t *tokens, int32_t capacity,
                                      uint32_t flags, char *why, size_t why_bytes)
{
    return guarded(why, why_bytes, [&] {
        return llama_tokenize(vocab, text, text_bytes, tokens, capacity,
                              (flags & DW_TOKENIZE_SPECIAL) != 0,
                              (flags & DW_TOKENIZE_PARSE) != 0);
    });
}

extern "C" int32_t dw__llama_apply_template(const char *source,
                                            const struct llama_chat_message *messages,
                                            size_t count, bool open_answer, char *text,
                                            int32_t capacity, char *why, size_t why_bytes)
{
    return guarded(why, why_bytes, [&] {
        return llama_chat_apply_template(source, messages, count, open_answer, text, capacity);
    });
}

extern "C" int32_t dw__llama_token_piece(const struct llama_vocab *vocab, int32_t token,
                                         char *text, int32_t capacity, bool special)
{
    return guarded(nullptr, 0, [&] {
        return llama_token_to_piece(vocab, token, text, capacity, 0, special);
    });
}

extern "C" bool dw__llama_sampler_apply(struct llama_sampler *sampler,
                                        struct llama_token_data_array *list)
{
    return guarded(nullptr, 0, [&] {
               llama_sampler_apply(sampler, list);
               return 0;
           }) == 0;
}
