/* Writes a GGUF file of random weights: what a step costs depends on a model's shape and types, not
 * on its values. The shape is Llama 3.2 1B's where options say nothing else. The matrices' rows are
 * drawn from a pool that is quantised once, so that a gigabyte takes seconds and little memory. */
#include <getopt.h>
#include <ggml.h>
#include <gguf.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_ROWS 257 /* a prime: no row comes back at the same place of two matrices */
#define BYTE_TOKENS 256
#define NAME_BYTES 32
#define COUNT_MAX (1 << 20)

typedef struct shape {
    uint32_t layers, embedding, heads, kv_heads, ff, vocab, context;
    uint32_t experts, experts_used; /* `ff` is each one's; 0: none */
} shape;

typedef struct maker {
    shape shape;
    bool mixed; /* Q4_K_M: some matrices have more bits */
    enum ggml_type type;
    struct ggml_context *ggml;
    struct gguf_context *gguf;
    uint64_t random;
    FILE *file;
} maker;

static void die(const char *what, const char *which)
{
    (void)fprintf(stderr, "make_model: %s%s\n", what, which);
    exit(1);
}

static void *room_for(size_t count, size_t bytes)
{
    void *room = calloc(count, bytes);
    if (room == NULL) {
        die("no memory", "");
    }
    return room;
}

static uint32_t draw(maker *m)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(m->random >> 32);
}

/* ---- what tensors there are ---- */

/* Sizes: columns, rows or 0 of a vector, matrices or 0 of one. */
static void add(maker *m, const char *name, enum ggml_type type, const uint32_t sizes[3])
{
    if (sizes[0] % (uint32_t)ggml_blck_size(type) != 0) {
        die("a row is no multiple of its type's blocks: ", name);
    }
    const int64_t ne[] = {sizes[0], sizes[1], sizes[2]};
    const int dims = sizes[2] > 0 ? 3 : sizes[1] > 0 ? 2 : 1;
    struct ggml_tensor *tensor = ggml_new_tensor(m->ggml, type, dims, ne);
    ggml_set_name(tensor, name);
    gguf_add_tensor(m->gguf, tensor);
}

static void add_in_layer(maker *m, uint32_t layer, const char *suffix, enum ggml_type type,
                         const uint32_t sizes[3])
{
    char name[GGML_MAX_NAME];
    (void)snprintf(name, sizeof name, "blk.%u.%s.weight", layer, suffix);
    add(m, name, type, sizes);
}

/* The layers whose values and last matrices llama-quantize gives Q6_K in a Q4_K_M: the first and
 * last eighth, and every third of the rest. */
