/* The table of actors, the trees of who made whom, and tenants.
 *
 * The table's buckets go by the highest bits of an id, and each one's list is sorted: so it is in
 * the order of the ids, which are random numbers of the host's, evenly spread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "base/public_struct.h"
#include "base/utf8.h"
#include "runtime/runtime_internal.h"

#define BUCKET_BITS_MIN 6u
#define BUCKET_BITS_MAX 26u

void dw__id_text(char text[DW_ACTOR_ID_CHARS + 1], uint64_t id)
{
    dw_actor_id_write(text, id);
}

void dw__sender_text(char text[DW_ACTOR_ID_CHARS + 1], const dw__sender *sender)
{
    if (sender->is_actor) {
        dw__id_text(text, sender->id);
    } else {
        text[0] = '\0';
    }
}

bool dw__id_parse(const char *text, uint64_t *id)
{
    if (!dw_actor_id_good(text)) {
        return false;
    }
    *id = 0;
    for (const char *c = text; *c != '\0'; c++) {
        *id = *id * 16 + (uint64_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
    }
    return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

static size_t bucket_of(const dw_runtime *runtime, uint64_t id)
{
    return (size_t)(id >> (64 - runtime->bucket_bits));
}

dw__record *dw__first_from(const dw_runtime *runtime, uint64_t id)
{
    if (runtime->buckets == NULL) {
        return NULL;
    }
    for (size_t i = bucket_of(runtime, id); i < (size_t)1 << runtime->bucket_bits; i++) {
        dw__record *record = runtime->buckets[i];
        while (record != NULL && (record->id < id || !record->listed)) {
            record = record->next_in_bucket;
        }
        if (record != NULL) {
            return record;
        }
    }
    return NULL;
}

dw__record *dw__find_any(const dw_runtime *runtime, uint64_t id)
{
    if (runtime->buckets == NULL) {
        return NULL;
    }
    dw__record *record = runtime->buckets[bucket_of(runtime, id)];
    while (record != NULL && record->id < id) {
        record = record->next_in_bucket;
    }
    return record != NULL && record->id == id ? record : NULL;
}

dw__record *dw__find(const dw_runtime *runtime, uint64_t id)
{
    dw__record *record = dw__find_any(runtime, id);
    return record != NULL && record->listed ? record : NULL;
}

dw_status dw__find_text(dw_runtime *runtime, const char *text, dw__record **record, dw_error *err)
{
    uint64_t id;
    *record = NULL;
    if (text != NULL && strchr(text, '@') != NULL) {
        dw_status status = dw__find_named(runtime, text, &id, err);
        *record = status == DW_OK ? dw__find(runtime, id) : NULL;
        return status;
    }
    if (text == NULL || !dw__id_parse(text, &id)) {
        return dw_fail(err, DW_E_ARG,
                       "id: '%.40s', %d lower-case hexadecimal digits or TENANT@NAME are needed",
                       text != NULL ? text : "(NULL)", DW_ACTOR_ID_CHARS);
    }
    *record = dw__find(runtime, id);
    return *record != NULL ? DW_OK : dw_fail(err, DW_E_NOT_FOUND, "no actor '%s'", text);
}

static void put(dw_runtime *runtime, dw__record *record)
{
    dw__record **link = &runtime->buckets[bucket_of(runtime, record->id)];
    while (*link != NULL && (*link)->id < record->id) {
        link = &(*link)->next_in_bucket;
    }
    record->next_in_bucket = *link;
    *link = record;
}

/* Room for one more: about one record a bucket. */
static dw_status reserve(dw_runtime *runtime, dw_error *err)
{
    unsigned bits = runtime->buckets == NULL ? BUCKET_BITS_MIN : runtime->bucket_bits + 1;
    if (runtime->buckets != NULL &&
        (runtime->listed_count < (size_t)1 << runtime->bucket_bits || bits > BUCKET_BITS_MAX)) {
        return DW_OK;
    }
    dw__record **before = runtime->buckets;
    size_t count = before != NULL ? (size_t)1 << runtime->bucket_bits : 0;
    dw__record **buckets = dw_alloc((size_t)1 << bits, sizeof(dw__record *));
    if (buckets == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a table of actors");
    }
    runtime->buckets = buckets;
    runtime->bucket_bits = bits;
    for (size_t i = 0; i < count; i++) {
        for (dw__record *record = before[i]; record != NULL;) {
            dw__record *next = record->next_in_bucket;
            put(runtime, record);
            record = next;
        }
    }
    dw_free(before);
    return DW_OK;
}

