/* Waits, reads and writes of WASI, one after the other: leaves with the line of the first that is
 * not as it should be, or 0. Its standard input holds "ab" and then nothing, without an end; /d is
 * a folder to write in. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            _Exit(__LINE__);                                                                       \
        }                                                                                          \
    } while (0)

#define MS UINT64_C(1000000)
#define HOUR (3600 * UINT64_C(1000000000))
#define BIG_BYTES ((size_t)10 << 20)

static __wasi_event_t events[4];

static uint64_t now(__wasi_clockid_t clock)
{
    uint64_t ns = 0;
    CHECK(__wasi_clock_time_get(clock, 1, &ns) == 0);
    return ns;
}

static __wasi_subscription_t on_clock(__wasi_clockid_t clock, uint64_t ns, bool absolute)
{
    __wasi_subscription_t one = {.userdata = 1};
    one.u.tag = __WASI_EVENTTYPE_CLOCK;
    one.u.u.clock.id = clock;
    one.u.u.clock.timeout = ns;
    one.u.u.clock.flags = absolute ? __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME : 0;
    return one;
}

static __wasi_subscription_t on_fd(__wasi_eventtype_t what, int fd)
{
    __wasi_subscription_t one = {.userdata = 100 + (uint64_t)fd};
    one.u.tag = what;
    one.u.u.fd_read.file_descriptor = fd;
    return one;
}

/* Events, or minus the error. */
static int polled(const __wasi_subscription_t *wanted, size_t count)
{
    __wasi_size_t got = 0;
    memset(events, 0xee, sizeof events);
    __wasi_errno_t error = __wasi_poll_oneoff(wanted, events, count, &got);
    return error != 0 ? -(int)error : (int)got;
}

static int polled_one(__wasi_subscription_t one)
{
    return polled(&one, 1);
}

static int polled_two(__wasi_subscription_t one, __wasi_subscription_t two)
{
    const __wasi_subscription_t both[] = {one, two};
    return polled(both, 2);
}

static void check_clocks(void)
{
    const __wasi_clockid_t clocks[] = {__WASI_CLOCKID_MONOTONIC, __WASI_CLOCKID_REALTIME};
    for (int i = 0; i < 2; i++) {
        uint64_t before = now(clocks[i]);
        CHECK(polled_one(on_clock(clocks[i], 20 * MS, false)) == 1);
        CHECK(now(clocks[i]) >= before + 19 * MS);
        CHECK(events[0].userdata == 1 && events[0].type == __WASI_EVENTTYPE_CLOCK);
        CHECK(events[0].error == 0);
        before = now(clocks[i]);
        CHECK(polled_one(on_clock(clocks[i], before + 20 * MS, true)) == 1);
        CHECK(now(clocks[i]) >= before + 19 * MS);
        CHECK(polled_one(on_clock(clocks[i], before, true)) == 1); /* it has passed */
        CHECK(polled_one(on_clock(clocks[i], 0, false)) == 1);
        CHECK(polled_two(on_clock(clocks[i], HOUR, false), on_clock(clocks[i], MS, false)) == 1);
        CHECK(polled_two(on_clock(clocks[i], MS, false), on_clock(clocks[i], MS, false)) == 2);
        CHECK(polled_two(on_clock(clocks[i], now(clocks[i]) + HOUR, true),
                         on_clock(clocks[i], MS, false)) == 1);
    }
    CHECK(polled_one(on_clock(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 1, false)) == -__WASI_ERRNO_INVAL);
    CHECK(polled(NULL, 0) == -__WASI_ERRNO_INVAL);
}

