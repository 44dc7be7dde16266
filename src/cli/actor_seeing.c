#include "cli/actor_seeing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

dw_status dw_cli_seeing_level(dw_cli_seeing *seeing, const char *text, dw_error *err)
{
    static const char *const names[] = {[DW_LOG_ERROR] = "error",
                                        [DW_LOG_WARN] = "warn",
                                        [DW_LOG_INFO] = "info",
                                        [DW_LOG_DEBUG] = "debug"};
    for (int level = DW_LOG_ERROR; level <= DW_LOG_DEBUG; level++) {
        if (strcmp(names[level], text) == 0) {
            seeing->level = (dw_log_level)level;
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_ARG, "--log-level: '%.40s', error, warn, info or debug is needed",
                   text);
}

static dw_status open_file(const char *path, int flags, int *fd, dw_error *err)
{
    *fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    return *fd >= 0 ? DW_OK : dw_fail(err, DW_E_IO, "%.150s: %s", path, strerror(errno));
}

dw_status dw_cli_seen_open(dw_cli_seen *seen, const dw_cli_seeing *seeing, const char *place,
                           dw_runtime_options *options, dw_error *err)
{
    dw_status status = DW_OK;
    *seen = (dw_cli_seen){.log_fd = -1, .trace_fd = -1};
    if (seeing->log != NULL && strcmp(seeing->log, "-") == 0) {
        options->log_fd = STDERR_FILENO;
    } else if (seeing->log != NULL) {
        status = open_file(seeing->log, O_APPEND, &seen->log_fd, err);
        options->log_fd = status == DW_OK ? seen->log_fd : 0;
    }
    options->log_level = seeing->level;
    if (status == DW_OK && seeing->trace != NULL) {
        (void)snprintf(seen->trace, sizeof seen->trace, "%s", seeing->trace);
        status = open_file(seeing->trace, O_TRUNC, &seen->trace_fd, err);
    }
    if (seeing->control) {
        (void)snprintf(seen->control, sizeof seen->control, "%s/control", place);
        options->control_path = seen->control;
    }
    return status;
}

dw_status dw_cli_seen_begin(dw_cli_seen *seen, dw_runtime *runtime, dw_error *err)
{
    const dw_trace_options options = {.struct_bytes = sizeof options, .fd = seen->trace_fd};
    dw_status status = seen->trace_fd >= 0 ? dw_runtime_trace_begin(runtime, &options, err) : DW_OK;
    seen->tracing = seen->trace_fd >= 0 && status == DW_OK;
    return status;
}

dw_status dw_cli_seen_end(dw_cli_seen *seen, dw_runtime *runtime, dw_error *err)
{
    if (!seen->tracing || runtime == NULL) {
        return DW_OK;
    }
    seen->tracing = false;
    dw_status status = dw_runtime_trace_end(runtime, NULL, err);
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "%.150s", seen->trace);
}

void dw_cli_seen_close(dw_cli_seen *seen)
{
    dw_cli_close(seen->log_fd);
    dw_cli_close(seen->trace_fd);
    seen->log_fd = seen->trace_fd = -1;
}
