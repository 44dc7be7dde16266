/* Actors written out: to files, pipes and devices, plain or compressed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/actor_state.h"

static dw_status failed(const char *path, dw_error *err)
{
    return dw_fail(err, DW_E_IO, "%.150s: %s", path, strerror(errno));
}

static dw_status pack(dw_actor *actor, int to, const dw_freeze_options *options,
                      dw_freeze_stats *stats, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    int plain;
    dw_status status = dw_cli_temporary(path, sizeof path, &plain, err);
    if (status == DW_OK) {
        status = dw_actor_export(actor, plain, options, stats, err);
    }
    if (status == DW_OK && lseek(plain, 0, SEEK_SET) != 0) {
        status = failed("the file to be compressed", err);
    }
    if (status == DW_OK) {
        status = dw_cli_compress(plain, to, err);
    }
    dw_cli_remove_temporary(path, plain);
    return status;
}

/* A compressed file grows beside its place, as a plain one does. */
static dw_status pack_file(dw_actor *actor, const char *place, const dw_freeze_options *options,
                           dw_freeze_stats *stats, dw_error *err)
{
    char part[DW_CLI_PATH_MAX];
    int length = snprintf(part, sizeof part, "%s.tmp-%ld", place, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof part) {
        return dw_fail(err, DW_E_LIMIT, "%.60s...: a path of %d bytes, limit %zu", place, length,
                       sizeof part - 1);
    }
    int to = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dw_status status = to >= 0 ? pack(actor, to, options, stats, err) : failed(place, err);
    if (status == DW_OK && (dw_cli_sync(to) != 0 || rename(part, place) != 0)) {
        status = failed(place, err);
    }
    dw_cli_close(to);
    if (to >= 0 && status != DW_OK) {
        (void)unlink(part);
    }
    return status;
}

static dw_status write_stream(dw_actor *actor, const dw_cli_export *how,
                              const dw_freeze_options *options, dw_freeze_stats *stats,
                              dw_error *err)
{
    bool output = strcmp(how->path, "-") == 0;
    int to = output ? STDOUT_FILENO : open(how->path, O_WRONLY | O_CLOEXEC);
    dw_status status = to < 0            ? failed(how->path, err)
                       : how->compressed ? pack(actor, to, options, stats, err)
                                         : dw_actor_export(actor, to, options, stats, err);
    dw_cli_close(output ? -1 : to);
    return status;
}

dw_status dw_cli_actors_export(dw_cli_actors *actors, const char *id, const dw_cli_export *how,
                               dw_freeze_stats *stats, dw_error *err)
{
    char place[DW_CLI_PATH_MAX];
    bool stream = false;
    dw_actor *actor = NULL;
    dw_freeze_options options = {.struct_bytes = sizeof options, .without_module = how->by_hash};
    dw_status status = dw_cli_place(how->path, place, &stream, err);
    if (status == DW_OK) {
        status = dw_cli_actors_copy(actors, id, how->kv_type, &actor, NULL, err);
    }
    dw_cli_actors_leave(actors);
    if (status == DW_OK && stream) {
        status = write_stream(actor, how, &options, stats, err);
    } else if (status == DW_OK && how->compressed) {
        status = pack_file(actor, place, &options, stats, err);
    } else if (status == DW_OK) {
        status = dw_actor_freeze(actor, place, &options, stats, err);
    }
    dw_actor_destroy(actor);
    return status;
}