static bool has_more_bits(uint32_t layer, uint32_t layers)
{
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

static void add_feed_forward(maker *m, uint32_t layer, enum ggml_type better)
{
    const shape *s = &m->shape;
    const uint32_t wide[3] = {s->embedding, s->ff, s->experts};
    const uint32_t back[3] = {s->ff, s->embedding, s->experts};
    const bool experts = s->experts > 0;
    if (experts) {
        const uint32_t router[3] = {s->embedding, s->experts, 0};
        add_in_layer(m, layer, "ffn_gate_inp", GGML_TYPE_F32, router);
    }
    add_in_layer(m, layer, experts ? "ffn_gate_exps" : "ffn_gate", m->type, wide);
    add_in_layer(m, layer, experts ? "ffn_up_exps" : "ffn_up", m->type, wide);
    add_in_layer(m, layer, experts ? "ffn_down_exps" : "ffn_down", better, back);
}

static void add_tensors(maker *m)
{
    const shape *s = &m->shape;
    uint32_t head_dim = s->embedding / s->heads;
    uint32_t kv = s->kv_heads * head_dim;
    const uint32_t square[3] = {s->embedding, s->embedding, 0};
    const uint32_t narrow[3] = {s->embedding, kv, 0};
    const uint32_t norm[3] = {s->embedding, 0, 0};
    const uint32_t table[3] = {s->embedding, s->vocab, 0};
    /* Tied to the output, whose matrix has more bits. */
    add(m, "token_embd.weight", m->mixed ? GGML_TYPE_Q6_K : m->type, table);
    add(m, "output_norm.weight", GGML_TYPE_F32, norm);
    for (uint32_t i = 0; i < s->layers; i++) {
        enum ggml_type better = m->mixed && has_more_bits(i, s->layers) ? GGML_TYPE_Q6_K : m->type;
        add_in_layer(m, i, "attn_norm", GGML_TYPE_F32, norm);
        add_in_layer(m, i, "attn_q", m->type, square);
        add_in_layer(m, i, "attn_k", m->type, narrow);
        add_in_layer(m, i, "attn_v", better, narrow);
        add_in_layer(m, i, "attn_output", m->type, square);
        add_in_layer(m, i, "ffn_norm", GGML_TYPE_F32, norm);
        add_feed_forward(m, i, better);
    }
}

/* ---- keys ---- */

static void set_keys(maker *m)
{
    const shape *s = &m->shape;
    gguf_set_val_str(m->gguf, "general.architecture", "llama");
    gguf_set_val_str(m->gguf, "general.name", "random weights");
    gguf_set_val_u32(m->gguf, "llama.block_count", s->layers);
    gguf_set_val_u32(m->gguf, "llama.context_length", s->context);
    gguf_set_val_u32(m->gguf, "llama.embedding_length", s->embedding);
    gguf_set_val_u32(m->gguf, "llama.feed_forward_length", s->ff);
    gguf_set_val_u32(m->gguf, "llama.attention.head_count", s->heads);
    gguf_set_val_u32(m->gguf, "llama.attention.head_count_kv", s->kv_heads);
    gguf_set_val_u32(m->gguf, "llama.rope.dimension_count", s->embedding / s->heads);
    gguf_set_val_f32(m->gguf, "llama.rope.freq_base", 500000.0f);
    gguf_set_val_f32(m->gguf, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_set_val_u32(m->gguf, "llama.vocab_size", s->vocab);
    if (s->experts > 0) {
        gguf_set_val_u32(m->gguf, "llama.expert_count", s->experts);
        gguf_set_val_u32(m->gguf, "llama.expert_used_count", s->experts_used);
    }
}

/* A byte's letter in byte-pair vocabularies: itself where it can be seen, else one from U+0100. */
static void put_byte_letter(char *text, uint32_t byte)
{
    static uint32_t unseen;
    bool seen = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    uint32_t letter = seen ? byte : 256 + unseen++;
    if (letter < 128) {
        text[0] = (char)letter;
    } else {
        text[0] = (char)(unsigned char)(0xc0 | letter >> 6);
        text[1] = (char)(unsigned char)(0x80 | (letter & 0x3f));
    }
}

/* The n-th word over a to z, the shorter first: 1 is a, 27 is aa. All but its last letter is a word
 * before it, so that each has a merge. */
static size_t put_word(char *text, uint32_t n)
{
    size_t length = n > 26 ? put_word(text, (n - 1) / 26) : 0;
    text[length] = (char)('a' + (n - 1) % 26);
    return length + 1;
}

/* Turns between control tokens, which every vocabulary of ours has. */
static const char chat_template[] =
    "{% for message in messages %}<|reserved_0|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|reserved_1|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|reserved_0|>assistant\n{% endif %}";

/* Byte-pair tokens: the bytes, words of letters, and at the end those that control. */
static void set_tokenizer(maker *m)
{
    uint32_t count = m->shape.vocab;
    uint32_t control = count >= 2048 ? 256 : 2;
    uint32_t words = count - BYTE_TOKENS - control;
    char(*texts)[NAME_BYTES] = room_for(count, sizeof *texts);
    char(*pairs)[NAME_BYTES] = room_for((size_t)words + 1, sizeof *pairs);
    const char **tokens = room_for(count, sizeof *tokens);
    const char **merges = room_for((size_t)words + 1, sizeof *merges);
    int32_t *types = room_for(count, sizeof *types);
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = texts[i];
        types[i] = i < count - control ? 1 : 3;
        if (i < BYTE_TOKENS) {
            put_byte_letter(texts[i], i);
        } else if (i < count - control) {
            size_t length = put_word(texts[i], i - BYTE_TOKENS + 27);
            char *pair = pairs[i - BYTE_TOKENS];
            memcpy(pair, texts[i], length - 1);
            pair[length - 1] = ' ';
            pair[length] = texts[i][length - 1];
            merges[i - BYTE_TOKENS] = pair;
        } else {
            (void)snprintf(texts[i], NAME_BYTES, "<|reserved_%u|>", i - (count - control));
        }
    }
    gguf_set_val_str(m->gguf, "tokenizer.ggml.model", "gpt2");
    gguf_set_val_str(m->gguf, "tokenizer.ggml.pre", "llama-bpe");
    gguf_set_arr_str(m->gguf, "tokenizer.ggml.tokens", tokens, count);
    gguf_set_arr_str(m->gguf, "tokenizer.ggml.merges", merges, words);
    gguf_set_arr_data(m->gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, count);
    gguf_set_val_str(m->gguf, "tokenizer.chat_template", chat_template);
    gguf_set_val_u32(m->gguf, "tokenizer.ggml.bos_token_id", count - control);
    gguf_set_val_u32(m->gguf, "tokenizer.ggml.eos_token_id", count - control + 1);
    free(types);
    free(merges);
    free(tokens);
    free(pairs);
    free(texts);
}

/* ---- data ---- */

static void put(maker *m, const void *bytes, size_t count)
{
    if (fwrite(bytes, 1, count, m->file) != count) {
        die("cannot write: is the disk full?", "");
    }
}

/* Rows [POOL_ROWS] around `centre`, quantised as `tensor` has them. */
static unsigned char *make_pool(maker *m, const struct ggml_tensor *tensor, float centre,
                                float spread)
{
    int64_t columns = tensor->ne[0];
    float *values = room_for((size_t)(columns * POOL_ROWS), sizeof *values);
    for (int64_t i = 0; i < columns * POOL_ROWS; i++) {
        values[i] = centre + spread * (float)((double)draw(m) / 2147483648.0 - 1.0);
    }
    unsigned char *pool = room_for(POOL_ROWS, ggml_row_size(tensor->type, columns));
    (void)ggml_quantize_chunk(tensor->type, values, pool, 0, POOL_ROWS, columns, NULL);
    free(values);
    return pool;
}

static void write_tensor(maker *m, const struct ggml_tensor *tensor)
{
    bool vector = tensor->ne[1] == 1;
    size_t row_bytes = ggml_row_size(tensor->type, tensor->ne[0]);
    float spread = vector ? 0.2f : 1.5f / sqrtf((float)tensor->ne[0]);
    unsigned char *pool = make_pool(m, tensor, vector ? 1.0f : 0.0f, spread);
    const int64_t rows = ggml_nrows(tensor);
    for (int64_t i = 0; i < rows; i++) {
        put(m, pool + draw(m) % POOL_ROWS * row_bytes, row_bytes);
    }
    free(pool);
    static const char zeros[GGUF_DEFAULT_ALIGNMENT];
    size_t over = row_bytes * (size_t)rows % sizeof zeros;
    put(m, zeros, over > 0 ? sizeof zeros - over : 0);
}

static void write_model(maker *m, const char *path)
{
    char part[4096];
    (void)snprintf(part, sizeof part, "%s.part", path); /* a file under its name is whole */
    if (!gguf_write_to_file(m->gguf, part, true)) {
        die("cannot write ", part);
    }
    m->file = fopen(part, "ab");
    if (m->file == NULL) {
        die("cannot write ", part);
    }
    for (struct ggml_tensor *tensor = ggml_get_first_tensor(m->ggml); tensor != NULL;
         tensor = ggml_get_next_tensor(m->ggml, tensor)) {
        write_tensor(m, tensor);
    }
    if (fclose(m->file) != 0 || rename(part, path) != 0) {
        die("cannot write ", path);
    }
}

/* ---- options ---- */

static const char help[] =
    "usage: make_model [OPTION...] FILE\n\n"
    "Writes a GGUF file of random weights, in the shape of Llama 3.2 1B.\n\n"
    "  --type T       q8_0 (default), q4_0, q4_1, q4_k (mixed with q6_k, as Q4_K_M is), f16, bf16\n"
    "  --layers N     16\n"
    "  --embedding N  2048\n"
    "  --heads N      32\n"
    "  --kv-heads N   8\n"
    "  --ff N         8192\n"
    "  --vocab N      128256\n"
    "  --context N    8192\n"
    "  --experts N    none; of N each token uses --experts-used N, 8, of --ff N rows each\n"
    "  --help         this text\n";

static void set_type(maker *m, const char *name)
{
    static const enum ggml_type types[] = {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1,
                                           GGML_TYPE_Q4_K, GGML_TYPE_F16,  GGML_TYPE_BF16};
    static const char *const names[] = {"q8_0", "q4_0", "q4_1", "q4_k", "f16", "bf16"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            m->type = types[i];
            m->mixed = types[i] == GGML_TYPE_Q4_K;
            return;
        }
    }
    die("--type: there are q8_0, q4_0, q4_1, q4_k, f16, bf16, not ", name);
}

