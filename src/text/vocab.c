/* libllama's vocabulary. What libllama would assert about in a file,
 * dw_tokenizer_check has refused before; what it would trip over in a text is refused or
 * replaced here. */
#include "text/vocab.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/callback.h"
#include "base/ggml_log.h"
#include "base/os.h"
#include "driftwood_abi.h"
#include "text/llama_guard.h"
#include "text/vocab_internal.h"

static dw_status make_texts(void *arg, dw_error *err);

/* ---- opening ------------------------------------------------------------------------------ */

/* Byte-pair tokenizers first split the text by a pattern, which has a name. */
static dw_status check_pre_tokenizer(dw_vocab *vocab, dw_error *err)
{
    enum llama_vocab_type type = llama_vocab_type(vocab->vocab);
    if (type == LLAMA_VOCAB_TYPE_SPM || type == LLAMA_VOCAB_TYPE_WPM ||
        type == LLAMA_VOCAB_TYPE_UGM) {
        return DW_OK;
    }
    char model[40] = "";
    char name[64] = "";
    (void)llama_model_meta_val_str(vocab->model, "tokenizer.ggml.model", model, sizeof model);
    (void)llama_model_meta_val_str(vocab->model, "tokenizer.ggml.pre", name, sizeof name);
    const dw_pre_tokenizer *found = NULL;
    dw_split_kind kind = dw_pre_tokenizer_find(&found, name);
    vocab->splitter = kind == DW_SPLIT_OURS ? found : NULL;
    vocab->words = kind == DW_SPLIT_BY_CODE ? found : NULL;
    if (type != LLAMA_VOCAB_TYPE_BPE || strcmp(model, "gpt2") != 0 || kind == DW_SPLIT_RAW ||
        kind == DW_SPLIT_UNKNOWN) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "tokenizer '%s' with pre-tokenizer '%s': not supported", model, name);
    }
    return DW_OK;
}

static bool says(const struct llama_model *model, const char *key, const char *value)
{
    char text[16] = "";
    return llama_model_meta_val_str(model, key, text, sizeof text) > 0 && strcmp(text, value) == 0;
}

/* Whether its texts are whole when they are tokenised: an encoder's, and those of a model of which
 * the file says how it pools. What other models read is a beginning that they continue. */
static bool is_for_embeddings(const struct llama_model *model)
{
    char name[64] = "";
    char key[96];
    (void)llama_model_meta_val_str(model, "general.architecture", name, sizeof name);
    (void)snprintf(key, sizeof key, "%s.attention.causal", name);
    bool encoder = strstr(name, "bert") != NULL || says(model, key, "false");
    char pooling[16] = "";
    (void)snprintf(key, sizeof key, "%s.pooling_type", name);
    bool pools = llama_model_meta_val_str(model, key, pooling, sizeof pooling) > 0;
    return encoder || (pools && strcmp(pooling, "0") != 0);
}

/* An EOS behind a prompt tells the model that the text is over: it goes where no more comes. */
static void choose_added(dw_vocab *vocab)
{
    const struct llama_vocab *own = vocab->vocab;
    bool word_pieces = llama_vocab_type(own) == LLAMA_VOCAB_TYPE_WPM; /* always CLS and SEP */
    vocab->first = word_pieces || llama_vocab_get_add_bos(own) ? llama_vocab_bos(own) : -1;
    bool ends = llama_vocab_get_add_eos(own) && is_for_embeddings(vocab->model);
    vocab->last = word_pieces ? llama_vocab_sep(own) : ends ? llama_vocab_eos(own) : -1;
}

/* What is not byte pairs is all our own. */
static dw_status make_tokenizer(dw_vocab *vocab, dw_error *err)
{
    switch (llama_vocab_type(vocab->vocab)) {
    case LLAMA_VOCAB_TYPE_SPM:
        return dw_sentence_pieces_create(&vocab->sentence_pieces, vocab->vocab, &vocab->specials,
                                         err);
    case LLAMA_VOCAB_TYPE_UGM:
        return dw_unigrams_create(&vocab->unigrams, vocab->vocab, &vocab->specials, err);
    case LLAMA_VOCAB_TYPE_WPM:
        return dw_word_pieces_create(&vocab->word_pieces, vocab->vocab, &vocab->specials, err);
    default:
        return DW_OK;
    }
}

