/* Folders that a tenant grants its actors. */
#include "actor/actor_settings.h"
#include "base/alloc.h"
#include "runtime/runtime_internal.h"

static void release(dw__folders *folders)
{
    for (size_t i = 0; i < folders->count; i++) {
        dw_free((void *)(uintptr_t)folders->dirs[i].host_path);
        dw_free((void *)(uintptr_t)folders->dirs[i].guest_path);
    }
    dw_free(folders);
}

dw_status dw__folders_create(dw__folders **out, const dw_dir *dirs, size_t count, dw_error *err)
{
    *out = NULL;
    dw_status status = dw_actor_dirs_check(dirs, count, err);
    if (status != DW_OK || count == 0) {
        return status;
    }
    dw__folders *folders = dw_alloc(1, sizeof *folders + count * sizeof folders->dirs[0]);
    bool good = folders != NULL;
    for (size_t i = 0; i < count && good; i++) {
        folders->dirs[i] = (dw_dir){.host_path = dw_strdup(dirs[i].host_path),
                                    .guest_path = dw_strdup(dirs[i].guest_path),
                                    .writable = dirs[i].writable};
        folders->count = i + 1;
        good = folders->dirs[i].host_path != NULL && folders->dirs[i].guest_path != NULL;
    }
    if (!good) {
        if (folders != NULL) {
            release(folders);
        }
        return dw_fail(err, DW_E_MEMORY, "no memory for a tenant");
    }
    atomic_init(&folders->references, 1);
    *out = folders;
    return DW_OK;
}

dw__folders *dw__folders_ref(dw__folders *folders)
{
    if (folders != NULL) {
        (void)atomic_fetch_add(&folders->references, 1);
    }
    return folders;
}

void dw__folders_unref(dw__folders *folders)
{
    if (folders != NULL && atomic_fetch_sub(&folders->references, 1) == 1) {
        release(folders);
    }
}

dw__folders *dw__tenant_folders(dw_runtime *runtime, const char *name)
{
    dw__enter(runtime);
    const dw__tenant *tenant = dw__find_tenant(runtime, name);
    dw__folders *folders = dw__folders_ref(tenant != NULL ? tenant->folders : NULL);
    dw__leave(runtime, false);
    return folders;
}
