/* libllama reads the tokenizer out of the same file again. It throws away some damage, but aborts
 * or throws through its C functions over other: what is checked here is what it takes for granted
 * (llama-vocab.cpp of the pinned version). */
#include "text/tokenizer_check.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/hash.h"

#define TOKEN_TYPE_BYTE 6
#define WORD_PIECE_BYTES_MAX 256
#define SPECIAL_COUNT 17

/* tokenizer.ggml.NAME_token_id */
static const char *const special_names[SPECIAL_COUNT] = {
    "bos",     "eos",     "eot",     "eom",     "unknown", "seperator",
    "padding", "mask",    "fim_pre", "fim_suf", "fim_mid", "fim_pad",
    "fim_rep", "fim_sep", "prefix",  "suffix",  "middle"};

/* The tokens and where to find one by its text: sorting them took most of a small model's load. */
typedef struct token_table {
    dw_gguf_string *tokens; /* [count], as in the file */
    size_t count;
    uint32_t *slots; /* [slot_mask + 1]: 1 + a token's index, or 0; at its hash or soon behind */
    uint64_t slot_mask;
} token_table;

static bool equals(const dw_gguf_string *string, const char *text)
{
    return string->bytes == strlen(text) && memcmp(string->text, text, string->bytes) == 0;
}

/* The slot that holds this text, or the empty one where it belongs. At most half of them are
 * taken, so there is one. */
static uint32_t *find_slot(const token_table *table, const char *text, size_t bytes)
{
    for (uint64_t at = dw_hash_of_text(text, bytes);; at++) {
        uint32_t *slot = &table->slots[at & table->slot_mask];
        if (*slot == 0) {
            return slot;
        }
        const dw_gguf_string *token = &table->tokens[*slot - 1];
        if (token->bytes == bytes && memcmp(token->text, text, bytes) == 0) {
            return slot;
        }
    }
}

static dw_status make_slots(token_table *table, dw_error *err)
{
    uint64_t slot_count = 64;
    while (slot_count < 2 * (uint64_t)table->count) {
        slot_count *= 2;
    }
    table->slots = dw_alloc((size_t)slot_count, sizeof *table->slots);
    if (table->slots == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to check %zu tokens", table->count);
    }
    table->slot_mask = slot_count - 1;
    return DW_OK;
}

/* libllama's lists are C strings in a map that must hold each once. Empty ones it names itself,
 * "[EMPTY_n]", so one token may be empty only where no other has that name. */
static dw_status check_tokens(token_table *table, dw_error *err)
{
    for (size_t i = 0; i < table->count; i++) {
        const dw_gguf_string *token = &table->tokens[i];
        if (token->bytes == 0 || token->bytes > 4096) {
            return dw_fail(err, DW_E_FORMAT,
                           "tokenizer.ggml.tokens: token %zu is %zu bytes long, allowed are 1 to "
                           "4096",
                           i, token->bytes);
        }
        if (memchr(token->text, '\0', token->bytes) != NULL) {
            return dw_fail(err, DW_E_FORMAT, "tokenizer.ggml.tokens: token %zu holds a zero byte",
                           i);
        }
    }
    for (size_t i = 0; i < table->count; i++) {
        const dw_gguf_string *token = &table->tokens[i];
        uint32_t *slot = find_slot(table, token->text, token->bytes);
        if (*slot != 0) {
            return dw_fail(err, DW_E_FORMAT, "tokenizer.ggml.tokens: token '%.*s' is there twice",
                           token->bytes < 64 ? (int)token->bytes : 64, token->text);
        }
        *slot = (uint32_t)i + 1;
    }
    return DW_OK;
}

static bool holds(const token_table *table, const char *text, size_t bytes)
{
    return *find_slot(table, text, bytes) != 0;
}

/* Any text must have tokens: each byte's own where nothing longer fits. */
static dw_status check_bytes(const token_table *table, dw_error *err)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        char itself = (char)(unsigned char)byte;
        (void)snprintf(name, sizeof name, "<0x%02X>", byte);
        if (!holds(table, name, 6) && (byte == 0 || !holds(table, &itself, 1))) {
            return dw_fail(err, DW_E_FORMAT, "tokenizer.ggml.tokens: no token for byte '%s'", name);
        }
    }
    return DW_OK;
}

static dw_status check_length(const char *key, size_t count, size_t wanted, dw_error *err)
{
    if (count != wanted) {
        return dw_fail(err, DW_E_FORMAT, "%s has %zu items for %zu tokens", key, count, wanted);
    }
    return DW_OK;
}

