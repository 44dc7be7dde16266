/* The dashboard: a page for browsers, whose files are in the program (made from the folder page by
 * cmake/DriftwoodDashboard.cmake). */
#ifndef DW_DASHBOARD_DASHBOARD_H
#define DW_DASHBOARD_DASHBOARD_H

#include <stddef.h>

typedef struct dw_dashboard_file {
    const char *name; /* "index.html" */
    const char *type; /* of its content, for HTTP */
    const unsigned char *bytes;
    size_t count;
} dw_dashboard_file;

/* What its files are to be served with: nothing of another site, no script in the page itself, no
 * other page around it, so that nothing that models and guests say becomes a program. */
extern const char dw_dashboard_policy[];

/* The file at "/" or "/page/NAME"; NULL: there is none. Thread: any. */
const dw_dashboard_file *dw_dashboard_find(const char *path);

/* Made by the build. */
extern const dw_dashboard_file dw__dashboard_files[]; /* [dw__dashboard_file_count] */
extern const size_t dw__dashboard_file_count;

#endif
