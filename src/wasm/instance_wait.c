#include "wasm/instance_wait.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/alloc.h"
#include "wasm/instance_internal.h"

/* How often one looks who has no waker, because the process has no descriptors left. */
#define LOOK_NS UINT64_C(10000000)

/* ---- wakers: the host's, so that who wakes late writes to no closed descriptor ------------- */

dw_status dw_wakers_take(dw_wasm_host *host, dw_waker **out, dw_error *err)
{
    dw_status status = DW_OK;
    (void)pthread_mutex_lock(&host->lock);
    dw__pooled_waker *waker = host->wakers;
    while (waker != NULL && waker->taken) {
        waker = waker->next;
    }
    if (waker == NULL) {
        waker = dw_alloc(1, sizeof *waker);
        status = waker != NULL ? dw_waker_open(&waker->waker, err)
                               : dw_fail(err, DW_E_MEMORY, "no memory for a wait");
        if (status == DW_OK) {
            waker->next = host->wakers;
            host->wakers = waker;
        } else {
            dw_free(waker);
        }
    }
    if (status == DW_OK) {
        waker->taken = true;
    }
    (void)pthread_mutex_unlock(&host->lock);
    *out = status == DW_OK ? &waker->waker : NULL;
    return status;
}

void dw_wakers_give(dw_wasm_host *host, dw_waker *given)
{
    if (given == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&host->lock);
    for (dw__pooled_waker *waker = host->wakers; waker != NULL; waker = waker->next) {
        if (&waker->waker == given) {
            waker->taken = false;
        }
    }
    (void)pthread_mutex_unlock(&host->lock);
}

void dw__wakers_release(dw_wasm_host *host)
{
    while (host->wakers != NULL) {
        dw__pooled_waker *waker = host->wakers;
        host->wakers = waker->next;
        DW_ASSERT(!waker->taken);
        dw_waker_close(&waker->waker);
        dw_free(waker);
    }
}

/* ---- on the caller's stack ----------------------------------------------------------------- */

uint32_t dw_wait_poll(uint32_t wanted, uint64_t until_ns, const dw_waker *waker)
{
    struct pollfd fds[4];
    uint32_t bits[4];
    unsigned count = 0;
    uint32_t found = 0;
    for (int fd = 0; fd < 3; fd++) {
        if ((wanted >> fd & 1) != 0) {
            fds[count] = (struct pollfd){.fd = fd, .events = fd == 0 ? POLLIN : POLLOUT};
            bits[count++] = (uint32_t)1 << fd;
        }
    }
    if (waker != NULL) {
        fds[count] = (struct pollfd){.fd = waker->read_fd, .events = POLLIN};
        bits[count++] = DW_WAIT_WOKEN;
    }
    if (dw_os_poll(fds, count, until_ns) <= 0) {
        return 0; /* a signal, too: who waits looks again */
    }
    for (unsigned i = 0; i < count; i++) {
        found |= fds[i].revents != 0 ? bits[i] : 0;
        if (bits[i] == DW_WAIT_INPUT && (fds[i].revents & (POLLHUP | POLLIN)) == POLLHUP) {
            found |= DW_WAIT_HANGUP;
        }
    }
    if ((found & DW_WAIT_WOKEN) != 0) {
        dw_waker_drain(waker);
    }
    return found;
}

static bool wait_here(dw_instance *instance, dw_wait *wait)
{
    dw_stop *stop = &instance->stop;
    dw_waker *waker = NULL; /* NULL: there are no descriptors left */
    (void)dw_wakers_take(instance->host, &waker, NULL);
    dw_stop_set_waker(stop, waker);
    bool goes_on = true;
    for (;;) {
        uint64_t now = dw_os_clock_ns();
        bool due = !wait->to_end && stop->deadline_ns != 0 && stop->deadline_ns < wait->until_ns;
        uint64_t until = due ? stop->deadline_ns + 1 : wait->until_ns;
        goes_on = wait->to_end || !dw_stop_asked(stop);
        if (!goes_on || dw_wait_flagged(wait)) {
            break;
        }
        until = waker == NULL && until > now + LOOK_NS ? now + LOOK_NS : until;
        wait->ready = dw_wait_poll(wait->wanted, until, waker) & ~(uint32_t)DW_WAIT_WOKEN;
        if (wait->ready != 0 || dw_os_clock_ns() >= wait->until_ns) {
            break;
        }
    }
    dw_stop_set_waker(stop, NULL);
    dw_wakers_give(instance->host, waker);
    return goes_on;
}

bool dw_instance_wait(dw_instance *instance, dw_wait *wait)
{
    /* What needs no wait is done by a guest that was asked to stop as well: it says so. */
    wait->ready = wait->wanted != 0 ? dw_wait_poll(wait->wanted, 0, NULL) : 0;
    if (wait->ready != 0) {
        return !dw_stop_ends(&instance->stop);
    }
    return instance->runner == NULL ? wait_here(instance, wait)
                                    : instance->runner->wait(instance->runner_user, wait);
}