/* ---- records --------------------------------------------------------------------------------- */

static uint64_t new_id(dw_runtime *runtime)
{
    uint64_t id = 0;
    do {
        runtime->platform.random(runtime->platform.user, &id, sizeof id);
    } while (dw__find_any(runtime, id) != NULL);
    return id;
}

dw_status dw__check_room(const dw_runtime *runtime, const dw__tenant *tenant,
                         const dw__record *parent, size_t more, dw_error *err)
{
    const dw_limits *limits = &runtime->own_limits;
    uint64_t there = runtime->listed_count + runtime->dormant_count;
    if (there + more > limits->actors) {
        return dw_fail(err, DW_E_LIMIT,
                       "actors: %" PRIu64 " in the runtime, limit %" PRIu64 " (actors)", there,
                       limits->actors);
    }
    if (tenant->actors + more > tenant->actors_max) {
        return dw_fail(err, DW_E_LIMIT,
                       "actors: %" PRIu64 " of tenant '%s', limit %" PRIu64 " (actors_max)",
                       tenant->actors, tenant->name, tenant->actors_max);
    }
    if (parent == NULL) {
        return DW_OK;
    }
    if (parent->depth + 1 > limits->generations) {
        return dw_fail(err, DW_E_LIMIT,
                       "generations: %u would descend from each other, limit %" PRIu64
                       " (generations)",
                       parent->depth + 1, limits->generations);
    }
    if (parent->tree->actors - 1 + more > limits->descendants) {
        return dw_fail(err, DW_E_LIMIT,
                       "descendants: %" PRIu64 " of one actor are there, limit %" PRIu64
                       " (descendants)",
                       parent->tree->actors - 1, limits->descendants);
    }
    return DW_OK;
}

static dw__tree **tree_list(dw_runtime *runtime, uint64_t head)
{
    return &runtime->trees[head % DW__TREES];
}

/* NULL: none of its actors is in memory. */
static dw__tree *find_tree(dw_runtime *runtime, uint64_t head)
{
    dw__tree *tree = *tree_list(runtime, head);
    while (tree != NULL && tree->head != head) {
        tree = tree->next;
    }
    return tree;
}

static dw__tree *make_tree(dw_runtime *runtime, uint64_t head, bool counted)
{
    dw__tree *tree = dw_alloc(1, sizeof *tree);
    if (tree != NULL) {
        tree->head = head;
        tree->counted = counted;
        tree->next = *tree_list(runtime, head);
        *tree_list(runtime, head) = tree;
    }
    return tree;
}

static void forget_tree(dw_runtime *runtime, dw__record *record)
{
    dw__tree *tree = record->tree;
    record->tree = NULL;
    if (tree == NULL || --tree->references > 0) {
        return;
    }
    dw__tree **link = tree_list(runtime, tree->head);
    while (*link != tree) {
        link = &(*link)->next;
    }
    *link = tree->next;
    dw_free(tree);
}

/* What a record owns beside itself, in its tree. Errors: DW_E_MEMORY; release what there is. */
static dw_status equip(dw_runtime *runtime, dw__record *record, dw__tree *tree, dw_error *err)
{
    if (tree != NULL) {
        record->tree = tree;
        tree->references++;
    }
    record->own = dw_alloc(1, sizeof *record->own);
    record->turn = runtime->keeper != NULL ? dw_alloc(1, sizeof *record->turn) : NULL;
    if (tree == NULL || record->own == NULL || (runtime->keeper != NULL && record->turn == NULL)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    }
    dw__alarm *const alarms[] = {&record->alarm, &record->keep_alarm, &record->idle_alarm};
    size_t count = runtime->keeper != NULL ? 3 : 1;
    size_t reserved = 0;
    dw_status status = DW_OK;
    while (reserved < count && status == DW_OK) {
        status = dw__alarm_reserve(runtime, err);
        reserved += status == DW_OK;
    }
    while (status != DW_OK && reserved > 0) {
        dw__alarm_unreserve(runtime, alarms[--reserved]);
    }
    return status;
}

static void unequip(dw_runtime *runtime, dw__record *record)
{
    forget_tree(runtime, record);
    dw_free(record->own);
    dw_free(record->turn);
    dw_free(record->undone_rows);
    dw_free(record->ancestors);
    dw_free(record);
}

