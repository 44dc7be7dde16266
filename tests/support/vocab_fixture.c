#include "vocab_fixture.h"

#include <dirent.h>
#include <gguf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driftwood_abi.h"
#include "base/alloc.h"
#include "gguf/gguf.h"
#include "support.h"
#include "text/llama_guard.h"

#define VOCABS_MAX 8 /* open at a time */
#define PIECES_MAX 4096
#define PIECE_BYTES 64
#define SYMBOLS_MAX 8192

/* What the pieces are learned from. */
static const char sample[] =
    "The quick brown fox jumps over the lazy dog. It's what they'll say, don't you think? I've "
    "never been there, but we're going. THE END: HTML <table> <div class=\"a\"> </div> {\"a\": 1}\n"
    "    def main(argv):\n        return 0\n\tint x = 12345; // 1000000 2024-01-31 3.14159\n\n\n"
    "Größe und Straße, naïve café à la crème, señor, ação, žluťoučký kůň, żółć. "
    "Быстрая лиса прыгает через собаку. Съешь ещё этих мягких булок. Ελληνικά γράμματα. "
    "今天的天气很好，我们一起去公园。中文分词不需要空格，这是一个很长的句子。人工智能模型。"
    "日本語の文章です。カタカナとひらがな、漢字も。東京は日本の首都です。"
    "한국어 문장입니다. 서울은 대한민국의 수도이다. "
    "ภาษาไทยไม่มีช่องว่างระหว่างคำ ประเทศไทย "
    "हिन्दी में लिखा हुआ पाठ। भारत की राजधानी दिल्ली। "
    "نص باللغة العربية من اليمين إلى اليسار. שלום עולם. "
    "ააბბ ქართული ენა. Հայերեն. বাংলা ভাষা। தமிழ் மொழி. "
    "🙂🎉👩‍👩‍👧 ✓ → ∑ ≤ € £ … “quotes” ‘single’ — dash "
    "aGVsbG8gd29ybGQgdGhpcyBpcyBiYXNlNjQ= ACGTACGTTAGCACGT aaaaaaaaaaaaaaaa ---------- ======= "
    "'S 'T 'RE 'Ll foo_bar fooBar FooBar HTTPServer x1y2z3 ½ ²³ ① Ⅷ ٣٤٥ १२३";

typedef struct piece {
    char text[PIECE_BYTES];
    size_t bytes;
} piece;

typedef struct learner {
    piece pieces[PIECES_MAX]; /* single characters, then merges in order of rank */
    size_t count;
    char merges[PIECES_MAX][2 * PIECE_BYTES + 2];
    size_t merge_count;
    uint32_t symbols[SYMBOLS_MAX]; /* the sample, as pieces */
    size_t symbol_count;
} learner;

static size_t character_bytes(unsigned char first)
{
    return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static uint32_t piece_of(learner *l, const char *text, size_t bytes)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->pieces[i].bytes == bytes && memcmp(l->pieces[i].text, text, bytes) == 0) {
            return (uint32_t)i;
        }
    }
    assert_true(l->count < PIECES_MAX && bytes < PIECE_BYTES);
    memcpy(l->pieces[l->count].text, text, bytes);
    l->pieces[l->count].text[bytes] = '\0';
    l->pieces[l->count].bytes = bytes;
    return (uint32_t)l->count++;
}

