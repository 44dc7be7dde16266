/* Which pre-tokenizer has which pattern: llm_tokenizer_bpe of libllama's llama-vocab.cpp, and the
 * names in llama_vocab::impl::load. */
#include <string.h>

#include "tokenizer/pre_tokenizer_internal.h"

/* ---- sets of characters ------------------------------------------------------------------- */

static const set_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0, 0}};
static const set_range line_feed[] = {{'\n', '\n'}, {0, 0}};
static const set_range han_kana[] = {{0x4e00, 0x9fa5}, {0x3040, 0x309f}, {0x30a0, 0x30ff}, {0, 0}};
static const set_range han_wide[] = {{0x4e00, 0x9fa5}, {0x0800, 0x4e00}, {0xac00, 0xd7ff}, {0, 0}};
static const set_range hangul[] = {{0xac00, 0xd7a3}, {0x3131, 0x318e}, {0, 0}};
static const set_range bopomofo[] = {{0x3105, 0x312f}, {0, 0}};
static const set_range wide_marks[] = {{0xff01, 0xff01},
                                       {0x2026, 0x2026},
                                       {0x201c, 0x201d},
                                       {0x2018, 0x2019},
                                       {0x2014, 0x2014},
                                       {0xff1a, 0xff1a},
                                       {0xff1b, 0xff1b},
                                       {0xff0c, 0xff0c},
                                       {0x3001, 0x303f},
                                       {0xfe30, 0xfe4f},
                                       {0, 0}};
static const set_range asian[] = {
    {0x4e00, 0x9fff}, {0x3400, 0x4dbf}, {0x8c48, 0xfaff}, {0x3040, 0x309f},
    {0x30a0, 0x30ff}, {0xff65, 0xff9f}, {0x2f00, 0x2fdf}, {0x0e40, 0x0e7f},
    {0x0e80, 0x0eff}, {0x1780, 0x17ff}, {0x1000, 0x109f}, {0xaa60, 0xaa7f},
    {0xa9e0, 0xa9ff}, {0xac00, 0xd7af}, {0x1100, 0x11ff}, {0, 0}};
/* What ends a word of BLOOM's pattern, white space apart. */
static const set_range stops[] = {
    {'(', '('},       {')', ')'},       {'|', '|'},       {'.', '.'},       {',', ','},
    {'!', '!'},       {'?', '?'},       {0x2026, 0x2026}, {0x3002, 0x3002}, {0xff0c, 0xff0c},
    {0x3001, 0x3001}, {0x0964, 0x0964}, {0x06d4, 0x06d4}, {0x060c, 0x060c}, {0, 0}};
static const set_range deepseek_marks[] = {
    {'!', '/'},       {':', '~'}, {0xff01, 0xff0f}, {0xff1a, 0xff5e}, {0x2018, 0x201f},
    {0x3000, 0x3002}, {0, 0}};
