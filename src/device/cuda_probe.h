/* What CUDA reports about itself, to explain why there is no device, or why one cannot be used.
 * cuda_probe_cuda.c queries it in builds with CUDA, whose libraries cuda_loader_cuda.c has found;
 * cuda_probe_none.c replaces it in others. cuda_probe.c formats the messages. Thread: any. */
#ifndef DW_DEVICE_CUDA_PROBE_H
#define DW_DEVICE_CUDA_PROBE_H

#include <stdbool.h>
#include <stddef.h>

struct dw_device;

/* Versions as CUDA writes them: 12040 is 12.4; 0: there is none. */
typedef struct dw__cuda_info {
    bool built;          /* this build has a CUDA part */
    int driver_version;  /* the newest CUDA that the installed driver serves */
    int runtime_version; /* that this build was made with */
    int device_count;    /* that the driver lets this process see */
    const char *error;   /* why it sees none; NULL: it was not an error */
    const char *missing; /* dw__cuda_missing_library */
} dw__cuda_info;

/* What is known of one device. */
typedef struct dw__cuda_device_info {
    int capability;    /* 90 is 9.0; 0: not known */
    const char *error; /* why it gives no memory; NULL: it does */
} dw__cuda_device_info;

/* The library, by its file's name, without which devices that are there cannot be used, and which
 * was not found; NULL: none. A driver does not count: without one there are no devices. */
const char *dw__cuda_missing_library(void);
void dw__cuda_probe(dw__cuda_info *info);
/* `ordinal` as in "CUDA0". */
void dw__cuda_probe_device(int ordinal, dw__cuda_device_info *info);
/* CUDA keeps the last error of a thread until it is asked for, and ggml asks after every launch: a
 * failure that was dealt with must not come up there. */
void dw__cuda_forget_error(void);
/* In builds with CUDA: mark the device as lost where `error`, a cudaError_t or CUresult with its
 * text, is a fault that ends the context, after which CUDA answers every call with it. */
void dw__cuda_note_fault(struct dw_device *device, int error, const char *text);

/* One line on why there are no CUDA devices; false: there are some, or nobody would expect any. */
bool dw__cuda_describe_absence(const dw__cuda_info *info, char *text, size_t capacity);
/* The likely cause, to be added to `failure`, the message of a device that cannot be used: "" or
 * " (another process ...)". `architectures` is what the build has code for, as "800,900". */
void dw__cuda_describe_problem(const char *failure, const dw__cuda_device_info *info,
                               const char *architectures, char *text, size_t capacity);

#endif
