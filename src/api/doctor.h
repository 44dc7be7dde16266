/* What dw_doctor_examine (include/driftwood.h) fills in. */
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

struct dw_doctor_report {
    bool ok; /* every check is */
    dw_device_info device;
    bool has_gpu;                                 /* whether the machine has any device but CPUs */
    dw_doctor_check checks[DW_DOCTOR_CHECKS_MAX]; /* [check_count] */
    size_t check_count;
};

#endif