static dw_status load(dw_vocab *vocab, const char *path, dw_error *err)
{
    char log_error[160];
    dw_ggml_log_error(NULL, 0);
    vocab->model = dw_llama_load_vocab(path);
    if (vocab->model == NULL) {
        dw_ggml_log_error(log_error, sizeof log_error);
        const char *reason = dw_llama_why()[0] != '\0' ? dw_llama_why() : log_error;
        bool unknown = strstr(reason, "unknown") != NULL;
        return dw_fail(err, unknown ? DW_E_UNSUPPORTED : DW_E_FORMAT, "tokenizer: %.*s",
                       (int)strcspn(reason, "\n"), reason);
    }
    vocab->vocab = llama_model_get_vocab(vocab->model);
    uint32_t count = (uint32_t)llama_vocab_n_tokens(vocab->vocab);
    if (count != vocab->count) {
        return dw_fail(err, DW_E_FORMAT, "tokenizer: %u tokens, the model has %u", count,
                       vocab->count);
    }
    vocab->chat_template = llama_model_chat_template(vocab->model, NULL);
    if (llama_vocab_get_add_bos(vocab->vocab) && llama_vocab_bos(vocab->vocab) < 0) {
        return dw_fail(err, DW_E_FORMAT, "the tokenizer adds a BOS token but names none");
    }
    if (llama_vocab_get_add_eos(vocab->vocab) && llama_vocab_eos(vocab->vocab) < 0) {
        return dw_fail(err, DW_E_FORMAT, "the tokenizer adds an EOS token but names none");
    }
    dw_status status = check_pre_tokenizer(vocab, err);
    if (status != DW_OK) {
        return status;
    }
    choose_added(vocab);
    status = dw_specials_make(&vocab->specials, vocab->vocab, err);
    return status == DW_OK ? make_tokenizer(vocab, err) : status;
}

static dw_status create(dw_vocab **out, const char *path, uint32_t token_count, dw_error *err)
{
    *out = NULL;
    dw_ggml_log_take();
    dw_vocab *vocab = dw_alloc(1, sizeof *vocab);
    lazy_texts *lazy = dw_alloc(1, sizeof *lazy);
    lazy_pairs *pairs = dw_alloc(1, sizeof *pairs);
    char *own_path = dw_strdup(path);
    if (vocab == NULL || lazy == NULL || pairs == NULL || own_path == NULL) {
        dw_free(vocab);
        dw_free(lazy);
        dw_free(pairs);
        dw_free(own_path);
        return dw_fail(err, DW_E_MEMORY, "no memory for a vocabulary");
    }
    dw_once_init(&lazy->once, make_texts, vocab);
    dw_once_init(&pairs->once, dw__vocab_make_pairs, vocab);
    vocab->lazy = lazy;
    vocab->lazy_pairs = pairs;
    vocab->path = own_path;
    vocab->count = token_count;
    vocab->first = -1;
    vocab->last = -1;
    *out = vocab;
    return DW_OK;
}

dw_status dw_vocab_open(dw_vocab **out, const char *path, uint32_t token_count, dw_error *err)
{
    dw_vocab *vocab = NULL;
    *out = NULL;
    dw_status status = create(&vocab, path, token_count, err);
    if (status != DW_OK) {
        return status;
    }
    status = load(vocab, path, err);
    if (status != DW_OK) {
        dw_vocab_close(vocab);
        return status;
    }
    *out = vocab;
    return DW_OK;
}

/* ---- on a thread of its own ---- */

static void *load_beside(void *user)
{
    dw_vocab *vocab = user;
    background *loading = vocab->loading;
    loading->status = load(vocab, loading->path, &loading->err);
    atomic_store_explicit(&loading->finished, true, memory_order_relaxed);
    return NULL;
}

/* Without a thread: here and now. */
static void begin_loading(dw_vocab *vocab)
{
    background *loading = vocab->loading;
    loading->begun = dw_os_start_thread(&loading->thread, load_beside, vocab) == 0;
    if (!loading->begun) {
        loading->begun = true;
        (void)load_beside(vocab);
        atomic_store_explicit(&loading->done, true, memory_order_release);
    }
}

