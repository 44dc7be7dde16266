#include "cli/util.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES_FIRST 4096

void *dw_cli_alloc(size_t count, size_t bytes)
{
    return calloc(count > 0 ? count : 1, bytes > 0 ? bytes : 1);
}

void *dw_cli_realloc(void *block, size_t count, size_t bytes)
{
    if (bytes > 0 && count > SIZE_MAX / bytes) {
        return NULL;
    }
    size_t total = count * bytes;
    return realloc(block, total > 0 ? total : 1);
}

bool dw_cli_frees(void)
{
#ifdef DW_DEBUG_CHECKS
    return true;
#else
    return false;
#endif
}

uint64_t dw_cli_clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

dw_status dw_cli_read_stream(FILE *stream, const char *name, size_t bytes_max, char **out,
                             size_t *bytes, dw_error *err)
{
    dw_status status = DW_OK;
    char *text = NULL;
    size_t length = 0;
    size_t capacity = 0;
    size_t got;
    *out = NULL;
    *bytes = 0;
    do {
        if (capacity - length < 2) {
            capacity = capacity == 0 ? READ_BYTES_FIRST : capacity * 2;
            char *grown = realloc(text, capacity);
            if (grown == NULL) {
                status =
                    dw_fail(err, DW_E_MEMORY, "%.160s: no memory for %zu bytes", name, capacity);
                goto out;
            }
            text = grown;
        }
        got = fread(text + length, 1, capacity - length - 1, stream);
        length += got;
        if (length > bytes_max) {
            status = dw_fail(err, DW_E_LIMIT, "%.160s: longer than %zu bytes", name, bytes_max);
            goto out;
        }
    } while (got > 0);
    if (ferror(stream)) {
        status = dw_fail(err, DW_E_IO, "%.160s: %s", name, strerror(errno));
        goto out;
    }
    text[length] = '\0';
    *out = text;
    *bytes = length;
    text = NULL;
out:
    free(text);
    return status;
}

dw_status dw_cli_read_file(const char *path, size_t bytes_max, char **out, size_t *bytes,
                           dw_error *err)
{
    *out = NULL;
    *bytes = 0;
    FILE *stream = fopen(path, "rbe");
    if (stream == NULL) {
        return dw_fail(err, errno == ENOENT ? DW_E_NOT_FOUND : DW_E_IO, "%.160s: %s", path,
                       strerror(errno));
    }
    dw_status status = dw_cli_read_stream(stream, path, bytes_max, out, bytes, err);
    (void)fclose(stream);
    return status;
}

dw_status dw_cli_write(int fd, const void *from, size_t bytes, dw_error *err)
{
    const unsigned char *next = from;
    for (size_t left = bytes; left > 0;) {
        ssize_t done = write(fd, next, left);
        if (done < 0 && errno != EINTR) {
            return dw_fail(err, DW_E_IO, "writing %zu bytes: %s", bytes, strerror(errno));
        }
        next += done > 0 ? done : 0;
        left -= done > 0 ? (size_t)done : 0;
    }
    return DW_OK;
}

void dw_cli_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

void dw_cli_sha256_text(char text[DW_CLI_SHA256_TEXT], const void *from, size_t bytes)
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&hash);
    sha256_update(&hash, bytes, from);
    sha256_digest(&hash, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
}
