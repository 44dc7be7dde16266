#include "snapshot/kept_heads.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "snapshot/snapshot_reader_internal.h"

#define BUCKETS 4096u  /* a power of two */
#define JSON_BYTES 96u /* of a text of metadata, beside its letters */

typedef struct kept {
    struct kept *next; /* in its bucket */
    struct kept *before;
    struct kept *after; /* asked for earlier */
    dw__snapshot_head *head;
    size_t bytes;
} kept;

struct dw_kept_heads {
    pthread_mutex_t lock; /* guards all below */
    size_t bytes_max;
    kept *buckets[BUCKETS];
    kept *newest;
    kept *oldest;
    dw_kept_heads_counts counts;
};

dw_kept_heads *dw_kept_heads_create(size_t bytes_max)
{
    dw_kept_heads *heads = dw_alloc(1, sizeof *heads);
    if (heads != NULL) {
        (void)pthread_mutex_init(&heads->lock, NULL);
        heads->bytes_max = bytes_max;
    }
    return heads;
}

/* The identity is a hash already. */
static kept **bucket_of(dw_kept_heads *heads, const char *identity)
{
    uint8_t digest[DW_HASH128_BYTES] = {0};
    (void)dw_hex_parse(digest, sizeof digest, identity);
    return &heads->buckets[((unsigned)digest[0] << 8 | digest[1]) & (BUCKETS - 1)];
}

static kept **find(dw_kept_heads *heads, const char *identity)
{
    kept **link = bucket_of(heads, identity);
    while (*link != NULL && strcmp((*link)->head->identity, identity) != 0) {
        link = &(*link)->next;
    }
    return link;
}

static void unlink_one(dw_kept_heads *heads, kept *one)
{
    *(one->before != NULL ? &one->before->after : &heads->newest) = one->after;
    *(one->after != NULL ? &one->after->before : &heads->oldest) = one->before;
}

static void link_first(dw_kept_heads *heads, kept *one)
{
    one->before = NULL;
    one->after = heads->newest;
    *(heads->newest != NULL ? &heads->newest->before : &heads->oldest) = one;
    heads->newest = one;
}

static void drop_oldest(dw_kept_heads *heads)
{
    kept *one = heads->oldest;
    kept **link = find(heads, one->head->identity);
    *link = one->next;
    unlink_one(heads, one);
    heads->counts.count--;
    heads->counts.bytes -= one->bytes;
    dw__snapshot_head_unref(one->head);
    dw_free(one);
}

void dw_kept_heads_destroy(dw_kept_heads *heads)
{
    if (heads == NULL) {
        return;
    }
    while (heads->oldest != NULL) {
        drop_oldest(heads);
    }
    (void)pthread_mutex_destroy(&heads->lock);
    dw_free(heads);
}

dw_kept_heads_counts dw_kept_heads_count(dw_kept_heads *heads)
{
    (void)pthread_mutex_lock(&heads->lock);
    dw_kept_heads_counts counts = heads->counts;
    (void)pthread_mutex_unlock(&heads->lock);
    return counts;
}

dw__snapshot_head *dw__kept_head_find(dw_kept_heads *heads, const char *identity, uint64_t bytes)
{
    dw__snapshot_head *head = NULL;
    (void)pthread_mutex_lock(&heads->lock);
    kept *one = *find(heads, identity);
    if (one != NULL && one->head->bytes == bytes) {
        unlink_one(heads, one);
        link_first(heads, one);
        head = dw__snapshot_head_ref(one->head);
    }
    heads->counts.found += head != NULL;
    heads->counts.missed += head == NULL;
    (void)pthread_mutex_unlock(&heads->lock);
    return head;
}

/* About what it takes of memory. */
static size_t bytes_of(const dw__snapshot_head *head)
{
    const char *key;
    json_t *value;
    size_t bytes = sizeof(kept) + sizeof *head;
    bytes += head->entry_count * (sizeof *head->entries + sizeof(void *));
    bytes += head->filler_count * sizeof *head->fillers;
    json_object_foreach(head->metadata, key, value)
    {
        bytes += JSON_BYTES + strlen(key) + json_string_length(value);
    }
    return bytes;
}

void dw__kept_head_put(dw_kept_heads *heads, dw__snapshot_head *head)
{
    const size_t bytes = bytes_of(head);
    kept *one = bytes <= heads->bytes_max / 16 ? dw_alloc(1, sizeof *one) : NULL;
    if (one == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&heads->lock);
    kept **link = find(heads, head->identity);
    if (*link != NULL) { /* another was quicker */
        (void)pthread_mutex_unlock(&heads->lock);
        dw_free(one);
        return;
    }
    *one = (kept){.head = dw__snapshot_head_ref(head), .bytes = bytes};
    *link = one;
    link_first(heads, one);
    heads->counts.count++;
    heads->counts.bytes += bytes;
    while (heads->counts.bytes > heads->bytes_max) {
        drop_oldest(heads);
    }
    (void)pthread_mutex_unlock(&heads->lock);
}
