/* Prefixes of an engine's cache (inference/prefix_cache.h) in a folder, to be found after a
 * restart: a file for each, with what it has beyond the longest beginning that has one, and an
 * index.
 *
 *   lock       held by who has it open
 *   index.db   SQLite (src/journal): a row for each file
 *   ID.kv      a head of whole 64 KiB: "DWPREFIX", then the tokens from the first on, each an i32,
 *              little-endian; behind it the records from the base's end on
 *
 * A row is written before its file and says so until that is whole, so that what a killed process
 * left is known without a look at the folder. Of a file the hash is checked when it is loaded. In
 * host memory records are then mapped, not read: what several prefixes share is in memory once, and
 * what is not used is in none.
 *
 * A cache: to lose it costs time alone. One process at a time, as its state folder.
 * Thread: any; a call waits for the one before. */
#ifndef DW_PREFIXES_PREFIX_FOLDER_H
#define DW_PREFIXES_PREFIX_FOLDER_H

#include "inference/prefix_cache.h"

typedef struct dw_prefix_folder dw_prefix_folder;

/* Open the folder at `path`, or make it; `cache` outlives it. What is over `bytes_max` goes, that
 * used longest ago first. Errors: DW_E_STATE (the cache has one), DW_E_BUSY (the folder is
 * open), DW_E_IO, DW_E_FORMAT (the index is none, or damaged),
 * DW_E_UNSUPPORTED (of a newer version), DW_E_LIMIT (the path is too long), DW_E_MEMORY. */
dw_status dw_prefix_folder_open(dw_prefix_folder **out, const char *path, dw_prefix_cache *cache,
                                uint64_t bytes_max, dw_error *err);
/* What the cache has of it stays there. */
void dw_prefix_folder_close(dw_prefix_folder *folder);

/* Give the cache what the folder has for a model, for contexts of any scope, unless it has that. A
 * file that is damaged
 * or gone is forgotten, with what builds upon it. Waits for the model's fingerprint.
 * Errors: dw_model_fingerprint's, DW_E_IO, DW_E_MEMORY. */
dw_status dw_prefix_folder_load(dw_prefix_folder *folder, dw_model *model, dw_error *err);
/* Write what the cache has and the folder has not. Errors: DW_E_IO, DW_E_MEMORY, DW_E_DEVICE, and
 * dw_model_fingerprint's; what was written until then stays. */
dw_status dw_prefix_folder_save(dw_prefix_folder *folder, dw_error *err);

typedef struct dw_prefix_folder_counts {
    uint64_t files;
    uint64_t bytes; /* of all files */
    uint64_t bytes_max;
    uint64_t written_bytes; /* since it was opened, as the next two */
    uint64_t loaded;        /* files */
    uint64_t dropped;       /* for others, or damaged */
} dw_prefix_folder_counts;
void dw_prefix_folder_count(dw_prefix_folder *folder, dw_prefix_folder_counts *counts);

#endif
