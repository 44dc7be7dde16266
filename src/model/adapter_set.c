#include "model/adapter_set.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/hash.h"

/* Of a fingerprint: "gguf2:", digits of a quick hash, then of a whole one. */
#define QUICK_CHARS 22
#define WHOLE_CHARS 48

void dw_adapters_init(dw_adapters *adapters)
{
    DW_ASSERT(pthread_mutex_init(&adapters->lock, NULL) == 0);
}

void dw_adapters_release(dw_adapters *adapters)
{
    DW_ASSERT(adapters->sets == NULL);
    for (size_t i = 0; i < dw_adapters_count(adapters); i++) {
        dw_adapter_close(adapters->list[i]);
    }
    (void)pthread_mutex_destroy(&adapters->lock);
}

/* ---- adapters -------------------------------------------------------------------------------- */

size_t dw_adapters_count(const dw_adapters *adapters)
{
    return atomic_load_explicit(&adapters->count, memory_order_acquire);
}

const dw_adapter *dw_adapters_at(const dw_adapters *adapters, size_t index)
{
    DW_ASSERT(index < dw_adapters_count(adapters));
    return adapters->list[index];
}

static dw_status check_scale(const char *name, float scale, dw_error *err)
{
    return isfinite(scale) && fabsf(scale) <= DW_ADAPTER_SCALE_MAX
               ? DW_OK
               : dw_fail(err, DW_E_ARG, "adapter '%.80s': scale %g, from -%g to %g is allowed",
                         name, (double)scale, (double)DW_ADAPTER_SCALE_MAX,
                         (double)DW_ADAPTER_SCALE_MAX);
}

static dw_status check_name(const char *name, dw_error *err)
{
    const size_t length = strlen(name);
    bool plain = length > 0;
    for (size_t i = 0; i < length; i++) {
        plain = plain && name[i] > ' ' && name[i] < 127;
    }
    if (length > DW_ADAPTER_NAME_MAX) {
        return dw_fail(err, DW_E_LIMIT, "adapter: a name of %zu bytes, limit %d", length,
                       DW_ADAPTER_NAME_MAX);
    }
    return plain ? DW_OK
                 : dw_fail(err, DW_E_ARG,
                           "adapter: '%.80s' is no name: characters of ASCII that are no blanks",
                           name);
}

/* With the lock. */
static dw_status check_new(const dw_adapters *adapters, const dw_adapter *adapter, const char *name,
                           dw_error *err)
{
    const size_t count = dw_adapters_count(adapters);
    if (count == DW_ADAPTERS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "adapter '%.80s': the model has %zu, limit %u", name, count,
                       DW_ADAPTERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const dw_adapter *other = adapters->list[i];
        if (strcmp(other->name, name) == 0) {
            return dw_fail(err, DW_E_ARG, "adapter '%.80s': the model has one of this name", name);
        }
        if (strcmp(other->fingerprint, adapter->fingerprint) == 0) {
            return dw_fail(err, DW_E_ARG, "adapter '%.80s': the model has it as '%.80s'", name,
                           other->name);
        }
    }
    return DW_OK;
}

dw_status dw_adapters_add(dw_adapters *adapters, dw_adapter *adapter, const char *name, float scale,
                          dw_error *err)
{
    dw_status status = check_name(name, err);
    if (status == DW_OK) {
        status = check_scale(name, scale, err);
    }
    if (status != DW_OK) {
        return status;
    }
    adapter->name = dw_strdup(name);
    if (adapter->name == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an adapter's name");
    }
    adapter->scale = scale;
    (void)pthread_mutex_lock(&adapters->lock);
    status = check_new(adapters, adapter, name, err);
    if (status == DW_OK) {
        const uint32_t count = atomic_load_explicit(&adapters->count, memory_order_relaxed);
        adapters->list[count] = adapter;
        atomic_store_explicit(&adapters->count, count + 1, memory_order_release);
    }
    (void)pthread_mutex_unlock(&adapters->lock);
    if (status != DW_OK) {
        dw_free(adapter->name);
        adapter->name = NULL;
    }
    return status;
}

