/* A call with the stack pointer elsewhere: a few instructions for each processor, and ucontext for
 * those that have none here.
 *
 * The caller's frame stays as it is, so that nothing but the stack pointer is saved: calls nest and
 * return in order (unlike those of fibers). The frame pointer chain and the unwinding table go
 * through the switch, for debuggers and profilers; a call and a return in the middle match each
 * other, which shadow stacks (CET, GCS) ask for. */
#include "base/stack.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#if !defined(HAS_ASAN)
#define HAS_ASAN 0
#endif

#if HAS_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__APPLE__)
#define SYMBOL "_dw__stack_switch"
#define BEGIN ".private_extern " SYMBOL "\n.p2align 4\n"
#define END ""
#else
#define SYMBOL "dw__stack_switch"
#define BEGIN ".hidden " SYMBOL "\n.type " SYMBOL ", %function\n.p2align 4\n"
#define END ".size " SYMBOL ", .-" SYMBOL "\n"
#endif

#if defined(__x86_64__) || defined(__aarch64__)
/* work(arg) on the stack that ends at `top`. */
void dw__stack_switch(void *top, void (*work)(void *arg), void *arg);
#endif

#if defined(__x86_64__)
__asm__(".text\n.globl " SYMBOL "\n" BEGIN SYMBOL ":\n"
        ".cfi_startproc\n"
        "endbr64\n"
        "pushq %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbp, -16\n"
        "movq %rsp, %rbp\n"
        ".cfi_def_cfa_register %rbp\n"
        "movq %rdi, %rsp\n"
        "movq %rdx, %rdi\n"
        "callq *%rsi\n"
        "movq %rbp, %rsp\n"
        "popq %rbp\n"
        ".cfi_def_cfa %rsp, 8\n"
        "ret\n"
        ".cfi_endproc\n" END);
#elif defined(__aarch64__)
/* "bti c" and the signing of return addresses are hints: older processors pass over them. */
__asm__(".text\n.globl " SYMBOL "\n" BEGIN SYMBOL ":\n"
        ".cfi_startproc\n"
        "hint #34\n"
        "stp x29, x30, [sp, #-16]!\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset x29, -16\n"
        ".cfi_offset x30, -8\n"
        "mov x29, sp\n"
        ".cfi_def_cfa x29, 16\n"
        "mov sp, x0\n"
        "mov x0, x2\n"
        "blr x1\n"
        "mov sp, x29\n"
        ".cfi_def_cfa sp, 16\n"
        "ldp x29, x30, [sp], #16\n"
        ".cfi_def_cfa_offset 0\n"
        ".cfi_restore x29\n"
        ".cfi_restore x30\n"
        "ret\n"
        ".cfi_endproc\n" END);
#else
#include <stdlib.h>
#include <ucontext.h>

/* makecontext gives ints; a pointer goes through this thread's storage. */
static _Thread_local struct {
    void (*work)(void *arg);
    void *arg;
} entered;
static _Thread_local void *entered_low;

static void enter(void)
{
    entered.work(entered.arg);
}

static void dw__stack_switch(void *top, void (*work)(void *arg), void *arg)
{
    ucontext_t here;
    ucontext_t there;
    DW_ASSERT(getcontext(&there) == 0);
    there.uc_link = &here;
    there.uc_stack.ss_sp = entered_low;
    there.uc_stack.ss_size = (size_t)((char *)top - (char *)entered_low);
    entered.work = work;
    entered.arg = arg;
    makecontext(&there, enter, 0);
    DW_ASSERT(swapcontext(&here, &there) == 0);
}
#endif

#if HAS_ASAN
/* What AddressSanitizer is told: it looks for frames between the bounds of the stack that it takes
 * for the present one. */
typedef struct told {
    void (*work)(void *arg);
    void *arg;
    const void *caller_low;
    size_t caller_bytes;
} told;

static void run_told(void *arg)
{
    told *t = arg;
    __sanitizer_finish_switch_fiber(NULL, &t->caller_low, &t->caller_bytes);
    t->work(t->arg);
    __sanitizer_start_switch_fiber(NULL, t->caller_low, t->caller_bytes);
}
#endif

void dw_os_call_on_stack(void *low, void *top, void (*work)(void *arg), void *arg)
{
    DW_ASSERT((uintptr_t)top % 16 == 0 && (char *)low < (char *)top);
#if !defined(__x86_64__) && !defined(__aarch64__)
    entered_low = low;
#endif
#if HAS_ASAN
    told t = {.work = work, .arg = arg};
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, low, (size_t)((char *)top - (char *)low));
    dw__stack_switch(top, run_told, &t);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
    (void)low;
    dw__stack_switch(top, work, arg);
#endif
}