static const set_range deepseek_letters[] = {{'A', 'Z'},
                                             {'a', 'z'},
                                             {0xb5, 0xb5},
                                             {0xc0, 0xd6},
                                             {0xd8, 0xf6},
                                             {0xf8, 0x1ba},
                                             {0x1bc, 0x1bf},
                                             {0x1c4, 0x293},
                                             {0x295, 0x2af},
                                             {0x370, 0x373},
                                             {0x376, 0x377},
                                             {0x37b, 0x37d},
                                             {0x37f, 0x37f},
                                             {0x386, 0x386},
                                             {0x388, 0x38a},
                                             {0x38c, 0x38c},
                                             {0x38e, 0x3a1},
                                             {0x3a3, 0x3f5},
                                             {0x3f7, 0x481},
                                             {0x48a, 0x52f},
                                             {0x531, 0x556},
                                             {0x10a0, 0x10c5},
                                             {0x13a0, 0x13f5},
                                             {0x13f8, 0x13fd},
                                             {0x1c90, 0x1cba},
                                             {0x1cbd, 0x1cbf},
                                             {0x1d00, 0x1d2b},
                                             {0x1d6b, 0x1d77},
                                             {0x1d79, 0x1d9a},
                                             {0x1e00, 0x1f15},
                                             {0x1f18, 0x1f1d},
                                             {0x1f20, 0x1f45},
                                             {0x1f48, 0x1f4d},
                                             {0x1f50, 0x1f57},
                                             {0x1f59, 0x1f59},
                                             {0x1f5b, 0x1f5b},
                                             {0x1f5d, 0x1f5d},
                                             {0x1f5f, 0x1f7d},
                                             {0x1f80, 0x1fb4},
                                             {0x1fb6, 0x1fbc},
                                             {0x1fbe, 0x1fbe},
                                             {0x1fc2, 0x1fc4},
                                             {0x1fc6, 0x1fcc},
                                             {0x1fd0, 0x1fd3},
                                             {0x1fd6, 0x1fdb},
                                             {0x1fe0, 0x1fec},
                                             {0x1ff2, 0x1ff4},
                                             {0x1ff6, 0x1ffc},
                                             {0x2102, 0x2102},
                                             {0x2107, 0x2107},
                                             {0x210a, 0x2113},
                                             {0x2115, 0x2115},
                                             {0x2119, 0x211d},
                                             {0x2124, 0x2124},
                                             {0x2126, 0x2126},
                                             {0x2128, 0x2128},
                                             {0x212a, 0x212d},
                                             {0x212f, 0x2134},
                                             {0x2139, 0x2139},
                                             {0x213c, 0x213f},
                                             {0x2145, 0x2149},
                                             {0x214e, 0x214e},
                                             {0x2183, 0x2184},
                                             {0x2c00, 0x2c7b},
                                             {0x2c7e, 0x2ce4},
                                             {0x2ceb, 0x2cee},
                                             {0x2cf2, 0x2cf3},
                                             {0xa640, 0xa66d},
                                             {0xa680, 0xa69b},
                                             {0xa722, 0xa76f},
                                             {0xa771, 0xa787},
                                             {0xa78b, 0xa78e},
                                             {0xab70, 0xabbf},
                                             {0xfb00, 0xfb06},
                                             {0xfb13, 0xfb17},
                                             {0xff21, 0xff3a},
                                             {0xff41, 0xff5a},
                                             {0x10400, 0x1044f},
                                             {0x104b0, 0x104d3},
                                             {0x104d8, 0x104fb},
                                             {0x10c80, 0x10cb2},
                                             {0x10cc0, 0x10cf2},
                                             {0x118a0, 0x118df},
                                             {0x1e900, 0x1e943},
                                             {0, 0}};

/* ---- patterns ----------------------------------------------------------------------------- */

#define WORD(letters)                                                                              \
    {                                                                                              \
        .kind = PART_WORD, .of = (letters), .without = LETTER | NUMBER                             \
    }
#define NUMBERS(count)                                                                             \
    {                                                                                              \
        .kind = PART_RUN, .of = NUMBER, .most = (count)                                            \
    }
#define OTHERS(ends)                                                                               \
    {                                                                                              \
        .kind = PART_OTHERS, .without = SPACE | LETTER | NUMBER, .tail = (ends)                    \
    }
#define SET(characters)                                                                            \
    {                                                                                              \
        .kind = PART_SET, .set = (characters), .most = MANY                                        \
    }
#define CASED(letters, by_case, with_contraction)                                                  \
    {                                                                                              \
        .kind = PART_CASED, .of = (letters), .cased = (by_case), .contracted = (with_contraction)  \
    }
#define PARTS(list)                                                                                \
    {                                                                                              \
        .kind = STAGE_PARTS, .parts = (list)                                                       \
    }
#define END                                                                                        \
    {                                                                                              \
        .kind = PART_END                                                                           \
    }

static const part number_runs[] = {NUMBERS(MANY), END};
static const part numbers[] = {NUMBERS(1), END};
static const part numbers_by_three[] = {NUMBERS(3), END};
static const part three_digits[] = {{.kind = PART_THREE_DIGITS}, END};
static const part single_line_ends[] = {{.kind = PART_SET, .set = line_ends, .most = 1}, END};
static const part line_feeds[] = {{.kind = PART_SET, .set = line_feed, .most = MANY}, END};
static const part han_or_kana[] = {SET(han_kana), END};
static const part han_or_wide[] = {SET(han_wide), END};

static const part jais2[] = {{.kind = PART_CONTRACTION},
                             WORD(LETTER),
                             NUMBERS(3),
                             OTHERS(TAIL_LINES),
                             {.kind = PART_LINES},
                             {.kind = PART_SPACES_HALVED},
                             END};
static const part deepseek_words[] = {
    {.kind = PART_SET, .set = deepseek_letters, .most = MANY, .after_space = true}, END};
static const part deepseek_punctuation[] = {
    {.kind = PART_SET, .set = deepseek_marks, .most = MANY, .after_space = true}, END};
