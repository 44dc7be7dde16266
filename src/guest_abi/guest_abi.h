/* The functions that guests import from module "driftwood", one table an area. Each checks all
 * that the guest gave before it acts, answers a result or a negative dw_status, and leaves a
 * failure's message in dw_instance_error for the guest to read. */
#ifndef DW_GUEST_ABI_GUEST_ABI_H
#define DW_GUEST_ABI_GUEST_ABI_H

#include "wasm/guest_instance.h"

/* Each ended by a NULL name. docs/guest-abi.md describes them one by one. */
extern const dw_host_import dw_host_imports[];
extern const dw_host_import dw_model_imports[];
extern const dw_host_import dw_vocab_imports[];
extern const dw_host_import dw_chat_imports[];
extern const dw_host_import dw_context_imports[];
extern const dw_host_import dw_forward_imports[];
extern const dw_host_import dw_sampler_imports[];
extern const dw_host_import dw_tensor_imports[];
extern const dw_host_import dw_actor_imports[];
extern const dw_host_import dw_generate_imports[];
extern const dw_host_import dw_upgrade_imports[];
extern const dw_host_import dw_many_imports[];
extern const dw_host_import dw_tool_imports[];
extern const dw_host_import dw_tree_imports[];
extern const dw_host_import dw_lora_imports[];

/* Of module "wasi_ephemeral_nn": docs/wasi-nn.md. They answer 0 or an errno of wasi-nn. */
extern const dw_host_import dw_nn_imports[];

/* All of them that are of module "driftwood". */
#define DW_IMPORT_TABLES_COUNT 15
extern const dw_host_import *const dw_import_tables[DW_IMPORT_TABLES_COUNT];

#endif
