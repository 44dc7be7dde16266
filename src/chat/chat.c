#include "chat/chat.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "base/account.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "text/utf8_step.h"

#define FORMATS_KEPT 16

/* A format, for requests of one key. */
typedef struct kept_format {
    char *key;
    dw_chat_format *format;
    uint8_t request[DW_SHA256_BYTES]; /* the last one that it served */
    uint64_t used_at;                 /* by the count of uses */
    uint32_t users;
} kept_format;

struct dw_chats {
    const dw_vocab *vocab;
    char *chosen;
    pthread_mutex_t lock; /* guards all below */
    bool is_open;
    dw_status status; /* of opening */
    dw_error error;
    dw_jinja *normal; /* NULL: no template */
    dw_jinja *tool_use;
    char *bos;    /* the token's text; "": none */
    char *tokens; /* JSON object of special tokens' texts */
    kept_format formats[FORMATS_KEPT];
    uint64_t uses;
    dw_chats *others; /* by other templates; a list by `next` */

    /* Of others, guarded by the lock of `own`: */
    dw_chats *own; /* whose list they are in; NULL: they are the model's own */
    dw_chats *next;
    size_t users;
};

/* ---- opening ------------------------------------------------------------------------------- */

/* The first byte that is no UTF-8; NULL: there is none. */
static const char *wrong_byte(const char *text)
{
    dw_utf8_step step = {.left = 0};
    const char *at = text;
    while (*at != '\0' && dw_utf8_feed(&step, (unsigned char)*at)) {
        at++;
    }
    return *at == '\0' && step.left == 0 ? NULL : at;
}

dw_status dw_chats_open(dw_chats **out, const dw_vocab *vocab, const char *chosen, dw_error *err)
{
    *out = NULL;
    const char *wrong = chosen != NULL ? wrong_byte(chosen) : NULL;
    if (wrong != NULL) { /* it is saved with an actor as JSON */
        return dw_fail(err, DW_E_FORMAT, "the chat template: byte %td is no UTF-8", wrong - chosen);
    }
    dw_chats *chats = dw_alloc(1, sizeof *chats);
    if (chats == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a chat template");
    }
    chats->vocab = vocab;
    if (chosen != NULL && (chats->chosen = dw_strdup(chosen)) == NULL) {
        dw_free(chats);
        return dw_fail(err, DW_E_MEMORY, "no memory for a chat template");
    }
    (void)pthread_mutex_init(&chats->lock, NULL);
    *out = chats;
    return DW_OK;
}

/* Whether the last user of chats by another template has gone; they are in no list then. */
static bool leave_list(dw_chats *chats)
{
    dw_chats *own = chats->own;
    (void)pthread_mutex_lock(&own->lock);
    bool last = --chats->users == 0;
    dw_chats **link = &own->others;
    while (last && *link != chats) {
        link = &(*link)->next;
    }
    if (last) {
        *link = chats->next;
    }
    (void)pthread_mutex_unlock(&own->lock);
    return last;
}

void dw_chats_close(dw_chats *chats)
{
    if (chats == NULL || (chats->own != NULL && !leave_list(chats))) {
        return;
    }
    DW_ASSERT(chats->others == NULL);
    for (size_t i = 0; i < FORMATS_KEPT; i++) {
        dw_free(chats->formats[i].key);
        dw_chat_format_close(chats->formats[i].format);
    }
    dw_jinja_close(chats->normal);
    dw_jinja_close(chats->tool_use);
    dw_free(chats->bos);
    dw_free(chats->tokens);
    dw_free(chats->chosen);
    (void)pthread_mutex_destroy(&chats->lock);
    dw_free(chats);
}

/* A token's text, "" for -1; NULL: no memory. For dw_free. */
static char *token_text(const dw_vocab *vocab, int32_t token)
{
    char text[256];
    size_t bytes = 0;
    if (token < 0 || dw_vocab_detokenize(vocab, &token, 1, text, sizeof text - 1,
                                         DW_DETOKENIZE_SPECIAL, &bytes, NULL, NULL) != DW_OK) {
        bytes = 0;
    }
    text[bytes] = '\0';
    return dw_strdup(text);
}

