/* A request as JSON, OpenAI's names, checked and brought into the form that templates are written
 * for (C++). */
#ifndef DW_CHAT_REQUEST_H
#define DW_CHAT_REQUEST_H

#include <json.h>

#include <string>
#include <string_view>

#include "chat/chat_guard.h"

namespace dw
{

struct chat_request {
    common_json messages;  /* list */
    common_json tools;     /* list, or null */
    common_json variables; /* object: more that the template sees, from the caller */
    common_json schema;    /* of the content; null: none */
    dw_chat_choice choice = DW_CHAT_TOOLS_AUTO;
    std::string only_tool; /* the one that must be called; "": any */
    bool parallel_calls = true;
    bool says_thinking = false; /* whether the request says `thinks` */
    bool thinks = true;
    bool generation_prompt = true;
    int64_t now = 0;        /* seconds since 1970; 0: not said */
    bool continues = false; /* the last message, the assistant's, goes on */
};

/* Throws status_error DW_E_ARG with the place and the value, DW_E_LIMIT. */
chat_request read_request(std::string_view text);
/* Messages in the forms that the template reads: arguments, parts, null. All else is as it was. */
common_json messages_for(const chat_request &request, const dw_jinja_asks &asks);

} // namespace dw

#endif
