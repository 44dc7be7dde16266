/* ThreadSanitizer does not see how ggml's threads wait for one another, and for who runs a graph:
 * ggml is not compiled with it. What these do is told here, by the operations of ours that they
 * run. Without ThreadSanitizer nothing is. */
#ifndef DW_DEVICE_GRAPH_WORK_H
#define DW_DEVICE_GRAPH_WORK_H

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern char dw_graph_work_key; /* its address is what is told of */
#endif

/* From here on: what others did before they gave it is done. */
static inline void dw_graph_work_take(void)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&dw_graph_work_key);
#endif
}

/* What this thread did so far, for those who take it. */
static inline void dw_graph_work_give(void)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_release(&dw_graph_work_key);
#endif
}

#endif
