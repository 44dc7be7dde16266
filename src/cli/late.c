#include "cli/late.h"

#include <dlfcn.h>
#include <string.h>

static dw_status missing(const char *use, dw_error *err)
{
    const char *why = dlerror();
    return dw_fail(err, DW_E_UNSUPPORTED, "%s: %.160s", use, why != NULL ? why : "not found");
}

static void set_null(const dw_cli_late_function *functions, size_t count)
{
    void *none = NULL;
    for (size_t i = 0; i < count; i++) {
        memcpy(functions[i].function, &none, sizeof none);
    }
}

dw_status dw_cli_late_find(const char *library, const char *use,
                           const dw_cli_late_function *functions, size_t count, dw_error *err)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        set_null(functions, count);
        return missing(use, err);
    }
    for (size_t i = 0; i < count; i++) {
        void *found = dlsym(handle, functions[i].name);
        if (found == NULL) {
            dw_status status = missing(use, err);
            set_null(functions, count);
            (void)dlclose(handle);
            return status;
        }
        memcpy(functions[i].function, &found, sizeof found); /* C has no cast for it */
    }
    return DW_OK;
}
