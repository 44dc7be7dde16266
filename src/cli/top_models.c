/* driftwood top beside a server: its models, which the runtime knows nothing of. */
#include "cli/remote.h"
#include "cli/top.h"

#define PATIENCE_S 5

void dw_cli_top_fetch_models(const char *folder, json_t *root)
{
    dw_cli_remote remote = {.patience_s = PATIENCE_S};
    json_t *answer = NULL;
    if (dw_cli_remote_find(&remote, folder) &&
        dw_cli_remote_call(&remote, "GET", "/v1/models", NULL, &answer, NULL) == DW_OK &&
        json_is_array(json_object_get(answer, "data"))) {
        (void)json_object_set(root, "models", json_object_get(answer, "data"));
    }
    json_decref(answer);
}
