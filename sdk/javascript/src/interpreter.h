/* What the guest sets in QuickJS that quickjs.h does not let it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef INTERPRETER_H
#define INTERPRETER_H

#include <stddef.h>

#include "quickjs.h"

/* What needs more than `bytes` of the C stack from here on throws. */
void interpreter_limit_stack(JSRuntime *of, size_t bytes);

#endif
