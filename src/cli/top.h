/* What the files of `driftwood top` share: an overview that was fetched, and how it is shown.
 * Whoever answers at the socket is not trusted: its texts are shown without control characters, and
 * its numbers are numbers. */
#ifndef DW_CLI_TOP_H
#define DW_CLI_TOP_H

#include <jansson.h>

#include "cli/cli.h"

typedef enum dw_cli_order {
    DW_CLI_BY_DEVICE,
    DW_CLI_BY_GUEST,
    DW_CLI_BY_TOKENS,
    DW_CLI_BY_MEMORY,
    DW_CLI_BY_WAITING,
    DW_CLI_ORDERS,
} dw_cli_order;
extern const char *const dw_cli_order_names[DW_CLI_ORDERS];

/* top_fetch.c: ask at the socket. `*root` is the overview, the caller's. Errors: DW_E_NOT_FOUND
 * (nobody answers), DW_E_IO, DW_E_LIMIT (the path, the answer), DW_E_FORMAT (no overview). */
dw_status dw_cli_top_fetch(const char *path, dw_cli_order order, unsigned actors, json_t **root,
                           dw_error *err);

/* top_models.c: what a server in `folder` says of its models, as the dashboard has it ("data" of
 * GET /v1/models, docs/http.md), as the overview's member "models". There is none where no server
 * answers. */
void dw_cli_top_fetch_models(const char *folder, json_t *root);

/* top_view.c */
typedef struct dw_cli_view {
    const json_t *now;
    const json_t *before; /* what rates are since; NULL: since the runtime was opened */
    dw_cli_order order;
    unsigned rows;    /* lines at most; 0: as many as there are */
    unsigned columns; /* 0: as many as there are */
    bool keys;        /* the last line tells of them */
} dw_cli_view;
/* As lines, into `to`. */
void dw_cli_top_view(FILE *to, const dw_cli_view *view);

/* top_screen.c: the terminal in a mode of its own, from _open to _close; also while the program is
 * stopped by Ctrl-Z it is as it was. */
typedef enum dw_cli_happened {
    DW_CLI_TIME_IS_UP,
    DW_CLI_KEY,
    DW_CLI_SIZE, /* of the terminal, or it was in the background */
    DW_CLI_SIGNAL,
} dw_cli_happened;
/* Errors: DW_E_IO. */
dw_status dw_cli_screen_open(dw_error *err);
void dw_cli_screen_close(void);
void dw_cli_screen_size(unsigned *rows, unsigned *columns);
/* Until something happens, or the clock says `until_ns`. `*what`: the key, or the signal. Without a
 * screen only signals do. */
dw_cli_happened dw_cli_screen_wait(uint64_t until_ns, int *what);
/* Signals that end it are caught from now on. */
void dw_cli_screen_catch(void);

#endif
