/* How a guarded call is left. The abort callback throws, and the guard catches: frames of ggml's C
 * have unwind tables (deps/CMakeLists.txt sees to it), those of its C++ have destructors, which
 * open locks and give pool memory back. Where throwing would end the process all the same it jumps:
 * while another abort is being unwound, and, by the terminate handler, out of a destructor. */
#include "base/ggml_guard.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "base/stack.h"

namespace
{

struct aborted {
};

struct guard {
    guard *outer;
    bool jumps;
    int uncaught; /* exceptions under way when it was set */
    bool no_memory;
    char said[160];   /* the abort's message, or the exception's */
    char reason[160]; /* the last line of the log before it */
    char place[96];   /* the function that ggml's CUDA part names */
    jmp_buf back;
};

thread_local guard *innermost = nullptr;

/* The embedder's, for aborts that are not ours; set once, with our own. */
ggml_abort_callback_t abort_before = nullptr;

void keep(char *to, size_t capacity, const char *text)
{
    (void)std::snprintf(to, capacity, "%.*s", (int)std::strcspn(text, "\n"), text);
}

/* "/some/where/ggml.c:12: GGML_ASSERT(...) failed" without the folder that ggml was built in. */
const char *without_folder(const char *message)
{
    const char *colon = std::strchr(message, ':');
    const char *from = message;
    for (const char *at = message; colon != nullptr && at < colon; at++) {
        from = *at == '/' ? at + 1 : from;
    }
    return from;
}

extern "C" void on_abort(const char *message)
{
    guard *here = innermost;
    if (here == nullptr) {
        if (abort_before != nullptr) {
            abort_before(message);
        } else {
            (void)std::fprintf(stderr, "driftwood: bug: ggml: %s\n", message);
        }
        return; /* and ggml aborts */
    }
    keep(here->said, sizeof here->said, without_folder(message));
    if (here->jumps || std::uncaught_exceptions() > here->uncaught) {
        std::longjmp(here->back, 1);
    }
    throw aborted();
}

std::terminate_handler terminate_before()
{
    static const std::terminate_handler before = std::get_terminate();
    return before;
}

[[noreturn]] void on_terminate()
{
    guard *here = innermost;
    if (here != nullptr) {
        if (here->said[0] == '\0') {
            keep(here->said, sizeof here->said, "an exception out of a destructor");
        }
        std::longjmp(here->back, 1);
    }
    terminate_before()();
    std::abort();
}

bool install()
{
    (void)terminate_before();
    (void)std::set_terminate(on_terminate);
    abort_before = ggml_set_abort_callback(on_abort);
    return true;
}

void attempt(guard *here, void (*work)(void *user), void *user, bool *failed)
{
    try {
        work(user);
        *failed = false;
    } catch (const aborted &) {
    } catch (const std::bad_alloc &) {
        here->no_memory = true;
        keep(here->said, sizeof here->said, "no memory on the host");
    } catch (const std::exception &error) {
        keep(here->said, sizeof here->said, error.what());
    } catch (...) {
        keep(here->said, sizeof here->said, "an unknown exception");
    }
}

/* CUDA, cuBLAS (its newer versions say it in words), Vulkan */
bool tells_of_memory(const char *text)
{
    static const char *const words[] = {"out of memory", "the resource allocation failed",
                                        "ALLOC_FAILED", "OutOfDeviceMemory", "OutOfHostMemory"};
    for (const char *word : words) {
        if (std::strstr(text, word) != nullptr) {
            return true;
        }
    }
    return false;
}

/* "CUDA error: out of memory (in alloc)", or "ggml.c:12: GGML_ASSERT(...) failed". */
dw_status tell(const guard *here, dw_error *err)
{
    bool memory = here->no_memory || tells_of_memory(here->reason) || tells_of_memory(here->said);
    dw_status code = memory ? DW_E_MEMORY : DW_E_DEVICE;
    if (here->reason[0] != '\0') {
        bool placed = here->place[0] != '\0';
        return dw_fail(err, code, placed ? "%s (in %s)" : "%s (%s)", here->reason,
                       placed ? here->place : here->said);
    }
    return dw_fail(err, code, "%s", here->said);
}

struct guarded_call {
    bool jumps;
    void (*work)(void *user);
    void *user;
    dw_error *err;
    dw_status status;
};

void run_here(void *arg)
{
    auto *call = static_cast<guarded_call *>(arg);
    /* Once a process, by the first guard. */
    static const bool installed = install();
    (void)installed;
    guard here;
    bool failed = true; /* its address is taken: a jump finds it as it is in memory */
    here.outer = innermost;
    here.jumps = call->jumps;
    here.uncaught = std::uncaught_exceptions();
    here.no_memory = false;
    here.said[0] = here.reason[0] = here.place[0] = '\0';
    innermost = &here;
    if (_setjmp(here.back) == 0) {
        attempt(&here, call->work, call->user, &failed);
    }
    innermost = here.outer;
    call->status = failed ? tell(&here, call->err) : DW_OK;
}

/* On a stack of ours: drivers' frames are deep, and nobody knows how deep. */
dw_status run(bool jumps, void (*work)(void *user), void *user, dw_error *err)
{
    guarded_call call = {jumps, work, user, err, DW_OK};
    dw_stack_run_surely(run_here, &call);
    return call.status;
}

} // namespace

extern "C" dw_status dw_ggml_guarded(void (*work)(void *user), void *user, dw_error *err)
{
    return run(false, work, user, err);
}

extern "C" dw_status dw_ggml_guarded_here(void (*work)(void *user), void *user, dw_error *err)
{
    guarded_call call = {false, work, user, err, DW_OK};
    run_here(&call);
    return call.status;
}

extern "C" dw_status dw_ggml_let_go(void (*work)(void *user), void *user, dw_error *err)
{
    return run(true, work, user, err);
}

extern "C" void dw_ggml_note_error(enum ggml_log_level level, const char *text)
{
    guard *here = innermost;
    if (here == nullptr || level != GGML_LOG_LEVEL_ERROR) {
        return;
    }
    /* Three lines: what, "  current device: 0, in function NAME at FILE:LINE", "  the call". */
    const char *function = std::strstr(text, "in function ");
    if (text[0] != ' ') {
        keep(here->reason, sizeof here->reason, text);
        here->place[0] = '\0';
    } else if (function != nullptr) {
        function += std::strlen("in function ");
        (void)std::snprintf(here->place, sizeof here->place, "%.*s",
                            (int)std::strcspn(function, " \n"), function);
    }
}
