#include "dashboard/dashboard.h"

#include <string.h>

const char dw_dashboard_policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; "
                                   "img-src 'self'; connect-src 'self'; base-uri 'none'; "
                                   "form-action 'none'; frame-ancestors 'none'";

const dw_dashboard_file *dw_dashboard_find(const char *path)
{
    static const char folder[] = "/page/";
    const char *name = "index.html";
    if (strcmp(path, "/") != 0) {
        if (strncmp(path, folder, sizeof folder - 1) != 0) {
            return NULL;
        }
        name = path + sizeof folder - 1;
    }
    for (size_t i = 0; i < dw__dashboard_file_count; i++) {
        if (strcmp(dw__dashboard_files[i].name, name) == 0) {
            return &dw__dashboard_files[i];
        }
    }
    return NULL;
}