static void check_streams(void)
{
    const __wasi_subscription_t later = on_clock(__WASI_CLOCKID_MONOTONIC, HOUR, false);
    const __wasi_subscription_t soon = on_clock(__WASI_CLOCKID_MONOTONIC, 20 * MS, false);
    char bytes[8];
    CHECK(polled_two(later, on_fd(__WASI_EVENTTYPE_FD_READ, 0)) == 1);
    CHECK(events[0].userdata == 100 && events[0].type == __WASI_EVENTTYPE_FD_READ);
    CHECK(events[0].error == 0 && events[0].fd_readwrite.nbytes > 0);
    CHECK(read(0, bytes, sizeof bytes) == 2 && bytes[0] == 'a' && bytes[1] == 'b');
    CHECK(polled_two(soon, on_fd(__WASI_EVENTTYPE_FD_READ, 0)) == 1);
    CHECK(events[0].type == __WASI_EVENTTYPE_CLOCK);
    CHECK(polled_two(later, on_fd(__WASI_EVENTTYPE_FD_WRITE, 1)) == 1);
    CHECK(events[0].userdata == 101 && events[0].type == __WASI_EVENTTYPE_FD_WRITE);
    CHECK(polled_two(on_fd(__WASI_EVENTTYPE_FD_WRITE, 1), on_fd(__WASI_EVENTTYPE_FD_WRITE, 2)) ==
          2);
    CHECK(polled_one(on_fd(__WASI_EVENTTYPE_FD_READ, 1)) == -__WASI_ERRNO_BADF);
    CHECK(polled_one(on_fd(__WASI_EVENTTYPE_FD_WRITE, 0)) == -__WASI_ERRNO_BADF);
    CHECK(polled_one(on_fd(__WASI_EVENTTYPE_FD_READ, 77)) == -__WASI_ERRNO_BADF);
    CHECK(polled_two(on_fd(__WASI_EVENTTYPE_FD_READ, 0), on_fd(__WASI_EVENTTYPE_FD_READ, 77)) == 1);
    CHECK(events[0].error == __WASI_ERRNO_BADF && events[0].userdata == 177);
    CHECK(read(0, bytes, 0) == 0 && write(1, bytes, 0) == 0);
}

/* Long reads and writes go in pieces; nothing of them is lost, and the guest's lists stay. */
static void check_files(void)
{
    char *big = malloc(BIG_BYTES);
    char *back = calloc(1, BIG_BYTES);
    CHECK(big != NULL && back != NULL);
    for (size_t i = 0; i < BIG_BYTES; i++) {
        big[i] = (char)(i * 31 >> 7);
    }
    int fd = open("/d/big", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd > 2);
    for (size_t at = 0; at < BIG_BYTES;) {
        __wasi_ciovec_t from[2] = {{NULL, 0}, {(uint8_t *)big + at, BIG_BYTES - at}};
        __wasi_size_t moved = 0;
        CHECK(__wasi_fd_write(fd, from, 2, &moved) == 0 && moved > 0);
        CHECK(from[1].buf_len == BIG_BYTES - at);
        at += moved;
    }
    for (size_t at = 0; at < BIG_BYTES;) {
        ssize_t got = pread(fd, back + at, BIG_BYTES - at, (off_t)at);
        CHECK(got > 0);
        at += (size_t)got;
    }
    CHECK(memcmp(big, back, BIG_BYTES) == 0);
    CHECK(polled_two(on_clock(__WASI_CLOCKID_MONOTONIC, HOUR, false),
                     on_fd(__WASI_EVENTTYPE_FD_WRITE, fd)) == 1);
    CHECK(polled_two(on_fd(__WASI_EVENTTYPE_FD_READ, 0), on_fd(__WASI_EVENTTYPE_FD_READ, fd)) == 1);
    CHECK(events[0].error == 0 && events[0].userdata == 100 + (uint64_t)fd);
    memset(back, 0, BIG_BYTES);
    CHECK(__wasi_random_get((uint8_t *)back, BIG_BYTES) == 0);
    size_t zeros = 0;
    for (size_t i = 0; i < BIG_BYTES; i++) {
        zeros += back[i] == 0;
    }
    CHECK(zeros < BIG_BYTES / 128 && zeros > BIG_BYTES / 512);
    CHECK(close(fd) == 0);
}

/* Streams keep what they are under another number, and a number is another's then. */
static void check_numbers(void)
{
    int fd = open("/d/small", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd > 2 && write(fd, "xyz", 3) == 3 && lseek(fd, 0, SEEK_SET) == 0);
    char byte = 0;
    CHECK(__wasi_fd_renumber(fd, 0) == 0); /* standard input is closed, and 0 the file */
    CHECK(read(0, &byte, 1) == 1 && byte == 'x');
    CHECK(polled_one(on_fd(__WASI_EVENTTYPE_FD_READ, 0)) == 1);
    CHECK(close(0) == 0 && read(0, &byte, 1) == -1 && errno == EBADF);
    fd = open("/d/small", O_RDWR, 0600);
    CHECK(__wasi_fd_renumber(2, fd) == 0); /* standard error is `fd` */
    CHECK(write(2, "no\n", 3) == -1 && errno == EBADF);
    CHECK(write(fd, "yes\n", 4) == 4);
    CHECK(polled_one(on_fd(__WASI_EVENTTYPE_FD_WRITE, fd)) == 1);
    CHECK(close(1) == 0 && write(1, "no\n", 3) == -1 && errno == EBADF);
}

int main(void)
{
    check_clocks();
    check_streams();
    check_files();
    check_numbers();
    return 0;
}