static dw_status defer(dw_vocab **out, const char *path, uint32_t token_count, bool begins,
                       dw_error *err)
{
    dw_vocab *vocab = NULL;
    *out = NULL;
    dw_status status = create(&vocab, path, token_count, err);
    if (status != DW_OK) {
        return status;
    }
    background *loading = dw_alloc(1, sizeof *loading);
    if (loading == NULL) {
        dw_vocab_close(vocab);
        return dw_fail(err, DW_E_MEMORY, "no memory for a vocabulary");
    }
    if (dw_os_lasting_name(path, &loading->fd, loading->path, sizeof loading->path, NULL) !=
        DW_OK) {
        dw_free(loading);
        dw_vocab_close(vocab);
        return dw_vocab_open(out, path, token_count, err);
    }
    (void)pthread_mutex_init(&loading->lock, NULL);
    vocab->loading = loading;
    if (begins) {
        begin_loading(vocab);
        status = atomic_load(&loading->done) ? dw_vocab_wait(vocab, err) : DW_OK;
        if (status != DW_OK) {
            dw_vocab_close(vocab);
            return status;
        }
    }
    *out = vocab;
    return DW_OK;
}

dw_status dw_vocab_start(dw_vocab **out, const char *path, uint32_t token_count, dw_error *err)
{
    return defer(out, path, token_count, true, err);
}

dw_status dw_vocab_defer(dw_vocab **out, const char *path, uint32_t token_count, dw_error *err)
{
    return defer(out, path, token_count, false, err);
}

/* It begins where it has not; what takes long is on the thread. */
static void surely_begin(dw_vocab *vocab)
{
    background *loading = vocab->loading;
    (void)pthread_mutex_lock(&loading->lock);
    if (!loading->begun) {
        begin_loading(vocab);
    }
    (void)pthread_mutex_unlock(&loading->lock);
}

void dw_vocab_begin(const dw_vocab *known)
{
    dw_vocab *vocab = (dw_vocab *)(uintptr_t)known; /* as in dw_vocab_wait */
    if (vocab->loading != NULL && !dw_vocab_loaded(vocab)) {
        surely_begin(vocab);
    }
}

void dw_vocab_set_meanwhile(dw_vocab *vocab, void (*meanwhile)(void *user), void *user)
{
    if (vocab->loading != NULL) {
        vocab->loading->meanwhile = meanwhile;
        vocab->loading->user = user;
    }
}

static void begin_waiting(dw_vocab *vocab)
{
    const background *loading = vocab->loading;
    surely_begin(vocab);
    if (loading->meanwhile != NULL && dw_vocab_loads(vocab)) {
        loading->meanwhile(loading->user);
    }
}

dw_status dw_vocab_wait(const dw_vocab *known, dw_error *err)
{
    dw_vocab *vocab =
        (dw_vocab *)(uintptr_t)known; /* what it is does not change: when it is there */
    background *loading = vocab->loading;
    if (loading == NULL) {
        return DW_OK;
    }
    if (!atomic_load_explicit(&loading->done, memory_order_acquire)) {
        dw_status status = dw_callback_check(err); /* the loading thread logs, too */
        if (status != DW_OK) {
            return status;
        }
        begin_waiting(vocab);
        (void)pthread_mutex_lock(&loading->lock);
        if (!atomic_load_explicit(&loading->done, memory_order_relaxed)) {
            DW_ASSERT(pthread_join(loading->thread, NULL) == 0);
            atomic_store_explicit(&loading->done, true, memory_order_release);
        }
        (void)pthread_mutex_unlock(&loading->lock);
    }
    return loading->status == DW_OK ? DW_OK
                                    : dw_fail(err, loading->status, "%s", loading->err.message);
}