static size_t put_character(char *out, unsigned number)
{
    if (number < 0x80) {
        out[0] = (char)number;
        return 1;
    }
    if (number < 0x800) {
        out[0] = (char)(0xc0 | number >> 6);
        out[1] = (char)(0x80 | (number & 0x3f));
        return 2;
    }
    if (number < 0x10000) {
        out[0] = (char)(0xe0 | number >> 12);
        out[1] = (char)(0x80 | (number >> 6 & 0x3f));
        out[2] = (char)(0x80 | (number & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | number >> 18);
    out[1] = (char)(0x80 | (number >> 12 & 0x3f));
    out[2] = (char)(0x80 | (number >> 6 & 0x3f));
    out[3] = (char)(0x80 | (number & 0x3f));
    return 4;
}

/* The character by which byte-pair vocabularies write a byte: itself where it is printable. */
static size_t put_byte(char *out, unsigned byte)
{
    unsigned hidden = 0;
    for (unsigned i = 0; i < byte; i++) {
        hidden += (i < 33 || (i > 126 && i < 161) || i == 173) ? 1 : 0;
    }
    bool is_hidden = byte < 33 || (byte > 126 && byte < 161) || byte == 173;
    return put_character(out, is_hidden ? 256 + hidden : byte);
}

/* White space as byte-pair tokens never join it to what is in front of it. */
static bool joins(const learner *l, uint32_t left, uint32_t right, bool spaces)
{
    const piece *a = &l->pieces[left];
    const piece *b = &l->pieces[right];
    bool space_inside = strncmp(b->text, "\xe2\x96\x81", 3) == 0;
    return a->bytes + b->bytes < PIECE_BYTES / 2 && (spaces || !space_inside);
}

static void learn_one(learner *l, bool spaces)
{
    static uint32_t counts[PIECES_MAX][8]; /* by a hash of the right one: near enough */
    uint32_t best = 0;
    size_t at = l->symbol_count;
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i + 1 < l->symbol_count; i++) {
        uint32_t left = l->symbols[i];
        uint32_t right = l->symbols[i + 1];
        if (joins(l, left, right, spaces) && ++counts[left][right % 8] > best) {
            best = counts[left][right % 8];
            at = i;
        }
    }
    if (at == l->symbol_count) {
        return;
    }
    uint32_t left = l->symbols[at];
    uint32_t right = l->symbols[at + 1];
    char text[2 * PIECE_BYTES];
    const piece a = l->pieces[left];
    const piece b = l->pieces[right];
    (void)snprintf(text, sizeof text, "%s%s", a.text, b.text);
    (void)snprintf(l->merges[l->merge_count++], sizeof l->merges[0], "%s %s", a.text, b.text);
    uint32_t whole = piece_of(l, text, strlen(text));
    size_t kept = 0;
    for (size_t i = 0; i < l->symbol_count; kept++) {
        bool pair = i + 1 < l->symbol_count && l->symbols[i] == left && l->symbols[i + 1] == right;
        l->symbols[kept] = pair ? whole : l->symbols[i];
        i += pair ? 2 : 1;
    }
    l->symbol_count = kept;
}

static void learn(learner *l, const vocab_options *options)
{
    bool bytes = options->kind == VOCAB_BPE;
    memset(l, 0, sizeof *l);
    for (unsigned i = 0; bytes && i < 256; i++) {
        char text[8];
        (void)piece_of(l, text, put_byte(text, i));
    }
    for (size_t i = 0; i < sizeof sample - 1;) {
        char text[8];
        size_t length = character_bytes((unsigned char)sample[i]);
        if (bytes) {
            length = 1;
            l->symbols[l->symbol_count++] =
                piece_of(l, text, put_byte(text, (unsigned char)sample[i]));
        } else if (sample[i] == ' ') {
            l->symbols[l->symbol_count++] = piece_of(l, "\xe2\x96\x81", 3);
        } else if (sample[i] != '\n' && sample[i] != '\t') {
            l->symbols[l->symbol_count++] = piece_of(l, sample + i, length);
        }
        i += length;
    }
    for (uint32_t i = 0; i < (options->merge_count > 0 ? options->merge_count : 400); i++) {
        learn_one(l, bytes);
    }
}

/* ---- files -------------------------------------------------------------------------------- */

typedef struct token_lists {
    char texts[PIECES_MAX][PIECE_BYTES + 4];
    const char *pointers[PIECES_MAX];
    float scores[PIECES_MAX];
    int32_t types[PIECES_MAX];
    uint32_t count;
} token_lists;

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, BYTE = 6 };

static uint32_t add_token(token_lists *t, const char *text, int32_t type, float score)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (strcmp(t->texts[i], text) == 0) {
            return i;
        }
    }
    assert_true(t->count < PIECES_MAX);
    (void)snprintf(t->texts[t->count], sizeof t->texts[0], "%s", text);
    t->pointers[t->count] = t->texts[t->count];
    t->types[t->count] = type;
    t->scores[t->count] = score;
    return t->count++;
}

