/* An actor that exports its function itself, without the macro that flushes. It prints lines; to
 * "-" a part of one, which stays in its C library's buffer but for what the host does. */
#include <stdio.h>

#include "driftwood_guest.h"

static int count;

__attribute__((export_name("driftwood_receive"))) int32_t driftwood_receive(void)
{
    char message[64];
    int32_t bytes = dw_input(message, sizeof message);
    if (bytes == 1 && message[0] == '-') {
        printf("part %d", ++count);
    } else {
        printf("line %d\n", ++count);
    }
    return bytes < 0 ? bytes : 0;
}
