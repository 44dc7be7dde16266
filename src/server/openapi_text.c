#include "server/openapi_text.h"

#include <stddef.h>

static const dw__route_text texts[] = {
    {DW_HTTP_GET, "/health", "Whether the process lives", NULL, "Health", NULL},
    {DW_HTTP_GET, "/v1/health", "Whether the process lives", NULL, "Health", NULL},
    {DW_HTTP_GET, "/ready", "Whether requests are taken", NULL, "Health", NULL},
    {DW_HTTP_GET, "/openapi.json", "This document", NULL, NULL, NULL},
    {DW_HTTP_GET, "/metrics", "What is counted, for Prometheus", NULL, NULL, NULL},
    {DW_HTTP_GET, "/v1/models", "The models that are served", NULL, "List", NULL},
    {DW_HTTP_GET, "/models", "The models that are served", NULL, "List", NULL},
    {DW_HTTP_POST, "/models/load", "Load a model", "Model", NULL, NULL},
    {DW_HTTP_POST, "/models/unload", "Unload it once nobody uses it", "Model", NULL, NULL},
    {DW_HTTP_GET, "/v1/models/{model}", "One of them", NULL, NULL, NULL},
    {DW_HTTP_POST, "/v1/chat/completions", "A chat, as OpenAI has it", "Chat", NULL, NULL},
    {DW_HTTP_POST, "/chat/completions", "A chat, as OpenAI has it", "Chat", NULL, NULL},
    {DW_HTTP_POST, "/v1/completions", "A text that goes on", "Text", NULL, NULL},
    {DW_HTTP_POST, "/v1/embeddings", "Texts as vectors", "Embeddings", NULL, NULL},
    {DW_HTTP_POST, "/embeddings", "Texts as vectors", "Embeddings", NULL, NULL},
    {DW_HTTP_POST, "/v1/responses", "A response, as OpenAI has it", "Response", NULL, NULL},
    {DW_HTTP_POST, "/responses", "A response, as OpenAI has it", "Response", NULL, NULL},
    {DW_HTTP_GET, "/v1/responses/{response}", "One that was kept", NULL, NULL, NULL},
    {DW_HTTP_DELETE, "/v1/responses/{response}", "Forget it", NULL, NULL, NULL},
    {DW_HTTP_POST, "/v1/responses/{response}/cancel", "End it", NULL, NULL, NULL},
    {DW_HTTP_GET, "/v1/responses/{response}/input_items", "What it was asked", NULL, NULL, NULL},
    {DW_HTTP_GET, "/responses/{response}", "One that was kept", NULL, NULL, NULL},
    {DW_HTTP_POST, "/v1/conversations", "A conversation that is kept", "Object", NULL, NULL},
    {DW_HTTP_GET, "/v1/conversations/{conversation}", "One of them", NULL, NULL, NULL},
    {DW_HTTP_POST, "/v1/conversations/{conversation}", "Change it", "Object", NULL, NULL},
    {DW_HTTP_DELETE, "/v1/conversations/{conversation}", "Forget it", NULL, NULL, NULL},
    {DW_HTTP_GET, "/v1/conversations/{conversation}/items", "What it holds", NULL, NULL, NULL},
    {DW_HTTP_DELETE, "/v1/streams/{stream}", "End it", NULL, NULL, NULL},
    {DW_HTTP_GET, "/v1/streams/{stream}", "A stream that broke off, taken up again", NULL, NULL,
     NULL},
    {DW_HTTP_POST, "/v1/messages", "A chat, as Anthropic has it", "Message", NULL, NULL},
    {DW_HTTP_POST, "/v1/messages/count_tokens", "How many tokens it is", "Message", NULL, NULL},
    {DW_HTTP_POST, "/tokenize", "A text as tokens", "Tokenize", NULL, NULL},
    {DW_HTTP_POST, "/detokenize", "Tokens as a text", "Detokenize", NULL, NULL},
    {DW_HTTP_GET, "/lora-adapters", "A model's LoRA adapters, which a request chooses by lora",
     NULL, NULL, "model:string"},
    {DW_HTTP_POST, "/lora-adapters", "Refused: scales of all requests are the operator's", NULL,
     NULL, NULL},
    {DW_HTTP_POST, "/apply-template", "A chat as its model's template writes it", "Chat", NULL,
     NULL},
    {DW_HTTP_POST, "/v1/modules", "Upload a module of actors", NULL, "Module", NULL},
    {DW_HTTP_GET, "/v1/modules", "The modules that were uploaded", NULL, "List", NULL},
    {DW_HTTP_GET, "/v1/modules/{sha256}", "One of them", NULL, "Module", NULL},
    {DW_HTTP_DELETE, "/v1/modules/{sha256}", "Delete it", NULL, NULL, NULL},
    {DW_HTTP_POST, "/v1/actors", "Make an actor", "Spawn", "Id", NULL},
    {DW_HTTP_GET, "/v1/actors", "The actors there are", NULL, "List", "limit:integer after:string"},
    {DW_HTTP_DELETE, "/v1/actors", "End all; for the user himself", NULL, NULL, NULL},
    {DW_HTTP_POST, "/v1/actors/import", "Take in a snapshot", NULL, "Id",
     "name:string priority:string pinned:boolean supervision:string kv_type:string limits:string "
     "durability:string may:string"},
    {DW_HTTP_GET, "/v1/actors/{id}", "What an actor is, and has done", NULL, "Actor", NULL},
    {DW_HTTP_POST, "/v1/actors/{id}", "Change its name, priority, whether it is pinned", "Change",
     "Id", NULL},
    {DW_HTTP_DELETE, "/v1/actors/{id}", "End it", NULL, NULL, "tree:boolean"},
    {DW_HTTP_POST, "/v1/actors/{id}/messages", "Send it a message; its answer comes piece by piece",
     NULL, NULL, "wait:boolean timeout_ms:integer"},
    {DW_HTTP_GET, "/v1/actors/{id}/messages", "Messages that wait, or were set aside", NULL, "List",
     NULL},
    {DW_HTTP_GET, "/v1/actors/{id}/messages/{number}", "One's content", NULL, NULL, NULL},
    {DW_HTTP_DELETE, "/v1/actors/{id}/messages/{number}", "Drop it", NULL, NULL, NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/messages/{number}/retry", "Let it wait again", NULL, NULL,
     NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/messages/{number}/cancel", "Cancel one that is answered", NULL,
     NULL, NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/freeze", "Keep what it is now", NULL, "Id", NULL},
    {DW_HTTP_GET, "/v1/actors/{id}/freezes", "Numbers of what was kept", NULL, "List", NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/rewind", "Let it be what it was", "Rewind", "Id", NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/park", "Let it leave memory", NULL, "Id", NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/thaw", "Have it in memory", NULL, "Id", NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/fork", "A copy that goes on by itself", NULL, "Id", NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/interrupt", "End what it works on", NULL, "Id", NULL},
    {DW_HTTP_POST, "/v1/actors/{id}/upgrade", "Put another module under it", "Upgrade", "Id", NULL},
    {DW_HTTP_GET, "/v1/actors/{id}/export", "Download it as a snapshot", NULL, NULL, NULL},
    {DW_HTTP_GET, "/v1/actors/{id}/files", "Where its files are; for the user himself", NULL, NULL,
     NULL},
    {DW_HTTP_GET, "/v1/actors/{id}/events", "What happens to it", NULL, NULL, "content:boolean"},
    {DW_HTTP_GET, "/v1/actors/{id}/logs", "What was logged of it", NULL, "List",
     "limit:integer follow:boolean"},
    {DW_HTTP_PUT, "/v1/actors/{id}/groups/{group}", "Let it join a group", NULL, "Id", NULL},
    {DW_HTTP_DELETE, "/v1/actors/{id}/groups/{group}", "Let it leave a group", NULL, "Id", NULL},
    {DW_HTTP_GET, "/v1/names/{name}", "The actor of a name", NULL, "Id", NULL},
    {DW_HTTP_GET, "/v1/groups/{group}", "A group's members", NULL, "List", NULL},
    {DW_HTTP_POST, "/v1/groups/{group}/messages", "Send a message to each of them", NULL, NULL,
     "timeout_ms:integer"},
    {DW_HTTP_GET, "/v1/events", "What happens to all actors", NULL, NULL, "content:boolean"},
    {DW_HTTP_GET, "/v1/logs", "What was logged", NULL, "List", "limit:integer follow:boolean"},
    {DW_HTTP_GET, "/v1/overview", "All that is to be seen, as driftwood top shows it", NULL, NULL,
     "order:string actors:integer"},
    {DW_HTTP_POST, "/v1/runtime/wait", "Until nothing is worked on; for the user himself", NULL,
     NULL, NULL},
};

const dw__route_text *dw__route_text_at(size_t index)
{
    return index < sizeof texts / sizeof texts[0] ? &texts[index] : NULL;
}

#define MESSAGES                                                                                   \
    "\"messages\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"required\":" \
    "[\"role\",\"content\"],\"properties\":{\"role\":{\"enum\":[\"user\",\"assistant\"]},"         \
    "\"content\":{\"type\":\"string\"}}}}"
#define ANSWER                                                                                     \
    "\"model\":{\"type\":\"string\"},\"max_tokens\":{\"type\":\"integer\",\"minimum\":1},"         \
    "\"temperature\":{\"type\":\"number\",\"minimum\":0,\"maximum\":2},\"seed\":{\"type\":"        \
    "\"integer\"},\"stream\":{\"type\":\"boolean\"},\"top_p\":{\"type\":\"number\","               \
    "\"minimum\":0,\"maximum\":1}"
#define TEXT_OR_TEXTS                                                                              \
    "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,\"maxItems\":16,"        \
    "\"items\":{\"type\":\"string\"}}]}"
#define TEXTS "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"

/* Members, each a schema. */
static const char *const schemas[] = {
    "\"Error\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":"
    "\"object\",\"required\":[\"message\",\"type\"],\"properties\":{\"message\":{\"type\":"
    "\"string\"},\"type\":{\"type\":\"string\"},\"param\":{\"type\":[\"string\",\"null\"]},"
    "\"code\":{\"type\":[\"string\",\"null\"]}}}}}",
    "\"Health\":{\"type\":\"object\",\"required\":[\"status\"],\"properties\":{\"status\":{"
    "\"const\":\"ok\"}}}",
    "\"Object\":{\"type\":\"object\"}",
    "\"Model\":{\"type\":\"object\",\"required\":[\"model\"],\"properties\":{\"model\":{"
    "\"type\":\"string\"}}}",
    "\"List\":{\"type\":\"object\",\"required\":[\"object\",\"data\"],\"properties\":{\"object\":{"
    "\"const\":\"list\"},\"data\":{\"type\":\"array\"},\"has_more\":{\"type\":\"boolean\"}}}",
    "\"Id\":{\"type\":\"object\",\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"string\","
    "\"pattern\":\"^[0-9a-f]{16}$\"},\"number\":{\"type\":\"integer\"}}}",
    "\"Module\":{\"type\":\"object\",\"required\":[\"sha256\",\"bytes\"],\"properties\":{"
    "\"sha256\":{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{64}$\"},\"bytes\":{\"type\":"
    "\"integer\"},\"created\":{\"type\":\"integer\"},\"compiled\":{\"type\":\"boolean\"}}}",
    "\"Actor\":{\"type\":\"object\",\"required\":[\"id\",\"state\"],\"properties\":{\"id\":{"
    "\"type\":\"string\"},\"state\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"},"
    "\"parent\":{\"type\":\"string\"},\"watches\":{\"type\":\"object\",\"required\":["
    "\"count\",\"watchers\",\"actors\"],\"properties\":{\"count\":{\"type\":\"integer\"},"
    "\"limit\":{\"type\":\"integer\"},\"watchers\":{\"type\":\"integer\"},\"actors\":{\"type\":"
    "\"array\",\"items\":{\"type\":\"object\",\"required\":[\"id\",\"events\"],\"properties\":{"
    "\"id\":{\"type\":\"string\"},\"events\":{\"type\":\"array\",\"items\":{\"enum\":["
    "\"ended\",\"failed\",\"set_aside\"]}}}}}}}}}",
    "\"Spawn\":{\"type\":\"object\",\"additionalProperties\":false,\"oneOf\":[{\"required\":["
    "\"module\"]},{\"required\":[\"guest\"]}],\"properties\":{\"module\":{\"type\":\"string\","
    "\"pattern\":\"^[0-9a-f]{64}$\"},\"guest\":{\"type\":\"string\"},\"model\":{\"type\":"
    "\"string\"},\"models\":" TEXTS ",\"args\":" TEXTS ",\"env\":{\"type\":\"object\","
    "\"additionalProperties\":{\"type\":\"string\"}},\"limits\":{\"type\":\"object\","
    "\"additionalProperties\":{\"type\":[\"string\",\"integer\"]}},\"kv_type\":{\"enum\":["
    "\"f16\",\"q8_0\",\"f32\"]},\"name\":{\"type\":\"string\",\"pattern\":"
    "\"^[A-Za-z0-9._-]{1,63}$\"},\"may\":{\"type\":\"array\",\"items\":{\"enum\":[\"spawn\","
    "\"fork\",\"send-kin\",\"send-tenant\",\"send-any\",\"timers\",\"join\"]}},\"priority\":{"
    "\"enum\":[\"high\",\"normal\",\"low\"]},\"pinned\":{\"type\":\"boolean\"},\"supervision\":{"
    "\"enum\":[\"restart\",\"stop\"]},\"failures_max\":{\"type\":\"integer\",\"minimum\":0},"
    "\"durability\":{\"oneOf\":[{\"enum\":[\"each\",\"park\"]},{\"type\":\"integer\",\"minimum\":"
    "1}]},\"context_tokens\":{\"type\":\"integer\",\"minimum\":0},\"chat_template\":{\"type\":"
    "\"string\"},\"folders\":" TEXTS "}}",
    "\"Change\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"name\":{"
    "\"type\":[\"string\",\"null\"]},\"pinned\":{\"type\":\"boolean\"},\"priority\":{\"enum\":["
    "\"high\",\"normal\",\"low\"]}}}",
    "\"Rewind\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"number\":{"
    "\"type\":\"integer\",\"minimum\":0}}}",
    "\"Upgrade\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"module\":{"
    "\"type\":\"string\"},\"guest\":{\"type\":\"string\"}}}",
    "\"Chat\":{\"type\":\"object\",\"required\":[\"messages\"],\"properties\":{" MESSAGES "," ANSWER
    "}}",
    "\"Message\":{\"type\":\"object\",\"required\":[\"messages\",\"max_tokens\"],\"properties\":"
    "{" MESSAGES ",\"system\":{\"type\":\"string\"}," ANSWER "}}",
    "\"Text\":{\"type\":\"object\",\"required\":[\"prompt\"],\"properties\":{"
    "\"prompt\":" TEXT_OR_TEXTS "," ANSWER "}}",
    "\"Response\":{\"type\":\"object\",\"required\":[\"input\"],\"properties\":{\"input\":{"
    "\"type\":\"string\"},\"instructions\":{\"type\":\"string\"},\"model\":{\"type\":\"string\"},"
    "\"max_output_tokens\":{\"type\":\"integer\",\"minimum\":1},\"stream\":{\"type\":\"boolean\"},"
    "\"store\":{\"type\":\"boolean\"},\"previous_response_id\":{\"type\":\"string\"}}}",
    "\"Embeddings\":{\"type\":\"object\",\"required\":[\"input\"],\"properties\":{\"model\":{"
    "\"type\":\"string\"},\"input\":" TEXT_OR_TEXTS ",\"encoding_format\":{\"enum\":[\"float\","
    "\"base64\"]}}}",
    "\"Tokenize\":{\"type\":\"object\",\"required\":[\"content\"],\"properties\":{\"content\":{"
    "\"type\":\"string\"},\"add_special\":{\"type\":\"boolean\"},\"parse_special\":{\"type\":"
    "\"boolean\"}}}",
    "\"Detokenize\":{\"type\":\"object\",\"required\":[\"tokens\"],\"properties\":{\"tokens\":{"
    "\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0}}}}",
};

const char *dw__schema_at(size_t index)
{
    return index < sizeof schemas / sizeof schemas[0] ? schemas[index] : NULL;
}
