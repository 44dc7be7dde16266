#include "contexts/context_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"

static const char *const kv_names[] = {
    [DW_KV_F16] = "f16", [DW_KV_Q8_0] = "q8_0", [DW_KV_F32] = "f32"};
#define KV_COUNT (sizeof kv_names / sizeof kv_names[0])

static uint64_t tokens_at(uint32_t adapter_count)
{
    return sizeof(dw__context_head) + adapter_count * sizeof(dw__context_adapter);
}

static uint64_t head_bytes(uint32_t length, uint32_t adapter_count)
{
    uint64_t bytes = tokens_at(adapter_count) + (uint64_t)length * sizeof(int32_t);
    return (bytes + DW__CONTEXT_UNIT - 1) / DW__CONTEXT_UNIT * DW__CONTEXT_UNIT;
}

uint64_t dw__context_file_bytes(const dw__context_head *head)
{
    return head->head_bytes + head->length * head->record_bytes;
}

/* ---- writing --------------------------------------------------------------------------------- */

dw_status dw__context_describe(dw__context_head *head, const dw_context_place *place,
                               dw_context *context, dw_error *err)
{
    char fingerprint[DW_FINGERPRINT_BYTES];
    dw_model *model = dw_context_model(context);
    const uint32_t length = dw_context_length(context);
    if (length == 0) {
        return dw_fail(err, DW_E_STATE, "there are no tokens to save");
    }
    const dw_adapter_set *set = dw_context_adapters(context);
    const uint32_t adapter_count = set != NULL ? set->count : 0;
    dw_status status = dw_model_await_fingerprint(model, place->stop, err);
    if (status == DW_OK) {
        status = dw_model_fingerprint_with(model, set, fingerprint, err);
    }
    if (status != DW_OK) {
        return status;
    }
    *head = (dw__context_head){.version = DW__CONTEXT_VERSION,
                               .kv_type = (uint32_t)dw_context_kv_type(context),
                               .length = length,
                               .vocab_count = dw_model_shape_of(model)->vocab_count,
                               .record_bytes = dw_kv_log_record_bytes(dw_context_log(context)),
                               .adapter_count = adapter_count,
                               .head_bytes = head_bytes(length, adapter_count),
                               .saved_ms = dw_os_wall_ms()};
    dw_context_window(context, &head->sink, &head->window);
    memcpy(head->magic, DW__CONTEXT_MAGIC, sizeof head->magic);
    (void)snprintf(head->fingerprint, sizeof head->fingerprint, "%s", fingerprint);
    (void)snprintf(head->tenant, sizeof head->tenant, "%s", place->tenant);
    (void)snprintf(head->name, sizeof head->name, "%s", place->name);
    return DW_OK;
}

typedef struct record_writer {
    int fd;
    uint64_t from; /* where records begin */
    dw_stop *stop;
} record_writer;

