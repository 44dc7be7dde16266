#include "wasm/wasm_memory.h"

#include <pthread.h>
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/checked.h"

/* One linear memory: Wasmtime owns it and ends it through the finalizer. */
typedef struct linear_memory {
    struct linear_memory *next; /* under dw_wasm_memories.lock, as the next */
    struct linear_memory *before;
    dw_wasm_memories *owner;
    dw_region *region;
    size_t size_bytes; /* what Wasmtime sees; whole WebAssembly pages */
    size_t capacity_bytes;
    dw_account *account; /* counted; of the guest that it was made for */
} linear_memory;

struct dw_wasm_memories {
    pthread_mutex_t lock;
    linear_memory *first; /* guarded by lock */
    size_t count;         /* guarded by lock */
};

dw_status dw_wasm_memories_create(dw_wasm_memories **out, dw_error *err)
{
    *out = NULL;
    dw_wasm_memories *memories = dw_alloc(1, sizeof *memories);
    if (memories == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the list of linear memories");
    }
    DW_ASSERT(pthread_mutex_init(&memories->lock, NULL) == 0);
    *out = memories;
    return DW_OK;
}

void dw_wasm_memories_destroy(dw_wasm_memories *memories)
{
    if (memories == NULL) {
        return;
    }
    DW_ASSERT(memories->first == NULL && memories->count == 0);
    (void)pthread_mutex_destroy(&memories->lock);
    dw_free(memories);
}

static uint8_t *get_memory(void *env, size_t *size, size_t *capacity)
{
    linear_memory *memory = env;
    *size = memory->size_bytes;
    *capacity = memory->capacity_bytes;
    return dw_region_base(memory->region);
}

static wasmtime_error_t *grow_memory(void *env, size_t new_size)
{
    linear_memory *memory = env;
    dw_error error;
    size_t more = new_size > memory->size_bytes ? new_size - memory->size_bytes : 0;
    if (dw_account_charge(memory->account, DW_PART_LINEAR, more, &error) != DW_OK) {
        return wasmtime_error_new(error.message); /* memory.grow answers -1 */
    }
    if (dw_region_commit(memory->region, new_size, &error) != DW_OK) {
        dw_account_give(memory->account, DW_PART_LINEAR, more);
        return wasmtime_error_new(error.message);
    }
    memory->size_bytes = new_size;
    return NULL;
}

static void free_memory(void *env)
{
    linear_memory *memory = env;
    dw_wasm_memories *owner = memory->owner;
    (void)pthread_mutex_lock(&owner->lock);
    *(memory->before != NULL ? &memory->before->next : &owner->first) = memory->next;
    if (memory->next != NULL) {
        memory->next->before = memory->before;
    }
    owner->count--;
    (void)pthread_mutex_unlock(&owner->lock);
    dw_region_destroy(memory->region);
    dw_account_give(memory->account, DW_PART_LINEAR, memory->size_bytes);
    dw_account_unref(memory->account);
    dw_free(memory);
}

static wasmtime_error_t *make_memory(dw_wasm_memories *owner, dw_account *account,
                                     const dw_region_options *region,
                                     wasmtime_linear_memory_t *result)
{
    dw_error error = {.message = "no memory for a linear memory's record"};
    size_t minimum = region->commit_bytes;
    linear_memory *memory = dw_alloc(1, sizeof *memory);
    if (memory == NULL) {
        return wasmtime_error_new(error.message);
    }
    if (dw_account_charge(account, DW_PART_LINEAR, minimum, &error) != DW_OK) {
        dw_free(memory);
        return wasmtime_error_new(error.message);
    }
    *memory = (linear_memory){.owner = owner,
                              .size_bytes = minimum,
                              .capacity_bytes = region->limit_bytes,
                              .account = dw_account_ref(account)};
    if (dw_region_create(&memory->region, region, &error) != DW_OK) {
        dw_account_give(account, DW_PART_LINEAR, minimum);
        dw_account_unref(account);
        dw_free(memory);
        return wasmtime_error_new(error.message);
    }
    (void)pthread_mutex_lock(&owner->lock);
    memory->next = owner->first;
    if (owner->first != NULL) {
        owner->first->before = memory;
    }
    owner->first = memory;
    owner->count++;
    (void)pthread_mutex_unlock(&owner->lock);
    *result = (wasmtime_linear_memory_t){.env = memory,
                                         .get_memory = get_memory,
                                         .grow_memory = grow_memory,
                                         .finalizer = free_memory};
    return NULL;
}

/* What stands beside the pages is what any guest costs: it is not charged. */
static wasmtime_error_t *new_memory(void *env, const wasm_memorytype_t *type, size_t minimum,
                                    size_t maximum, size_t reserved_bytes, size_t guard_bytes,
                                    wasmtime_linear_memory_t *result)
{
    (void)type;
    (void)maximum; /* below the reservation it leaves the rest as more guard; Wasmtime checks it */
    size_t capacity = reserved_bytes > minimum ? reserved_bytes : minimum;
    dw_region_options region = {
        .commit_bytes = minimum, .limit_bytes = capacity, .label = "linear memory"};
    if (!dw_add_size(&region.reserve_bytes, capacity, guard_bytes)) {
        return wasmtime_error_new("linear memory: reservation and guard overflow");
    }
    dw_account *account = dw_account_entered();
    dw_account_scope payer = dw_account_pause();
    wasmtime_error_t *error = make_memory(env, account, &region, result);
    dw_account_leave(payer);
    return error;
}

void dw_wasm_memories_install(dw_wasm_memories *memories, wasm_config_t *config)
{
    wasmtime_memory_creator_t creator = {.env = memories, .new_memory = new_memory};
    wasmtime_config_host_memory_creator_set(config, &creator);
    /* Wasmtime would map data segments over its own memories; with ours it would abort instead
     * (runtime/vm/memory.rs takes an image to imply a memory of its own kind). */
    wasmtime_config_memory_init_cow_set(config, false);
}

dw_region *dw_wasm_memories_find(dw_wasm_memories *memories, const void *base)
{
    dw_region *found = NULL;
    (void)pthread_mutex_lock(&memories->lock);
    for (linear_memory *memory = memories->first; memory != NULL; memory = memory->next) {
        if (dw_region_base(memory->region) == base) {
            found = memory->region;
            break;
        }
    }
    (void)pthread_mutex_unlock(&memories->lock);
    return found;
}

size_t dw_wasm_memories_count(dw_wasm_memories *memories)
{
    (void)pthread_mutex_lock(&memories->lock);
    size_t count = memories->count;
    (void)pthread_mutex_unlock(&memories->lock);
    return count;
}
