/* A disk that fails as a test asks: this library's rename, link, unlink, mkdir, rmdir, open, fsync,
 * fdatasync, pwrite, write and ftruncate take the place of the C library's in programs that use it,
 * on Linux also for the libraries that they are linked with. Thread: any. */
#ifndef DW_TESTS_FAILING_DISK_H
#define DW_TESTS_FAILING_DISK_H

#include <stdbool.h>
#include <stdint.h>

/* Bits. */
typedef enum disk_kind {
    DISK_OPEN = 1, /* with O_CREAT */
    DISK_MKDIR = 2,
    DISK_RENAME = 4,
    DISK_LINK = 8,
    DISK_UNLINK = 16,
    DISK_RMDIR = 32,
    DISK_SYNC = 64,
    DISK_WRITE = 128,
    DISK_TRUNCATE = 256,
    DISK_NAMES = DISK_OPEN | DISK_MKDIR | DISK_RENAME | DISK_LINK | DISK_UNLINK | DISK_RMDIR,
    DISK_ALL = 511,
} disk_kind;

/* Of operations of `kinds` on paths that have `with` in them: `after` pass, then `count` fail. */
typedef struct disk_plan {
    unsigned kinds; /* 0: none fails */
    const char *with;
    uint64_t after;
    uint64_t count; /* 0: all from there on */
    int error;      /* errno; 0: EIO */
    bool cuts;      /* a write that fails has written half */
    bool kills;     /* the process is killed there instead, in the middle of a write */
} disk_plan;

/* What is not under `root` is left alone; borrowed. Everything is well, and counted from zero. */
void disk_watch(const char *root);
/* NULL: everything is well. Counts from zero. */
void disk_plan_set(const disk_plan *plan);
/* Since then: operations of the kinds of the plan (without a plan: of all), files and folders that
 * were opened, operations that failed. */
uint64_t disk_operations(void);
uint64_t disk_opened(void);
uint64_t disk_failed(void);

#endif
