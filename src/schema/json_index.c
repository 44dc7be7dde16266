/* Texts and the number that each stands for: open addressing over XXH3, the texts kept aside. */
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/hash.h"
#include "schema/json_grammar_internal.h"

typedef struct dw__index_entry {
    uint64_t hash;
    char *key; /* [bytes] */
    size_t bytes;
    uint32_t value;
} dw__index_entry;

static uint64_t hash_of(const char *key, size_t bytes)
{
    uint8_t digest[DW_HASH128_BYTES];
    uint64_t hash;
    dw_hash128_of(digest, key, bytes);
    memcpy(&hash, digest, sizeof hash);
    return hash;
}

/* The slot that holds the key, or the empty one where it belongs. */
static size_t slot_of(const dw__index *index, const char *key, size_t bytes, uint64_t hash)
{
    size_t at = (size_t)hash & (index->slot_count - 1);
    for (;; at = (at + 1) & (index->slot_count - 1)) {
        if (index->slots[at] == 0) {
            return at;
        }
        const dw__index_entry *entry = &index->entries[index->slots[at] - 1];
        if (entry->hash == hash && entry->bytes == bytes && memcmp(entry->key, key, bytes) == 0) {
            return at;
        }
    }
}

static bool grow(dw__index *index)
{
    size_t count = index->slot_count > 0 ? index->slot_count * 2 : 64;
    uint32_t *slots = dw_alloc(count, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < index->count; i++) {
        size_t at = (size_t)index->entries[i].hash & (count - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (count - 1);
        }
        slots[at] = (uint32_t)i + 1;
    }
    dw_free(index->slots);
    index->slots = slots;
    index->slot_count = count;
    return true;
}

bool dw__index_find(const dw__index *index, const char *key, size_t bytes, uint32_t *value)
{
    if (index->slot_count == 0) {
        return false;
    }
    size_t at = slot_of(index, key, bytes, hash_of(key, bytes));
    if (index->slots[at] == 0) {
        return false;
    }
    *value = index->entries[index->slots[at] - 1].value;
    return true;
}

bool dw__index_add(dw__index *index, const char *key, size_t bytes, uint32_t value)
{
    if (index->count * 2 >= index->slot_count && !grow(index)) {
        return false;
    }
    if (!DW_ARRAY_RESERVE(index->entries, index->capacity, index->count + 1, UINT32_MAX / 2)) {
        return false;
    }
    char *copy = dw_alloc(bytes + 1, 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, key, bytes);
    uint64_t hash = hash_of(key, bytes);
    size_t at = slot_of(index, key, bytes, hash);
    DW_ASSERT(index->slots[at] == 0);
    index->entries[index->count++] = (dw__index_entry){hash, copy, bytes, value};
    index->slots[at] = (uint32_t)index->count;
    return true;
}

void dw__index_release(dw__index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        dw_free(index->entries[i].key);
    }
    dw_free(index->entries);
    dw_free(index->slots);
    *index = (dw__index){.entries = NULL};
}
