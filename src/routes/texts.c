/* Routes that llama.cpp's server has, over texts: tokens, templates. */
#include <string.h>

#include "base/alloc.h"
#include "routes/routes.h"
#include "serving/job.h"

static void fail(dw_exchange *exchange, int status, const char *what)
{
    dw_openai_fail(exchange, status, NULL, NULL, what);
}

/* ---- /tokenize ------------------------------------------------------------------------------- */

static dw_status tokenize(dw_job *job, dw_error *err)
{
    const char *text = json_string_value(json_object_get(job->input, "content"));
    const json_t *parse = json_object_get(job->input, "parse_special");
    dw_token_room tokens = {.items = NULL};
    if (text == NULL) {
        return dw_fail(err, DW_E_ARG, "content: a text is wanted");
    }
    uint32_t flags =
        json_is_true(json_object_get(job->input, "add_special")) ? DW_TOKENIZE_SPECIAL : 0;
    flags |= json_is_false(parse) ? 0 : DW_TOKENIZE_PARSE;
    dw_status status = dw_job_tokenize(job->waiter.model, text, flags, &tokens, err);
    if (status != DW_OK) {
        return status;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < tokens.count; i++) {
        (void)json_array_append_new(list, json_integer(tokens.items[i]));
    }
    dw_free(tokens.items);
    job->result = json_pack("{s:o}", "tokens", list);
    return DW_OK;
}

void dw_tokenize(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin(server, exchange, tokenize, fail);
}

/* ---- /detokenize ----------------------------------------------------------------------------- */

static dw_status detokenize(dw_job *job, dw_error *err)
{
    const json_t *list = json_object_get(job->input, "tokens");
    size_t count = json_array_size(list);
    int32_t *tokens = dw_alloc(count, sizeof *tokens);
    dw_text_room text = {.items = NULL};
    if (!json_is_array(list) || tokens == NULL) {
        dw_free(tokens);
        return json_is_array(list) ? dw_fail(err, DW_E_MEMORY, "no memory for tokens")
                                   : dw_fail(err, DW_E_ARG, "tokens: a list is wanted");
    }
    for (size_t i = 0; i < count; i++) {
        tokens[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    dw_model *model = job->waiter.model;
    dw_status status = dw_model_detokenize(model, tokens, count, DW_DETOKENIZE_SPECIAL, &text, err);
    if (status == DW_E_SPACE) {
        text.capacity = text.count;
        text.items = dw_alloc(text.capacity, 1);
        status = text.items != NULL
                     ? dw_model_detokenize(model, tokens, count, DW_DETOKENIZE_SPECIAL, &text, err)
                     : dw_fail(err, DW_E_MEMORY, "no memory for a text");
    }
    if (status == DW_OK) {
        json_t *content = json_stringn(text.items != NULL ? text.items : "", text.count);
        job->result = json_pack("{s:o}", "content", content != NULL ? content : json_string(""));
    }
    dw_free(text.items);
    dw_free(tokens);
    return status;
}

void dw_detokenize(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin(server, exchange, detokenize, fail);
}

/* ---- /apply-template ------------------------------------------------------------------------- */

static dw_status apply_template(dw_job *job, dw_error *err)
{
    dw_fault fault = {.status = 0};
    dw_chat_prompt *prompt = NULL;
    size_t bytes = 0;
    json_t *chat = dw_params_chat(job->input, &fault);
    dw_status status = dw_job_render(job, chat, &fault, &prompt, err);
    if (status == DW_OK) {
        const char *rendered = dw_chat_prompt_text(prompt, &bytes);
        job->result = json_pack("{s:s%}", "prompt", rendered, bytes);
        dw_chat_prompt_destroy(prompt);
    }
    return status;
}

void dw_apply_template(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin(server, exchange, apply_template, fail);
}
