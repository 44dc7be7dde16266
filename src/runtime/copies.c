/* Copies of actors as the folder has them, which have nothing to do with the runtime. */
#include "base/public_struct.h"
#include "runtime/guests.h"
#include "runtime/runtime_internal.h"

/* Its files may go while they are opened, where it is written meanwhile: then they are looked for
 * anew. Each time is one more turn of it that was just as quick. */
#define LOOKS_MAX 64u

/* The caller's options, whose functions are asked with their own user. */
typedef struct copying {
    struct dw__folder *folder;
    const dw_thaw_options *options;
} copying;

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    const dw_thaw_options *options = ((const copying *)user)->options;
    return options->find_model(options->find_user, name, fingerprint, model, err);
}

static dw_status find_wanted(void *user, const dw_model_wanted *wanted, dw_model **model,
                             dw_error *err)
{
    const dw_thaw_options *options = ((const copying *)user)->options;
    return options->find_wanted(options->find_user, wanted, model, err);
}

static dw_status find_module(void *user, const char *sha256, dw_module **module, dw_error *err)
{
    const copying *c = user;
    return c->options->find_module != NULL
               ? c->options->find_module(c->options->find_user, sha256, module, err)
               : dw__folder_find_module(c->folder, sha256, module, err);
}

static dw_status copy(dw_actor **out, dw_engine *engine, copying *c, const char *id,
                      dw_thaw_stats *stats, dw_error *err)
{
    dw_snapshot_chain chain = {.count = 0};
    dw_thaw_options options = *c->options;
    dw_status status = dw_actor_folder_read_chain(dw__folder_actors(c->folder), id, &chain, err);
    options.paths = chain.list;
    options.path_count = chain.count;
    options.identities = chain.identities;
    options.indexes = chain.indexes;
    options.trusted = true;
    options.id = options.id != NULL ? options.id : id;
    options.find_model = options.find_model != NULL ? find_model : NULL;
    options.find_wanted = options.find_wanted != NULL ? find_wanted : NULL;
    options.find_module = find_module;
    options.find_user = c;
    if (status == DW_OK) {
        status = dw_actor_thaw(out, engine, &options, stats, err);
    }
    dw_snapshot_chain_release(&chain);
    return status;
}

static dw_status check(const dw_runtime *runtime, const dw_thaw_options *options, dw_error *err)
{
    if (runtime->keeper == NULL) {
        return dw_fail(err, DW_E_STATE, "the runtime has no state folder");
    }
    return options->paths == NULL && options->fds == NULL && options->path_count == 0 &&
                   options->identities == NULL && options->indexes == NULL
               ? DW_OK
               : dw_fail(err, DW_E_ARG,
                         "copy: its files are the state folder's: no paths, fds, identities or "
                         "indexes");
}

/* The folder's number of the actor's newest state; 0: it has none. */
static uint64_t newest(const dw_runtime *runtime, const char *id)
{
    dw_actor_row row;
    return runtime->keeper->look(runtime->keeper->user, id, &row, NULL) == DW_OK ? row.sequence : 0;
}

dw_status dw_runtime_copy(dw_actor **out, dw_runtime *runtime, const char *id,
                          const dw_thaw_options *options, dw_thaw_stats *stats, dw_error *err)
{
    char found[DW_ACTOR_ID_CHARS + 1];
    dw_thaw_options own;
    uint64_t sequence = 0;
    dw_error problem;
    const dw__host *host = dw__runtime_platform(runtime);
    copying c = {.folder = host->folder, .options = &own};
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_thaw_options", err);
    if (status == DW_OK) {
        status = check(runtime, &own, err);
    }
    if (status == DW_OK) {
        status = dw__find_id(runtime, id, found, err);
    }
    if (status != DW_OK) {
        return status;
    }
    for (unsigned i = 0; i < LOOKS_MAX; i++) {
        sequence = newest(runtime, found);
        status = copy(out, host->engine, &c, found, stats, &problem);
        if (status == DW_OK || newest(runtime, found) == sequence) {
            break;
        }
    }
    return status == DW_OK ? DW_OK : dw_fail(err, status, "%s", problem.message);
}
