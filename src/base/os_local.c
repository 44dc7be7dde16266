/* Local sockets, on Linux and macOS alike. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/os.h"

#define WAITING_MAX 16

static int new_socket(void)
{
    int fd = dw_os_clear_of_standard(socket(AF_UNIX, SOCK_STREAM, 0));
    if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        dw_os_close(fd);
        return -1;
    }
    return fd;
}

static bool does_not_wait(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

/* What is at the path, if anything, is a socket at which nobody listens: it goes. */
static dw_status clear(const struct sockaddr_un *address, dw_error *err)
{
    struct stat about;
    const char *path = address->sun_path;
    if (lstat(path, &about) != 0) {
        return errno == ENOENT ? DW_OK : dw_fail(err, DW_E_IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(about.st_mode)) {
        return dw_fail(err, DW_E_ARG, "%s: there is something that is no socket", path);
    }
    int fd = new_socket();
    if (fd < 0) {
        return dw_fail(err, DW_E_IO, "a socket: %s", strerror(errno));
    }
    int failed = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    dw_os_close(fd);
    if (failed != ECONNREFUSED) {
        return dw_fail(err, DW_E_STATE, "%s: %s", path,
                       failed == 0 ? "somebody answers there" : strerror(failed));
    }
    return unlink(path) == 0 ? DW_OK : dw_fail(err, DW_E_IO, "%s: %s", path, strerror(errno));
}

/* Nobody can connect before it listens, and then its user alone. */
static bool bind_for_user(int fd, const struct sockaddr_un *address, dw_os_local *local)
{
    struct stat about;
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        return false;
    }
    if (lstat(address->sun_path, &about) != 0 || chmod(address->sun_path, 0600) != 0 ||
        listen(fd, WAITING_MAX) != 0 || !does_not_wait(fd)) {
        int reason = errno;
        (void)unlink(address->sun_path);
        errno = reason;
        return false;
    }
    local->device = (uint64_t)about.st_dev;
    local->inode = about.st_ino;
    return true;
}

dw_status dw_os_listen_local(int *fd, dw_os_local *local, const char *path, dw_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *fd = -1;
    if (strlen(path) >= sizeof address.sun_path) {
        return dw_fail(err, DW_E_LIMIT, "%.80s...: %zu bytes, a socket's path has at most %zu",
                       path, strlen(path), sizeof address.sun_path - 1);
    }
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    (void)snprintf(local->path, sizeof local->path, "%s", path);
    dw_status status = clear(&address, err);
    if (status != DW_OK) {
        return status;
    }
    int made = new_socket();
    if (made < 0 || !bind_for_user(made, &address, local)) {
        status = dw_fail(err, DW_E_IO, "%s: %s", path, strerror(errno));
        dw_os_close(made);
        return status;
    }
    *fd = made;
    return DW_OK;
}

void dw_os_unlisten_local(int fd, const dw_os_local *local)
{
    struct stat about;
    if (lstat(local->path, &about) == 0 && (uint64_t)about.st_dev == local->device &&
        (uint64_t)about.st_ino == local->inode) {
        (void)unlink(local->path);
    }
    dw_os_close(fd);
}

int dw_os_accept_local(int fd)
{
    int taken = dw_os_clear_of_standard(accept(fd, NULL, NULL));
    if (taken >= 0 && (fcntl(taken, F_SETFD, FD_CLOEXEC) != 0 || !does_not_wait(taken))) {
        dw_os_close(taken);
        return -1;
    }
    return taken;
}