static const part spaces_last[] = {{.kind = PART_SPACES_LAST}, END};
static const part coder_words[] = {{.kind = PART_SPACE_RUN, .of = LETTER}, END};
static const part coder_marks[] = {{.kind = PART_SPACE_RUN, .of = PUNCTUATION}, END};
static const part deepseek3[] = {
    {.kind = PART_TAGGED},
    {.kind = PART_WORD, .of = LETTER | MARK, .without = LETTER | PUNCTUATION | SYMBOL},
    {.kind = PART_OTHERS, .of = PUNCTUATION | SYMBOL, .tail = TAIL_LINES},
    {.kind = PART_LINES},
    {.kind = PART_SPACES_BEFORE},
    {.kind = PART_SPACES},
    END};
static const part spark[] = {
    {.kind = PART_TAGGED},
    {.kind = PART_WORD, .of = LETTER | MARK, .without = LETTER | PUNCTUATION | SYMBOL},
    {.kind = PART_OTHERS, .of = PUNCTUATION | SYMBOL},
    {.kind = PART_LINE_END},
    {.kind = PART_SPACES_BEFORE},
    {.kind = PART_SPACES},
    END};
static const part youtu_scripts[] = {SET(hangul), SET(wide_marks), SET(bopomofo), SET(han_kana),
                                     END};
static const part youtu[] = {CASED(LETTER | MARK, false, true),
                             NUMBERS(1),
                             OTHERS(TAIL_LINES_SLASHES),
                             {.kind = PART_LINES},
                             {.kind = PART_SPACES_BEFORE},
                             {.kind = PART_SPACES},
                             END};
static const part tiny_aya[] = {CASED(LETTER | MARK, false, true),
                                NUMBERS(3),
                                OTHERS(TAIL_LINES_SLASHES),
                                {.kind = PART_LINES},
                                {.kind = PART_SPACES_BEFORE},
                                {.kind = PART_SPACES},
                                END};
static const part tekken[] = {CASED(LETTER, true, false),
                              NUMBERS(1),
                              OTHERS(TAIL_LINES_SLASHES),
                              {.kind = PART_LINES},
                              {.kind = PART_SPACES_BEFORE},
                              {.kind = PART_SPACES},
                              END};
static const part gpt4o[] = {CASED(LETTER, true, true),
                             NUMBERS(3),
                             OTHERS(TAIL_LINES_SLASHES),
                             {.kind = PART_LINES},
                             {.kind = PART_SPACES_BEFORE},
                             {.kind = PART_SPACES},
                             END};
static const part granite_embeddings[] = {CASED(LETTER | MARK, true, true),
                                          NUMBERS(3),
                                          OTHERS(TAIL_LINES_SLASHES),
                                          {.kind = PART_LINES},
                                          {.kind = PART_SPACES_BEFORE},
                                          {.kind = PART_SPACES},
                                          END};
static const part bailing[] = {
    {.kind = PART_CONTRACTION},   WORD(LETTER),          NUMBERS(1),
    OTHERS(TAIL_LINES),           {.kind = PART_LINES}, /* \s*[\r\n], which ends there too */
    {.kind = PART_SPACES_BEFORE}, {.kind = PART_SPACES}, END};
static const part seed_coder[] = {{.kind = PART_CONTRACTION},
                                  WORD(LETTER),
                                  NUMBERS(1),
                                  OTHERS(TAIL_NONE),
                                  {.kind = PART_LINES},
                                  {.kind = PART_SPACES_BEFORE},
                                  {.kind = PART_SPACES},
                                  END};
static const part ufakzeka[] = {WORD(LETTER),
                                NUMBERS(1),
                                OTHERS(TAIL_LINES),
                                {.kind = PART_LINES},
                                {.kind = PART_SPACES_BEFORE},
                                {.kind = PART_SPACES},
                                END};
static const part exaone_moe[] = {
    {.kind = PART_CONTRACTION},   {.kind = PART_PHRASE}, NUMBERS(1),
    OTHERS(TAIL_LINE_OR_SLASH),   {.kind = PART_LINES}, /* \s*[\r\n] */
    {.kind = PART_SPACES_BEFORE}, {.kind = PART_SPACES}, END};
static const part minicpm5[] = {{.kind = PART_CONTRACTION},
                                WORD(LETTER),
                                NUMBERS(MANY),
                                OTHERS(TAIL_LINES),
                                {.kind = PART_LINES},
                                {.kind = PART_SPACES_BEFORE},
                                {.kind = PART_SPACES},
                                END};
