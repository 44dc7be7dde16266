/* A folder of its own for a test's snapshot files, and one example whose every byte is known. */
#ifndef DW_TESTS_SNAPSHOT_FIXTURE_H
#define DW_TESTS_SNAPSHOT_FIXTURE_H

#include "snapshot/snapshot_file.h"

typedef struct snapshot_fixture {
    char folder[128];
    char path[160]; /* in the folder; not there at first */
} snapshot_fixture;

int snapshot_fixture_setup(void **state);
int snapshot_fixture_teardown(void **state); /* fails where files are left in the folder */

/* What tests/check_snapshot.py expects: memory [2, 65536], kv.0, tokens.0, one tensor a dtype, an
 * empty one and a scalar; metadata with every kind of character. */
void snapshot_fixture_write_example(const char *path, char *identity);
/* 100 bytes of data and a filler; `value` makes them differ. */
void snapshot_fixture_write_small(const char *path, uint32_t value, char *identity);

/* Bytes of a file; the caller's, dw_free. */
uint8_t *snapshot_fixture_read(const char *path, size_t *bytes);
void snapshot_fixture_put(const char *path, const void *bytes, size_t count);

/* What both readers return for a file, which must be the same; the first one's message in `err`. */
dw_status snapshot_fixture_verdict(const char *path, dw_error *err);

#endif