static dw_status write_records(void *user, uint64_t offset, const void *from, size_t bytes,
                               dw_error *err)
{
    const record_writer *writer = user;
    if (writer->stop != NULL && dw_stop_asked(writer->stop)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    return dw_os_write_at(writer->fd, writer->from + offset, from, bytes, err);
}

/* Into parts of some megabytes, between which it can be left. */
static dw_status write_all_records(record_writer *writer, dw_kv_log *log, uint64_t bytes,
                                   dw_error *err)
{
    const uint64_t part = (uint64_t)16 << 20;
    const uint64_t from = writer->from;
    dw_status status = DW_OK;
    for (uint64_t done = 0; done < bytes && status == DW_OK; done += part) {
        const size_t count = (size_t)(bytes - done < part ? bytes - done : part);
        const dw_sink sink = {.anywhere = write_records, .user = writer};
        writer->from = from + done;
        status = dw_kv_log_stream(log, done, count, &sink, err);
    }
    return status;
}

static void put_adapters(unsigned char *to, dw_context *context)
{
    const dw_adapter_set *set = dw_context_adapters(context);
    const dw_adapters *adapters = dw_model_adapters(dw_context_model(context));
    for (uint32_t i = 0; set != NULL && i < set->count; i++) {
        dw__context_adapter one = {.scale = set->choices[i].scale};
        (void)snprintf(one.fingerprint, sizeof one.fingerprint, "%s",
                       dw_adapters_at(adapters, set->choices[i].index)->fingerprint);
        memcpy(to + i * sizeof one, &one, sizeof one);
    }
}

dw_status dw__context_write(int fd, dw__context_head *head, dw_context *context, dw_stop *stop,
                            dw_error *err)
{
    unsigned char *bytes = dw_alloc(1, (size_t)head->head_bytes);
    if (bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to save it");
    }
    memset(head->hash, 0, sizeof head->hash);
    memcpy(bytes, head, sizeof *head);
    put_adapters(bytes + sizeof *head, context);
    memcpy(bytes + tokens_at(head->adapter_count), dw_context_tokens(context),
           head->length * sizeof(int32_t));
    dw_hash128_of(head->hash, bytes, (size_t)head->head_bytes);
    memcpy(bytes, head, sizeof *head);
    dw_status status = dw_os_write_at(fd, 0, bytes, (size_t)head->head_bytes, err);
    dw_free(bytes);
    record_writer writer = {.fd = fd, .from = head->head_bytes, .stop = stop};
    if (status == DW_OK) {
        status = write_all_records(&writer, dw_context_log(context),
                                   head->length * head->record_bytes, err);
    }
    int failure = status == DW_OK ? dw_os_sync(fd) : 0;
    return failure == 0 ? status : dw_fail(err, DW_E_IO, "writing it: %s", strerror(failure));
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_text(const char *text, size_t room)
{
    return memchr(text, '\0', room) != NULL;
}

/* What can be said without the rest of the file. */
static dw_status check_head(const dw__context_head *head, uint64_t file_bytes, dw_error *err)
{
    if (memcmp(head->magic, DW__CONTEXT_MAGIC, sizeof head->magic) != 0) {
        return dw_fail(err, DW_E_FORMAT, "it is no saved context");
    }
    if (head->version > DW__CONTEXT_VERSION) {
        return dw_fail(err, DW_E_UNSUPPORTED, "it is of version %u, known is %u", head->version,
                       DW__CONTEXT_VERSION);
    }
    /* Sizes first: nothing is computed from them that they could make too large. */
    const bool sound = head->version == DW__CONTEXT_VERSION && head->kv_type < KV_COUNT &&
                       head->length > 0 && head->length <= INT32_MAX && head->record_bytes > 0 &&
                       head->record_bytes <= UINT32_MAX && head->adapter_count <= DW_ADAPTERS_MAX &&
                       head->head_bytes == head_bytes(head->length, head->adapter_count) &&
                       is_text(head->fingerprint, sizeof head->fingerprint) &&
                       is_text(head->tenant, sizeof head->tenant) &&
                       is_text(head->name, sizeof head->name);
    if (!sound || file_bytes != dw__context_file_bytes(head)) {
        return dw_fail(err, DW_E_FORMAT, "it is damaged: %" PRIu64 " bytes, and a head for others",
                       file_bytes);
    }
    return DW_OK;
}

void dw__context_rest_release(dw__context_rest *rest)
{
    dw_free(rest->tokens);
    dw_free(rest->adapters);
    *rest = (dw__context_rest){.tokens = NULL};
}

/* Out of the bytes of a head whose hash is right. */
static dw_status take_rest(const dw__context_head *head, const unsigned char *bytes,
                           dw__context_rest *rest, dw_error *err)
{
    rest->tokens = dw_alloc(head->length, sizeof *rest->tokens);
    rest->adapters = dw_alloc(head->adapter_count, sizeof *rest->adapters);
    if (rest->tokens == NULL || rest->adapters == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for its tokens");
    }
    memcpy(rest->adapters, bytes + sizeof *head, head->adapter_count * sizeof *rest->adapters);
    memcpy(rest->tokens, bytes + tokens_at(head->adapter_count),
           head->length * sizeof *rest->tokens);
    for (uint32_t i = 0; i < head->adapter_count; i++) {
        const dw__context_adapter *one = &rest->adapters[i];
        if (!is_text(one->fingerprint, sizeof one->fingerprint) || !isfinite(one->scale)) {
            return dw_fail(err, DW_E_FORMAT, "it is damaged: an adapter without a name");
        }
    }
    return DW_OK;
}

dw_status dw__context_read(int fd, dw__context_head *head, dw__context_rest *rest, dw_error *err)
{
    uint64_t file_bytes = 0;
    uint8_t hash[sizeof head->hash];
    dw_status status = dw_os_file_bytes(fd, &file_bytes, err);
    if (status == DW_OK && file_bytes < sizeof *head) {
        status = dw_fail(err, DW_E_FORMAT, "it is damaged: %" PRIu64 " bytes", file_bytes);
    }
    if (status == DW_OK) {
        status = dw_os_read_at(fd, 0, head, sizeof *head, err);
    }
    if (status == DW_OK) {
        status = check_head(head, file_bytes, err);
    }
    if (status != DW_OK || rest == NULL) {
        return status;
    }
    unsigned char *bytes = dw_alloc(1, (size_t)head->head_bytes);
    status = bytes != NULL ? dw_os_read_at(fd, 0, bytes, (size_t)head->head_bytes, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for its tokens");
    if (status == DW_OK) {
        memset(bytes + offsetof(dw__context_head, hash), 0, sizeof hash);
        dw_hash128_of(hash, bytes, (size_t)head->head_bytes);
        status = memcmp(hash, head->hash, sizeof hash) == 0
                     ? take_rest(head, bytes, rest, err)
                     : dw_fail(err, DW_E_FORMAT, "it is damaged: its hash is another");
    }
    dw_free(bytes);
    if (status != DW_OK) {
        dw__context_rest_release(rest);
    }
    return status;
}

/* The set of those that it was computed with, counted; NULL: it had none. */
static dw_status find_adapters(const dw__context_head *head, const dw__context_rest *rest,
                               dw_model *model, dw_adapter_set **set, dw_error *err)
{
    dw_adapter_choice choices[DW_ADAPTERS_MAX];
    dw_adapters *adapters = dw_model_adapters(model);
    const size_t count = dw_adapters_count(adapters);
    *set = NULL;
    for (uint32_t i = 0; i < head->adapter_count; i++) {
        size_t k = 0;
        while (k < count && strcmp(dw_adapters_at(adapters, k)->fingerprint,
                                   rest->adapters[i].fingerprint) != 0) {
            k++;
        }
        if (k == count) {
            return dw_fail(err, DW_E_UNSUPPORTED,
                           "its adapter %.60s is not among the %zu of the model",
                           rest->adapters[i].fingerprint, count);
        }
        choices[i] = (dw_adapter_choice){(uint32_t)k, rest->adapters[i].scale};
    }
    return head->adapter_count > 0
               ? dw_adapter_set_get(set, adapters, choices, head->adapter_count, err)
               : DW_OK;
}

/* Whether the model is the one that it was computed with. */
static dw_status check_fit(const dw__context_head *head, const dw_context_wanted *wanted,
                           const dw_adapter_set *set, dw_error *err)
{
    char fingerprint[DW_FINGERPRINT_BYTES];
    dw_status status = dw_model_await_fingerprint(wanted->model, wanted->stop, err);
    if (status == DW_OK) {
        status = dw_model_fingerprint_with(wanted->model, set, fingerprint, err);
    }
    if (status == DW_OK && dw_stop_asked(wanted->stop)) {
        status = dw_fail(err, DW_E_CANCELLED, "asked to stop");
    }
    if (status != DW_OK) {
        return status;
    }
    if (strcmp(fingerprint, head->fingerprint) != 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "it was computed with model %.40s, this one is %.40s",
                       head->fingerprint, fingerprint);
    }
    if (head->kv_type != (uint32_t)wanted->kv_type) {
        return dw_fail(err, DW_E_UNSUPPORTED, "its keys and values are %s, this guest's are %s",
                       kv_names[head->kv_type], kv_names[wanted->kv_type]);
    }
    const dw_model_shape *shape = dw_model_shape_of(wanted->model);
    const dw_kv_layout layout = dw_model_kv_layout(shape, wanted->kv_type);
    return head->record_bytes == layout.record_bytes && head->vocab_count == shape->vocab_count
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "its records are of %" PRIu64 " bytes, %zu are wanted",
                         head->record_bytes, layout.record_bytes);
}

dw_status dw__context_thaw(int fd, const dw__context_head *head, const dw__context_rest *rest,
                           const dw_context_wanted *wanted, dw_context **out, dw_error *err)
{
    dw_adapter_set *set = NULL;
    *out = NULL;
    dw_status status = find_adapters(head, rest, wanted->model, &set, err);
    if (status == DW_OK) {
        status = check_fit(head, wanted, set, err);
    }
    if (status != DW_OK) {
        dw_adapter_set_unref(set);
        return status;
    }
    const dw_kv_segment segment = {
        .fd = fd, .file_offset = head->head_bytes, .bytes = head->length * head->record_bytes};
    const dw_context_thaw_options options = {.tokens_max = wanted->tokens_max,
                                             .kv_type = wanted->kv_type,
                                             .stored_kv_type = wanted->kv_type,
                                             .adapters = set,
                                             .tokens = rest->tokens,
                                             .frozen = {.segments = &segment,
                                                        .segment_count = 1,
                                                        .length = head->length,
                                                        .stop = wanted->stop}};
    status = dw_context_thaw(out, wanted->model, &options, NULL, err);
    dw_adapter_set_unref(set);
    if (status == DW_OK && head->window != 0 &&
        dw_context_set_window(*out, head->sink, head->window, NULL) != DW_OK) {
        status = dw_fail(err, DW_E_LIMIT,
                         "it has a window of %u tokens behind a sink of %u, limit %u (tokens_max)",
                         head->window, head->sink, dw_context_capacity(*out));
        dw_context_destroy(*out);
        *out = NULL;
    }
    return status;
}
