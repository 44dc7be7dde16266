#include "tokenizer/character_flags.h"

/* libllama's, from its internal header unicode.h: 12 flags in 16 bits. Tests hold what is made of
 * them against libllama's own tokens. */
struct unicode_cpt_flags {
    uint16_t bits;
};
unicode_cpt_flags unicode_cpt_flags_from_cpt(uint32_t cpt);

extern "C" uint32_t dw__character_flags(uint32_t code)
{
    return unicode_cpt_flags_from_cpt(code).bits;
}
