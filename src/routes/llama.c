/* Routes that llama.cpp's server has: /completion, /props, /slots. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "routes/logprobs.h"
#include "routes/routes.h"
#include "serving/job.h"
#include "serving/profile.h"
#include "serving/reply.h"

typedef struct answer {
    dw_text text;
    json_t *probabilities; /* NULL: none are asked for */
    const char *end;       /* static: why it ended */
    char *stop;            /* the text that it met, or NULL */
    uint32_t tokens;
} answer;

typedef struct completion {
    dw_reply reply;
    json_t *settings; /* the guest's message */
    bool several;     /* prompts were a list: so is the answer */
    bool prompt_only; /* n_predict 0 */
    json_t *prompts;
    answer answers[DW_REPLY_PARTS_MAX];
} completion;

static completion *completion_of(dw_reply *reply)
{
    return (completion *)(void *)reply;
}

static void release(dw_reply *reply)
{
    completion *c = completion_of(reply);
    for (uint32_t i = 0; i < DW_REPLY_PARTS_MAX; i++) {
        dw_text_free(&c->answers[i].text);
        json_decref(c->answers[i].probabilities);
        dw_free(c->answers[i].stop);
    }
    json_decref(c->settings);
    json_decref(c->prompts);
}

/* ---- answers --------------------------------------------------------------------------------- */

static json_t *part_timing(const char *name, uint64_t tokens, double ms)
{
    json_t *timing = json_object();
    char key[64];
    static const char *const suffixes[] = {"_n", "_ms", "_per_token_ms", "_per_second"};
    const double values[] = {(double)tokens, ms, tokens > 0 ? ms / (double)tokens : 0,
                             ms > 0 ? (double)tokens * 1000 / ms : 0};
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(key, sizeof key, "%s%s", name, suffixes[i]);
        (void)json_object_set_new(timing, key,
                                  i == 0 ? json_integer((json_int_t)tokens) : json_real(values[i]));
    }
    return timing;
}

static json_t *timings_json(const dw_reply *reply)
{
    uint64_t now = uv_hrtime();
    uint64_t first = reply->first_ns != 0 ? reply->first_ns : now;
    uint64_t prompt = reply->prompt_ns != 0 ? reply->prompt_ns : first;
    json_t *timings = part_timing("prompt", reply->prompt_tokens - reply->cached_tokens,
                                  (double)(first - prompt) / 1e6);
    json_t *more = part_timing("predicted", reply->answer_tokens, (double)(now - first) / 1e6);
    (void)json_object_update(timings, more);
    (void)json_object_set_new(timings, "cache_n", json_integer((json_int_t)reply->cached_tokens));
    json_decref(more);
    return timings;
}

static json_t *text_json(const char *bytes, size_t count)
{
    json_t *text = json_stringn(bytes != NULL ? bytes : "", count);
    return text != NULL ? text : json_string("");
}

/* What stands behind an answer, or is all of it. */
static json_t *end_json(const completion *c, uint32_t index, json_t *content)
{
    const answer *a = &c->answers[index];
    const dw_reply *reply = &c->reply;
    bool new_line = a->text.bytes != NULL && memchr(a->text.bytes, '\n', a->text.count) != NULL;
    return json_pack(
        "{s:i, s:o, s:[], s:i, s:b, s:s, s:I, s:I, s:I, s:O, s:O, s:b, s:b, s:s, s:s, s:o}",
        "index", (int)index, "content", content, "tokens", "id_slot", 0, "stop", 1, "model",
        reply->model, "tokens_predicted", (json_int_t)(c->prompt_only ? 0 : a->tokens),
        "tokens_evaluated", (json_int_t)reply->prompt_tokens, "tokens_cached",
        (json_int_t)(reply->prompt_tokens + reply->answer_tokens), "generation_settings",
        c->settings, "prompt", json_array_get(c->prompts, index), "has_new_line", new_line,
        "truncated", 0, "stop_type", a->end != NULL ? a->end : "none", "stopping_word",
        a->stop != NULL ? a->stop : "", "timings", timings_json(reply));
}

static void on_piece(dw_reply *reply, uint32_t choice, const dw_reply_piece *piece)
{
    completion *c = completion_of(reply);
    answer *a = &c->answers[choice];
    json_t *news = a->probabilities != NULL ? json_array() : NULL;
    if (c->prompt_only) {
        json_decref(news);
        return;
    }
    (void)dw_text_add(&a->text, piece->text, piece->bytes);
    if (news != NULL) {
        dw_logprobs_add(news, piece->logprobs);
        (void)json_array_extend(a->probabilities, news);
    }
    if (reply->streams) {
        json_t *event =
            json_pack("{s:i, s:o, s:[], s:i, s:b, s:I}", "index", (int)choice, "content",
                      text_json(piece->text, piece->bytes), "tokens", "id_slot", 0, "stop", 0,
                      "tokens_evaluated", (json_int_t)reply->prompt_tokens);
        if (news != NULL) {
            (void)json_object_set(event, "completion_probabilities", news);
        }
        dw_reply_put(reply, NULL, event);
    }
    json_decref(news);
}