static dw_status learn_tokens(dw_chats *chats, char **eos, dw_error *err)
{
    const dw_vocab *vocab = chats->vocab;
    const struct {
        const char *name;
        int32_t token;
    } named[] = {
        {"bos_token", dw_vocab_bos(vocab)},
        {"eos_token", dw_vocab_eos(vocab)},
        {"pad_token", dw_vocab_pad(vocab)},
        {"sep_token", dw_vocab_sep(vocab)},
    };
    json_t *all = json_object();
    bool made = all != NULL;
    for (size_t i = 0; made && i < sizeof named / sizeof named[0]; i++) {
        char *text = token_text(vocab, named[i].token);
        made = text != NULL &&
               (text[0] == '\0' || json_object_set_new(all, named[i].name, json_string(text)) == 0);
        if (i == 0) {
            chats->bos = text;
        } else if (i == 1) {
            *eos = text;
        } else {
            dw_free(text);
        }
    }
    char *dumped = made ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    chats->tokens = dumped != NULL ? dw_strdup(dumped) : NULL;
    free(dumped);
    return chats->tokens != NULL ? DW_OK
                                 : dw_fail(err, DW_E_MEMORY, "no memory for special tokens");
}

static bool is_source(const char *text)
{
    return strstr(text, "{%") != NULL || strstr(text, "{{") != NULL;
}

/* The sources of the two templates; NULL: none. */
static dw_status find_sources(const dw_chats *chats, const char **normal, const char **tool_use,
                              dw_error *err)
{
    const char *chosen = chats->chosen;
    *tool_use = NULL;
    if (chosen == NULL) {
        *normal = dw_vocab_chat_template(chats->vocab);
        if (*normal != NULL && !is_source(*normal)) {
            *normal = dw_chat_template_named(*normal); /* libllama knows some files by name */
        }
        *tool_use = dw_vocab_named_template(chats->vocab, "tool_use");
        return *normal != NULL || *tool_use != NULL
                   ? DW_OK
                   : dw_fail(err, DW_E_UNSUPPORTED, "the model has no chat template");
    }
    *normal = is_source(chosen) ? chosen : dw_vocab_named_template(chats->vocab, chosen);
    if (*normal == NULL) {
        *normal = dw_chat_template_named(chosen);
    }
    return *normal != NULL ? DW_OK
                           : dw_fail(err, DW_E_UNSUPPORTED,
                                     "chat template '%.80s': neither a template (it has no {%% or "
                                     "{{), nor one of the model's, nor one that is known",
                                     chosen);
}

static dw_status open_templates(dw_chats *chats, dw_error *err)
{
    const char *normal = NULL;
    const char *tool_use = NULL;
    char *eos = NULL;
    dw_status status = dw_vocab_wait(chats->vocab, err);
    if (status == DW_OK) {
        status = find_sources(chats, &normal, &tool_use, err);
    }
    if (status == DW_OK) {
        status = learn_tokens(chats, &eos, err);
    }
    if (status == DW_OK && normal != NULL) {
        status = dw_jinja_open(&chats->normal, normal, strlen(normal), chats->bos, eos, err);
    }
    if (status == DW_OK && tool_use != NULL) {
        status = dw_jinja_open(&chats->tool_use, tool_use, strlen(tool_use), chats->bos, eos, err);
    }
    dw_free(eos);
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "the chat template");
}

/* With the lock. */
static dw_status make_ready(dw_chats *chats, dw_error *err)
{
    if (!chats->is_open) {
        chats->status = open_templates(chats, &chats->error);
        chats->is_open = chats->status != DW_E_MEMORY;
    }
    return chats->status == DW_OK ? DW_OK : dw_fail(err, chats->status, "%s", chats->error.message);
}

static dw_status ready(dw_chats *chats, dw_error *err)
{
    (void)pthread_mutex_lock(&chats->lock);
    dw_status status = make_ready(chats, err);
    (void)pthread_mutex_unlock(&chats->lock);
    return status;
}

dw_status dw_chats_check(dw_chats *chats, dw_error *err)
{
    return ready(chats, err);
}

dw_status dw_chats_by(dw_chats **out, dw_chats *own, const char *chosen, dw_error *err)
{
    dw_status status = DW_OK;
    (void)pthread_mutex_lock(&own->lock);
    dw_chats *chats = own->others;
    while (chats != NULL && strcmp(chats->chosen, chosen) != 0) {
        chats = chats->next;
    }
    if (chats == NULL) {
        status = dw_chats_open(&chats, own->vocab, chosen, err);
    }
    if (status == DW_OK && chats->users++ == 0) {
        chats->own = own;
        chats->next = own->others;
        own->others = chats;
    }
    (void)pthread_mutex_unlock(&own->lock);
    *out = chats;
    if (status == DW_OK && (status = dw_chats_check(chats, err)) != DW_OK) {
        dw_chats_close(chats);
        *out = NULL;
    }
    return status;
}

