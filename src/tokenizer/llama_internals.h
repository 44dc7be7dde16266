/* What libllama knows of characters. Thread: any. */
#ifndef DW_TOKENIZER_CHARACTER_FLAGS_H
#define DW_TOKENIZER_CHARACTER_FLAGS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of general categories, white space 0x100 and more, as libllama's internal header unicode.h
 * has them. */
uint32_t dw__character_flags(uint32_t code);

#ifdef __cplusplus
}
#endif

#endif
