/* The answer to `send --json`: it may be as long as 4 GiB, and is whole before the object that
 * holds it begins, since only then it is known whether it is text. So it goes to a file, not to
 * memory, and from there through the escapes of JSON or base64 in pieces. */
#include "cli/actor_answer.h"

#include <errno.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"

#define PIECE_BYTES ((size_t)3 << 14) /* a multiple of 3, so that base64 pads at the end alone */

/* ---- whether it is text ------------------------------------------------------------------- */

/* The next byte of UTF-8 (RFC 3629): neither longer forms than needed, nor surrogates, nor anything
 * above U+10FFFF. */
static bool take_byte(dw_cli_utf8 *utf8, unsigned char byte)
{
    if (utf8->left > 0) {
        bool good = byte >= utf8->low && byte <= utf8->high;
        utf8->left--;
        utf8->low = 0x80;
        utf8->high = 0xbf;
        return good;
    }
    utf8->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    utf8->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    utf8->left = byte < 0xc2 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    return byte < 0x80 || (byte >= 0xc2 && byte <= 0xf4);
}

/* ---- taking it in --------------------------------------------------------------------------- */

dw_status dw_cli_answer_open(dw_cli_answer *answer, const char *id, dw_error *err)
{
    *answer = (dw_cli_answer){.id = id, .fd = -1, .text = true};
    answer->piece = dw_cli_alloc(PIECE_BYTES, 1);
    return answer->piece != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for an answer");
}

void dw_cli_answer_close(dw_cli_answer *answer)
{
    dw_cli_remove_temporary(answer->path, answer->fd);
    free(answer->piece);
}

/* What does not fit in the piece goes to the file; a short answer needs none. */
static dw_status spill(dw_cli_answer *answer, dw_error *err)
{
    dw_status status = DW_OK;
    if (answer->fd < 0) {
        status = dw_cli_temporary(answer->path, sizeof answer->path, &answer->fd, err);
    }
    if (status == DW_OK) {
        status = dw_cli_write(answer->fd, answer->piece, answer->used, err);
    }
    answer->used = 0;
    return status;
}

dw_status dw_cli_answer_add(dw_cli_answer *answer, const unsigned char *bytes, size_t count,
                            dw_error *err)
{
    for (size_t i = 0; i < count && answer->text; i++) {
        answer->text = take_byte(&answer->utf8, bytes[i]);
    }
    answer->bytes += count;
    while (count > 0) {
        size_t room = PIECE_BYTES - answer->used;
        size_t now = count < room ? count : room;
        memcpy(answer->piece + answer->used, bytes, now);
        answer->used += now;
        bytes += now;
        count -= now;
        dw_status status = answer->used == PIECE_BYTES ? spill(answer, err) : DW_OK;
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* ---- giving it out -------------------------------------------------------------------------- */

/* As the rest of the output has it: only what must be escaped is. */
static void put_escaped(const unsigned char *bytes, size_t count)
{
    static const char letters[] = "btnvfr"; /* from 8 on; JSON has no \v */
    size_t plain = 0;                       /* what comes before is put */
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = bytes[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') {
            continue;
        }
        dw_cli_put(bytes + plain, i - plain);
        plain = i + 1;
        if (byte >= 0x20) {
            dw_cli_print("\\%c", byte);
        } else if (byte >= '\b' && byte <= '\r' && byte != '\v') {
            dw_cli_print("\\%c", letters[byte - '\b']);
        } else {
            dw_cli_print("\\u%04X", byte);
        }
    }
    dw_cli_put(bytes + plain, count - plain);
}

static void put_base64(const unsigned char *bytes, size_t count)
{
    char digits[BASE64_ENCODE_RAW_LENGTH(3 << 8)];
    for (size_t at = 0; at < count;) {
        size_t now = count - at < (3 << 8) ? count - at : (3 << 8);
        base64_encode_raw(digits, now, bytes + at);
        dw_cli_put(digits, BASE64_ENCODE_RAW_LENGTH(now));
        at += now;
    }
}

/* All of it, through `put`; each piece but the last is PIECE_BYTES long. */
static dw_status put_all(dw_cli_answer *answer, void (*put)(const unsigned char *, size_t),
                         dw_error *err)
{
    uint64_t filed = answer->bytes - answer->used;
    unsigned char *piece = filed > 0 ? dw_cli_alloc(PIECE_BYTES, 1) : NULL;
    if (filed > 0 && piece == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an answer");
    }
    for (uint64_t at = 0; at < filed; at += PIECE_BYTES) {
        size_t have = 0;
        while (have < PIECE_BYTES) {
            ssize_t got = pread(answer->fd, piece + have, PIECE_BYTES - have, (off_t)(at + have));
            if (got == 0 || (got < 0 && errno != EINTR)) {
                free(piece);
                return dw_fail(err, DW_E_IO, "an answer of %llu bytes cannot be read again: %s",
                               (unsigned long long)answer->bytes, strerror(errno));
            }
            have += got > 0 ? (size_t)got : 0;
        }
        put(piece, PIECE_BYTES);
    }
    free(piece);
    put(answer->piece, answer->used);
    return DW_OK;
}

dw_status dw_cli_answer_print(dw_cli_answer *answer, dw_error *err)
{
    bool text = answer->text && answer->utf8.left == 0;
    dw_status status = DW_OK;
    dw_cli_print("{\n  \"id\": \"%s\",\n  \"answer\": %s", answer->id, text ? "\"" : "null");
    if (text) {
        status = put_all(answer, put_escaped, err);
        dw_cli_print("\"");
    }
    dw_cli_print(",\n  \"bytes\": %llu", (unsigned long long)answer->bytes);
    if (!text) {
        dw_cli_print(",\n  \"answer_base64\": \"");
        status = put_all(answer, put_base64, err);
        dw_cli_print("\"");
    }
    dw_cli_print("\n}\n");
    return status;
}