dw_status dw_adapters_find(const dw_adapters *adapters, const char *name, uint32_t *index,
                           dw_error *err)
{
    char names[160] = "";
    size_t length = 0;
    const size_t count = dw_adapters_count(adapters);
    for (size_t i = 0; i < count; i++) {
        const char *own = adapters->list[i]->name;
        if (strcmp(own, name) == 0) {
            *index = (uint32_t)i;
            return DW_OK;
        }
        if (length < sizeof names) {
            const int added =
                snprintf(names + length, sizeof names - length, "%s%s", i > 0 ? ", " : "", own);
            length += (size_t)added;
        }
    }
    return count == 0
               ? dw_fail(err, DW_E_NOT_FOUND, "adapter '%.80s': the model has none", name)
               : dw_fail(err, DW_E_NOT_FOUND, "adapter '%.80s': the model has %s", name, names);
}

/* ---- sets ------------------------------------------------------------------------------------ */

dw_adapter_set *dw_adapter_set_ref(dw_adapter_set *set)
{
    if (set != NULL) {
        (void)pthread_mutex_lock(&set->of->lock);
        set->references++;
        (void)pthread_mutex_unlock(&set->of->lock);
    }
    return set;
}

static void free_set(dw_adapter_set *set)
{
    if (set != NULL) {
        dw_free(set->uses);
        dw_free(set->tables);
        dw_free(set);
    }
}

void dw_adapter_set_unref(dw_adapter_set *set)
{
    if (set == NULL) {
        return;
    }
    dw_adapters *of = set->of;
    (void)pthread_mutex_lock(&of->lock);
    const bool last = --set->references == 0;
    if (last) {
        dw_adapter_set **link = &of->sets;
        while (*link != set) {
            link = &(*link)->next;
        }
        *link = set->next;
    }
    (void)pthread_mutex_unlock(&of->lock);
    if (last) {
        free_set(set);
    }
}

static bool is_same(const dw_adapter_set *a, const dw_adapter_set *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++) {
        same = a->choices[i].index == b->choices[i].index &&
               a->choices[i].scale == b->choices[i].scale;
    }
    return same;
}

static int compare_uses(const void *a, const void *b)
{
    const dw_adapter_use *left = a;
    const dw_adapter_use *right = b;
    const uintptr_t of_left = (uintptr_t)left->pair->weight;
    const uintptr_t of_right = (uintptr_t)right->pair->weight;
    if (of_left != of_right) {
        return of_left < of_right ? -1 : 1;
    }
    return left->order < right->order ? -1 : left->order > right->order;
}

/* Put into an order that is the same wherever these adapters are, since sums depend on it. */
static dw_status add_choice(dw_adapter_set *set, const dw_adapters *adapters,
                            const dw_adapter_choice *choice, dw_error *err)
{
    const size_t known = dw_adapters_count(adapters);
    if (choice->index >= known) {
        return dw_fail(err, DW_E_RANGE, "adapter: %u, the model has %zu", choice->index, known);
    }
    const dw_adapter *adapter = adapters->list[choice->index];
    dw_status status = check_scale(adapter->name, choice->scale, err);
    uint32_t at = set->count;
    for (uint32_t i = 0; status == DW_OK && i < set->count; i++) {
        if (set->choices[i].index == choice->index) {
            status = dw_fail(err, DW_E_ARG, "adapter '%.80s' stands twice", adapter->name);
        }
    }
    if (status != DW_OK) {
        return status;
    }
    while (at > 0 && strcmp(adapters->list[set->choices[at - 1].index]->fingerprint,
                            adapter->fingerprint) > 0) {
        set->choices[at] = set->choices[at - 1];
        at--;
    }
    set->choices[at] = *choice;
    set->count++;
    return DW_OK;
}

