/* What CUDA says about itself, to explain why there is no device, or why one cannot be used.
 * cuda_probe_cuda.c asks it, in builds with CUDA, whose libraries cuda_loader_cuda.c has found;
 * cuda_probe_none.c stands in others. cuda_probe.c makes sentences of the answers. Thread: any. */
#ifndef DW_DEVICE_CUDA_PROBE_H
#define DW_DEVICE_CUDA_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/* Versions as CUDA writes them: 12040 is 12.4; 0: there is none. */
typedef struct dw_cuda_state {
    bool built;          /* this build has a CUDA part */
    int driver_version;  /* the newest CUDA that the installed driver serves */
    int runtime_version; /* that this build was made with */
    int device_count;    /* that the driver lets this process see */
    const char *error;   /* why it sees none; NULL: it was not an error */
    const char *missing; /* dw_cuda_missing_library */
} dw_cuda_state;

/* What is known of one device. */
typedef struct dw_cuda_device_state {
    int capability;    /* 90 is 9.0; 0: not known */
    const char *error; /* why it gives no memory; NULL: it does */
} dw_cuda_device_state;

/* The library, by its file's name, without which devices that are there cannot be used, and which
 * was not found; NULL: none. A driver does not count: without one there are no devices. */
const char *dw_cuda_missing_library(void);
void dw_cuda_probe(dw_cuda_state *state);
/* `ordinal` as in "CUDA0". */
void dw_cuda_probe_device(int ordinal, dw_cuda_device_state *state);
/* CUDA keeps the last error of a thread until it is asked for, and ggml asks after every launch: a
 * failure that was dealt with must not come up there. */
void dw_cuda_forget_error(void);

/* One line on why there are no CUDA devices; false: there are some, or nobody would expect any. */
bool dw_cuda_describe_absence(const dw_cuda_state *state, char *text, size_t capacity);
/* What to add to `failure`, the message of a device that could not be used: "" or
 * " (another process ...)". `architectures` is what the build has code for, as "800,900". */
void dw_cuda_describe_problem(const char *failure, const dw_cuda_device_state *state,
                              const char *architectures, char *text, size_t capacity);

#endif
