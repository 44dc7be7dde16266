#include "cli/fetch.h"

bool dw_cli_can_fetch(void)
{
    return false;
}

dw_status dw_cli_fetch_url(const dw_cli_fetch *what, dw_cli_fetched *result, dw_error *err)
{
    *result = (dw_cli_fetched){.status = 0};
    return dw_fail(err, DW_E_UNSUPPORTED,
                   "%.100s: this driftwood was built without libcurl and fetches nothing; install "
                   "its development files and build again",
                   what->url);
}
