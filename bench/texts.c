#include "texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define OWN_SENTENCES 6000
#define SENTENCE_BYTES 256

struct bench_text {
    const dw_model *model;
    char *bytes;
    size_t count;
    size_t *words; /* [word_count]: where each begins */
    size_t word_count;
    double tokens_of_word;
};

static void *must_have(void *memory)
{
    if (memory == NULL) {
        bench_die("no memory");
    }
    return memory;
}

static char *read_file(const char *path, size_t *count)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        bench_die("the text cannot be read");
    }
    long bytes = ftell(file);
    rewind(file);
    char *text = must_have(malloc(bytes > 0 ? (size_t)bytes : 1));
    *count = fread(text, 1, bytes > 0 ? (size_t)bytes : 0, file);
    (void)fclose(file);
    return text;
}

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#define ONE_OF(list) (list)[draw(&state) % (sizeof(list) / sizeof(list)[0])]

static char *make_text(size_t *count)
{
    static const char *const who[] = {"The old gardener",   "A young doctor", "My neighbour",
                                      "The ship's captain", "Her brother",    "The schoolteacher",
                                      "Every child there",  "A stranger"};
    static const char *const did[] = {"carried",   "was looking for", "had forgotten",
                                      "repaired",  "wanted to sell",  "wrote about",
                                      "showed us", "kept talking of"};
    static const char *const what[] = {"a heavy lamp",          "the letters from the war",
                                       "two baskets of apples", "an unfinished portrait",
                                       "the broken clock",      "a map of the islands",
                                       "some bread and cheese", "the key to the mill"};
    static const char *const where[] = {"beside the river",           "at the end of the market",
                                        "in a house without windows", "on the road to the sea",
                                        "under the great oak",        "behind the railway station",
                                        "near the harbour",           "in the upper garden"};
    static const char *const when[] = {"before the winter came",  "because nobody else would",
                                       "while it was still dark", "and said nothing",
                                       "until the rain stopped",  "although it was late",
                                       "as his father had done",  "for the first time in years"};
    uint64_t state = 1;
    char *text = must_have(calloc(OWN_SENTENCES, SENTENCE_BYTES));
    *count = 0;
    for (int i = 0; i < OWN_SENTENCES; i++) {
        *count += (size_t)snprintf(text + *count, SENTENCE_BYTES, "%s %s %s %s, %s. ", ONE_OF(who),
                                   ONE_OF(did), ONE_OF(what), ONE_OF(where), ONE_OF(when));
    }
    return text;
}

/* What JSON would have escaped becomes something that is read alike. */
static void make_plain(char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)text[i];
        text[i] = byte == '"' ? '\'' : byte == '\\' ? '/' : byte < ' ' ? ' ' : text[i];
    }
}

static void find_words(bench_text *text)
{
    text->words = must_have(calloc(text->count + 1, sizeof *text->words));
    for (size_t i = 0; i < text->count; i++) {
        if (text->bytes[i] != ' ' && (i == 0 || text->bytes[i - 1] == ' ')) {
            text->words[text->word_count++] = i;
        }
    }
    if (text->word_count < 1000) {
        bench_die("the text is too short: 1,000 words are needed");
    }
}

static size_t count_tokens(const bench_text *text, const char *bytes, size_t count)
{
    dw_error error;
    dw_token_room room = {.capacity = count + 8};
    room.items = must_have(calloc(room.capacity, sizeof *room.items));
    if (dw_model_tokenize(text->model, bytes, count, 0, &room, &error) != DW_OK) {
        bench_die(error.message);
    }
    free(room.items);
    return room.count;
}

bench_text *bench_text_open(const char *path, const dw_model *model)
{
    bench_text *text = must_have(calloc(1, sizeof *text));
    text->model = model;
    text->bytes = path != NULL ? read_file(path, &text->count) : make_text(&text->count);
    make_plain(text->bytes, text->count);
    find_words(text);
    text->tokens_of_word =
        (double)count_tokens(text, text->bytes, text->count) / (double)text->word_count;
    return text;
}

void bench_text_close(bench_text *text)
{
    if (text != NULL) {
        free(text->words);
        free(text->bytes);
        free(text);
    }
}

/* `words` of them from the word `first` on, over the end to the beginning. */
static size_t write_words(const bench_text *text, size_t first, size_t words, char *to,
                          size_t capacity)
{
    size_t filled = 0;
    for (size_t i = 0; i < words; i++) {
        size_t at = (first + i) % text->word_count;
        const char *word = text->bytes + text->words[at];
        size_t bytes = strcspn(word, " ");
        size_t most = text->count - text->words[at];
        bytes = bytes < most ? bytes : most;
        if (filled + bytes + 2 > capacity) {
            bench_die("a passage is too long for its room");
        }
        if (i > 0) {
            to[filled++] = ' ';
        }
        memcpy(to + filled, word, bytes);
        filled += bytes;
    }
    to[filled] = '\0';
    return filled;
}

size_t bench_text_passage(const bench_text *text, uint64_t number, uint32_t tokens, char *to,
                          size_t capacity)
{
    uint64_t state = number * 0x9e3779b97f4a7c15u + 1;
    size_t first = draw(&state) % text->word_count;
    size_t words = (size_t)((double)tokens / text->tokens_of_word) + 1;
    size_t filled = 0;
    for (int tries = 0; tries < 6; tries++) {
        filled = write_words(text, first, words, to, capacity);
        double missing = (double)tokens - (double)count_tokens(text, to, filled);
        double more = missing / text->tokens_of_word;
        if ((more < 1 && more > -1) || (double)words + more < 1) {
            break;
        }
        words = (size_t)((double)words + more);
    }
    return filled;
}