static const char *read_options(maker *m, int argc, char **argv)
{
    static const struct option known[] = {{"layers", required_argument, NULL, 0},
                                          {"embedding", required_argument, NULL, 1},
                                          {"heads", required_argument, NULL, 2},
                                          {"kv-heads", required_argument, NULL, 3},
                                          {"ff", required_argument, NULL, 4},
                                          {"vocab", required_argument, NULL, 5},
                                          {"context", required_argument, NULL, 6},
                                          {"experts", required_argument, NULL, 7},
                                          {"experts-used", required_argument, NULL, 8},
                                          {"type", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    uint32_t *const sizes[] = {&m->shape.layers,   &m->shape.embedding, &m->shape.heads,
                               &m->shape.kv_heads, &m->shape.ff,        &m->shape.vocab,
                               &m->shape.context,  &m->shape.experts,   &m->shape.experts_used};
    for (int option; (option = getopt_long(argc, argv, "t:h", known, NULL)) != -1;) {
        if (option == 't') {
            set_type(m, optarg);
        } else if (option == 'h') {
            (void)fputs(help, stdout);
            exit(0);
        } else if (option >= 0 && option < 9) {
            char *end = NULL;
            long value = strtol(optarg, &end, 10);
            if (*end != '\0' || value < 1 || value > COUNT_MAX) {
                die("a number from 1 to 1048576 is needed, not ", optarg);
            }
            *sizes[option] = (uint32_t)value;
        } else {
            exit(2);
        }
    }
    const shape *s = &m->shape;
    if (s->embedding % s->heads != 0 || s->heads % s->kv_heads != 0 || s->vocab < 260) {
        die("the sizes do not suit each other: embedding is a multiple of heads, these of "
            "kv-heads, vocab at least 260",
            "");
    }
    if (s->experts > 0 && s->experts_used > s->experts) {
        die("--experts-used: there are no more than --experts", "");
    }
    if (optind + 1 != argc) {
        (void)fputs(help, stderr);
        exit(2);
    }
    return argv[optind];
}

int main(int argc, char **argv)
{
    maker m = {.shape = {.layers = 16,
                         .embedding = 2048,
                         .heads = 32,
                         .kv_heads = 8,
                         .ff = 8192,
                         .vocab = 128256,
                         .context = 8192,
                         .experts_used = 8},
               .type = GGML_TYPE_Q8_0,
               .random = 20};
    const char *path = read_options(&m, argc, argv);
    size_t tensors = (size_t)m.shape.layers * 10 + 2;
    m.ggml = ggml_init((struct ggml_init_params){.mem_size = (tensors + 1) * ggml_tensor_overhead(),
                                                 .no_alloc = true});
    m.gguf = gguf_init_empty();
    if (m.ggml == NULL || m.gguf == NULL) {
        die("no memory", "");
    }
    set_keys(&m);
    set_tokenizer(&m);
    add_tensors(&m);
    write_model(&m, path);
    gguf_free(m.gguf);
    ggml_free(m.ggml);
    return 0;
}
