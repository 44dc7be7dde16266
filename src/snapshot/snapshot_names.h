/* Names in snapshots that the writer and the reader share; docs/snapshot.md describes each. */
#ifndef DW_SNAPSHOT_SNAPSHOT_NAMES_H
#define DW_SNAPSHOT_SNAPSHOT_NAMES_H

#define DW__META_ACTOR "actor"
#define DW__META_MODULE "module"
#define DW__TENSOR_MODULE "module"
#define DW__TENSOR_MESSAGES "messages"
#define DW__NAME_BYTES 48
#define DW__WASM_PAGE_BYTES 65536u

static const char *const dw__handle_names[] = {
    [DW_HANDLE_MODEL] = "model",
    [DW_HANDLE_CONTEXT] = "context",
    [DW_HANDLE_SAMPLER] = "sampler",
    [DW_HANDLE_GRAPH] = "graph",
};
static const char *const dw__kv_names[] = {
    [DW_KV_F16] = "f16", [DW_KV_Q8_0] = "q8_0", [DW_KV_F32] = "f32"};

/* For reading them. */
#define DW__CHOICES(list)                                                                          \
    {                                                                                              \
        list, sizeof(list) / sizeof *(list)                                                        \
    }

#endif
