/* Two hashes and their text: XXH3 of 128 bits detects damage (fast, not collision-resistant);
 * SHA-256 is collision-resistant. Digests are in the order in which they are written as text: for
 * XXH3 the canonical one, the most significant byte first. Thread: any; a state, one at a time. */
#ifndef DW_BASE_HASH_H
#define DW_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DW_HASH128_BYTES 16
#define DW_HASH128_TEXT 33 /* with the NUL */
#define DW_SHA256_BYTES 32
#define DW_SHA256_TEXT 65

/* Incremental XXH3-128. NULL: out of memory. */
typedef struct dw_hash128 dw_hash128;
dw_hash128 *dw_hash128_create(void);
void dw_hash128_destroy(dw_hash128 *hash);
/* Reset to the state after create. */
void dw_hash128_reset(dw_hash128 *hash);
void dw_hash128_add(dw_hash128 *hash, const void *data, size_t bytes);
/* The digest of all that was added; more may be added afterwards. */
void dw_hash128_finish(const dw_hash128 *hash, uint8_t digest[DW_HASH128_BYTES]);

/* The digest of one buffer. `data` may be NULL with 0 bytes. */
void dw_hash128_of(uint8_t digest[DW_HASH128_BYTES], const void *data, size_t bytes);
/* Incremental SHA-256; all functions as those of dw_hash128. */
typedef struct dw_sha256_state dw_sha256_state;
dw_sha256_state *dw_sha256_create(void);
void dw_sha256_destroy(dw_sha256_state *hash);
void dw_sha256_add(dw_sha256_state *hash, const void *data, size_t bytes);
/* The digest of all that was added; afterwards the state is as after create. */
void dw_sha256_finish(dw_sha256_state *hash, uint8_t digest[DW_SHA256_BYTES]);

void dw_sha256(uint8_t digest[DW_SHA256_BYTES], const void *data, size_t bytes);
/* The same as text. */
void dw_hash128_text(char text[DW_HASH128_TEXT], const void *data, size_t bytes);
void dw_sha256_text(char text[DW_SHA256_TEXT], const void *data, size_t bytes);

/* XXH3 of 64 bits for tables in memory, another one in each process: what a file or a guest gives
 * cannot be made to fall together. Never to be kept or sent. */
uint64_t dw_hash_of_text(const char *text, size_t bytes);

/* `text` [2 * bytes + 1]: lower-case hexadecimal digits and a NUL. */
void dw_hex(char *text, const uint8_t *digest, size_t bytes);
/* A hexadecimal digit of either case; -1: it is none. */
int dw_hex_digit(int c);
/* Decode: exactly 2 * bytes such digits, then the NUL; else false, `digest` unspecified. */
bool dw_hex_parse(uint8_t *digest, size_t bytes, const char *text);

#endif
