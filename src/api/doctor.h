/* `driftwood doctor`: each link of the chain checked alone, then all together, on this machine.
 * Nothing here prints. Thread: one at a time. */
#ifndef DW_API_DOCTOR_H
#define DW_API_DOCTOR_H

#include "base/status.h"

#define DW_DOCTOR_CHECKS_MAX 32

typedef struct dw_doctor_check {
    const char *link; /* "link 1", "link 2", "link 3", "chain" */
    const char *name; /* "region_alignment" */
    const char *what; /* one line for people */
    bool ok;
    double value;
    const char *unit;
    const char *goal; /* "0", "<= 0.03"; NULL: a figure without one */
    char note[208];   /* why it failed, or what else there is to say; may be empty */
} dw_doctor_check;

typedef struct dw_doctor_report {
    bool ok; /* every check is */
    dw_device_info device;
    bool has_gpu;                                 /* whether the machine has any device but CPUs */
    dw_doctor_check checks[DW_DOCTOR_CHECKS_MAX]; /* [check_count] */
    size_t check_count;
} dw_doctor_report;

/* Check `device` (NULL: as dw_engine_create chooses) with the guest at `guest_path`
 * (doctor_chain.wasm). A check that fails is in the report; an error is what kept the doctor from
 * checking at all. Errors: those of dw_engine_create and dw_module_open. */
dw_status dw_doctor_examine(dw_doctor_report *report, const char *device, const char *guest_path,
                            dw_error *err);

#endif
