/* An actor that writes its messages, requests as JSON, as chats: what the template of its model, or
 * the one that it was given, makes of them. */
#include "driftwood_guest.h"

#define TEXT_MAX 4096

static char request[TEXT_MAX];
static char text[TEXT_MAX];
static int32_t model;

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(request, sizeof request);
    if (bytes >= 0 && model == 0) {
        model = dw_model_open(NULL, 0);
    }
    if (bytes < 0 || model < 0) {
        return bytes < 0 ? bytes : model;
    }
    int32_t length = dw_chat_render(model, request, (uint32_t)bytes, text, sizeof text);
    return length < 0 ? length : dw_reply(text, (uint32_t)length);
}