static const part asian_runs[] = {SET(asian), END};
static const part bloom[] = {{.kind = PART_NOT_SET, .set = stops}, END};
static const set_range chameleon_set[] = {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}, {0, 0}};
static const part chameleon_sentinels[] = {{.kind = PART_SENTINEL}, END};
static const part chameleon_images[] = {{.kind = PART_IMAGE}, END};
static const part chameleon_blanks[] = {{.kind = PART_BLANK}, END};
static const part chameleon_marks[] = {{.kind = PART_RUN, .of = PUNCTUATION, .most = 1},
                                       {.kind = PART_SET, .set = chameleon_set, .most = 1},
                                       END};
/* Falcon's and the default's first: punctuation and these symbols. */
static const set_range falcon_symbols[] = {{'$', '$'}, {'+', '+'}, {'<', '>'}, {'^', '^'},
                                           {'`', '`'}, {'|', '|'}, {'~', '~'}, {0, 0}};
static const set_range default_symbols[] = {{'$', '$'}, {'+', '+'}, {'<', '>'}, {'^', '^'},
                                            {'|', '|'}, {'~', '~'}, {0, 0}};
static const part falcon_marks[] = {
    {.kind = PART_RUN, .of = PUNCTUATION, .most = MANY, .set = falcon_symbols}, END};
static const part default_marks[] = {
    {.kind = PART_RUN, .of = PUNCTUATION, .most = MANY, .set = default_symbols}, END};

static const part llama3[] = {{.kind = PART_CONTRACTION},
                              WORD(LETTER),
                              NUMBERS(3),
                              OTHERS(TAIL_LINES),
                              {.kind = PART_LINES},
                              {.kind = PART_SPACES_BEFORE},
                              {.kind = PART_SPACES},
                              END};
static const part qwen2[] = {{.kind = PART_CONTRACTION},
                             WORD(LETTER),
                             NUMBERS(1),
                             OTHERS(TAIL_LINES),
                             {.kind = PART_LINES},
                             {.kind = PART_SPACES_BEFORE},
                             {.kind = PART_SPACES},
                             END};
static const part qwen35[] = {
    {.kind = PART_CONTRACTION},
    {.kind = PART_WORD, .of = LETTER | MARK, .without = LETTER | NUMBER},
    NUMBERS(1),
    {.kind = PART_OTHERS, .without = SPACE | LETTER | MARK | NUMBER, .tail = TAIL_LINES},
    {.kind = PART_LINES},
    {.kind = PART_SPACES_BEFORE},
    {.kind = PART_SPACES},
    END};