static void drop_unused(dw_adapter_set *set)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->choices[i].scale != 0.0F) {
            set->choices[kept++] = set->choices[i];
        }
    }
    set->count = kept;
}

static bool is_of_experts(const dw_adapter_pair *pair)
{
    return pair->a->ne[2] > 1 || pair->b->ne[2] > 1;
}

static dw_status list_uses(dw_adapter_set *set, const dw_adapters *adapters, dw_error *err)
{
    size_t count = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        count += adapters->list[set->choices[i].index]->pair_count;
    }
    set->uses = dw_alloc(count + 1, sizeof *set->uses);
    set->tables = dw_alloc((size_t)set->count + 1, sizeof *set->tables);
    if (set->uses == NULL || set->tables == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu pairs of adapters", count);
    }
    for (uint32_t i = 0; i < set->count; i++) {
        const dw_adapter *adapter = adapters->list[set->choices[i].index];
        for (size_t k = 0; k < adapter->pair_count; k++) {
            const dw_adapter_pair *pair = &adapter->pairs[k];
            set->has_experts = set->has_experts || is_of_experts(pair);
            const dw_adapter_use use = {pair, set->choices[i].scale * pair->factor, i};
            if (pair->is_table) {
                set->tables[set->table_count++] = use;
            } else {
                set->uses[set->use_count++] = use;
            }
        }
    }
    qsort(set->uses, set->use_count, sizeof *set->uses, compare_uses);
    return DW_OK;
}

/* With the lock: the one that is there, counted; NULL: there is none. */
static dw_adapter_set *find_same(dw_adapters *adapters, const dw_adapter_set *wanted)
{
    dw_adapter_set *set = adapters->sets;
    while (set != NULL && !is_same(set, wanted)) {
        set = set->next;
    }
    if (set != NULL) {
        set->references++;
    }
    return set;
}

static dw_adapter_set *find(dw_adapters *adapters, const dw_adapter_set *wanted)
{
    (void)pthread_mutex_lock(&adapters->lock);
    dw_adapter_set *set = find_same(adapters, wanted);
    (void)pthread_mutex_unlock(&adapters->lock);
    return set;
}

/* The one that is there, or `made`, which is then taken. */
static dw_adapter_set *join(dw_adapters *adapters, dw_adapter_set *made, bool *taken)
{
    (void)pthread_mutex_lock(&adapters->lock);
    dw_adapter_set *set = find_same(adapters, made);
    *taken = set == NULL;
    if (set == NULL) {
        set = made;
        set->references = 1;
        set->next = adapters->sets;
        adapters->sets = set;
    }
    (void)pthread_mutex_unlock(&adapters->lock);
    return set;
}

static dw_status get_set(dw_adapter_set **out, dw_adapters *adapters,
                         const dw_adapter_choice *choices, uint32_t count, dw_error *err)
{
    dw_status status = DW_OK;
    bool taken = false;
    dw_adapter_set *made = dw_alloc(1, sizeof *made);
    if (made == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a set of adapters");
    }
    made->of = adapters;
    for (uint32_t i = 0; status == DW_OK && i < count; i++) {
        status = add_choice(made, adapters, &choices[i], err);
    }
    drop_unused(made);
    if (status == DW_OK && made->count > 0) {
        *out = find(adapters, made);
    }
    if (status == DW_OK && made->count > 0 && *out == NULL) {
        status = list_uses(made, adapters, err);
        *out = status == DW_OK ? join(adapters, made, &taken) : NULL;
    }
    if (!taken) {
        free_set(made);
    }
    return status;
}

dw_status dw_adapter_set_get(dw_adapter_set **out, dw_adapters *adapters,
                             const dw_adapter_choice *choices, uint32_t count, dw_error *err)
{
    *out = NULL;
    if (count > DW_ADAPTERS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "adapters: %u, limit %u", count, DW_ADAPTERS_MAX);
    }
    return count == 0 ? DW_OK : get_set(out, adapters, choices, count, err);
}

