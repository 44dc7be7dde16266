#include "seeing/outlet.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"

#define LOOK_NS UINT64_C(50000000)
#define HURRY_NS UINT64_C(1000000000)

void dw_outlet_prepare(void)
{
    sigset_t pipes;
    (void)sigemptyset(&pipes);
    (void)sigaddset(&pipes, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipes, NULL);
}

static bool is_over(dw_outlet *outlet)
{
    if (!atomic_load(&outlet->hurries)) {
        return false;
    }
    uint64_t now = dw_os_clock_ns();
    if (outlet->give_up_ns == 0) {
        outlet->give_up_ns = now + HURRY_NS;
    }
    return now >= outlet->give_up_ns;
}

/* Until it takes something, which is then at least PIPE_BUF bytes. */
static bool await(dw_outlet *outlet)
{
    struct pollfd ready = {.fd = outlet->fd, .events = POLLOUT};
    while (dw_os_poll(&ready, 1, dw_os_clock_ns() + LOOK_NS) <= 0) {
        if (is_over(outlet)) {
            outlet->failed = ETIMEDOUT;
            return false;
        }
    }
    return true;
}

bool dw_outlet_write(dw_outlet *outlet, const char *bytes, size_t count)
{
    struct stat about;
    bool is_file = fstat(outlet->fd, &about) == 0 && S_ISREG(about.st_mode);
    while (count > 0 && outlet->failed == 0) {
        if (!is_file && !await(outlet)) {
            break;
        }
        ssize_t wrote =
            write(outlet->fd, bytes, is_file || count < PIPE_BUF ? count : (size_t)PIPE_BUF);
        if (wrote > 0) {
            bytes += wrote;
            count -= (size_t)wrote;
        } else if (wrote < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) {
            outlet->failed = errno;
        } else if (wrote == 0) {
            outlet->failed = EIO;
        }
    }
    return outlet->failed == 0;
}