static void add_pieces(token_lists *t, const learner *l, const vocab_options *options)
{
    for (size_t i = 0; i < l->count; i++) {
        char text[PIECE_BYTES + 4];
        float score = options->kind == VOCAB_SPM ? -(float)i : -1.5f - (float)(i % 97) * 0.0625f;
        add_token(t, l->pieces[i].text, NORMAL, score);
        if (options->kind == VOCAB_WPM && i % 3 > 0) {
            (void)snprintf(text, sizeof text, "\xe2\x96\x81%s", l->pieces[i].text);
            add_token(t, text, NORMAL, 0);
        }
    }
}

static void add_all_tokens(token_lists *t, const learner *l, const vocab_options *options)
{
    t->count = 0;
    add_token(t, "<unk>", UNKNOWN, 0);
    add_token(t, "<s>", CONTROL, 0);
    add_token(t, "</s>", CONTROL, 0);
    for (unsigned i = 0; i < 256 && options->kind == VOCAB_SPM; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, "<0x%02X>", i);
        add_token(t, text, BYTE, 0);
    }
    for (size_t i = 0; options->extra != NULL && options->extra[i] != NULL; i++) {
        add_token(t, options->extra[i], NORMAL, 0);
    }
    add_pieces(t, l, options);
    add_token(t, VOCAB_TURN, CONTROL, 0);
    add_token(t, "<|endoftext|>", CONTROL, 0);
    add_token(t, VOCAB_END, CONTROL, 0);
    add_token(t, VOCAB_MESSAGE, USER, 0);
    add_token(t, VOCAB_THINK, USER, 0);
    add_token(t, VOCAB_LINES, USER, 0);
    for (size_t i = 0; options->user != NULL && options->user[i] != NULL; i++) {
        add_token(t, options->user[i], USER, 0);
    }
}

static void set_choice(struct gguf_context *gguf, const char *key, int choice)
{
    if (choice != 0) {
        gguf_set_val_bool(gguf, key, choice > 0);
    }
}

static void set_keys(struct gguf_context *gguf, const vocab_options *options)
{
    static const char *const kinds[] = {"gpt2", "llama", "t5", "bert"};
    bool encoder = options->kind == VOCAB_UGM || options->kind == VOCAB_WPM;
    const char *architecture = options->architecture != NULL ? options->architecture
                               : encoder                     ? "bert"
                                                             : "llama";
    char key[64];
    gguf_set_val_str(gguf, "general.architecture", architecture);
    if (options->name != NULL) {
        gguf_set_val_str(gguf, "general.name", options->name);
    }
    if (options->pooling > 0) {
        (void)snprintf(key, sizeof key, "%s.pooling_type", architecture);
        gguf_set_val_u32(gguf, key, options->pooling);
    }
    gguf_set_val_str(gguf, "tokenizer.ggml.model", kinds[options->kind]);
    if (options->kind == VOCAB_BPE) {
        gguf_set_val_str(gguf, "tokenizer.ggml.pre", options->pre != NULL ? options->pre : "gpt-2");
    }
    gguf_set_val_u32(gguf, "tokenizer.ggml.unknown_token_id", 0);
    gguf_set_val_u32(gguf, "tokenizer.ggml.bos_token_id", 1);
    gguf_set_val_u32(gguf, "tokenizer.ggml.eos_token_id", 2);
    gguf_set_val_u32(gguf, "tokenizer.ggml.seperator_token_id", 2);
    set_choice(gguf, "tokenizer.ggml.add_bos_token", options->add_bos);
    set_choice(gguf, "tokenizer.ggml.add_eos_token", options->add_eos);
    set_choice(gguf, "tokenizer.ggml.add_space_prefix", options->space_prefix);
    set_choice(gguf, "tokenizer.ggml.normalizer.lowercase", options->lower_case);
    set_choice(gguf, "tokenizer.ggml.normalizer.strip_accents", options->strip_accents);
    if (options->kind == VOCAB_UGM) {
        set_choice(gguf, "tokenizer.ggml.remove_extra_whitespaces",
                   options->joins_spaces != 0 ? options->joins_spaces : options->space_prefix);
    }
}

