/* QuickJS, and how deep it may go: for WASI it sets no limit, and what recurses without end would trap
 * instead of throwing what a program can catch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "quickjs.c"

#include "interpreter.h"

void interpreter_limit_stack(JSRuntime *of, size_t bytes)
{
    of->stack_limit = js_get_stack_pointer() - bytes;
}
