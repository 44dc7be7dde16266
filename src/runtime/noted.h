/* What is worth an entry in the log or a trace: logged.c, traced.c. Private to src/runtime. Thread:
 * with the runtime's lock held, unless a comment says otherwise. */
#ifndef DW_RUNTIME_NOTED_H
#define DW_RUNTIME_NOTED_H

#include "driftwood.h"

struct dw__record;
struct dw__happening;
struct dw__mail;
struct dw_scheduler_span;

/* ---- logged.c ---- */

/* `record` is that of actor `id`; NULL: it has none. */
void dw__log_happening(dw_runtime *runtime, const struct dw__record *record, uint64_t id,
                       const struct dw__happening *happening);
/* It failed, and is tried again. */
void dw__log_failed_try(dw_runtime *runtime, const struct dw__record *record,
                        const struct dw__mail *mail);
void dw__log_problem(dw_runtime *runtime, uint64_t id, const dw_error *problem);
/* Its guest, or what it asked for, was refused something; without the lock, from the thread that
 * works with its body. */
void dw__log_refused(dw_runtime *runtime, struct dw__record *record, const dw_error *error);
/* A line of its guest's; `lost` before it were too many. Without the lock, from the thread that
 * works with its body. */
void dw__log_guest(dw_runtime *runtime, const struct dw__record *record, dw_log_level level,
                   const char *text, uint64_t lost);
/* What it works on took so long. */
void dw__log_slow(dw_runtime *runtime, const struct dw__record *record, uint64_t took_ns);
/* Something that needs no more words: "actor-parked". */
void dw__log_simple(dw_runtime *runtime, const struct dw__record *record, dw_log_level level,
                    const char *event);

/* ---- traced.c ---- */

/* Of what follows nothing is noted unless dw__traces. Something took its time for an actor until
 * now: "freeze", "commit". Names are static; a value is told under `value_name` unless that is
 * NULL. Also without the lock, as long as the record stays. */
void dw__trace_span(dw_runtime *runtime, const struct dw__record *record, const char *what,
                    uint64_t from_ns, const char *value_name, uint64_t value);
/* A message waits; work on it begins, and ends. */
void dw__trace_queued(dw_runtime *runtime, const struct dw__record *record,
                      const struct dw__mail *mail);
void dw__trace_began(dw_runtime *runtime, const struct dw__record *record);
void dw__trace_ended(dw_runtime *runtime, const struct dw__record *record, uint64_t number,
                     dw_status status);
/* It waits no more, without having been worked on. */
void dw__trace_left(dw_runtime *runtime, const struct dw__mail *mail);
/* A piece of an answer; without the lock. */
void dw__trace_answered(dw_runtime *runtime, const struct dw__record *record, uint64_t bytes);
/* What the scheduler tells of itself, on its threads: `user` is the runtime. */
void dw__trace_scheduled(dw_runtime *runtime, const struct dw__record *record,
                         const struct dw_scheduler_span *span);

#endif
