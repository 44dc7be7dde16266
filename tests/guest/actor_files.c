/* An actor with folders. "wNAME TEXT" writes a file in its folder 3, "rNAME" answers what is in it,
 * "R" and "W" the same in folder 4; "oNAME" opens one and leaves it open, answering its number, "c"
 * closes its folder 3, "gN" answers what reading from descriptor N comes to, "p" the names of its
 * folders. Answers are numbers of WASI's errors where one fails. Without libc. */
#include "driftwood_guest.h"

#define WASI(name)                                                                                 \
    __attribute__((import_module("wasi_snapshot_preview1"), import_name(name))) int32_t

typedef struct piece {
    char *data;
    uint32_t count;
} piece;

WASI("path_open")
path_open(int32_t fd, int32_t links, const char *path, uint32_t bytes, int32_t how, uint64_t rights,
          uint64_t inherited, int32_t flags, int32_t *opened);
WASI("fd_write") wasi_fd_write(int32_t fd, const piece *pieces, uint32_t count, uint32_t *written);
WASI("fd_read") wasi_fd_read(int32_t fd, const piece *pieces, uint32_t count, uint32_t *read);
WASI("fd_close") wasi_fd_close(int32_t fd);
WASI("fd_fdstat_get") fdstat_get(int32_t fd, unsigned char *stat);
WASI("fd_prestat_get") prestat_get(int32_t fd, uint32_t *prestat);
WASI("fd_prestat_dir_name") prestat_name(int32_t fd, char *name, uint32_t bytes);

enum { RIGHT_READ = 1 << 1, RIGHT_WRITE = 1 << 6, MAKE = 1, EMPTY = 8 };

static char message[4096];
static char room[4096];

static int32_t fail(int32_t error)
{
    char text[4] = {'E', (char)('0' + error / 10), (char)('0' + error % 10), '\0'};
    return dw_reply(text, 3);
}

static int32_t open_file(int32_t folder, const char *name, uint32_t bytes, int32_t how, int32_t *fd)
{
    uint64_t rights = how != 0 ? RIGHT_WRITE : RIGHT_READ;
    return path_open(folder, 0, name, bytes, how, rights, 0, 0, fd);
}

static int32_t write_file(int32_t folder, char *text, uint32_t bytes)
{
    uint32_t name = 0;
    uint32_t written = 0;
    int32_t fd = 0;
    while (name < bytes && text[name] != ' ') {
        name++;
    }
    int32_t error = open_file(folder, text, name, MAKE | EMPTY, &fd);
    if (error != 0) {
        return fail(error);
    }
    const piece content = {text + name + 1, bytes - name - 1};
    error = wasi_fd_write(fd, &content, 1, &written);
    (void)wasi_fd_close(fd);
    return error != 0 ? fail(error) : dw_reply("ok", 2);
}

static int32_t answer_read(int32_t fd)
{
    uint32_t count = 0;
    const piece to = {room, sizeof room};
    int32_t error = wasi_fd_read(fd, &to, 1, &count);
    return error != 0 ? fail(error) : dw_reply(room, count);
}

static int32_t read_file(int32_t folder, const char *name, uint32_t bytes)
{
    int32_t fd = 0;
    int32_t error = open_file(folder, name, bytes, 0, &fd);
    if (error != 0) {
        return fail(error);
    }
    int32_t status = answer_read(fd);
    (void)wasi_fd_close(fd);
    return status;
}

static int32_t answer_names(void)
{
    uint32_t prestat[2];
    int32_t status = 0;
    for (int32_t fd = 3; status >= 0 && prestat_get(fd, prestat) == 0; fd++) {
        room[0] = ' ';
        (void)prestat_name(fd, room + 1, prestat[1]);
        status = dw_reply(room, prestat[1] + 1);
    }
    return status < 0 ? status : 0;
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message);
    int32_t fd = 0;
    int32_t status = 0;
    if (bytes < 1) {
        return bytes;
    }
    char *text = message + 1;
    uint32_t count = (uint32_t)bytes - 1;
    switch (message[0]) {
    case 'w':
    case 'W':
        return write_file(message[0] == 'w' ? 3 : 4, text, count);
    case 'r':
    case 'R':
        return read_file(message[0] == 'r' ? 3 : 4, text, count);
    case 'o':
        if (open_file(3, text, count, 0, &fd) != 0) {
            return fail(99);
        }
        room[0] = (char)('0' + fd);
        return dw_reply(room, 1);
    case 'g':
        return answer_read(text[0] - '0');
    case 's': /* of which kind descriptor N is */
        status = fdstat_get(text[0] - '0', (unsigned char *)room);
        room[0] = (char)('0' + room[0]);
        return status != 0 ? fail(status) : dw_reply(room, 1);
    case 'c':
        return fail(wasi_fd_close(3));
    default:
        return answer_names();
    }
}
