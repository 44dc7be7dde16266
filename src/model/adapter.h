/* LoRA adapters (Hu and others, 2021): to a matrix W of a model's weights the product of two thin
 * ones is added, W x + scale * B (A x). Read from GGUF files as llama.cpp's convert_lora_to_gguf.py
 * writes them: general.type is "adapter", adapter.type "lora", general.architecture the model's;
 * adapter.lora.alpha; tensors NAME.lora_a and NAME.lora_b for a tensor NAME of the model. A file is
 * untrusted; what is not known here is refused by name.
 *
 * What is added is adapter_scale * alpha / rank times the product; without alpha, or with one of 0,
 * adapter_scale times it. Adapters belong to a model, and live as long as it. Contexts choose sets
 * of them (dw_adapter_set), of which each combination of adapters and scales is there once.
 * Thread: any. */
#ifndef DW_MODEL_ADAPTER_H
#define DW_MODEL_ADAPTER_H

#include <pthread.h>

#include "device/device.h"
#include "gguf/gguf.h"
#include "model/weights.h"

#define DW_ADAPTER_RANK_MAX 4096u
/* Ranks are filled up with zeros to a multiple of these: what vectors hold on a CPU, which reads
 * all of an adapter for each token; and what GPUs' kernels like. */
#define DW_ADAPTER_FILLED_CPU 4
#define DW_ADAPTER_FILLED_GPU 16

/* What is added to one matrix, on the model's device. */
typedef struct dw_adapter_pair {
    const struct ggml_tensor *weight; /* the model's: [columns, rows, experts] */
    struct ggml_tensor *a;            /* F32 [columns, rank, experts]; of a table [rank, rows] */
    struct ggml_tensor *b;            /* F32 [rank, rows, experts]; of a table [rank, columns] */
    float factor;                     /* alpha / rank; 1 without alpha */
    bool is_table;                    /* rows are looked up in it: the token embeddings */
} dw_adapter_pair;

typedef struct dw_adapter {
    char *name;
    char *path;                             /* of the file, as of whoever opened it */
    char fingerprint[DW_FINGERPRINT_BYTES]; /* of the file's keys and tensors */
    float scale;                            /* with which new contexts have it; 0: they do not */
    float alpha;
    uint32_t rank; /* of its pairs the largest */
    size_t pair_count;
    dw_adapter_pair *pairs; /* [pair_count], those of equal matrices nowhere */
    uint64_t bytes;         /* of device memory */
    dw_device *device;
    struct ggml_context *ggml;
    ggml_backend_buffer_t buffer;
} dw_adapter;

/* The model that an adapter is for. */
typedef struct dw_adapter_base {
    dw_device *device; /* outlives the adapter */
    const dw_model_shape *shape;
    const dw_model_weights *weights;
    struct ggml_context *tensors; /* the model's, by name; outlives the adapter */
    const char *fingerprint_folder;
} dw_adapter_base;

/* Whether a file says that it is an adapter, of whatever kind. */
bool dw_adapter_is_file(const dw_gguf *gguf);

/* Check the file's adapter against the model, and bring it to the device.
 * Errors: DW_E_FORMAT (a key or tensor that is missing, of another type, with a value or sizes that
 * cannot be), DW_E_UNSUPPORTED (another kind of adapter, another architecture, a tensor that the
 * model lacks or that adapters do not change here), DW_E_NUMERIC (what is no finite number),
 * DW_E_LIMIT (rank), DW_E_MEMORY, DW_E_DEVICE, DW_E_IO. */
dw_status dw_adapter_open(dw_adapter **out, const dw_adapter_base *base, const dw_gguf *gguf,
                          dw_error *err);
void dw_adapter_close(dw_adapter *adapter);

#endif
