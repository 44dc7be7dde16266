/* Written by scripts/sdk-imports from guest/driftwood_guest.h and guest/driftwood_abi.h. */
static JSValue import_abi_version(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_abi_version());
    glue_release(&call);
    return result;
}
static JSValue import_last_error(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_last_error(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_input(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_input(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_device_name(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_device_name(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_clock_ns(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt64(js, (int64_t)dw_clock_ns());
    glue_release(&call);
    return result;
}
static JSValue import_host_copied_bytes(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt64(js, (int64_t)dw_host_copied_bytes());
    glue_release(&call);
    return result;
}
static JSValue import_graph_create(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_graph_create());
    glue_release(&call);
    return result;
}
static JSValue import_graph_tensor(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_graph_tensor(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_graph_op(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_graph_op(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_graph_output(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_graph_output(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_tensor_shape(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_tensor_shape(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_graph_build(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_graph_build(a0));
    glue_release(&call);
    return result;
}
static JSValue import_graph_run(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_graph_run(a0));
    glue_release(&call);
    return result;
}
static JSValue import_graph_destroy(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_graph_destroy(a0));
    glue_release(&call);
    return result;
}
static JSValue import_model_open(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_model_open(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_model_close(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_model_close(a0));
    glue_release(&call);
    return result;
}
static JSValue import_model_info(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_model_info(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_model_count(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_model_count());
    glue_release(&call);
    return result;
}
static JSValue import_model_name(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    uint32_t a0 = glue_uint(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_model_name(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_tokenize(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_tokenize(a0, a1, a2, a3, a4, a5));
    glue_release(&call);
    return result;
}
static JSValue import_detokenize(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_detokenize(a0, a1, a2, a3, a4, a5));
    glue_release(&call);
    return result;
}
static JSValue import_token_is_end(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_token_is_end(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_chat_template(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    int32_t a3 = glue_int(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_chat_template(a0, a1, a2, a3, a4, a5));
    glue_release(&call);
    return result;
}
static JSValue import_chat_render(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_chat_render(a0, a1, a2, a3, a4));
    glue_release(&call);
    return result;
}
static JSValue import_chat_tokenize(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_chat_tokenize(a0, a1, a2, a3, a4, a5));
    glue_release(&call);
    return result;
}
static JSValue import_chat_parse(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    void *a6 = glue_pointer(&call, 6);
    uint32_t a7 = glue_uint(&call, 7);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_chat_parse(a0, a1, a2, a3, a4, a5, a6, a7));
    glue_release(&call);
    return result;
}
static JSValue import_chat_info(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_chat_info(a0, a1, a2, a3, a4));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_chat(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_chat(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_context_create(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_create(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_context_fork(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_fork(a0));
    glue_release(&call);
    return result;
}
static JSValue import_context_save(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_save(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_context_remove(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_remove(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_context_open(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_open(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_context_close(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_close(a0));
    glue_release(&call);
    return result;
}
static JSValue import_context_length(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_length(a0));
    glue_release(&call);
    return result;
}
static JSValue import_context_capacity(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_capacity(a0));
    glue_release(&call);
    return result;
}
static JSValue import_context_trim(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_trim(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_context_shift(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_shift(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_context_window(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_window(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_lora_count(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_lora_count(a0));
    glue_release(&call);
    return result;
}
static JSValue import_lora_name(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_lora_name(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_context_set_loras(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_set_loras(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_context_loras(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_loras(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_context_rows(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_rows(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_context_logits(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_logits(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_forward(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_forward_rows(a0, a1, a2, a3, a4));
    glue_release(&call);
    return result;
}
static JSValue import_forward_hidden(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_forward_hidden(a0, a1, a2, a3, a4));
    glue_release(&call);
    return result;
}
static JSValue import_forward_many(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_forward_many(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_forward_top(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_forward_top(a0, a1, a2, a3, a4, a5));
    glue_release(&call);
    return result;
}
static JSValue import_forward_tree(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_forward_tree(a0));
    glue_release(&call);
    return result;
}
static JSValue import_context_keep(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_context_keep(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_forward_embeddings(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_forward_embeddings(a0, a1, a2, a3, a4));
    glue_release(&call);
    return result;
}
static JSValue import_token_embeddings(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_token_embeddings(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_embed(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    int32_t a3 = glue_int(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    void *a5 = glue_pointer(&call, 5);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_embed(a0, a1, a2, a3, a4, a5));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_create(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_create(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_logit_bias(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_logit_bias(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_dry_breakers(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_dry_breakers(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_grammar(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_grammar(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_json_schema(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_json_schema(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_mask(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_mask(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_fork(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    uint64_t a1 = glue_ulong(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_fork(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_close(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_close(a0));
    glue_release(&call);
    return result;
}
static JSValue import_sample(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sample(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_forward_sample(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    int32_t a3 = glue_int(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_forward_sample(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_generate_begin(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_generate_begin(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_generate_wait(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_generate_wait(a0));
    glue_release(&call);
    return result;
}
static JSValue import_generate_end(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_generate_end(a0));
    glue_release(&call);
    return result;
}
static JSValue import_sampler_accept(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_sampler_accept(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_greedy(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_greedy(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_call(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_call(a0, a1, a2, a3, a4, a5));
    glue_release(&call);
    return result;
}
static JSValue import_call_answer(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_call_answer(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_actor_id(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_actor_id(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_message_from(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_message_from(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_reply(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_reply(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_reply_later(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt64(js, dw_reply_later());
    glue_release(&call);
    return result;
}
static JSValue import_reply_to(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int64_t a0 = glue_long(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_reply_to(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_actor_send(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_actor_send(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_message_kind(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_message_kind());
    glue_release(&call);
    return result;
}
static JSValue import_actor_watch(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_actor_watch(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_actor_unwatch(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_actor_unwatch(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_actor_spawn(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_actor_spawn(a0, a1, a2, a3, a4, a5));
    glue_release(&call);
    return result;
}
static JSValue import_actor_fork(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_actor_fork(a0, a1, a2, a3));
    glue_release(&call);
    return result;
}
static JSValue import_actor_timer(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    uint64_t a0 = glue_ulong(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_actor_timer(a0, a1, a2));
    glue_release(&call);
    return result;
}
static JSValue import_group_join(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_group_join(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_group_leave(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_group_leave(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_actor_stop(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_actor_stop());
    glue_release(&call);
    return result;
}
static JSValue import_state_give(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_state_give(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_state_bytes(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt64(js, dw_state_bytes());
    glue_release(&call);
    return result;
}
static JSValue import_state_take(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_state_take(a0, a1));
    glue_release(&call);
    return result;
}
static JSValue import_handle_keep(JSContext *js, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = js, .count = count, .values = values};
    int32_t a0 = glue_int(&call, 0);
    JSValue result = glue_failed(&call) ? JS_EXCEPTION : JS_NewInt32(js, dw_handle_keep(a0));
    glue_release(&call);
    return result;
}
static const JSCFunctionListEntry glue_functions[] = {
    JS_CFUNC_DEF("abi_version", 0, import_abi_version),
    JS_CFUNC_DEF("last_error", 2, import_last_error),
    JS_CFUNC_DEF("input", 2, import_input),
    JS_CFUNC_DEF("device_name", 2, import_device_name),
    JS_CFUNC_DEF("clock_ns", 0, import_clock_ns),
    JS_CFUNC_DEF("host_copied_bytes", 0, import_host_copied_bytes),
    JS_CFUNC_DEF("graph_create", 0, import_graph_create),
    JS_CFUNC_DEF("graph_tensor", 4, import_graph_tensor),
    JS_CFUNC_DEF("graph_op", 4, import_graph_op),
    JS_CFUNC_DEF("graph_output", 3, import_graph_output),
    JS_CFUNC_DEF("tensor_shape", 3, import_tensor_shape),
    JS_CFUNC_DEF("graph_build", 1, import_graph_build),
    JS_CFUNC_DEF("graph_run", 1, import_graph_run),
    JS_CFUNC_DEF("graph_destroy", 1, import_graph_destroy),
    JS_CFUNC_DEF("model_open", 2, import_model_open),
    JS_CFUNC_DEF("model_close", 1, import_model_close),
    JS_CFUNC_DEF("model_info", 2, import_model_info),
    JS_CFUNC_DEF("model_count", 0, import_model_count),
    JS_CFUNC_DEF("model_name", 3, import_model_name),
    JS_CFUNC_DEF("tokenize", 6, import_tokenize),
    JS_CFUNC_DEF("detokenize", 6, import_detokenize),
    JS_CFUNC_DEF("token_is_end", 2, import_token_is_end),
    JS_CFUNC_DEF("chat_template", 6, import_chat_template),
    JS_CFUNC_DEF("chat_render", 5, import_chat_render),
    JS_CFUNC_DEF("chat_tokenize", 6, import_chat_tokenize),
    JS_CFUNC_DEF("chat_parse", 8, import_chat_parse),
    JS_CFUNC_DEF("chat_info", 5, import_chat_info),
    JS_CFUNC_DEF("sampler_chat", 4, import_sampler_chat),
    JS_CFUNC_DEF("context_create", 2, import_context_create),
    JS_CFUNC_DEF("context_fork", 1, import_context_fork),
    JS_CFUNC_DEF("context_save", 3, import_context_save),
    JS_CFUNC_DEF("context_remove", 2, import_context_remove),
    JS_CFUNC_DEF("context_open", 4, import_context_open),
    JS_CFUNC_DEF("context_close", 1, import_context_close),
    JS_CFUNC_DEF("context_length", 1, import_context_length),
    JS_CFUNC_DEF("context_capacity", 1, import_context_capacity),
    JS_CFUNC_DEF("context_trim", 2, import_context_trim),
    JS_CFUNC_DEF("context_shift", 3, import_context_shift),
    JS_CFUNC_DEF("context_window", 3, import_context_window),
    JS_CFUNC_DEF("lora_count", 1, import_lora_count),
    JS_CFUNC_DEF("lora_name", 4, import_lora_name),
    JS_CFUNC_DEF("context_set_loras", 4, import_context_set_loras),
    JS_CFUNC_DEF("context_loras", 4, import_context_loras),
    JS_CFUNC_DEF("context_rows", 2, import_context_rows),
    JS_CFUNC_DEF("context_logits", 2, import_context_logits),
    JS_CFUNC_DEF("forward", 5, import_forward),
    JS_CFUNC_DEF("forward_hidden", 5, import_forward_hidden),
    JS_CFUNC_DEF("forward_many", 2, import_forward_many),
    JS_CFUNC_DEF("forward_top", 6, import_forward_top),
    JS_CFUNC_DEF("forward_tree", 1, import_forward_tree),
    JS_CFUNC_DEF("context_keep", 3, import_context_keep),
    JS_CFUNC_DEF("forward_embeddings", 5, import_forward_embeddings),
    JS_CFUNC_DEF("token_embeddings", 4, import_token_embeddings),
    JS_CFUNC_DEF("embed", 6, import_embed),
    JS_CFUNC_DEF("sampler_create", 2, import_sampler_create),
    JS_CFUNC_DEF("sampler_logit_bias", 3, import_sampler_logit_bias),
    JS_CFUNC_DEF("sampler_dry_breakers", 4, import_sampler_dry_breakers),
    JS_CFUNC_DEF("sampler_grammar", 4, import_sampler_grammar),
    JS_CFUNC_DEF("sampler_json_schema", 4, import_sampler_json_schema),
    JS_CFUNC_DEF("sampler_mask", 2, import_sampler_mask),
    JS_CFUNC_DEF("sampler_fork", 2, import_sampler_fork),
    JS_CFUNC_DEF("sampler_close", 1, import_sampler_close),
    JS_CFUNC_DEF("sample", 2, import_sample),
    JS_CFUNC_DEF("forward_sample", 4, import_forward_sample),
    JS_CFUNC_DEF("generate_begin", 3, import_generate_begin),
    JS_CFUNC_DEF("generate_wait", 1, import_generate_wait),
    JS_CFUNC_DEF("generate_end", 1, import_generate_end),
    JS_CFUNC_DEF("sampler_accept", 2, import_sampler_accept),
    JS_CFUNC_DEF("greedy", 2, import_greedy),
    JS_CFUNC_DEF("call", 6, import_call),
    JS_CFUNC_DEF("call_answer", 2, import_call_answer),
    JS_CFUNC_DEF("actor_id", 2, import_actor_id),
    JS_CFUNC_DEF("message_from", 2, import_message_from),
    JS_CFUNC_DEF("reply", 2, import_reply),
    JS_CFUNC_DEF("reply_later", 0, import_reply_later),
    JS_CFUNC_DEF("reply_to", 4, import_reply_to),
    JS_CFUNC_DEF("actor_send", 4, import_actor_send),
    JS_CFUNC_DEF("message_kind", 0, import_message_kind),
    JS_CFUNC_DEF("actor_watch", 3, import_actor_watch),
    JS_CFUNC_DEF("actor_unwatch", 2, import_actor_unwatch),
    JS_CFUNC_DEF("actor_spawn", 6, import_actor_spawn),
    JS_CFUNC_DEF("actor_fork", 4, import_actor_fork),
    JS_CFUNC_DEF("actor_timer", 3, import_actor_timer),
    JS_CFUNC_DEF("group_join", 2, import_group_join),
    JS_CFUNC_DEF("group_leave", 2, import_group_leave),
    JS_CFUNC_DEF("actor_stop", 0, import_actor_stop),
    JS_CFUNC_DEF("state_give", 2, import_state_give),
    JS_CFUNC_DEF("state_bytes", 0, import_state_bytes),
    JS_CFUNC_DEF("state_take", 2, import_state_take),
    JS_CFUNC_DEF("handle_keep", 1, import_handle_keep),
};
