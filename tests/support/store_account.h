/* What is in a state folder, and that all of it belongs to something. */
#ifndef DW_TESTS_STORE_ACCOUNT_H
#define DW_TESTS_STORE_ACCOUNT_H

#include "driftwood.h"

typedef struct name_list {
    char names[64][256];
    size_t count;
} name_list;

/* Run a command, which must succeed. */
void shell(const char *format, ...) DW_PRINTF(1, 2);
/* The names in a folder, none where there is no such. */
name_list listed(const char *format, ...) DW_PRINTF(1, 2);
bool path_exists(const char *format, ...) DW_PRINTF(1, 2);
/* Fails the test where a file in the state folder belongs to nothing, or one is missing. `at`: what
 * the process was killed at, for messages. */
void account_for_all(const char *folder, int at);
/* Run a statement of SQL on the journal of a state folder that nobody has open. */
void change_journal(const char *path, const char *format, ...) DW_PRINTF(2, 3);

#endif
