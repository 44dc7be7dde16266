/* How many snapshots may have something of an actor, of which an index of a series is one: past
 * that what they hold least of is written once more. Tests and benchmarks alone set it, before
 * anything is frozen. */
#ifndef DW_SNAPSHOT_BOUNDS_H
#define DW_SNAPSHOT_BOUNDS_H

#include <stddef.h>

extern size_t dw_freeze_snapshots_max;

#endif
