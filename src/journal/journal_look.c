/* Files of SQLite for who only looks: its own way to files without locks, but that a WAL seems to
 * end where what is in it ends that was told as done. */
#include <stdio.h>
#include <string.h>

#include "journal/journal_internal.h"

typedef struct look_file {
    sqlite3_file base;
    sqlite3_int64 bytes_max;
    /* The file itself follows. */
} look_file;

#define ROOM ((int)((sizeof(look_file) + 15) / 16 * 16))

static sqlite3_file *inner(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((char *)file + ROOM);
}

static int do_close(sqlite3_file *file)
{
    sqlite3_file *own = inner(file);
    return own->pMethods != NULL ? own->pMethods->xClose(own) : SQLITE_OK;
}

static int do_read(sqlite3_file *file, void *to, int count, sqlite3_int64 at)
{
    sqlite3_file *own = inner(file);
    return own->pMethods->xRead(own, to, count, at);
}

static int do_write(sqlite3_file *file, const void *from, int count, sqlite3_int64 at)
{
    (void)file;
    (void)from;
    (void)count;
    (void)at;
    return SQLITE_READONLY;
}

static int do_truncate(sqlite3_file *file, sqlite3_int64 bytes)
{
    (void)file;
    (void)bytes;
    return SQLITE_READONLY;
}

static int do_sync(sqlite3_file *file, int flags)
{
    (void)file;
    (void)flags;
    return SQLITE_OK;
}

static int get_size(sqlite3_file *file, sqlite3_int64 *bytes)
{
    const look_file *look = (const look_file *)(const void *)file;
    sqlite3_file *own = inner(file);
    int result = own->pMethods->xFileSize(own, bytes);
    if (result == SQLITE_OK && *bytes > look->bytes_max) {
        *bytes = look->bytes_max;
    }
    return result;
}

static int do_lock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int check_lock(sqlite3_file *file, int *held)
{
    (void)file;
    *held = 0;
    return SQLITE_OK;
}

static int do_control(sqlite3_file *file, int operation, void *arg)
{
    sqlite3_file *own = inner(file);
    return own->pMethods->xFileControl(own, operation, arg);
}

static int sector_size(sqlite3_file *file)
{
    sqlite3_file *own = inner(file);
    return own->pMethods->xSectorSize(own);
}

static int characteristics(sqlite3_file *file)
{
    sqlite3_file *own = inner(file);
    return own->pMethods->xDeviceCharacteristics(own);
}

static const sqlite3_io_methods methods = {.iVersion = 1,
                                           .xClose = do_close,
                                           .xRead = do_read,
                                           .xWrite = do_write,
                                           .xTruncate = do_truncate,
                                           .xSync = do_sync,
                                           .xFileSize = get_size,
                                           .xLock = do_lock,
                                           .xUnlock = do_lock,
                                           .xCheckReservedLock = check_lock,
                                           .xFileControl = do_control,
                                           .xSectorSize = sector_size,
                                           .xDeviceCharacteristics = characteristics};

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *out_flags)
{
    const dw__look *look = vfs->pAppData;
    sqlite3_vfs *usual = sqlite3_vfs_find("unix-none");
    look_file *own = (look_file *)(void *)file;
    own->base.pMethods = NULL;
    own->bytes_max = (flags & SQLITE_OPEN_WAL) != 0 ? look->wal_bytes : INT64_MAX;
    flags &= ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    int result = usual->xOpen(usual, name, inner(file), flags | SQLITE_OPEN_READONLY, out_flags);
    if (result == SQLITE_OK) {
        own->base.pMethods = &methods;
    }
    return result;
}

dw_status dw__look_begin(dw__look *look, uint64_t wal_bytes, dw_error *err)
{
    sqlite3_vfs *usual = sqlite3_initialize() == SQLITE_OK ? sqlite3_vfs_find("unix-none") : NULL;
    if (usual == NULL) {
        return dw_fail(err, DW_E_UNSUPPORTED, "this SQLite cannot read without locks");
    }
    (void)snprintf(look->name, sizeof look->name, "dw-look-%p", (void *)look);
    look->wal_bytes = wal_bytes < INT64_MAX ? (sqlite3_int64)wal_bytes : INT64_MAX;
    look->vfs = *usual;
    look->vfs.zName = look->name;
    look->vfs.pNext = NULL;
    look->vfs.pAppData = look;
    look->vfs.szOsFile = usual->szOsFile + ROOM;
    look->vfs.xOpen = open_file;
    if (sqlite3_vfs_register(&look->vfs, 0) != SQLITE_OK) {
        return dw_fail(err, DW_E_MEMORY, "SQLite takes no other way to files");
    }
    look->begun = true;
    return DW_OK;
}

void dw__look_end(dw__look *look)
{
    if (look->begun) {
        (void)sqlite3_vfs_unregister(&look->vfs);
        look->begun = false;
    }
}