uint32_t vocab_write(char *path, const vocab_options *options)
{
    static learner l;
    static token_lists t;
    static const char *merges[PIECES_MAX];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    learn(&l, options);
    add_all_tokens(&t, &l, options);
    struct gguf_context *gguf = gguf_init_empty();
    set_keys(gguf, options);
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", t.pointers, t.count);
    gguf_set_arr_data(gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, t.scores, t.count);
    gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, t.types, t.count);
    if (options->kind == VOCAB_BPE) {
        for (size_t i = 0; i < l.merge_count; i++) {
            merges[i] = l.merges[i];
        }
        gguf_set_arr_str(gguf, "tokenizer.ggml.merges", merges, l.merge_count);
    }
    assert_true(gguf_write_to_file(gguf, path, true));
    gguf_free(gguf);
    return t.count;
}

dw_vocab *vocab_make(const vocab_options *options)
{
    char path[] = "/tmp/dw-vocab-XXXXXX";
    dw_vocab *vocab = NULL;
    dw_error err;
    uint32_t count = vocab_write(path, options);
    if (dw_vocab_open(&vocab, path, count, &err) != DW_OK) {
        fail_msg("%s: %s", options->pre != NULL ? options->pre : "", err.message);
    }
    static dw_gguf *files[VOCABS_MAX]; /* what a vocabulary reads late: kept until the next ones */
    static size_t next;
    dw_gguf_close(files[next % VOCABS_MAX]);
    assert_int_equal(dw_gguf_open(&files[next % VOCABS_MAX], path, &err), DW_OK);
    dw_vocab_lend_file(vocab, files[next++ % VOCABS_MAX]);
    unlink(path);
    return vocab;
}

dw_vocab *vocab_open_file(const char *path)
{
    dw_gguf *gguf = NULL;
    dw_vocab *vocab = NULL;
    dw_gguf_string *texts = NULL;
    size_t count = 0;
    if (dw_gguf_open(&gguf, path, NULL) != DW_OK) {
        return NULL;
    }
    if (dw_gguf_strings(gguf, "tokenizer.ggml.tokens", &texts, &count, NULL) == DW_OK) {
        dw_free(texts);
    }
    dw_gguf_close(gguf);
    (void)!dw_vocab_open(&vocab, path, (uint32_t)count, NULL);
    return vocab;
}