static dw_status check_types(const dw_gguf *gguf, const token_table *table, dw_error *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    dw_gguf_array types = {0};
    dw_status status = dw_gguf_array_of(gguf, key, DW_GGUF_I32, &types, err);
    if (status == DW_E_NOT_FOUND) {
        return DW_OK;
    }
    if (status != DW_OK) {
        return status;
    }
    status = check_length(key, types.count, table->count, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < types.count; i++) {
        const dw_gguf_string *token = &table->tokens[i];
        if (dw_gguf_array_i32(&types, i) == TOKEN_TYPE_BYTE &&
            (token->bytes != 6 || memcmp(token->text, "<0x", 3) != 0)) {
            return dw_fail(err, DW_E_FORMAT, "%s: token %zu is of type byte but is not <0xNN>", key,
                           i);
        }
    }
    return DW_OK;
}

static dw_status check_scores(const dw_gguf *gguf, const token_table *table, dw_error *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    if (!dw_gguf_has(gguf, key)) {
        return DW_OK;
    }
    dw_gguf_type type = dw_gguf_array_type(gguf, key) == DW_GGUF_I32 ? DW_GGUF_I32 : DW_GGUF_F32;
    dw_gguf_array scores = {0};
    dw_status status = dw_gguf_array_of(gguf, key, type, &scores, err);
    return status == DW_OK ? check_length(key, scores.count, table->count, err) : status;
}

/* Two texts with one space between. */
static dw_status check_merges(const dw_gguf *gguf, dw_error *err)
{
    static const char key[] = "tokenizer.ggml.merges";
    dw_gguf_string *merges = NULL;
    size_t count = 0;
    dw_status status = dw_gguf_strings(gguf, key, &merges, &count, err);
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_FORMAT, "key '%s' is missing", key);
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        if (merges[i].bytes < 3 || memchr(merges[i].text + 1, ' ', merges[i].bytes - 2) == NULL ||
            memchr(merges[i].text, '\0', merges[i].bytes) != NULL) {
            status = dw_fail(err, DW_E_FORMAT,
                             "%s: item %zu is not two pieces with a space between", key, i);
        }
    }
    dw_free(merges);
    return status;
}

static dw_status check_special(const dw_gguf *gguf, const token_table *table, dw_error *err)
{
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        char key[64];
        uint32_t token = 0;
        (void)snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", special_names[i]);
        dw_status status = dw_gguf_u32(gguf, key, &token, err);
        if (status != DW_OK && status != DW_E_NOT_FOUND) {
            return status;
        }
        if (status == DW_OK && token >= table->count) {
            return dw_fail(err, DW_E_FORMAT, "key '%s' is %u, there are %zu tokens", key, token,
                           table->count);
        }
    }
    return DW_OK;
}

/* WordPiece always has use for three tokens, adds two of them, and tries all lengths of piece that
 * there are at each byte. libllama's own numbers for them are those of BERT's list. */
static dw_status check_word_pieces(const dw_gguf *gguf, const token_table *table, dw_error *err)
{
    static const char *const names[] = {"bos", "unknown", "seperator"};
    static const uint32_t defaults[] = {101, 100, 102};
    for (size_t i = 0; i < 3; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", names[i]);
        if (!dw_gguf_has(gguf, key) && defaults[i] >= table->count) {
            return dw_fail(err, DW_E_FORMAT, "key '%s' is missing, and %u is none of %zu tokens",
                           key, defaults[i], table->count);
        }
    }
    for (size_t i = 0; i < table->count; i++) {
        if (table->tokens[i].bytes > WORD_PIECE_BYTES_MAX) {
            return dw_fail(err, DW_E_FORMAT,
                           "tokenizer.ggml.tokens: token %zu is %zu bytes long, with 'bert' at "
                           "most %d are allowed",
                           i, table->tokens[i].bytes, WORD_PIECE_BYTES_MAX);
        }
    }
    dw_gguf_array types = {0};
    bool typed =
        dw_gguf_array_of(gguf, "tokenizer.ggml.token_type", DW_GGUF_I32, &types, NULL) == DW_OK;
    for (size_t i = 0; typed && i < types.count; i++) {
        if (dw_gguf_array_i32(&types, i) == TOKEN_TYPE_BYTE) {
            return dw_fail(err, DW_E_FORMAT,
                           "tokenizer.ggml.token_type: token %zu is of type byte, 'bert' has none",
                           i);
        }
    }
    return DW_OK;
}

/* The unigram model's normaliser: a double array, its length in front, and texts behind. What they
 * say is checked by libllama whenever it reads them. */
