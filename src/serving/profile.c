#include "serving/profile.h"

#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/os.h"
#include "model/architecture.h"
#include "model/model.h"
#include "text/tokenizer_check.h"

#define PIECE_BYTES 256
/* A file that could not be read is left alone for so long, unless it is another. */
#define FAILED_NS UINT64_C(1000000000)

void dw_profile_unref(dw_profile *profile)
{
    if (profile == NULL ||
        atomic_fetch_sub_explicit(&profile->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    dw_free(profile->name);
    dw_free(profile->chat_template);
    dw_free(profile->bos);
    dw_free(profile->eos);
    dw_free(profile);
}

/* ---- what there is to tell ------------------------------------------------------------------- */

static bool thinks(dw_chats *chats)
{
    static const char request[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    const dw_chat_request asked = {.json = request, .bytes = sizeof request - 1};
    const dw_chat_format *format = NULL;
    if (dw_chats_format(chats, asked, &format, NULL) != DW_OK) {
        return false;
    }
    bool aloud = dw_chat_format_info_of(format).thinking_begin[0] != '\0';
    dw_chats_release(chats, format);
    return aloud;
}

/* For dw_free; NULL: no memory. */
static char *token_text(const dw_vocab *vocab, int32_t token)
{
    char piece[PIECE_BYTES];
    size_t bytes = 0;
    if (token < 0 || dw_vocab_detokenize(vocab, &token, 1, piece, sizeof piece - 1,
                                         DW_DETOKENIZE_SPECIAL, &bytes, NULL, NULL) != DW_OK) {
        bytes = 0;
    }
    piece[bytes] = '\0';
    return dw_strdup(piece);
}

static dw_status fill(dw_profile *to, const char *name, const dw_vocab *vocab, dw_chats *chats,
                      dw_error *err)
{
    dw_status status = dw_vocab_wait(vocab, err);
    if (status != DW_OK) {
        return status;
    }
    const char *template = dw_chats_template(chats, false);
    to->name = dw_strdup(name);
    to->chat_template = template != NULL ? dw_strdup(template) : NULL;
    to->bos = token_text(vocab, dw_vocab_bos(vocab));
    to->eos = token_text(vocab, dw_vocab_eos(vocab));
    to->thinks = template != NULL && !to->info.encoder && thinks(chats);
    to->info.name = to->name;
    return to->name != NULL && to->bos != NULL && to->eos != NULL &&
                   (template == NULL || to->chat_template != NULL)
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for what is told of a model");
}

static dw_status of_model(dw_profile *to, const dw_model *model, dw_error *err)
{
    to->loaded = true;
    to->info = (dw_model_info){.struct_bytes = sizeof to->info};
    dw_status status = dw_model_get_info(model, &to->info);
    return status == DW_OK
               ? fill(to, to->info.name, dw_model_vocab(model), dw_model_chats(model), err)
               : dw_fail(err, status, "nothing can be told of the model");
}

static dw_model_info info_of(const dw_gguf *gguf, const dw_model_shape *shape)
{
    dw_gguf_info file = {.struct_bytes = sizeof file};
    (void)dw_gguf_get_info(gguf, &file);
    dw_model_info info = dw_model_info_of(shape);
    info.parameter_count = file.parameter_count;
    info.weights_bytes = file.weights_bytes;
    return info;
}

static dw_status of_file(dw_profile *to, const char *path, const char *chosen, dw_error *err)
{
    dw_gguf *gguf = NULL;
    dw_vocab *vocab = NULL;
    dw_chats *chats = NULL;
    char *name = NULL;
    dw_model_shape shape;
    dw_status status = dw_gguf_open(&gguf, path, err);
    if (status == DW_OK) {
        status = dw_architecture_shape(gguf, &shape, err);
    }
    if (status == DW_OK) {
        to->info = info_of(gguf, &shape);
        status = dw_tokenizer_check(gguf, shape.vocab_count, err);
    }
    if (status == DW_OK) {
        status = dw_vocab_open(&vocab, path, shape.vocab_count, err);
    }
    if (status == DW_OK) {
        dw_vocab_lend_file(vocab, gguf);
        status = dw_chats_open(&chats, vocab, chosen, err);
    }
    if (status == DW_OK) {
        name = dw_model_name_of(gguf, path);
        status = name != NULL ? fill(to, name, vocab, chats, err)
                              : dw_fail(err, DW_E_MEMORY, "no memory for a model's name");
    }
    dw_free(name);
    dw_chats_close(chats);
    dw_vocab_close(vocab);
    dw_gguf_close(gguf);
    return status;
}

/* ---- what is kept --------------------------------------------------------------------------- */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtime == b->st_mtime;
}

static dw_profile *profile_create(void)
{
    dw_profile *profile = dw_alloc(1, sizeof *profile);
    if (profile != NULL) {
        atomic_init(&profile->references, 1);
    }
    return profile;
}

/* With the lock: who asks meanwhile is told the same, and for a moment after a failure, which may
 * have taken as long as a load does. */
static dw_status read_file(dw_named_model *named, dw_error *err)
{
    dw_model_pool_info info;
    struct stat now;
    dw_models_info(named, &info);
    if (stat(info.path, &now) != 0) {
        memset(&now, 0, sizeof now); /* dw_gguf_open says why */
    } else if (named->profile != NULL && is_same_file(&named->profile_file, &now)) {
        return DW_OK;
    }
    if (named->profile_failed_ns != 0 && is_same_file(&named->profile_failed_file, &now) &&
        dw_os_clock_ns() - named->profile_failed_ns < FAILED_NS) {
        return dw_fail(err, named->profile_error.code, "%s", named->profile_error.message);
    }
    dw_error error = {.message = ""};
    dw_profile *fresh = profile_create();
    dw_status status =
        fresh != NULL
            ? of_file(fresh, info.path, dw_pool_chat_template(named->server->pool), &error)
            : dw_fail(&error, DW_E_MEMORY, "no memory for what is told of a model");
    if (status != DW_OK) {
        dw_profile_unref(fresh);
        named->profile_failed_file = now;
        named->profile_failed_ns = dw_os_clock_ns();
        named->profile_error = error;
        named->profile_error.code = status;
        return dw_fail(err, status, "%s", error.message);
    }
    dw_profile_unref(named->profile);
    named->profile = fresh;
    named->profile_file = now;
    return DW_OK;
}

dw_status dw_profile_read(dw_profile **out, dw_named_model *named, dw_error *err)
{
    dw_server *server = named->server;
    dw_model *model = dw_pool_peek(server->pool, named->index);
    dw_status status;
    *out = NULL;
    if (model != NULL) {
        dw_profile *own = profile_create();
        status = own != NULL ? of_model(own, model, err)
                             : dw_fail(err, DW_E_MEMORY, "no memory for what is told of a model");
        dw_model_unref(model);
        if (status != DW_OK) {
            dw_profile_unref(own);
            own = NULL;
        }
        *out = own;
        return status;
    }
    (void)pthread_mutex_lock(&server->profile_lock);
    status = read_file(named, err);
    if (status == DW_OK) {
        *out = named->profile;
        atomic_fetch_add_explicit(&named->profile->references, 1, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&server->profile_lock);
    if (status != DW_OK && server->keys != NULL) {
        dw_models_hide_others(err, named->name);
    }
    return status;
}
