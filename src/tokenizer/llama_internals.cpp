#include "tokenizer/llama_internals.h"

#include <cstring>
#include <exception>
#include <vector>

/* As in libllama's unicode.h: 12 flags in 16 bits. */
struct unicode_cpt_flags {
    uint16_t bits;
};
unicode_cpt_flags unicode_cpt_flags_from_cpt(uint32_t cpt);
std::vector<uint32_t> unicode_cpts_normalize_nfd(const std::vector<uint32_t> &cpts);
uint32_t unicode_tolower(uint32_t cpt);

/* As in libllama's llama-vocab.h, as far as it is called here; nothing here makes one. */
struct llama_vocab {
    struct normalizer_options {
        bool lowercase;
        bool strip_accents;
    };
    int32_t token_unk() const;
    bool get_add_space_prefix() const;
    bool get_remove_extra_whitespaces() const;
    bool get_escape_whitespaces() const;
    bool get_treat_whitespace_as_suffix() const;
    const normalizer_options &get_normalizer_opts() const;
    std::vector<char> get_precompiled_charsmap() const;
};

extern "C" uint32_t dw__character_flags(uint32_t code)
{
    return unicode_cpt_flags_from_cpt(code).bits;
}

extern "C" uint32_t dw__character_lower(uint32_t code)
{
    return unicode_tolower(code);
}

extern "C" bool dw__characters_without_accents(uint32_t *codes, size_t count)
{
    try {
        const std::vector<uint32_t> own(codes, codes + count);
        const std::vector<uint32_t> plain = unicode_cpts_normalize_nfd(own);
        std::memcpy(codes, plain.data(), count * sizeof *codes);
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

extern "C" void dw__vocab_options_of(const struct llama_vocab *vocab, dw__vocab_options *out)
{
    out->adds_space = vocab->get_add_space_prefix();
    out->space_behind = vocab->get_treat_whitespace_as_suffix();
    out->joins_spaces = vocab->get_remove_extra_whitespaces();
    out->escapes_space = vocab->get_escape_whitespaces();
    out->lower_case = vocab->get_normalizer_opts().lowercase;
    out->drops_accents = vocab->get_normalizer_opts().strip_accents;
    out->unknown = vocab->token_unk();
}

extern "C" int64_t dw__vocab_charsmap(const struct llama_vocab *vocab, void *out, size_t capacity)
{
    try {
        const std::vector<char> map = vocab->get_precompiled_charsmap();
        if (!map.empty() && map.size() <= capacity) {
            std::memcpy(out, map.data(), map.size());
        }
        return (int64_t)map.size();
    } catch (const std::exception &) {
        return -1;
    }
}