/* It is in the table and found there; whose it is. */
static void enlist(dw_runtime *runtime, dw__record *record, dw__tenant *tenant)
{
    record->tenant = tenant;
    record->state = DW__MAKING;
    put(runtime, record);
    record->listed = record->tabled = true;
    record->after = runtime->all;
    if (runtime->all != NULL) {
        runtime->all->before = record;
    }
    runtime->all = record;
    runtime->record_count++;
    runtime->listed_count++;
    runtime->busy_count++; /* DW__MAKING */
    if (tenant->records++ == 0) {
        runtime->weights += tenant->weight;
        runtime->peopled_count++;
        runtime->may_begin = true;
    }
    dw__note_rest(runtime, record);
}

dw__wanted dw__wanted_of(dw__record *parent, uint64_t id)
{
    return (dw__wanted){.id = id,
                        .tenant = parent->tenant,
                        .parent = parent,
                        .capabilities = parent->capabilities,
                        .failures_max = parent->failures_max,
                        .priority = parent->priority,
                        .supervision = parent->supervision,
                        .durability = parent->durability,
                        .durability_s = parent->durability_s,
                        .seed = parent->seed};
}

static void take_wanted(dw_runtime *runtime, dw__record *record, const dw__wanted *wanted)
{
    record->capabilities = wanted->capabilities;
    record->failures_max = wanted->failures_max;
    record->priority = wanted->priority;
    record->supervision = wanted->supervision;
    record->durability = wanted->durability;
    record->durability_s = wanted->durability_s;
    record->pinned = wanted->pinned;
    if (wanted->parent != NULL) {
        dw__join_family(runtime, record, wanted->parent);
        record->made_by = (dw__sender){.is_actor = true, .id = wanted->parent->id};
        record->depth = wanted->from_outside ? 0 : wanted->parent->depth + 1;
    }
}

