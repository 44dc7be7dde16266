/* Stacks of our own, kept between calls. */
#include "base/stack.h"

#include <assert.h>
#include <pthread.h>

#include "base/callback.h"
#include "base/os.h"

/* More than threads call at a time in most programs; what is beyond goes back to the system. */
#define KEPT_MAX 32
/* Of a stack's memory this much stays with it while it is kept. */
#define KEPT_BYTES ((size_t)256 << 10)
#define TOP_BYTES ((size_t)64) /* for own_stack, and to stay aligned */

/* At the top of its own mapping, above what calls use. */
typedef struct own_stack {
    struct own_stack *next;
    char *mapping; /* a guard page, then the stack */
    char *low;
} own_stack;

static_assert(sizeof(own_stack) <= TOP_BYTES, "a stack's head fits above it");

static struct {
    pthread_mutex_t lock;
    own_stack *kept; /* guarded by lock */
    size_t kept_count;
    bool failing;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The stack of ours that this thread is on. NULL: on the thread's own, or on a fiber. */
static _Thread_local const own_stack *current;

static size_t mapping_bytes(void)
{
    return DW_STACK_BYTES + dw_os_page_bytes();
}

static own_stack *new_stack(dw_error *err)
{
    void *mapping;
    size_t guard = dw_os_page_bytes();
    if (dw_os_reserve(&mapping, mapping_bytes(), err) != DW_OK) {
        return NULL;
    }
    char *low = (char *)mapping + guard;
    if (dw_os_commit(low, DW_STACK_BYTES, err) != DW_OK) {
        dw_os_unreserve(mapping, mapping_bytes());
        return NULL;
    }
    dw_os_small_pages(low, DW_STACK_BYTES);
    own_stack *stack = (own_stack *)(void *)(low + DW_STACK_BYTES - TOP_BYTES);
    *stack = (own_stack){.mapping = mapping, .low = low};
    return stack;
}

static own_stack *take_stack(dw_error *err)
{
    (void)pthread_mutex_lock(&pool.lock);
    own_stack *stack = pool.kept;
    bool failing = pool.failing;
    if (stack != NULL && !failing) {
        pool.kept = stack->next;
        pool.kept_count--;
    }
    (void)pthread_mutex_unlock(&pool.lock);
    if (failing) {
        (void)dw_fail(err, DW_E_MEMORY, "a stack: failing, as a test asked");
        return NULL;
    }
    return stack != NULL ? stack : new_stack(err);
}

/* Whether anything was written in the page below what a kept stack keeps. Frames may leave one
 * untouched by chance; then the next call that is as deep tells. */
#if defined(__GNUC__) || defined(__clang__)
__attribute__((no_sanitize("address", "thread")))
#endif
static bool
was_deep(const own_stack *stack)
{
    const volatile uint64_t *word =
        (const volatile uint64_t *)(const void *)(stack->low + DW_STACK_BYTES - KEPT_BYTES);
    uint64_t any = 0;
    for (size_t i = 1; i <= 512; i += 8) {
        any |= word[-(ptrdiff_t)i];
    }
    return any != 0;
}

static void keep_stack(own_stack *stack)
{
    if (was_deep(stack)) {
        dw_os_discard(stack->low, DW_STACK_BYTES - KEPT_BYTES);
    }
    (void)pthread_mutex_lock(&pool.lock);
    bool keep = pool.kept_count < KEPT_MAX;
    if (keep) {
        stack->next = pool.kept;
        pool.kept = stack;
        pool.kept_count++;
    }
    (void)pthread_mutex_unlock(&pool.lock);
    if (!keep) {
        dw_os_unreserve(stack->mapping, mapping_bytes());
    }
}

static bool is_enough_left(void)
{
    const char *here = __builtin_frame_address(0);
    return current != NULL && here > current->low + DW_STACK_NEED_BYTES &&
           here < current->low + DW_STACK_BYTES;
}

static void call_on(own_stack *stack, void (*work)(void *arg), void *arg)
{
    const own_stack *before = current;
    current = stack;
    dw_os_call_on_stack(stack->low, stack, work, arg);
    current = before;
    keep_stack(stack);
}

typedef struct call {
    dw_stack_work work;
    void *arg;
    dw_error *err;
    dw_status status;
} call;

static void run_call(void *arg)
{
    call *c = arg;
    c->status = c->work(c->arg, c->err);
}

dw_status dw_stack_run_apart(dw_stack_work work, void *arg, dw_error *err)
{
    call c = {.work = work, .arg = arg, .err = err};
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    own_stack *stack = take_stack(err);
    if (stack == NULL) {
        return DW_E_MEMORY;
    }
    call_on(stack, run_call, &c);
    return c.status;
}

dw_status dw_stack_run(dw_stack_work work, void *arg, dw_error *err)
{
    return is_enough_left() && !dw_callback_under_way() ? work(arg, err)
                                                        : dw_stack_run_apart(work, arg, err);
}

void dw_stack_run_surely(void (*work)(void *arg), void *arg)
{
    own_stack *stack = is_enough_left() ? NULL : take_stack(NULL);
    if (stack == NULL) {
        work(arg);
    } else {
        call_on(stack, work, arg);
    }
}

size_t dw_stack_kept_count(void)
{
    (void)pthread_mutex_lock(&pool.lock);
    size_t count = pool.kept_count;
    (void)pthread_mutex_unlock(&pool.lock);
    return count;
}

void dw_stack_set_failing(bool failing)
{
    (void)pthread_mutex_lock(&pool.lock);
    pool.failing = failing;
    (void)pthread_mutex_unlock(&pool.lock);
}