dw_status dw_vocab_wait_for(const dw_vocab *known, dw_stop *stop, dw_error *err)
{
    static const struct timespec a_while = {.tv_nsec = 200000};
    dw_vocab *vocab = (dw_vocab *)(uintptr_t)known; /* as in dw_vocab_wait */
    if (stop != NULL && vocab->loading != NULL && !atomic_load(&vocab->loading->done)) {
        dw_status status = dw_callback_check(err);
        if (status != DW_OK) {
            return status;
        }
        begin_waiting(vocab);
        while (!dw_vocab_loaded(vocab)) {
            status = dw_stop_check(stop, "the tokenizer is being loaded", err);
            if (status != DW_OK) {
                return status;
            }
            (void)nanosleep(&a_while, NULL);
            (void)dw_stop_pause_now(stop);
        }
    }
    return dw_vocab_wait(vocab, err);
}

bool dw_vocab_loaded(const dw_vocab *vocab)
{
    return vocab->loading == NULL ||
           atomic_load_explicit(&vocab->loading->finished, memory_order_relaxed);
}

bool dw_vocab_loads(const dw_vocab *vocab)
{
    return vocab->loading != NULL && vocab->loading->begun && !dw_vocab_loaded(vocab);
}

void dw_vocab_lend_file(dw_vocab *vocab, const dw_gguf *file)
{
    vocab->file = file;
}

static bool is_there(const dw_vocab *vocab)
{
    return dw_vocab_wait(vocab, NULL) == DW_OK;
}

void dw_vocab_close(dw_vocab *vocab)
{
    if (vocab == NULL) {
        return;
    }
    if (vocab->loading != NULL) {
        vocab->loading->meanwhile = NULL; /* who has it goes as well */
        if (vocab->loading->begun) {
            (void)dw_vocab_wait(vocab, NULL);
        }
        (void)pthread_mutex_destroy(&vocab->loading->lock);
        dw_os_close(vocab->loading->fd);
        dw_free(vocab->loading);
    }
    dw_once_release(&vocab->lazy->once);
    dw_once_release(&vocab->lazy_pairs->once);
    if (vocab->model != NULL) {
        llama_model_free(vocab->model);
    }
    dw_specials_release(&vocab->specials);
    dw_sentence_pieces_destroy(vocab->sentence_pieces);
    dw_unigrams_destroy(vocab->unigrams);
    dw_word_pieces_destroy(vocab->word_pieces);
    dw_token_texts_release(&vocab->lazy->texts);
    dw_free(vocab->lazy);
    dw_byte_pairs_destroy(vocab->lazy_pairs->pairs);
    dw_gguf_close(vocab->lazy_pairs->own_file);
    dw_free(vocab->lazy_pairs);
    dw_free(vocab->path);
    dw_free(vocab);
}

/* ---- what it says of itself ---------------------------------------------------------------- */

const struct llama_vocab *dw_vocab_llama(const dw_vocab *vocab)
{
    return is_there(vocab) ? vocab->vocab : NULL;
}

uint32_t dw_vocab_count(const dw_vocab *vocab)
{
    return vocab->count;
}

int32_t dw_vocab_bos(const dw_vocab *vocab)
{
    return is_there(vocab) ? llama_vocab_bos(vocab->vocab) : -1;
}

int32_t dw_vocab_eos(const dw_vocab *vocab)
{
    return is_there(vocab) ? llama_vocab_eos(vocab->vocab) : -1;
}

int32_t dw_vocab_eot(const dw_vocab *vocab)
{
    return is_there(vocab) ? llama_vocab_eot(vocab->vocab) : -1;
}

int32_t dw_vocab_newline(const dw_vocab *vocab)
{
    return is_there(vocab) ? llama_vocab_nl(vocab->vocab) : -1;
}

int32_t dw_vocab_pad(const dw_vocab *vocab)
{
    return is_there(vocab) ? llama_vocab_pad(vocab->vocab) : -1;
}

int32_t dw_vocab_sep(const dw_vocab *vocab)
{
    return is_there(vocab) ? llama_vocab_sep(vocab->vocab) : -1;
}

bool dw_vocab_adds_bos(const dw_vocab *vocab)
{
    return is_there(vocab) && llama_vocab_get_add_bos(vocab->vocab);
}

static bool is_token(const dw_vocab *vocab, int32_t token)
{
    return token >= 0 && (uint32_t)token < vocab->count;
}