const char *vocab_next_real(size_t *index)
{
    static char path[1024];
    const char *folder = getenv("DW_TEST_VOCABS");
    DIR *open = folder != NULL ? opendir(folder) : NULL;
    size_t at = 0;
    bool found = false;
    struct dirent *entry;
    while (open != NULL && !found && (entry = readdir(open)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length > 5 && strcmp(entry->d_name + length - 5, ".gguf") == 0 && at++ == *index) {
            (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            found = true;
        }
    }
    if (open != NULL) {
        (void)closedir(open);
    }
    *index += 1;
    return found ? path : NULL;
}

/* ---- tokens ------------------------------------------------------------------------------- */

size_t vocab_oracle(const dw_vocab *vocab, const char *text, size_t bytes, bool parse,
                    int32_t *tokens, size_t capacity)
{
    int32_t count = dw_llama_tokenize(dw_vocab_llama(vocab), text, (int32_t)bytes, tokens,
                                      (int32_t)capacity, parse ? DW_TOKENIZE_PARSE : 0);
    assert_true(count >= 0);
    return (size_t)count;
}

size_t vocab_tokens(const dw_vocab *vocab, const char *text, size_t bytes, uint32_t flags,
                    int32_t *tokens, size_t capacity)
{
    dw_error err;
    size_t count = 0;
    if (dw_vocab_tokenize(vocab, text, bytes, tokens, capacity, flags, &count, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return count;
}

/* ---- texts -------------------------------------------------------------------------------- */

uint64_t vocab_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Mostly of one block of Unicode, which gives letters, marks, digits and what is unassigned. */
static size_t put_script(uint64_t *random, char *out, size_t room)
{
    static const unsigned blocks[] = {
        0x00c0,  0x0100,  0x0370,  0x0400,  0x0530,  0x05d0, 0x0620, 0x0660, 0x0900,  0x0966,
        0x0980,  0x0b80,  0x0e00,  0x0e40,  0x0f20,  0x10a0, 0x1100, 0x1200, 0x13a0,  0x1780,
        0x1c90,  0x1e00,  0x2000,  0x2018,  0x2070,  0x20a0, 0x2150, 0x2190, 0x2460,  0x2e80,
        0x3000,  0x3040,  0x30a0,  0x3100,  0x3130,  0x3400, 0x4e00, 0x5b00, 0x9f00,  0xa000,
        0xa720,  0xac00,  0xd700,  0xe000,  0xf900,  0xfb00, 0xfe30, 0xff00, 0x10400, 0x1d400,
        0x1e900, 0x1f300, 0x1f600, 0x20000, 0x2f800, 0xe0100};
    unsigned block = blocks[vocab_random(random) % (sizeof blocks / sizeof blocks[0])];
    unsigned width = vocab_random(random) % 3 == 0 ? 64 : 8;
    size_t length = 1 + vocab_random(random) % 12;
    size_t at = 0;
    for (size_t i = 0; i < length && at + 4 <= room; i++) {
        unsigned number = block + (unsigned)(vocab_random(random) % width);
        at += put_character(out + at, number >= 0xd800 && number < 0xe000 ? 0x4e2d : number);
    }
    return at;
}

static size_t put_one_of(uint64_t *random, char *out, size_t room, const char *set, size_t most)
{
    size_t length = 1 + vocab_random(random) % most;
    size_t count = strlen(set);
    bool same = vocab_random(random) % 2 == 0;
    char first = set[vocab_random(random) % count];
    size_t at = 0;
    for (; at < length && at < room; at++) {
        out[at] = same ? first : set[vocab_random(random) % count];
    }
    return at;
}

static size_t put_word(uint64_t *random, char *out, size_t room)
{
    size_t from = vocab_random(random) % (sizeof sample - 1);
    while (((unsigned char)sample[from] & 0xc0) == 0x80) {
        from--;
    }
    size_t length = 1 + vocab_random(random) % 24;
    while (from + length < sizeof sample && ((unsigned char)sample[from + length] & 0xc0) == 0x80) {
        length++;
    }
    length = from + length < sizeof sample ? length : sizeof sample - 1 - from;
    length = length < room ? length : 0;
    memcpy(out, sample + from, length);
    return length;
}

size_t vocab_text(uint64_t *random, char *text, size_t bytes)
{
    static const char *const fixed[] = {"'s",           "'T",           "'ll",      "'RE",
                                        "\r\n",         "\n",           "\xc2\x85", "\xc2\xa0",
                                        "\xe3\x80\x80", "\xe2\x80\x83", "\x1c",     "\x7f",
                                        VOCAB_THINK,    "<think",       "<|im_",    "/",
                                        "\xe2\x96\x81", "\x01",         "a b c d",  " x",
                                        "\xcc\x81",     "\xe0\xb8\xb4"};
    size_t at = 0;
    while (at < bytes) {
        size_t room = bytes + 60 - at;
        const char *text_of = fixed[vocab_random(random) % (sizeof fixed / sizeof fixed[0])];
        switch (vocab_random(random) % 8) {
        case 0:
            at += put_script(random, text + at, room);
            break;
        case 1:
            at += put_one_of(random, text + at, room, "0123456789", 9);
            break;
        case 2:
            at += put_one_of(random, text + at, room, " \t\n\r\n   ", 6);
            break;
        case 3:
            at += put_one_of(random, text + at, room, "!\"#$%&'()*+,-./:;=>?@[\\]^_`{}~", 5);
            break;
        case 4:
            at += put_one_of(random, text + at, room, "abcxyzABCXYZstTSdDeE", 10);
            break;
        case 5:
            memcpy(text + at, text_of, strlen(text_of));
            at += strlen(text_of);
            break;
        default:
            at += put_word(random, text + at, room);
            break;
        }
    }
    return at;
}