const char *dw_chats_template(dw_chats *chats, bool with_tools)
{
    if (ready(chats, NULL) != DW_OK) {
        return chats->chosen == NULL ? dw_vocab_chat_template(chats->vocab) : NULL;
    }
    bool own = (with_tools && chats->tool_use != NULL) || chats->normal == NULL;
    return dw_jinja_source(own ? chats->tool_use : chats->normal);
}

bool dw__chat_stop_asked(struct dw_stop *stop)
{
    return dw_stop_asked(stop);
}

bool dw__chat_stop_pause(struct dw_stop *stop)
{
    return dw_stop_pause_now(stop);
}

/* ---- rendering ----------------------------------------------------------------------------- */

static dw_status template_for(dw_chats *chats, dw_chat_request request, const dw_jinja **out,
                              dw_error *err)
{
    dw_status status = ready(chats, err);
    if (status != DW_OK) {
        return status;
    }
    bool tools = false;
    if (chats->normal != NULL && chats->tool_use != NULL) {
        status = dw_chat_request_has_tools(request, &tools, err);
    }
    *out = (tools || chats->normal == NULL) ? chats->tool_use : chats->normal;
    return status;
}

dw_status dw_chats_render(dw_chats *chats, dw_chat_request request, int64_t seconds,
                          dw_chat_text *out, dw_error *err)
{
    const dw_jinja *jinja;
    *out = (dw_chat_text){.text = NULL};
    dw_status status = template_for(chats, request, &jinja, err);
    return status == DW_OK ? dw_jinja_render(jinja, request, chats->tokens, seconds, out, err)
                           : status;
}

/* Pieces from byte `skip` on, behind `front`. -> how many */
static size_t pieces_from(const dw_chat_text *text, size_t skip, dw_text_piece *pieces)
{
    size_t count = 0;
    size_t at = 0;
    for (size_t i = 0; i < text->piece_count; i++) {
        size_t bytes = text->pieces[i].bytes;
        size_t cut = skip > at ? skip - at : 0;
        if (cut < bytes) {
            pieces[count++] = (dw_text_piece){.text = text->text + at + cut,
                                              .bytes = bytes - cut,
                                              .is_content = text->pieces[i].is_content};
        }
        at += bytes;
    }
    return count;
}

/* What follows is in the middle of a text, where some tokenizers put no space in front: BOS, which
 * is dropped again, stands for what is in front. */
static dw_status tokenize_middle(const dw_chats *chats, dw_text_piece *pieces, size_t count,
                                 dw_token_list *out, dw_error *err)
{
    pieces[0] = (dw_text_piece){.text = chats->bos, .bytes = strlen(chats->bos)};
    dw_token_list list = {.tokens = dw_alloc(out->capacity + 1, sizeof(int32_t)),
                          .capacity = out->capacity + 1,
                          .stop = out->stop};
    if (list.tokens == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu tokens", out->capacity);
    }
    dw_status status =
        dw_vocab_tokenize_pieces(chats->vocab, pieces, count + 1, DW_TOKENIZE_PARSE, &list, err);
    out->count = list.count > 0 ? list.count - 1 : 0;
    if (status == DW_OK) {
        memcpy(out->tokens, list.tokens + 1, out->count * sizeof(int32_t));
    } else if (status == DW_E_SPACE) {
        status = dw_fail(err, DW_E_SPACE, "tokens: %zu of them, room for %zu", out->count,
                         out->capacity);
    }
    dw_free(list.tokens);
    return status;
}

dw_status dw_chats_tokenize(dw_chats *chats, const dw_chat_text *text, size_t skip,
                            dw_token_list *out, dw_error *err)
{
    out->count = 0;
    dw_status status = ready(chats, err);
    if (status != DW_OK) {
        return status;
    }
    if (skip > text->bytes ||
        (skip < text->bytes && ((unsigned char)text->text[skip] & 0xc0) == 0x80)) {
        return dw_fail(err, DW_E_ARG, "skip: %zu is no beginning of a character in %zu bytes", skip,
                       text->bytes);
    }
    dw_text_piece *pieces = dw_alloc(text->piece_count + 1, sizeof *pieces);
    if (pieces == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu pieces", text->piece_count);
    }
    size_t count = pieces_from(text, skip, pieces + 1);
    size_t bos_bytes = strlen(chats->bos);
    if (skip > 0 && bos_bytes > 0) {
        status = tokenize_middle(chats, pieces, count, out, err);
    } else {
        /* BOS once: the template's own, or the model's. */
        bool has_bos = bos_bytes > 0 && count > 0 && !pieces[1].is_content &&
                       strncmp(text->text, chats->bos, bos_bytes) == 0;
        uint32_t flags =
            DW_TOKENIZE_PARSE |
            (skip == 0 && !has_bos && dw_vocab_adds_bos(chats->vocab) ? DW_TOKENIZE_SPECIAL : 0);
        status = dw_vocab_tokenize_pieces(chats->vocab, pieces + 1, count, flags, out, err);
    }
    dw_free(pieces);
    return status;
}

