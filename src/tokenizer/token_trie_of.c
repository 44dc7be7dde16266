#include "tokenizer/token_trie_of.h"

#include "base/alloc.h"

dw_status dw__token_trie_of(dw__byte_trie *out, const struct llama_vocab *vocab,
                            const dw_specials *specials, uint32_t attributes, dw_error *err)
{
    *out = (dw__byte_trie){.node_count = 0};
    int32_t token_count = llama_vocab_n_tokens(vocab);
    size_t count = 0;
    dw__trie_text *texts = dw_alloc((size_t)token_count, sizeof *texts);
    bool *left_out = dw_alloc((size_t)token_count, sizeof *left_out);
    if (texts == NULL || left_out == NULL) {
        dw_free(texts);
        dw_free(left_out);
        return dw_fail(err, DW_E_MEMORY, "no memory for the texts of %d tokens", token_count);
    }
    for (size_t i = 0; specials != NULL && i < specials->count; i++) {
        left_out[specials->items[i].token] = specials->items[i].is_control;
    }
    for (int32_t i = 0; i < token_count; i++) {
        const char *text = llama_vocab_get_text(vocab, i);
        bool wanted = attributes == 0 || (llama_vocab_get_attr(vocab, i) & attributes) != 0;
        if (wanted && !left_out[i] && text[0] != '\0') {
            texts[count++] = (dw__trie_text){text, (uint32_t)strlen(text), i};
        }
    }
    dw_status status = dw__byte_trie_make(out, texts, count, err);
    dw_free(texts);
    dw_free(left_out);
    return status;
}
