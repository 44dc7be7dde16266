/* What an actor was granted and is limited to: copied from the options it was spawned with, shared
 * by its forks, and saved with it. */
#ifndef DW_ACTOR_ACTOR_SETTINGS_H
#define DW_ACTOR_ACTOR_SETTINGS_H

#include "base/status.h"

/* What a snapshot holds of each. */
#define DW_ACTOR_MODELS_MAX 64
#define DW_ACTOR_TEXTS_MAX 4096
#define DW_ACTOR_DIRS_MAX 64

typedef struct dw_actor_settings {
    _Atomic size_t references;
    dw_actor_options options;     /* its instance is: */
    uint64_t message_timeout_ms;  /* of a message: the shorter of two limits; 0: none */
    dw_instance_options instance; /* every pointer in it is owned; models are counted */
    dw_limits limits;             /* instance.limits: what was set, 0 elsewhere */
} dw_actor_settings;

/* Everything that is taken can be saved, and is taken when it is loaded. Errors: DW_E_UNSUPPORTED
 * (folders, standard input), DW_E_MEMORY, DW_E_ARG, DW_E_RANGE and DW_E_LIMIT (which member, what
 * is allowed). */
dw_status dw_actor_settings_create(dw_actor_settings **out, const dw_actor_options *options,
                                   dw_error *err);
/* Folders for its guest in this order, copied; of settings that have none and that nobody else has
 * yet. One whose host_path is NULL is not granted: dw_actor_settings_check. Errors: DW_E_ARG (a
 * name of a guest's that is empty, or two of them alike), DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_actor_settings_grant(dw_actor_settings *settings, const dw_dir *dirs, size_t count,
                                  dw_error *err);
dw_status dw_actor_dirs_check(const dw_dir *dirs, size_t count, dw_error *err);
/* Before its guest runs. Errors: DW_E_DENIED (a folder is not granted: which). */
dw_status dw_actor_settings_check(const dw_actor_settings *settings, dw_error *err);
dw_actor_settings *dw_actor_settings_ref(dw_actor_settings *settings);
void dw_actor_settings_unref(dw_actor_settings *settings);

#endif