/* ---- formats ------------------------------------------------------------------------------- */

/* With the lock: the format of this key, or with NULL of this very request, counted; NULL: not
 * here. */
static const dw_chat_format *find_format(dw_chats *chats, const char *key, const uint8_t *request)
{
    for (size_t i = 0; i < FORMATS_KEPT; i++) {
        kept_format *kept = &chats->formats[i];
        if (kept->key != NULL &&
            (key != NULL ? strcmp(kept->key, key) == 0
                         : memcmp(kept->request, request, DW_SHA256_BYTES) == 0)) {
            memcpy(kept->request, request, DW_SHA256_BYTES);
            kept->users++;
            kept->used_at = ++chats->uses;
            return kept->format;
        }
    }
    return NULL;
}

/* With the lock: the place of the format that nobody has used for longest. NULL: all are in use. */
static kept_format *oldest_format(dw_chats *chats)
{
    kept_format *oldest = NULL;
    for (size_t i = 0; i < FORMATS_KEPT; i++) {
        kept_format *kept = &chats->formats[i];
        if (kept->users == 0 && (oldest == NULL || kept->used_at < oldest->used_at)) {
            oldest = kept;
        }
    }
    return oldest;
}

/* Keep what another thread has not kept meanwhile. `key` is taken over. */
static const dw_chat_format *keep_format(dw_chats *chats, char *key, const uint8_t *request,
                                         dw_chat_format *format)
{
    (void)pthread_mutex_lock(&chats->lock);
    const dw_chat_format *there = find_format(chats, key, request);
    kept_format *place = there == NULL ? oldest_format(chats) : NULL;
    kept_format before = {.key = NULL};
    if (place != NULL) {
        before = *place;
        *place = (kept_format){.key = key, .format = format, .used_at = ++chats->uses, .users = 1};
        memcpy(place->request, request, DW_SHA256_BYTES);
    }
    (void)pthread_mutex_unlock(&chats->lock);
    if (there != NULL) {
        dw_free(key);
        dw_chat_format_close(format);
        return there;
    }
    dw_free(before.key);
    dw_chat_format_close(before.format);
    if (place == NULL) {
        dw_free(key); /* released by its only user */
    }
    return format;
}

static dw_status find_or_make(dw_chats *chats, dw_chat_request request, const dw_chat_format **out,
                              dw_error *err)
{
    const dw_jinja *jinja;
    char *key = NULL;
    /* An answer is read many times over one request, which need not be read each time. */
    uint8_t digest[DW_SHA256_BYTES];
    dw_sha256(digest, request.json, request.bytes);
    (void)pthread_mutex_lock(&chats->lock);
    *out = find_format(chats, NULL, digest);
    (void)pthread_mutex_unlock(&chats->lock);
    if (*out != NULL) {
        return DW_OK;
    }
    dw_status status = template_for(chats, request, &jinja, err);
    if (status == DW_OK) {
        status = dw_chat_format_key(request, &key, err);
    }
    if (status != DW_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&chats->lock);
    *out = find_format(chats, key, digest);
    (void)pthread_mutex_unlock(&chats->lock);
    if (*out != NULL) {
        dw_free(key);
        return DW_OK;
    }
    dw_chat_format *made = NULL;
    status = dw_chat_format_open(&made, jinja, request, err);
    if (status != DW_OK) {
        dw_free(key);
        return status;
    }
    *out = keep_format(chats, key, digest, made);
    return DW_OK;
}

dw_status dw_chats_format(dw_chats *chats, dw_chat_request request, const dw_chat_format **out,
                          dw_error *err)
{
    dw_account_scope payer = dw_account_pause(); /* the model keeps them, a few */
    dw_status status = find_or_make(chats, request, out, err);
    dw_account_leave(payer);
    return status;
}

void dw_chats_release(dw_chats *chats, const dw_chat_format *format)
{
    if (format == NULL) {
        return;
    }
    bool kept = false;
    (void)pthread_mutex_lock(&chats->lock);
    for (size_t i = 0; i < FORMATS_KEPT && !kept; i++) {
        kept = chats->formats[i].format == format;
        chats->formats[i].users -= kept ? 1 : 0;
    }
    (void)pthread_mutex_unlock(&chats->lock);
    if (!kept) {
        dw_chat_format_close((dw_chat_format *)(uintptr_t)format);
    }
}
