/* How AVX2 and AVX-512 lay out columns that are quantised; the including file has <immintrin.h>.
 * Sums for signed weights are int32 [length / 4], -128 times those of each four bytes. */
static inline float half_at(const unsigned char *p)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(p[0] | p[1] << 8)));
}

/* Blocks of a half, with Q8_1 another, and 32 bytes. */
static void lay_out_small(const dw_column_layout *layout, const unsigned char *from, uint32_t first,
                          uint32_t count, unsigned char *column)
{
    const bool minima = layout->type == GGML_TYPE_Q8_1;
    const __m256i ones = _mm256_set1_epi8(1);
    for (uint32_t i = first; i < first + count; i++, from += minima ? 36 : 34) {
        __m256i bytes = _mm256_loadu_si256((const void *)(from + (minima ? 4 : 2)));
        _mm256_storeu_si256((void *)(column + (size_t)i * 32), bytes);
        float scale = half_at(from);
        memcpy(column + layout->scales + (size_t)i * 4, &scale, 4);
        if (minima) {
            float sum = half_at(from + 2);
            memcpy(column + layout->sums + (size_t)i * 4, &sum, 4);
        } else {
            __m256i fours =
                _mm256_madd_epi16(_mm256_maddubs_epi16(ones, bytes), _mm256_set1_epi16(-128));
            _mm256_storeu_si256((void *)(column + layout->sums + (size_t)i * 32), fours);
        }
    }
}

/* Blocks of a float, 256 bytes, and 16 sums. */
static void lay_out_super(const dw_column_layout *layout, const unsigned char *from, uint32_t first,
                          uint32_t count, unsigned char *column)
{
    for (uint32_t i = first; i < first + count; i++, from += 292) {
        memcpy(column + layout->scales + (size_t)i * 4, from, 4);
        memcpy(column + (size_t)i * 256, from + 4, 256);
        memcpy(column + layout->sums + (size_t)i * 32, from + 260, 32);
        __m128i pairs = _mm_hadd_epi16(_mm_loadu_si128((const void *)(from + 260)),
                                       _mm_loadu_si128((const void *)(from + 276)));
        _mm_storeu_si128((void *)(column + layout->pair_sums + (size_t)i * 16), pairs);
    }
}