static bool changes_experts(const dw_adapter *adapter)
{
    bool changes = false;
    for (size_t i = 0; i < adapter->pair_count; i++) {
        changes = changes || is_of_experts(&adapter->pairs[i]);
    }
    return changes;
}

dw_status dw_adapter_set_all(dw_adapter_set **out, dw_adapters *adapters, dw_error *err)
{
    dw_adapter_choice choices[DW_ADAPTERS_MAX];
    const uint32_t known = (uint32_t)dw_adapters_count(adapters);
    uint32_t count = 0;
    for (uint32_t i = 0; i < known; i++) {
        if (!changes_experts(adapters->list[i])) {
            choices[count++] = (dw_adapter_choice){i, 1.0F};
        }
    }
    dw_account_scope payer = dw_account_pause(); /* nobody's choice */
    dw_status status = dw_adapter_set_get(out, adapters, choices, count, err);
    dw_account_leave(payer);
    return status;
}

bool dw_adapter_sets_mix(const dw_adapter_set *a, const dw_adapter_set *b)
{
    return a == b || ((a == NULL || !a->has_experts) && (b == NULL || !b->has_experts));
}

dw_status dw_adapter_set_usual(dw_adapter_set **out, dw_adapters *adapters, dw_error *err)
{
    dw_adapter_choice choices[DW_ADAPTERS_MAX];
    const uint32_t count = (uint32_t)dw_adapters_count(adapters);
    for (uint32_t i = 0; i < count; i++) {
        choices[i] = (dw_adapter_choice){i, adapters->list[i]->scale};
    }
    if (count == 0) {
        *out = NULL;
        return DW_OK;
    }
    dw_account_scope payer = dw_account_pause(); /* nobody's choice */
    dw_status status = dw_adapter_set_get(out, adapters, choices, count, err);
    dw_account_leave(payer);
    return status;
}

dw_status dw_adapter_set_fingerprint(const dw_adapter_set *set, char text[DW_FINGERPRINT_BYTES],
                                     dw_error *err)
{
    uint8_t digest[DW_SHA256_BYTES];
    dw_sha256_state *hash = dw_sha256_create();
    if (hash == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a fingerprint");
    }
    dw_sha256_add(hash, text, strlen(text));
    for (uint32_t i = 0; i < set->count; i++) {
        char scale[32]; /* as exact as a float is */
        const dw_adapter *adapter = set->of->list[set->choices[i].index];
        const int length = snprintf(scale, sizeof scale, " %.9g ", (double)set->choices[i].scale);
        dw_sha256_add(hash, scale, (size_t)length);
        dw_sha256_add(hash, adapter->fingerprint, strlen(adapter->fingerprint));
    }
    dw_sha256_finish(hash, digest);
    dw_sha256_destroy(hash);
    char hex[DW_SHA256_TEXT];
    dw_hex(hex, digest, sizeof digest);
    memcpy(text + QUICK_CHARS, hex, WHOLE_CHARS);
    return DW_OK;
}

const dw_adapter_use *dw_adapter_set_find(const dw_adapter_set *set,
                                          const struct ggml_tensor *weight, size_t *count)
{
    size_t from = 0;
    *count = 0;
    if (set == NULL || weight == NULL) {
        return NULL;
    }
    size_t end = set->use_count;
    while (from < end) {
        const size_t middle = (from + end) / 2;
        if ((uintptr_t)set->uses[middle].pair->weight < (uintptr_t)weight) {
            from = middle + 1;
        } else {
            end = middle;
        }
    }
    while (from + *count < set->use_count && set->uses[from + *count].pair->weight == weight) {
        (*count)++;
    }
    return *count > 0 ? &set->uses[from] : NULL;
}
