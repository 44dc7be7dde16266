#include "base/random_stream.h"

#include <assert.h>
#include <nettle/chacha.h>
#include <nettle/hmac.h>
#include <string.h>

#include "base/os.h"
#include "base/status.h"

static_assert(CHACHA_KEY_SIZE == DW_RANDOM_STREAM_BYTES, "a key of ChaCha20");
static_assert(SHA256_DIGEST_SIZE == DW_RANDOM_STREAM_BYTES, "and a digest that is one");

void dw_random_stream_init(dw_random_stream *stream)
{
    dw_os_random(stream->key, sizeof stream->key);
}

void dw_random_stream_init_of(dw_random_stream *stream, uint64_t seed)
{
    uint8_t number[sizeof seed];
    for (size_t i = 0; i < sizeof number; i++) {
        number[i] = (uint8_t)(seed >> (8 * i)); /* the same on every machine */
    }
    memset(stream->key, 0, sizeof stream->key);
    dw_random_stream_derive(stream, stream, number, sizeof number);
}

void dw_random_stream_draw(dw_random_stream *stream, void *to, size_t bytes)
{
    static const uint8_t nonce[CHACHA_NONCE_SIZE];
    struct chacha_ctx cipher;
    uint8_t first[CHACHA_BLOCK_SIZE] = {0};
    DW_ASSERT(bytes < (uint64_t)1 << 38);
    chacha_set_key(&cipher, stream->key);
    chacha_set_nonce(&cipher, nonce);
    chacha_crypt(&cipher, sizeof first, first, first);
    if (bytes > 0) {
        memset(to, 0, bytes);
        chacha_crypt(&cipher, bytes, to, to);
    }
    memcpy(stream->key, first, sizeof stream->key);
}

void dw_random_stream_derive(dw_random_stream *child, const dw_random_stream *stream,
                             const void *what, size_t bytes)
{
    struct hmac_sha256_ctx hash;
    hmac_sha256_set_key(&hash, sizeof stream->key, stream->key);
    hmac_sha256_update(&hash, bytes, what);
    hmac_sha256_digest(&hash, sizeof child->key, child->key);
}

void dw_random_stream_renew(dw_random_stream *stream)
{
    uint8_t fresh[DW_RANDOM_STREAM_BYTES];
    dw_os_random(fresh, sizeof fresh);
    dw_random_stream_derive(stream, stream, fresh, sizeof fresh);
}
