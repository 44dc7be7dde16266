/* Random numbers that are a state's own: the same state gives the same numbers, and who knows
 * neither it nor one before it cannot tell them from chance.
 *
 * The state is a key. What is drawn is ChaCha20's stream under it (nonce 0, from its second block
 * on), and the first 32 bytes of its first block are the key from then on: of numbers that were
 * drawn before, a state says nothing (D. J. Bernstein, "Fast-key-erasure random-number generators",
 * 2017). Streams are derived from others by HMAC-SHA256. Thread: any; a stream, one at a time. */
#ifndef DW_BASE_RANDOM_STREAM_H
#define DW_BASE_RANDOM_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define DW_RANDOM_STREAM_BYTES 32

typedef struct dw_random_stream {
    uint8_t key[DW_RANDOM_STREAM_BYTES];
} dw_random_stream;

/* Of the system's randomness. */
void dw_random_stream_init(dw_random_stream *stream);
/* Of a number: not a secret. */
void dw_random_stream_init_of(dw_random_stream *stream, uint64_t seed);
/* The next numbers -> `to` [bytes]. 2^38 bytes at once are too many. */
void dw_random_stream_draw(dw_random_stream *stream, void *to, size_t bytes);
/* Another stream, which follows from this one and from `what` [bytes] alone, and which this one
 * does not follow from. `child` may be `stream`. */
void dw_random_stream_derive(dw_random_stream *child, const dw_random_stream *stream,
                             const void *what, size_t bytes);
/* Another stream, of this one's state and of the system's randomness. */
void dw_random_stream_renew(dw_random_stream *stream);

#endif
