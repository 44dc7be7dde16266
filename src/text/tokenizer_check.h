/* A look at a GGUF file's tokenizer before libllama reads it. Thread: any. */
#ifndef DW_TEXT_TOKENIZER_CHECK_H
#define DW_TEXT_TOKENIZER_CHECK_H

#include "gguf/gguf.h"

/* Check the tokenizer of a model with `vocab_count` tokens so that libllama, which parses it again,
 * finds nothing that it would abort over. Errors: DW_E_UNSUPPORTED (no tokenizer, or another kind),
 * DW_E_FORMAT, DW_E_MEMORY. */
dw_status dw_tokenizer_check(const dw_gguf *gguf, uint32_t vocab_count, dw_error *err);
/* Whether a tokenizer that the above has accepted is one that libllama will certainly load (out of
 * memory apart): its pre-tokenizer known, every key of the very type that libllama expects. Others
 * may load as well. */
bool dw_tokenizer_is_certain(const dw_gguf *gguf);

#endif