static void on_choice_end(dw_reply *reply, uint32_t choice, const dw_choice_end *end)
{
    completion *c = completion_of(reply);
    answer *a = &c->answers[choice];
    a->tokens = end->tokens;
    a->stop = end->stop != NULL ? dw_strdup(end->stop) : NULL;
    a->end = strcmp(end->reason, "length") == 0 ? "limit" : end->stop != NULL ? "word" : "eos";
    if (reply->streams) {
        dw_reply_put(reply, NULL, end_json(c, choice, json_string("")));
    }
}

static json_t *whole_json(const completion *c, uint32_t index)
{
    const answer *a = &c->answers[index];
    json_t *whole = end_json(c, index, text_json(a->text.bytes, a->text.count));
    if (a->probabilities != NULL) {
        (void)json_object_set(whole, "completion_probabilities", a->probabilities);
    }
    return whole;
}

static void finish(dw_reply *reply)
{
    completion *c = completion_of(reply);
    if (reply->streams) {
        dw_reply_end_stream(reply);
        return;
    }
    if (!c->several) {
        dw_reply_send(reply, 200, whole_json(c, 0));
        return;
    }
    json_t *list = json_array();
    for (uint32_t i = 0; i < reply->part_count; i++) {
        (void)json_array_append_new(list, whole_json(c, i));
    }
    dw_reply_send(reply, 200, list);
}

static void fail(dw_reply *reply)
{
    int status = dw_http_status(reply->status);
    const char *param = reply->fault_param != NULL ? reply->fault_param : "prompt";
    json_t *error = dw_openai_error(status, status >= 500 ? NULL : param,
                                    dw_reply_fault_code(reply), reply->error.message);
    if (reply->begun) {
        dw_reply_put(reply, NULL, error);
        dw_reply_end_stream(reply);
    } else {
        dw_reply_send(reply, status, error);
    }
}

static const dw_writer writer = {
    .stream_type = DW_EVENT_STREAM,
    .on_piece = on_piece,
    .on_choice_end = on_choice_end,
    .finish = finish,
    .fail = fail,
    .on_silence = dw_reply_put_comment,
    .release = release,
};

/* ---- /completion ----------------------------------------------------------------------------- */

static void read_settings(completion *c, const json_t *body, dw_fault *fault)
{
    const char *most = dw_params_has(body, "n_predict") ? "n_predict" : "max_tokens";
    int64_t tokens = dw_params_whole(body, most, -2, 2147483647, -1, fault);
    int64_t likeliest = dw_params_whole(body, "n_probs", 0, 20, 0, fault);
    dw_params_generation(body, c->settings, fault);
    c->prompt_only = tokens == 0;
    (void)json_object_set_new(c->settings, "n", json_integer(1));
    (void)json_object_set_new(c->settings, "max",
                              json_integer(tokens == 0  ? 1
                                           : tokens < 0 ? 0
                                                        : tokens));
    (void)json_object_set_new(c->settings, "logprobs",
                              json_integer(likeliest > 0 ? likeliest : -1));
    dw_reply_read(&c->reply, body, 1, false, fault);
    dw_reply_read_linger(&c->reply, NULL, fault);
    for (size_t i = 0; i < DW_REPLY_PARTS_MAX && likeliest > 0; i++) {
        c->answers[i].probabilities = json_array();
    }
}

static bool is_tokens(const json_t *prompt)
{
    bool all = json_array_size(prompt) > 0;
    for (size_t i = 0; i < json_array_size(prompt) && all; i++) {
        all = json_is_integer(json_array_get(prompt, i)) &&
              json_integer_value(json_array_get(prompt, i)) >= 0 &&
              json_integer_value(json_array_get(prompt, i)) <= INT32_MAX;
    }
    return all;
}