dw_status dw__record_create(dw_runtime *runtime, const dw__wanted *wanted, dw__record **out,
                            dw_error *err)
{
    *out = NULL;
    const dw__record *grower = wanted->from_outside ? NULL : wanted->parent;
    dw_status status = dw__check_room(runtime, wanted->tenant, grower, 1, err);
    if (status == DW_OK) {
        status = reserve(runtime, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__record *record = dw_alloc(1, sizeof *record);
    if (record == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    }
    record->id = wanted->id != 0 ? wanted->id : new_id(runtime);
    status = equip(runtime, record,
                   grower != NULL ? grower->tree : make_tree(runtime, record->id, true), err);
    if (status != DW_OK) {
        unequip(runtime, record);
        return status;
    }
    record->tree->actors++;
    take_wanted(runtime, record, wanted);
    record->names_known = true;
    record->limits = &runtime->own_limits; /* until its own are known */
    if (wanted->seed != NULL) {
        record->seed = runtime->platform.seed_ref(runtime->platform.user, wanted->seed);
        record->limits = runtime->platform.seed_limits(runtime->platform.user, record->seed);
    }
    enlist(runtime, record, wanted->tenant);
    wanted->tenant->actors++;
    runtime->counts.made++;
    dw__happened(runtime, record,
                 &(dw__happening){.kind = DW_EVENT_MADE, .other = record->made_by});
    *out = record;
    return DW_OK;
}

/* ---- in a folder ----------------------------------------------------------------------------- */

dw_status dw__check_made(const dw__record *record, dw_error *err)
{
    bool is_made =
        record == NULL || record->brought || (record->state != DW__MAKING && record->made == NULL);
    return is_made ? DW_OK
                   : dw_fail(err, DW_E_BUSY, "actor %016" PRIx64 " is being made", record->id);
}

static void take_row(dw_runtime *runtime, dw__record *record, const dw_actor_row *row,
                     const dw__tenant *tenant)
{
    const dw_actor_traits *traits = &row->traits;
    uint64_t parent = 0;
    record->depth = row->depth;
    record->capabilities = traits->capabilities & tenant->capabilities;
    record->failures_max = traits->failures_max;
    record->priority = dw__queue_of((dw_priority)traits->priority);
    record->supervision =
        traits->supervision == DW_SUPERVISE_STOP ? DW_SUPERVISE_STOP : DW_SUPERVISE_RESTART;
    dw__durability_read(traits->policy, &record->durability, &record->durability_s);
    record->pinned = traits->pinned;
    record->made_by.is_actor = dw__id_parse(row->parent, &parent);
    record->made_by.id = parent;
    dw__record *there = record->made_by.is_actor ? dw__find(runtime, parent) : NULL;
    if (there != NULL) {
        dw__join_family(runtime, record, there);
    }
    record->in_folder = record->brought = true;
    dw__counts_read(runtime, &row->counts, &record->sums, &record->restarts);
    record->failures = row->counts.failures;
    record->aside_count = row->set_aside;
    record->limits = &runtime->own_limits; /* until its own are known */
}

dw_status dw__record_bring(dw_runtime *runtime, const dw_actor_row *row, dw__record **out,
                           dw_error *err)
{
    uint64_t head = 0;
    *out = NULL;
    dw__tenant *tenant = dw__find_tenant(runtime, row->traits.tenant);
    if (tenant == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "actor %s: its tenant '%s' is not there", row->id,
                       row->traits.tenant);
    }
    dw_status status = dw__may_queue(runtime, tenant, err);
    if (status == DW_OK) {
        status = reserve(runtime, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__record *record = dw_alloc(1, sizeof *record);
    if (record == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    }
    bool good = dw__id_parse(row->id, &record->id) && dw__id_parse(row->head, &head);
    DW_ASSERT(good);
    dw__tree *tree = find_tree(runtime, head);
    status = equip(runtime, record, tree != NULL ? tree : make_tree(runtime, head, false), err);
    if (status != DW_OK) {
        unequip(runtime, record);
        return status;
    }
    take_row(runtime, record, row, tenant);
    enlist(runtime, record, tenant);
    dw__note_stray(runtime, record);
    dw__adopt_strays(runtime, record);
    dw__names_take(runtime, record, row->name, NULL, 0);
    record->names_known = false; /* it may have changed since */
    DW_ASSERT(runtime->dormant_count > 0);
    runtime->dormant_count--;
    *out = record;
    return DW_OK;
}

void dw__forget_dormant(dw_runtime *runtime, const dw_actor_row *row)
{
    uint64_t head = 0;
    dw__tenant *tenant = dw__find_any_tenant(runtime, row->traits.tenant);
    dw__tree *tree = dw__id_parse(row->head, &head) ? find_tree(runtime, head) : NULL;
    if (tenant != NULL && tenant->actors > 0) {
        tenant->actors--;
    }
    if (tree != NULL && tree->counted && tree->actors > 0) {
        tree->actors--;
    }
    runtime->dormant_count -= runtime->dormant_count > 0;
    runtime->counts.stopped++;
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void leave_table(dw_runtime *runtime, dw__record *record)
{
    dw__record **link = &runtime->buckets[bucket_of(runtime, record->id)];
    while (*link != record) {
        link = &(*link)->next_in_bucket;
    }
    *link = record->next_in_bucket;
    record->tabled = false;
}

void dw__record_unmade(dw_runtime *runtime, dw__record *record)
{
    record->in_folder = false;
    record->ends_in_folder = true;
    if (record->tabled && !record->listed) {
        leave_table(runtime, record);
    }
}

void dw__unlist(dw_runtime *runtime, dw__record *record, bool ends)
{
    DW_ASSERT(record->listed && !record->queued);
    record->listed = false;
    dw__note_rest(runtime, record);
    if (!record->in_folder) { /* else it is known as leaving, until it has left */
        leave_table(runtime, record);
    }
    dw__names_forget(runtime, record);
    dw__record *heir = record->parent;
    while (record->first_child != NULL) { /* they descend from whom it descends from */
        dw__record *child = record->first_child;
        dw__note_ancestors(child);
        dw__leave_family(runtime, child);
        if (heir != NULL) {
            dw__join_family(runtime, child, heir);
        }
    }
    dw__leave_family(runtime, record);
    dw__note_stray(runtime, record);
    runtime->listed_count--;
    if (--record->tenant->records == 0) {
        runtime->weights -= record->tenant->weight;
        runtime->peopled_count--;
        runtime->may_begin = true;
    }
    if (!ends) {
        runtime->dormant_count++;
        return;
    }
    record->tree->actors--;
    record->tenant->actors--;
    runtime->counts.stopped++;
    dw__happened(runtime, record, &(dw__happening){.kind = DW_EVENT_STOPPED});
}

void dw__record_free(dw_runtime *runtime, dw__record *record)
{
    DW_ASSERT(!record->listed && record->body == NULL && record->mail.count == 0);
    if (record->tabled) {
        leave_table(runtime, record);
    }
    if (record->before != NULL) {
        record->before->after = record->after;
    } else {
        runtime->all = record->after;
    }
    if (record->after != NULL) {
        record->after->before = record->before;
    }
    dw__set_state(runtime, record, DW__RESTING);
    dw__alarm_unreserve(runtime, &record->alarm);
    if (runtime->keeper != NULL) {
        dw__alarm_unreserve(runtime, &record->keep_alarm);
        dw__alarm_unreserve(runtime, &record->idle_alarm);
    }
    dw__note_memory(runtime, record, 0);
    runtime->record_count--;
    unequip(runtime, record);
}

/* ---- tenants --------------------------------------------------------------------------------- */

dw__tenant *dw__find_any_tenant(const dw_runtime *runtime, const char *name)
{
    dw__tenant *tenant = runtime->tenants;
    while (tenant != NULL && strcmp(tenant->name, name) != 0) {
        tenant = tenant->next;
    }
    return tenant;
}

dw__tenant *dw__find_tenant(const dw_runtime *runtime, const char *name)
{
    dw__tenant *tenant = dw__find_any_tenant(runtime, name);
    return tenant != NULL && !tenant->absent ? tenant : NULL;
}

dw_status dw__tenant_create(dw_runtime *runtime, const char *name, dw__tenant **out, dw_error *err)
{
    *out = NULL;
    if (runtime->tenant_count >= DW__TENANTS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "tenants: %zu, which is the limit", runtime->tenant_count);
    }
    dw__tenant *tenant = dw_alloc(1, sizeof *tenant);
    if (tenant == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a tenant");
    }
    (void)snprintf(tenant->name, sizeof tenant->name, "%s", name);
    tenant->absent = true;
    tenant->next = runtime->tenants;
    runtime->tenants = tenant;
    tenant->number = (uint32_t)runtime->tenant_count++;
    *out = tenant;
    return DW_OK;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; names != NULL && i < count; i++) {
        dw_free(names[i]);
    }
    dw_free(names);
}

void dw__tenant_free(dw__tenant *tenant)
{
    free_names(tenant->models, tenant->model_count);
    free_names(tenant->tools, tenant->tool_count);
    free_names(tenant->context_reads, tenant->context_read_count);
    free_names(tenant->context_writes, tenant->context_write_count);
    dw__folders_unref(tenant->folders);
    dw__ended_free(tenant->ended);
    dw_free(tenant);
}

/* `*out`: copies, NULL where any will do. */
static dw_status copy_names(const char *const *names, size_t count, char ***out, dw_error *err)
{
    char **copies = names != NULL ? dw_alloc(count, sizeof(char *)) : NULL;
    bool good = names == NULL || copies != NULL;
    for (size_t i = 0; names != NULL && i < count && good; i++) {
        copies[i] = dw_strdup(names[i]);
        good = copies[i] != NULL;
    }
    if (!good) {
        free_names(copies, count);
        copies = NULL;
    }
    *out = copies;
    return good ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a tenant");
}

static void set_names(char ***names, size_t *count, char **to, size_t to_count)
{
    free_names(*names, *count);
    *names = to;
    *count = to != NULL ? to_count : 0;
}

/* What its actors may be granted. Errors: DW_E_MEMORY; nothing has changed. */
static dw_status take_grants(dw__tenant *tenant, const dw_tenant_options *own, dw_error *err)
{
    const struct {
        const char *const *from; /* [count] */
        size_t count;
        char ***to;
        size_t *to_count;
    } lists[] = {
        {own->models, own->model_count, &tenant->models, &tenant->model_count},
        {own->tools, own->tool_count, &tenant->tools, &tenant->tool_count},
        {own->context_reads, own->context_read_count, &tenant->context_reads,
         &tenant->context_read_count},
        {own->context_writes, own->context_write_count, &tenant->context_writes,
         &tenant->context_write_count},
    };
    enum { COUNT = sizeof lists / sizeof lists[0] };
    char **copies[COUNT] = {NULL};
    dw_status status = DW_OK;
    for (size_t i = 0; i < COUNT && status == DW_OK; i++) {
        status = copy_names(lists[i].from, lists[i].count, &copies[i], err);
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (status == DW_OK) {
            set_names(lists[i].to, lists[i].to_count, copies[i], lists[i].count);
        } else if (copies[i] != NULL) {
            free_names(copies[i], lists[i].count);
        }
    }
    return status;
}

static dw_status check_patterns(const char *const *patterns, size_t count, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; patterns != NULL && i < count && status == DW_OK; i++) {
        status = dw_context_pattern_check(patterns[i], err);
    }
    return status;
}

static dw_status check_tenant(const char *name, const dw_tenant_options *options, dw_error *err)
{
    size_t bytes = name != NULL ? strnlen(name, DW_TENANT_NAME_MAX + 1) : DW_TENANT_NAME_MAX + 1;
    if (bytes > DW_TENANT_NAME_MAX || (bytes > 0 && !dw_text_is_name(name))) {
        return dw_fail(err, DW_E_ARG,
                       "tenant '%.63s': a name is at most %d bytes of UTF-8, none of them below a "
                       "space",
                       name != NULL ? name : "(NULL)", DW_TENANT_NAME_MAX);
    }
    if (options->weight > 10000) {
        return dw_fail(err, DW_E_RANGE, "tenant '%s': weight %u, at most 10,000", name,
                       options->weight);
    }
    if (options->public_prefixes && options->no_shared_prefixes) {
        return dw_fail(err, DW_E_ARG, "tenant '%s': prefixes that are public and not shared", name);
    }
    if ((options->capabilities & ~(uint32_t)DW_MAY_ALL) != 0) {
        return dw_fail(err, DW_E_RANGE, "tenant '%s': capabilities 0x%x, there are 0x%x", name,
                       options->capabilities, (unsigned)DW_MAY_ALL);
    }
    return DW_OK;
}

/* What is said of it by those who do not know whose it is. `*folders` are the caller's. */
static dw_status read_parts(const dw_tenant_options *own, dw_limits *limits, dw__folders **folders,
                            dw_error *err)
{
    dw_status status = check_patterns(own->context_reads, own->context_read_count, err);
    if (status == DW_OK) {
        status = check_patterns(own->context_writes, own->context_write_count, err);
    }
    if (status == DW_OK) {
        status = dw__durability_check(own->durability, own->durability_s, err);
    }
    if (status == DW_OK) {
        status = dw_limits_take(limits, own->limits, err);
    }
    return status == DW_OK ? dw__folders_create(folders, own->dirs, own->dir_count, err) : status;
}

/* Its actors in the folder, which slept while it was absent, may have something to do. */
static void wake_tenant(dw_runtime *runtime, const dw__tenant *tenant)
{
    if (tenant->actors > 0 && !runtime->options.works_on_request && !runtime->options.read_only) {
        dw__scan_folder(runtime);
    }
}

/* All but models, tools, contexts and folders. */
static void take_options(dw_runtime *runtime, dw__tenant *tenant, const dw_tenant_options *own,
                         const dw_limits *limits)
{
    uint32_t weight = own->weight != 0 ? own->weight : 100;
    tenant->absent = tenant->unasked = false;
    tenant->own_prefixes = own->no_shared_prefixes;
    tenant->public_prefixes = own->public_prefixes;
    runtime->weights -= tenant->records > 0 ? tenant->weight : 0;
    runtime->weights += tenant->records > 0 ? weight : 0;
    runtime->may_begin = true;
    tenant->weight = weight;
    tenant->capabilities = own->capabilities;
    tenant->actors_max = own->actors_max != 0 ? own->actors_max : UINT64_MAX;
    tenant->limits = *limits;
    tenant->durability = own->durability;
    tenant->durability_s = own->durability_s;
    if (limits->clock_ns == 0 && runtime->limits.clock_ns == 0) {
        tenant->limits.clock_ns = DW__CLOCK_NS;
    }
    tenant->park_idle_s = own->park_idle_s;
}

dw_status dw_runtime_set_tenant(dw_runtime *runtime, const char *name,
                                const dw_tenant_options *options, dw_error *err)
{
    dw_tenant_options own;
    dw_limits limits;
    dw__tenant *tenant = NULL;
    dw__folders *folders = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_tenant_options", err);
    if (status == DW_OK) {
        status = check_tenant(name, &own, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = read_parts(&own, &limits, &folders, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "tenant '%s'", name);
    }
    status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        dw__folders_unref(folders);
        return status;
    }
    tenant = dw__find_any_tenant(runtime, name);
    if (tenant == NULL) {
        status = dw__tenant_create(runtime, name, &tenant, err);
    }
    if (status == DW_OK) {
        status = take_grants(tenant, &own, err);
    }
    if (status == DW_OK) {
        dw__folders *before = tenant->folders;
        tenant->folders = folders;
        folders = before;
        bool was_absent = tenant->absent;
        take_options(runtime, tenant, &own, &limits);
        if (was_absent) {
            wake_tenant(runtime, tenant);
        }
    }
    dw__leave(runtime, false);
    dw__folders_unref(folders);
    return status;
}
