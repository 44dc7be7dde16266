/* Compressed snapshots: zstd around them, with the library's own framing and checksum. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>

#include "cli/actor_state.h"

#define LEVEL 3
#define PIECE_BYTES ((size_t)1 << 20)

typedef struct pieces {
    unsigned char *in;  /* [PIECE_BYTES] */
    unsigned char *out; /* [PIECE_BYTES] */
    int from;
    int to;
} pieces;

static dw_status open_pieces(pieces *p, int from, int to, dw_error *err)
{
    *p = (pieces){.in = dw_cli_alloc(PIECE_BYTES, 1),
                  .out = dw_cli_alloc(PIECE_BYTES, 1),
                  .from = from,
                  .to = to};
    return p->in != NULL && p->out != NULL ? DW_OK
                                           : dw_fail(err, DW_E_MEMORY, "no memory for zstd");
}

static void release_pieces(pieces *p)
{
    free(p->in);
    free(p->out);
}

static dw_status read_piece(const pieces *p, size_t *bytes, dw_error *err)
{
    ssize_t got;
    do {
        got = read(p->from, p->in, PIECE_BYTES);
    } while (got < 0 && errno == EINTR);
    *bytes = got > 0 ? (size_t)got : 0;
    return got >= 0 ? DW_OK : dw_fail(err, DW_E_IO, "reading: %s", strerror(errno));
}

static dw_status write_piece(const pieces *p, size_t bytes, dw_error *err)
{
    return dw_cli_write(p->to, p->out, bytes, err);
}

static dw_status compress_all(const pieces *p, ZSTD_CStream *stream, dw_error *err)
{
    dw_status status = DW_OK;
    size_t got = 1;
    while (status == DW_OK && got > 0) {
        status = read_piece(p, &got, err);
        ZSTD_inBuffer in = {p->in, got, 0};
        size_t left = 1;
        while (status == DW_OK && left > 0) {
            ZSTD_outBuffer out = {p->out, PIECE_BYTES, 0};
            left = ZSTD_compressStream2(stream, &out, &in, got == 0 ? ZSTD_e_end : ZSTD_e_continue);
            if (ZSTD_isError(left)) {
                return dw_fail(err, DW_E_IO, "zstd: %s", ZSTD_getErrorName(left));
            }
            left = got == 0 ? left : in.size - in.pos;
            status = write_piece(p, out.pos, err);
        }
    }
    return status;
}

dw_status dw_cli_compress(int from, int to, dw_error *err)
{
    pieces p;
    ZSTD_CStream *stream = ZSTD_createCStream();
    dw_status status = open_pieces(&p, from, to, err);
    if (status == DW_OK &&
        (stream == NULL ||
         ZSTD_isError(ZSTD_CCtx_setParameter(stream, ZSTD_c_compressionLevel, LEVEL)) ||
         ZSTD_isError(ZSTD_CCtx_setParameter(stream, ZSTD_c_checksumFlag, 1)))) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for zstd");
    }
    if (status == DW_OK) {
        status = compress_all(&p, stream, err);
    }
    (void)ZSTD_freeCStream(stream);
    release_pieces(&p);
    return status;
}

static dw_status decompress_all(const pieces *p, ZSTD_DStream *stream, dw_error *err)
{
    dw_status status = DW_OK;
    size_t got = 1;
    size_t left = 1;
    while (status == DW_OK && got > 0) {
        status = read_piece(p, &got, err);
        ZSTD_inBuffer in = {p->in, got, 0};
        while (status == DW_OK && in.pos < in.size) {
            ZSTD_outBuffer out = {p->out, PIECE_BYTES, 0};
            left = ZSTD_decompressStream(stream, &out, &in);
            if (ZSTD_isError(left)) {
                return dw_fail(err, DW_E_FORMAT, "zstd: %s", ZSTD_getErrorName(left));
            }
            status = write_piece(p, out.pos, err);
        }
    }
    /* What is left inside the decoder after the last byte of input. */
    while (status == DW_OK && left > 0) {
        ZSTD_inBuffer in = {p->in, 0, 0};
        ZSTD_outBuffer out = {p->out, PIECE_BYTES, 0};
        left = ZSTD_decompressStream(stream, &out, &in);
        if (ZSTD_isError(left) || out.pos == 0) {
            return left == 0 ? DW_OK : dw_fail(err, DW_E_FORMAT, "zstd: it ends too soon");
        }
        status = write_piece(p, out.pos, err);
    }
    return status;
}

dw_status dw_cli_decompress(int from, int to, dw_error *err)
{
    pieces p;
    ZSTD_DStream *stream = ZSTD_createDStream();
    dw_status status = open_pieces(&p, from, to, err);
    if (status == DW_OK && stream == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for zstd");
    }
    if (status == DW_OK) {
        status = decompress_all(&p, stream, err);
    }
    (void)ZSTD_freeDStream(stream);
    release_pieces(&p);
    return status;
}

bool dw_cli_is_compressed(const char *path)
{
    static const unsigned char magic[4] = {DW_CLI_ZSTD_FIRST, 0xb5, 0x2f, 0xfd};
    unsigned char start[4] = {0};
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) { /* a pipe loses what is read */
        return false;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool found = fd >= 0 && read(fd, start, sizeof start) == (ssize_t)sizeof start &&
                 memcmp(start, magic, sizeof magic) == 0;
    dw_cli_close(fd);
    return found;
}

dw_status dw_cli_unpack(const char *path, char *own, size_t capacity, int *fd, dw_error *err)
{
    int to = -1;
    int from = open(path, O_RDONLY | O_CLOEXEC);
    dw_status status = from >= 0 ? dw_cli_temporary(own, capacity, &to, err)
                                 : dw_fail(err, DW_E_IO, "%.150s: %s", path, strerror(errno));
    if (status == DW_OK) {
        status = dw_cli_decompress(from, to, err);
        status = status == DW_OK ? DW_OK : dw_fail_within(err, status, "%.100s", path);
    }
    if (status != DW_OK && to >= 0) {
        dw_cli_remove_temporary(own, to);
        to = -1;
    }
    dw_cli_close(from);
    *fd = to;
    return status;
}
