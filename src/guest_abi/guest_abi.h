/* The host functions that guests import, a table an area, each ended by a NULL name. */
#ifndef DW_GUEST_ABI_GUEST_ABI_H
#define DW_GUEST_ABI_GUEST_ABI_H

#include "actor/guest_instance.h"

extern const dw_import dw_host_imports[];   /* host_abi.c */
extern const dw_import dw_tensor_imports[]; /* tensor_abi.c */
extern const dw_import dw_model_imports[];  /* model_abi.c */

#endif
