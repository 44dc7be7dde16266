/* A second reader of snapshot files, which goes through all of one: written from docs/snapshot.md
 * alone, so that it and src/snapshot/snapshot_open.c find each other's mistakes. It shares nothing
 * with that. Tests hold that both take the same files. */
#ifndef DW_CLI_SNAPSHOT_CHECK_H
#define DW_CLI_SNAPSHOT_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct dw_cli_snapshot_report {
    bool sound;
    uint64_t bytes;        /* read */
    uint64_t tensor_count; /* without fillers and seal */
    uint64_t fault_byte;   /* the first at fault, unless sound */
    char fault[200];       /* what is wrong there */
    char identity[33];     /* the seal as text; "" where it was not read */
    json_t *metadata;      /* object; NULL: none */
    json_t *tensors;       /* array: name, dtype, shape, offset, bytes, known */
} dw_cli_snapshot_report;

/* From where `stream` stands to its end, or where others may follow to the snapshot's; it need not
 * seek. `report` is filled, and released by the caller. */
void dw_cli_snapshot_check(FILE *stream, bool others_follow, dw_cli_snapshot_report *report);
void dw_cli_snapshot_report_release(dw_cli_snapshot_report *report);

#endif