bool dw_vocab_is_end(const dw_vocab *vocab, int32_t token)
{
    return is_token(vocab, token) && is_there(vocab) && llama_vocab_is_eog(vocab->vocab, token);
}

/* ---- tokens to text ----------------------------------------------------------------------- */

dw_status dw_vocab_detokenize(const dw_vocab *vocab, const int32_t *tokens, size_t count,
                              char *text, size_t capacity, uint32_t flags, size_t *text_bytes,
                              dw_stop *stop, dw_error *err)
{
    uint32_t round = 0;
    *text_bytes = 0;
    if ((flags & ~(uint32_t)DW_DETOKENIZE_SPECIAL) != 0) {
        return dw_fail(err, DW_E_ARG, "flags: 0x%x, only 1 is known", flags);
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_token(vocab, tokens[i])) {
            return dw_fail(err, DW_E_RANGE, "tokens[%zu]: %d, the vocabulary has %u", i, tokens[i],
                           vocab->count);
        }
    }
    dw_status status = dw_vocab_wait_for(vocab, stop, err);
    if (status != DW_OK) {
        return status;
    }
    bool special = (flags & DW_DETOKENIZE_SPECIAL) != 0;
    size_t length = 0;
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        /* By texts, not llama_detokenize: that one strips the first space, so that the texts of
         * a sequence would not join to its text. */
        char none[1];
        size_t left = fits ? capacity - length : 0;
        int32_t room = left > INT32_MAX ? INT32_MAX : (int32_t)left;
        int32_t bytes = dw_llama_token_text(vocab->vocab, tokens[i],
                                            room > 0 ? text + length : none, room, special);
        if (bytes == DW_LLAMA_THREW) {
            return dw_fail(err, DW_E_ARG, "tokens[%zu]: %d has no text", i, tokens[i]);
        }
        if (dw_stop_pauses_seldom(stop, &round)) {
            return dw_stop_check(stop, "detokenize", err);
        }
        fits = fits && bytes >= 0;
        length += (size_t)(bytes < 0 ? -bytes : bytes);
    }
    *text_bytes = length;
    if (!fits) {
        return dw_fail(err, DW_E_SPACE, "text: %zu bytes, room for %zu", length, capacity);
    }
    return DW_OK;
}

static int32_t text_of(const void *user, int32_t token, char *text, int32_t capacity)
{
    const dw_vocab *vocab = user;
    char none[1];
    int32_t bytes =
        dw_llama_token_text(vocab->vocab, token, capacity > 0 ? text : none, capacity, true);
    return bytes == DW_LLAMA_THREW ? 0 : bytes; /* a token without text */
}

static dw_status make_texts(void *arg, dw_error *err)
{
    const dw_vocab *vocab = arg;
    dw_token_texts *texts = &vocab->lazy->texts;
    dw_status status = dw_token_texts_make(texts, vocab->count, text_of, vocab, err);
    for (uint32_t i = 0; status == DW_OK && i < vocab->count; i++) {
        char none[1];
        texts->is_end[i] = dw_vocab_is_end(vocab, (int32_t)i);
        texts->is_control[i] = texts->starts[i + 1] > texts->starts[i] &&
                               dw_llama_token_text(vocab->vocab, (int32_t)i, none, 0, false) == 0;
    }
    return status;
}

dw_status dw_vocab_token_texts_for(const dw_vocab *vocab, dw_stop *stop, const dw_token_texts **out,
                                   dw_error *err)
{
    dw_status status = dw_vocab_wait_for(vocab, stop, err);
    *out = &vocab->lazy->texts;
    return status == DW_OK ? dw_once_do(&vocab->lazy->once, stop, err) : status;
}

dw_status dw_vocab_token_texts(const dw_vocab *vocab, const dw_token_texts **out, dw_error *err)
{
    return dw_vocab_token_texts_for(vocab, NULL, out, err);
}

/* ---- chat template ------------------------------------------------------------------------ */

const char *dw_vocab_chat_template(const dw_vocab *vocab)
{
    return is_there(vocab) ? vocab->chat_template : NULL;
}

const char *dw_vocab_named_template(const dw_vocab *vocab, const char *name)
{
    return is_there(vocab) ? llama_model_chat_template(vocab->model, name) : NULL;
}
