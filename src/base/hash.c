#include "base/hash.h"

#include <assert.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/status.h"

/* The library's own create, since its state may grow between versions. */
struct dw_hash128 {
    XXH3_state_t *state;
};

static_assert(sizeof(XXH128_canonical_t) == DW_HASH128_BYTES, "XXH3-128 is 16 bytes");
static_assert(SHA256_DIGEST_SIZE == DW_SHA256_BYTES, "SHA-256 is 32 bytes");

dw_hash128 *dw_hash128_create(void)
{
    dw_hash128 *hash = dw_alloc(1, sizeof *hash);
    if (hash == NULL) {
        return NULL;
    }
    hash->state = XXH3_createState();
    if (hash->state == NULL) {
        dw_free(hash);
        return NULL;
    }
    dw_hash128_reset(hash);
    return hash;
}

void dw_hash128_destroy(dw_hash128 *hash)
{
    if (hash != NULL) {
        (void)XXH3_freeState(hash->state);
        dw_free(hash);
    }
}

void dw_hash128_reset(dw_hash128 *hash)
{
    XXH_errorcode code = XXH3_128bits_reset(hash->state);
    DW_ASSERT(code == XXH_OK);
}

void dw_hash128_add(dw_hash128 *hash, const void *data, size_t bytes)
{
    if (bytes > 0) {
        XXH_errorcode code = XXH3_128bits_update(hash->state, data, bytes);
        DW_ASSERT(code == XXH_OK);
    }
}

static void canonical(uint8_t digest[DW_HASH128_BYTES], XXH128_hash_t value)
{
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, value);
    memcpy(digest, bytes.digest, DW_HASH128_BYTES);
}

void dw_hash128_finish(const dw_hash128 *hash, uint8_t digest[DW_HASH128_BYTES])
{
    canonical(digest, XXH3_128bits_digest(hash->state));
}

void dw_hash128_of(uint8_t digest[DW_HASH128_BYTES], const void *data, size_t bytes)
{
    canonical(digest, XXH3_128bits(bytes > 0 ? data : "", bytes));
}

struct dw_sha256_state {
    struct sha256_ctx own;
};

dw_sha256_state *dw_sha256_create(void)
{
    dw_sha256_state *hash = dw_alloc(1, sizeof *hash);
    if (hash != NULL) {
        sha256_init(&hash->own);
    }
    return hash;
}

void dw_sha256_destroy(dw_sha256_state *hash)
{
    dw_free(hash);
}

void dw_sha256_add(dw_sha256_state *hash, const void *data, size_t bytes)
{
    if (bytes > 0) {
        sha256_update(&hash->own, bytes, data);
    }
}

void dw_sha256_finish(dw_sha256_state *hash, uint8_t digest[DW_SHA256_BYTES])
{
    sha256_digest(&hash->own, DW_SHA256_BYTES, digest);
}

void dw_sha256(uint8_t digest[DW_SHA256_BYTES], const void *data, size_t bytes)
{
    struct sha256_ctx state;
    sha256_init(&state);
    if (bytes > 0) {
        sha256_update(&state, bytes, data);
    }
    sha256_digest(&state, DW_SHA256_BYTES, digest);
}

void dw_hash128_text(char text[DW_HASH128_TEXT], const void *data, size_t bytes)
{
    uint8_t digest[DW_HASH128_BYTES];
    dw_hash128_of(digest, data, bytes);
    dw_hex(text, digest, sizeof digest);
}

void dw_sha256_text(char text[DW_SHA256_TEXT], const void *data, size_t bytes)
{
    uint8_t digest[DW_SHA256_BYTES];
    dw_sha256(digest, data, bytes);
    dw_hex(text, digest, sizeof digest);
}

static uint64_t table_seed;

static void make_table_seed(void)
{
    dw_os_random(&table_seed, sizeof table_seed);
}

uint64_t dw_hash_of_text(const char *text, size_t bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_table_seed);
    return XXH3_64bits_withSeed(text, bytes, table_seed);
}

void dw_hex(char *text, const uint8_t *digest, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[2 * bytes] = '\0';
}

int dw_hex_digit(int c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int lower_hex_digit(char c)
{
    return c >= 'A' && c <= 'F' ? -1 : dw_hex_digit(c);
}

bool dw_hex_parse(uint8_t *digest, size_t bytes, const char *text)
{
    for (size_t i = 0; i < bytes; i++) {
        /* A NUL is no digit, so the second is not read behind the end. */
        int high = lower_hex_digit(text[2 * i]);
        int low = high >= 0 ? lower_hex_digit(text[2 * i + 1]) : -1;
        if (low < 0) {
            return false;
        }
        digest[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * bytes] == '\0';
}
