/* What names in folders of programs without a journal say. */
#ifndef DW_STORE_FOLDER_FORMER_INTERNAL_H
#define DW_STORE_FOLDER_FORMER_INTERNAL_H

#include "store/actor_folder_internal.h"

/* "NUMBER-FROM-EFFECT", with "aside-" before it, "-CAUSE-COUNT" behind it. */
bool dw__former_message(const char *name, dw_message_row *message);
/* ".delivered-ID-" or ".had-ID-" and the name of a message: whose it was. */
bool dw__former_delivered(const char *name, char id[DW_ACTOR_ID_CHARS + 1],
                          dw_message_row *message);
/* ".descent-PIECE-DEPTH-ID-ID...", a part of it; other names change nothing. */
void dw__former_descent(const char *name, dw_descent *descent);
/* "KIND NUMBER INSIDE" at `*text`, which is moved behind it. */
bool dw__former_work(const char **text, dw_attempted *work);
/* The same with " COUNT", a line's end and the reason. */
bool dw__former_attempts(const char *text, dw_attempts *attempts);

#endif
