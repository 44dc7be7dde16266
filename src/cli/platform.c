/* What systems differ in, as far as the program meets it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/util.h"

#ifdef __APPLE__

#include <mach-o/dyld.h>

/* fsync leaves the data in the disk's own cache there. */
int dw_cli_sync(int fd)
{
    return fcntl(fd, F_FULLFSYNC) == 0 || fsync(fd) == 0 ? 0 : errno;
}

dw_status dw_cli_executable_path(char *path, size_t capacity, dw_error *err)
{
    uint32_t bytes = (uint32_t)capacity;
    if (_NSGetExecutablePath(path, &bytes) != 0) {
        return dw_fail(err, DW_E_LIMIT, "this program's path is longer than %zu bytes",
                       capacity - 1);
    }
    return DW_OK;
}

#else

int dw_cli_sync(int fd)
{
    return fsync(fd) == 0 ? 0 : errno;
}

dw_status dw_cli_executable_path(char *path, size_t capacity, dw_error *err)
{
    ssize_t length = readlink("/proc/self/exe", path, capacity);
    if (length < 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "/proc/self/exe: %s", strerror(errno));
    }
    if ((size_t)length >= capacity) {
        return dw_fail(err, DW_E_LIMIT, "this program's path is longer than %zu bytes",
                       capacity - 1);
    }
    path[length] = '\0';
    return DW_OK;
}

#endif