static dw_status check_unigrams(const dw_gguf *gguf, const token_table *table, dw_error *err)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    if (!dw_gguf_has(gguf, "tokenizer.ggml.unknown_token_id") && table->count <= 2) {
        return dw_fail(err, DW_E_FORMAT, "key 'tokenizer.ggml.unknown_token_id' is missing");
    }
    if (!dw_gguf_has(gguf, "tokenizer.ggml.scores")) {
        return dw_fail(err, DW_E_FORMAT, "key 'tokenizer.ggml.scores' is missing");
    }
    if (!dw_gguf_has(gguf, key)) {
        return DW_OK;
    }
    dw_gguf_type type = dw_gguf_array_type(gguf, key) == DW_GGUF_I8 ? DW_GGUF_I8 : DW_GGUF_U8;
    dw_gguf_array map = {0};
    dw_status status = dw_gguf_array_of(gguf, key, type, &map, err);
    if (status != DW_OK) {
        return status;
    }
    uint32_t array_bytes = 0;
    if (map.count > sizeof array_bytes) {
        memcpy(&array_bytes, map.elements, sizeof array_bytes);
    }
    if (map.count <= sizeof array_bytes || array_bytes >= map.count - sizeof array_bytes) {
        return dw_fail(err, DW_E_FORMAT, "key '%s': an array of %u bytes in %zu", key, array_bytes,
                       map.count);
    }
    return DW_OK;
}

/* Asked to put a token in front or behind, libllama aborts where that token does not exist. Its
 * defaults stand below 12, so any list longer than that has them. */
static dw_status check_added(const dw_gguf *gguf, const token_table *table, dw_error *err)
{
    static const char *const added[] = {"bos", "eos", "sep"};
    static const char *const tokens[] = {"bos", "eos", "seperator"};
    dw_gguf_string kind = {.text = ""};
    bool unigrams = dw_gguf_text(gguf, "tokenizer.ggml.model", &kind, NULL) == DW_OK &&
                    equals(&kind, "t5"); /* adds an EOS and no BOS if nothing else is said */
    for (size_t i = 0; i < 3; i++) {
        char key[64];
        bool adds = i == (unigrams ? 1 : 0);
        (void)snprintf(key, sizeof key, "tokenizer.ggml.add_%s_token", added[i]);
        dw_status status = dw_gguf_bool(gguf, key, &adds, err);
        if (status != DW_OK && status != DW_E_NOT_FOUND) {
            return status;
        }
        char token[64];
        (void)snprintf(token, sizeof token, "tokenizer.ggml.%s_token_id", tokens[i]);
        bool has_default = (unigrams ? i == 1 : i < 2) && table->count >= 12;
        if (adds && !has_default && !dw_gguf_has(gguf, token)) {
            return dw_fail(err, DW_E_FORMAT, "the tokenizer adds a token but key '%s' is missing",
                           token);
        }
    }
    return DW_OK;
}

/* The kinds of tokenizer that the table's architectures come with. */
static dw_status check_kind(const dw_gguf *gguf, const token_table *table, dw_error *err)
{
    dw_gguf_string kind;
    dw_status status = dw_gguf_text(gguf, "tokenizer.ggml.model", &kind, err);
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "no tokenizer: key 'tokenizer.ggml.model' is missing");
    }
    if (status != DW_OK) {
        return status;
    }
    if (equals(&kind, "llama")) {
        return check_bytes(table, err);
    }
    if (equals(&kind, "bert")) {
        return check_word_pieces(gguf, table, err);
    }
    if (equals(&kind, "t5")) {
        return check_unigrams(gguf, table, err);
    }
    if (!equals(&kind, "gpt2")) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "tokenizer '%.*s' is not supported; there are: bert, gpt2, llama, t5",
                       kind.bytes < 64 ? (int)kind.bytes : 64, kind.text);
    }
    dw_gguf_string pre = {.text = "", .bytes = 0};
    status = dw_gguf_text(gguf, "tokenizer.ggml.pre", &pre, err);
    if (status != DW_OK && status != DW_E_NOT_FOUND) {
        return status;
    }
    if (equals(&pre, "gemma4")) { /* no byte encoding: spaces would reach an assert */
        return dw_fail(err, DW_E_UNSUPPORTED, "key 'tokenizer.ggml.pre' is 'gemma4' under 'gpt2'");
    }
    return check_merges(gguf, err);
}

