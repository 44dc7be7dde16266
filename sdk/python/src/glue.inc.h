/* Written by scripts/sdk-imports from guest/driftwood_guest.h and guest/driftwood_abi.h. */
static bool import_abi_version(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_abi_version());
    }
    return glue_done(&call);
}
static bool import_last_error(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_last_error(a0, a1));
    }
    return glue_done(&call);
}
static bool import_input(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_input(a0, a1));
    }
    return glue_done(&call);
}
static bool import_device_name(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_device_name(a0, a1));
    }
    return glue_done(&call);
}
static bool import_clock_ns(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_clock_ns());
    }
    return glue_done(&call);
}
static bool import_host_copied_bytes(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_host_copied_bytes());
    }
    return glue_done(&call);
}
static bool import_graph_create(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_graph_create());
    }
    return glue_done(&call);
}
static bool import_graph_tensor(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_graph_tensor(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_graph_op(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_graph_op(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_graph_output(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_graph_output(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_tensor_shape(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_tensor_shape(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_graph_build(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_graph_build(a0));
    }
    return glue_done(&call);
}
static bool import_graph_run(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_graph_run(a0));
    }
    return glue_done(&call);
}
static bool import_graph_destroy(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_graph_destroy(a0));
    }
    return glue_done(&call);
}
static bool import_model_open(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_model_open(a0, a1));
    }
    return glue_done(&call);
}
static bool import_model_close(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_model_close(a0));
    }
    return glue_done(&call);
}
static bool import_model_info(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_model_info(a0, a1));
    }
    return glue_done(&call);
}
static bool import_model_count(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_model_count());
    }
    return glue_done(&call);
}
static bool import_model_name(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    uint32_t a0 = glue_uint(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_model_name(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_tokenize(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_tokenize(a0, a1, a2, a3, a4, a5));
    }
    return glue_done(&call);
}
static bool import_detokenize(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_detokenize(a0, a1, a2, a3, a4, a5));
    }
    return glue_done(&call);
}
static bool import_token_is_end(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_token_is_end(a0, a1));
    }
    return glue_done(&call);
}
static bool import_chat_template(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    int32_t a3 = glue_int(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_chat_template(a0, a1, a2, a3, a4, a5));
    }
    return glue_done(&call);
}
static bool import_chat_render(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_chat_render(a0, a1, a2, a3, a4));
    }
    return glue_done(&call);
}
static bool import_chat_tokenize(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_chat_tokenize(a0, a1, a2, a3, a4, a5));
    }
    return glue_done(&call);
}
static bool import_chat_parse(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    void *a6 = glue_pointer(&call, 6);
    uint32_t a7 = glue_uint(&call, 7);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_chat_parse(a0, a1, a2, a3, a4, a5, a6, a7));
    }
    return glue_done(&call);
}
static bool import_chat_info(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_chat_info(a0, a1, a2, a3, a4));
    }
    return glue_done(&call);
}
static bool import_sampler_chat(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_chat(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_context_create(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_create(a0, a1));
    }
    return glue_done(&call);
}
static bool import_context_fork(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_fork(a0));
    }
    return glue_done(&call);
}
static bool import_context_save(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_save(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_context_remove(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_remove(a0, a1));
    }
    return glue_done(&call);
}
static bool import_context_open(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_open(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_context_close(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_close(a0));
    }
    return glue_done(&call);
}
static bool import_context_length(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_length(a0));
    }
    return glue_done(&call);
}
static bool import_context_capacity(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_capacity(a0));
    }
    return glue_done(&call);
}
static bool import_context_trim(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_trim(a0, a1));
    }
    return glue_done(&call);
}
static bool import_context_shift(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_shift(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_context_window(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_window(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_lora_count(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_lora_count(a0));
    }
    return glue_done(&call);
}
static bool import_lora_name(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_lora_name(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_context_set_loras(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_set_loras(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_context_loras(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_loras(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_context_rows(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_rows(a0, a1));
    }
    return glue_done(&call);
}
static bool import_context_logits(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_logits(a0, a1));
    }
    return glue_done(&call);
}
static bool import_forward(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_forward_rows(a0, a1, a2, a3, a4));
    }
    return glue_done(&call);
}
static bool import_forward_hidden(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_forward_hidden(a0, a1, a2, a3, a4));
    }
    return glue_done(&call);
}
static bool import_forward_many(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_forward_many(a0, a1));
    }
    return glue_done(&call);
}
static bool import_forward_top(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_forward_top(a0, a1, a2, a3, a4, a5));
    }
    return glue_done(&call);
}
static bool import_forward_tree(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_forward_tree(a0));
    }
    return glue_done(&call);
}
static bool import_context_keep(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_context_keep(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_forward_embeddings(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_forward_embeddings(a0, a1, a2, a3, a4));
    }
    return glue_done(&call);
}
static bool import_token_embeddings(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    void *a3 = glue_pointer(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_token_embeddings(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_embed(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    int32_t a3 = glue_int(&call, 3);
    uint32_t a4 = glue_uint(&call, 4);
    void *a5 = glue_pointer(&call, 5);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_embed(a0, a1, a2, a3, a4, a5));
    }
    return glue_done(&call);
}
static bool import_sampler_create(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_create(a0, a1));
    }
    return glue_done(&call);
}
static bool import_sampler_logit_bias(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_logit_bias(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_sampler_dry_breakers(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_dry_breakers(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_sampler_grammar(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_grammar(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_sampler_json_schema(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_json_schema(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_sampler_mask(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_mask(a0, a1));
    }
    return glue_done(&call);
}
static bool import_sampler_fork(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    uint64_t a1 = glue_ulong(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_fork(a0, a1));
    }
    return glue_done(&call);
}
static bool import_sampler_close(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_close(a0));
    }
    return glue_done(&call);
}
static bool import_sample(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sample(a0, a1));
    }
    return glue_done(&call);
}
static bool import_forward_sample(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    int32_t a3 = glue_int(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_forward_sample(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_generate_begin(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_generate_begin(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_generate_wait(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_generate_wait(a0));
    }
    return glue_done(&call);
}
static bool import_generate_end(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_generate_end(a0));
    }
    return glue_done(&call);
}
static bool import_sampler_accept(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    int32_t a1 = glue_int(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_sampler_accept(a0, a1));
    }
    return glue_done(&call);
}
static bool import_greedy(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_greedy(a0, a1));
    }
    return glue_done(&call);
}
static bool import_call(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_call(a0, a1, a2, a3, a4, a5));
    }
    return glue_done(&call);
}
static bool import_call_answer(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_call_answer(a0, a1));
    }
    return glue_done(&call);
}
static bool import_actor_id(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_actor_id(a0, a1));
    }
    return glue_done(&call);
}
static bool import_message_from(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_message_from(a0, a1));
    }
    return glue_done(&call);
}
static bool import_reply(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_reply(a0, a1));
    }
    return glue_done(&call);
}
static bool import_reply_later(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_reply_later());
    }
    return glue_done(&call);
}
static bool import_reply_to(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int64_t a0 = glue_long(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_reply_to(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_actor_send(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_actor_send(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_message_kind(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_message_kind());
    }
    return glue_done(&call);
}
static bool import_actor_watch(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_actor_watch(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_actor_unwatch(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_actor_unwatch(a0, a1));
    }
    return glue_done(&call);
}
static bool import_actor_spawn(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    void *a4 = glue_pointer(&call, 4);
    uint32_t a5 = glue_uint(&call, 5);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_actor_spawn(a0, a1, a2, a3, a4, a5));
    }
    return glue_done(&call);
}
static bool import_actor_fork(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    void *a2 = glue_pointer(&call, 2);
    uint32_t a3 = glue_uint(&call, 3);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_actor_fork(a0, a1, a2, a3));
    }
    return glue_done(&call);
}
static bool import_actor_timer(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    uint64_t a0 = glue_ulong(&call, 0);
    void *a1 = glue_pointer(&call, 1);
    uint32_t a2 = glue_uint(&call, 2);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_actor_timer(a0, a1, a2));
    }
    return glue_done(&call);
}
static bool import_group_join(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_group_join(a0, a1));
    }
    return glue_done(&call);
}
static bool import_group_leave(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_group_leave(a0, a1));
    }
    return glue_done(&call);
}
static bool import_actor_stop(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_actor_stop());
    }
    return glue_done(&call);
}
static bool import_state_give(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_state_give(a0, a1));
    }
    return glue_done(&call);
}
static bool import_state_bytes(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_state_bytes());
    }
    return glue_done(&call);
}
static bool import_state_take(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *a0 = glue_pointer(&call, 0);
    uint32_t a1 = glue_uint(&call, 1);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_state_take(a0, a1));
    }
    return glue_done(&call);
}
static bool import_handle_keep(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t a0 = glue_int(&call, 0);
    if (!call.failed) {
        py_newint(py_retval(), (py_i64)dw_handle_keep(a0));
    }
    return glue_done(&call);
}
static const struct {
    const char *name;
    py_CFunction function;
} glue_functions[] = {
    {"abi_version", import_abi_version},
    {"last_error", import_last_error},
    {"input", import_input},
    {"device_name", import_device_name},
    {"clock_ns", import_clock_ns},
    {"host_copied_bytes", import_host_copied_bytes},
    {"graph_create", import_graph_create},
    {"graph_tensor", import_graph_tensor},
    {"graph_op", import_graph_op},
    {"graph_output", import_graph_output},
    {"tensor_shape", import_tensor_shape},
    {"graph_build", import_graph_build},
    {"graph_run", import_graph_run},
    {"graph_destroy", import_graph_destroy},
    {"model_open", import_model_open},
    {"model_close", import_model_close},
    {"model_info", import_model_info},
    {"model_count", import_model_count},
    {"model_name", import_model_name},
    {"tokenize", import_tokenize},
    {"detokenize", import_detokenize},
    {"token_is_end", import_token_is_end},
    {"chat_template", import_chat_template},
    {"chat_render", import_chat_render},
    {"chat_tokenize", import_chat_tokenize},
    {"chat_parse", import_chat_parse},
    {"chat_info", import_chat_info},
    {"sampler_chat", import_sampler_chat},
    {"context_create", import_context_create},
    {"context_fork", import_context_fork},
    {"context_save", import_context_save},
    {"context_remove", import_context_remove},
    {"context_open", import_context_open},
    {"context_close", import_context_close},
    {"context_length", import_context_length},
    {"context_capacity", import_context_capacity},
    {"context_trim", import_context_trim},
    {"context_shift", import_context_shift},
    {"context_window", import_context_window},
    {"lora_count", import_lora_count},
    {"lora_name", import_lora_name},
    {"context_set_loras", import_context_set_loras},
    {"context_loras", import_context_loras},
    {"context_rows", import_context_rows},
    {"context_logits", import_context_logits},
    {"forward", import_forward},
    {"forward_hidden", import_forward_hidden},
    {"forward_many", import_forward_many},
    {"forward_top", import_forward_top},
    {"forward_tree", import_forward_tree},
    {"context_keep", import_context_keep},
    {"forward_embeddings", import_forward_embeddings},
    {"token_embeddings", import_token_embeddings},
    {"embed", import_embed},
    {"sampler_create", import_sampler_create},
    {"sampler_logit_bias", import_sampler_logit_bias},
    {"sampler_dry_breakers", import_sampler_dry_breakers},
    {"sampler_grammar", import_sampler_grammar},
    {"sampler_json_schema", import_sampler_json_schema},
    {"sampler_mask", import_sampler_mask},
    {"sampler_fork", import_sampler_fork},
    {"sampler_close", import_sampler_close},
    {"sample", import_sample},
    {"forward_sample", import_forward_sample},
    {"generate_begin", import_generate_begin},
    {"generate_wait", import_generate_wait},
    {"generate_end", import_generate_end},
    {"sampler_accept", import_sampler_accept},
    {"greedy", import_greedy},
    {"call", import_call},
    {"call_answer", import_call_answer},
    {"actor_id", import_actor_id},
    {"message_from", import_message_from},
    {"reply", import_reply},
    {"reply_later", import_reply_later},
    {"reply_to", import_reply_to},
    {"actor_send", import_actor_send},
    {"message_kind", import_message_kind},
    {"actor_watch", import_actor_watch},
    {"actor_unwatch", import_actor_unwatch},
    {"actor_spawn", import_actor_spawn},
    {"actor_fork", import_actor_fork},
    {"actor_timer", import_actor_timer},
    {"group_join", import_group_join},
    {"group_leave", import_group_leave},
    {"actor_stop", import_actor_stop},
    {"state_give", import_state_give},
    {"state_bytes", import_state_bytes},
    {"state_take", import_state_take},
    {"handle_keep", import_handle_keep},
};
