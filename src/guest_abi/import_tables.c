#include "guest_abi/guest_abi.h"

const dw_host_import *const dw_import_tables[DW_IMPORT_TABLES_COUNT] = {
    dw_host_imports,    dw_model_imports,    dw_vocab_imports,   dw_chat_imports,
    dw_context_imports, dw_forward_imports,  dw_sampler_imports, dw_tensor_imports,
    dw_actor_imports,   dw_generate_imports, dw_upgrade_imports, dw_many_imports,
    dw_tool_imports,    dw_tree_imports,     dw_lora_imports,
};
