/* What actor_saver.c and saver.c do with a message: "s NAME TEXT" prefills the text and saves it,
 * "o NAME" opens that and answers how long it is and which token comes behind another one, "O NAME"
 * the same and keeps it open, "l" how long what is open is, "r NAME" removes what was saved. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"

static DW_ALIGNED int32_t tokens[1024];
static DW_ALIGNED float logits[1 << 18];
static int32_t kept;

static int32_t save(int32_t model, const char *name, uint32_t name_bytes, const char *text)
{
    int32_t count =
        dw_tokenize(model, text, (uint32_t)strlen(text), tokens, 1024, DW_TOKENIZE_SPECIAL);
    int32_t context = count < 0 ? count : dw_context_create(model, 0);
    int32_t status = context;
    if (status >= 0) {
        status = dw_forward(context, tokens, (uint32_t)count, logits);
    }
    if (status >= 0) {
        status = dw_context_save(context, name, name_bytes);
    }
    if (context > 0) {
        (void)dw_context_close(context);
    }
    return status < 0 ? status : count;
}

static int32_t next_of(int32_t context, int32_t model, char *answer, size_t room)
{
    uint32_t length = (uint32_t)dw_context_length(context);
    int32_t status = dw_forward(context, tokens, 1, logits);
    int32_t next = status < 0 ? status : dw_greedy(model, logits);
    return next < 0 ? next : snprintf(answer, room, "%u %d", (unsigned)length, (int)next);
}

static int32_t act(const char *message, char *answer, size_t room)
{
    int32_t model = dw_model_open(NULL, 0);
    const char *name = message + 2;
    const char *text = strchr(name, ' ');
    int32_t status = model;
    int32_t context;
    if (model < 0 || strlen(message) < 1) {
        return status;
    }
    switch (message[0]) {
    case 's':
        text = text != NULL ? text : name + strlen(name);
        status = save(model, name, (uint32_t)(text - name), text + (*text == ' '));
        return status < 0 ? status : snprintf(answer, room, "%d", (int)status);
    case 'r':
        status = dw_context_remove(name, (uint32_t)strlen(name));
        return status < 0 ? status : snprintf(answer, room, "%d", (int)status);
    case 'l':
        return snprintf(answer, room, "%d", (int)dw_context_length(kept));
    default:
        context = dw_context_open(model, name, (uint32_t)strlen(name), 0);
        if (context < 0) {
            return context;
        }
        tokens[0] = 1;
        status = next_of(context, model, answer, room);
        kept = message[0] == 'O' ? context : kept;
        return kept == context ? status : (dw_context_close(context), status);
    }
}