static dw_status check_table(const dw_gguf *gguf, token_table *table, dw_error *err)
{
    dw_status status = check_tokens(table, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_scores(gguf, table, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_types(gguf, table, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_special(gguf, table, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_added(gguf, table, err);
    return status == DW_OK ? check_kind(gguf, table, err) : status;
}

dw_status dw_tokenizer_check(const dw_gguf *gguf, uint32_t vocab_count, dw_error *err)
{
    static const char key[] = "tokenizer.ggml.tokens";
    token_table table = {0};
    dw_status status = dw_gguf_strings(gguf, key, &table.tokens, &table.count, err);
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_UNSUPPORTED, "no tokenizer: key '%s' is missing", key);
    }
    if (status != DW_OK) {
        return status;
    }
    if (table.count != vocab_count) {
        status = dw_fail(err, DW_E_FORMAT, "%s has %zu items, token_embd.weight has %u rows", key,
                         table.count, vocab_count);
        goto out;
    }
    status = make_slots(&table, err);
    if (status != DW_OK) {
        goto out;
    }
    status = check_table(gguf, &table, err);
out:
    dw_free(table.slots);
    dw_free(table.tokens);
    return status;
}

/* ---- what libllama will take without doubt ---- */

static bool missing_or(const dw_gguf *gguf, const char *key, dw_gguf_type type)
{
    dw_gguf_type found = dw_gguf_type_of(gguf, key);
    return found == type || found == DW_GGUF_TYPE_COUNT;
}

/* libllama throws over a key of another type than it expects; src/gguf takes any that can hold the
 * value. */
static bool types_are_plain(const dw_gguf *gguf)
{
    static const struct {
        const char *key;
        dw_gguf_type type;
    } known[] = {{"general.alignment", DW_GGUF_U32},
                 {"general.architecture", DW_GGUF_STRING},
                 {"general.name", DW_GGUF_STRING},
                 {"general.file_type", DW_GGUF_U32},
                 {"split.count", DW_GGUF_U16},
                 {"tokenizer.ggml.pre", DW_GGUF_STRING},
                 {"tokenizer.ggml.token_type_count", DW_GGUF_U32},
                 {"tokenizer.ggml.add_bos_token", DW_GGUF_BOOL},
                 {"tokenizer.ggml.add_eos_token", DW_GGUF_BOOL},
                 {"tokenizer.ggml.add_sep_token", DW_GGUF_BOOL},
                 {"tokenizer.ggml.add_space_prefix", DW_GGUF_BOOL},
                 {"tokenizer.ggml.remove_extra_whitespaces", DW_GGUF_BOOL},
                 {"tokenizer.ggml.normalizer.lowercase", DW_GGUF_BOOL},
                 {"tokenizer.ggml.normalizer.strip_accents", DW_GGUF_BOOL}};
    bool plain = !dw_gguf_has(gguf, "tokenizer.ggml.suppress_tokens");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        plain = plain && missing_or(gguf, known[i].key, known[i].type);
    }
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", special_names[i]);
        plain = plain && missing_or(gguf, key, DW_GGUF_U32);
    }
    return plain;
}

/* By this name libllama looks for three tokens, and throws where they are not. */
static bool is_named_phi3(const dw_gguf *gguf)
{
    dw_gguf_string name = {.text = "", .bytes = 0};
    bool named = dw_gguf_text(gguf, "general.name", &name, NULL) == DW_OK;
    for (size_t i = 0; named && i + 4 <= name.bytes; i++) {
        const char *at = name.text + i;
        bool phi = strncasecmp(at, "phi", 3) == 0;
        if (phi && (at[3] == '3' || (i + 5 <= name.bytes && at[3] == '-' && at[4] == '3'))) {
            return true;
        }
    }
    return false;
}

bool dw_tokenizer_is_certain(const dw_gguf *gguf)
{
    /* Pre-tokenizers that the pinned libllama is known to have. */
    static const char *const known[] = {"default", "gpt-2", "smollm",    "starcoder",
                                        "llama3",  "qwen2", "llama-bpe", "falcon3"};
    dw_gguf_string kind = {.text = "", .bytes = 0};
    dw_gguf_string pre = {.text = "", .bytes = 0};
    if (dw_gguf_part_count(gguf) > 1 || !types_are_plain(gguf) || is_named_phi3(gguf) ||
        dw_gguf_text(gguf, "tokenizer.ggml.model", &kind, NULL) != DW_OK) {
        return false;
    }
    bool has_pre = dw_gguf_text(gguf, "tokenizer.ggml.pre", &pre, NULL) == DW_OK;
    if (equals(&kind, "llama")) {
        return !has_pre || equals(&pre, "default");
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (equals(&kind, "gpt2") && equals(&pre, known[i])) {
            return true;
        }
    }
    return false;
}