static const dw_pre_tokenizer ours[] = {
    {.names = {"", "default"},
     .stage_count = 4,
     .stages =
         {PARTS(default_marks), {.kind = STAGE_GPT2}, PARTS(number_runs), PARTS(three_digits)}},
    {.names = {"falcon"},
     .stage_count = 3,
     .stages = {PARTS(falcon_marks), {.kind = STAGE_GPT2}, PARTS(three_digits)}},
    {.names = {"jais-2"}, .stage_count = 1, .stages = {PARTS(jais2)}},
    {.names = {"deepseek-llm"},
     .stage_count = 6,
     .stages = {PARTS(single_line_ends), PARTS(deepseek_words), PARTS(deepseek_punctuation),
                PARTS(spaces_last), PARTS(han_or_wide), PARTS(number_runs)}},
    {.names = {"deepseek-coder"},
     .stage_count = 5,
     .stages = {PARTS(single_line_ends), PARTS(coder_words), PARTS(coder_marks), PARTS(han_or_wide),
                PARTS(numbers)}},
    {.names = {"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
     .stage_count = 3,
     .stages = {PARTS(numbers_by_three), PARTS(han_or_kana), PARTS(deepseek3)}},
    {.names = {"spark2_5"},
     .stage_count = 4,
     .stages = {PARTS(numbers_by_three), PARTS(han_or_kana), PARTS(spark), PARTS(numbers)}},
    {.names = {"youtu"},
     .keeps_tokens = true,
     .stage_count = 2,
     .stages = {PARTS(youtu_scripts), PARTS(youtu)}},
    {.names = {"poro-chat", "bloom", "gpt3-finnish"}, .stage_count = 1, .stages = {PARTS(bloom)}},
    {.names = {"viking"}, .stage_count = 2, .stages = {PARTS(bloom), PARTS(numbers)}},
    {.names = {"tekken"}, .keeps_tokens = true, .stage_count = 1, .stages = {PARTS(tekken)}},
    {.names = {"chameleon"},
     .stage_count = 6,
     .stages = {PARTS(chameleon_sentinels),
                PARTS(chameleon_images),
                PARTS(chameleon_blanks),
                PARTS(numbers),
                PARTS(chameleon_marks),
                {.kind = STAGE_GPT2}}},
    {.names = {"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"},
     .stage_count = 1,
     .stages = {PARTS(gpt4o)}},
    {.names = {"granite-embed-multi-97m"},
     .keeps_tokens = true,
     .stage_count = 1,
     .stages = {PARTS(granite_embeddings)}},
    {.names = {"tiny_aya", "cohere2moe"},
     .stage_count = 2,
     .stages = {{.kind = STAGE_DIGITS_BY_THREE}, PARTS(tiny_aya)}},
    {.names = {"superbpe"},
     .stage_count = 2,
     .stages = {PARTS(number_runs), {.kind = STAGE_TRIPLES}}},
    {.names = {"bailingmoe", "bailingmoe2", "llada-moe"},
     .stage_count = 1,
     .stages = {PARTS(bailing)}},
    {.names = {"seed-coder"}, .stage_count = 1, .stages = {PARTS(seed_coder)}},
    {.names = {"ufakzeka"}, .stage_count = 1, .stages = {PARTS(ufakzeka)}},
    {.names = {"afmoe"},
     .stage_count = 3,
     .stages = {{.kind = STAGE_DIGITS_BY_THREE}, PARTS(asian_runs), PARTS(deepseek3)}},
    {.names = {"exaone-moe"}, .stage_count = 1, .stages = {PARTS(exaone_moe)}},
    {.names = {"minicpm5"},
     .keeps_tokens = true,
     .stage_count = 2,
     .stages = {PARTS(numbers_by_three), PARTS(minicpm5)}},
};

/* Patterns for which unicode_regex_split_custom of libllama has code, which takes a text whole:
 * long words are split and merged here. */
static const dw_pre_tokenizer by_code[] = {
    {.names = {"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de",
               "a.x-4.0", "mellum", "modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe",
               "exaone4", "mpt", "olmo", "jais", "trillion", "granite-docling"},
     .stage_count = 1,
     .stages = {{.kind = STAGE_GPT2}}},
    {.names = {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
               "mellum2"},
     .stage_count = 2,
     .stages = {PARTS(numbers), {.kind = STAGE_GPT2}}},
    {.names = {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0",
               "lfm2", "jina-v5-nano"},
     .keeps_tokens = true,
     .stage_count = 1,
     .stages = {PARTS(llama3)}},
    {.names = {"dbrx", "smaug-bpe", "chatglm-bpe", "glm4", "glm5"},
     .stage_count = 1,
     .stages = {PARTS(llama3)}},
    {.names = {"qwen2", "kormo", "f2llmv2", "deepseek-r1-qwen", "stablelm2", "hunyuan",
               "solar-open", "megrez", "grok-2"},
     .stage_count = 1,
     .stages = {PARTS(qwen2)}},
    {.names = {"qwen35"}, .stage_count = 1, .stages = {PARTS(qwen35)}},
    {.names = {"kimi-k2"}, .stage_count = 1, .stages = {{.kind = STAGE_KIMI}}},
    {.names = {"laguna"}, .stage_count = 2, .stages = {PARTS(line_feeds), PARTS(qwen2)}},
};
static const char *const raw[] = {"gemma4", "granite-embed-multi-311m", "sarvam-moe", "mmbert",
                                  "whitespace"};

static bool listed(const char *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] != NULL && strcmp(list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const dw_pre_tokenizer *find(const dw_pre_tokenizer *table, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (listed(table[i].names, NAMES_MAX, name)) {
            return &table[i];
        }
    }
    return NULL;
}

dw_split_kind dw_pre_tokenizer_find(const dw_pre_tokenizer **out, const char *name)
{
    *out = find(ours, sizeof ours / sizeof ours[0], name);
    if (*out != NULL) {
        return DW_SPLIT_OURS;
    }
    *out = find(by_code, sizeof by_code / sizeof by_code[0], name);
    return *out != NULL                                    ? DW_SPLIT_BY_CODE
           : listed(raw, sizeof raw / sizeof raw[0], name) ? DW_SPLIT_RAW
                                                           : DW_SPLIT_UNKNOWN;
}

bool dw_pre_tokenizer_keeps_tokens(const dw_pre_tokenizer *of)
{
    return of->keeps_tokens;
}