static void read_prompts(completion *c, const json_t *body, dw_fault *fault)
{
    json_t *prompt = json_object_get(body, "prompt");
    c->several = json_is_array(prompt) && !is_tokens(prompt);
    c->prompts = c->several ? json_incref(prompt) : json_pack("[O?]", prompt);
    size_t count = json_array_size(c->prompts);
    if (count == 0 || count > DW_REPLY_PARTS_MAX) {
        dw_fault_set(fault, 400, "prompt", "prompt: %zu of them, from 1 to %d are allowed", count,
                     DW_REPLY_PARTS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(c->prompts, i);
        if (!json_is_string(one) && !is_tokens(one)) {
            dw_fault_set(fault, 400, "prompt",
                         "prompt: a text, a list of tokens, or a list of up "
                         "to %d of these",
                         DW_REPLY_PARTS_MAX);
        }
    }
}

static void ask_all(completion *c)
{
    json_t *message = json_copy(c->settings);
    for (size_t i = 0; i < json_array_size(c->prompts); i++) {
        json_t *prompt = json_array_get(c->prompts, i);
        (void)json_object_del(message, "prompt");
        (void)json_object_del(message, "tokens");
        (void)json_object_set(message, json_is_string(prompt) ? "prompt" : "tokens", prompt);
        dw_reply_ask(&c->reply, NULL, message);
    }
    json_decref(message);
    dw_reply_go(&c->reply);
}

void dw_llama_completion(dw_server *server, dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    dw_reply *reply = dw_reply_create(sizeof(completion), &writer, server, exchange);
    json_t *body = dw_params_body(exchange, &fault);
    if (reply == NULL) {
        dw_fault_set(&fault, 503, NULL, "no memory for a request");
    } else if (body != NULL) {
        completion_of(reply)->settings = json_object();
        read_settings(completion_of(reply), body, &fault);
        read_prompts(completion_of(reply), body, &fault);
    }
    if (!dw_fault_is_set(&fault)) {
        ask_all(completion_of(reply));
    } else {
        dw_openai_fault(exchange, &fault);
        if (reply != NULL) {
            dw_reply_drop(reply);
        }
    }
    json_decref(body);
}

/* ---- /props ---------------------------------------------------------------------------------- */

static void fail_plainly(dw_exchange *exchange, int status, const char *what)
{
    dw_openai_fail(exchange, status, NULL, NULL, what);
}

/* Tokens of its contexts. */
static uint32_t context_of(const dw_server *server, const dw_model_info *info)
{
    uint32_t own = server->instance.context_tokens_max;
    return own != 0 ? own : info->context_length;
}

static json_t *plain_text(const char *text)
{
    return text_json(text, text != NULL ? strlen(text) : 0);
}

static dw_status props(dw_job *job, dw_error *err)
{
    dw_profile *profile = NULL;
    dw_status status = dw_profile_read(&profile, job->model, err);
    if (status != DW_OK) {
        return status;
    }
    job->result = json_pack(
        "{s:{s:I, s:{s:f, s:i, s:f, s:f, s:i}}, s:i, s:o, s:s, s:o, s:o, s:o, s:{s:b, s:b}, s:s, "
        "s:b}",
        "default_generation_settings", "n_ctx", (json_int_t)context_of(job->server, &profile->info),
        "params", "temperature", 0.8, "top_k", 40, "top_p", 0.95, "min_p", 0.05, "n_predict", -1,
        "total_slots", 1, "model_path", plain_text(profile->name), "model_alias", job->model->name,
        "chat_template", plain_text(profile->chat_template), "bos_token", plain_text(profile->bos),
        "eos_token", plain_text(profile->eos), "modalities", "vision", 0, "audio", 0, "build_info",
        "driftwood-" DW_VERSION, "is_sleeping", !profile->loaded);
    dw_profile_unref(profile);
    return DW_OK;
}

void dw_llama_props(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin_telling(server, exchange, props, fail_plainly);
}

/* ---- /lora-adapters -------------------------------------------------------------------------- */

/* Its files' paths are nobody's to know: the names that they were loaded under stand for them. */
static dw_status list_adapters(dw_job *job, dw_error *err)
{
    const dw_model *model = job->waiter.model;
    const size_t count = dw_model_adapter_count(model);
    job->result = json_array();
    for (size_t i = 0; i < count; i++) {
        dw_adapter_info info = {.struct_bytes = sizeof info};
        dw_status status = dw_model_get_adapter(model, i, &info, err);
        if (status != DW_OK) {
            return status;
        }
        (void)json_array_append_new(job->result, json_pack("{s:I, s:s, s:s, s:f}", "id",
                                                           (json_int_t)i, "name", info.name, "path",
                                                           info.name, "scale", (double)info.scale));
    }
    return DW_OK;
}

void dw_llama_adapters(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin(server, exchange, list_adapters, fail_plainly);
}

/* Scales of all requests are the operator's, who sets them by --lora. */
void dw_llama_set_adapters(dw_server *server, dw_exchange *exchange)
{
    (void)server;
    dw_openai_fail(exchange, 403, NULL, NULL,
                   "scales for all requests are set by --lora when the server starts; a request "
                   "chooses its own by its member lora");
}

/* ---- /slots ---------------------------------------------------------------------------------- */

/* There is no number of slots: what is under way, and one that is free. */
void dw_llama_slots(dw_server *server, dw_exchange *exchange)
{
    json_t *slots = json_array();
    const char *tenant = dw_tenant_of(server, exchange);
    for (const dw_reply *reply = server->replies; reply != NULL; reply = reply->next) {
        if (reply->open > 0 && strcmp(reply->tenant, tenant) == 0) {
            (void)json_array_append_new(slots, json_pack("{s:I, s:s?, s:I, s:b, s:b}", "id",
                                                         (json_int_t)json_array_size(slots),
                                                         "model", reply->model, "n_prompt_tokens",
                                                         (json_int_t)reply->prompt_tokens,
                                                         "speculative", 0, "is_processing", 1));
        }
    }
    (void)json_array_append_new(slots, json_pack("{s:I, s:b, s:b}", "id",
                                                 (json_int_t)json_array_size(slots), "speculative",
                                                 0, "is_processing", 0));
    dw_send_json(exchange, 200, slots);
}
