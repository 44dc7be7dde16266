#include "chat/chat_request.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>

#include "base/json_bounds.h"
#include "chat/chat_internal.h"

namespace dw
{
namespace
{

constexpr size_t request_bytes_max = (size_t)48 << 20;
constexpr size_t messages_max = 4096;
constexpr size_t tools_max = 1024;
constexpr size_t depth_max = 256;
constexpr size_t role_bytes_max = 64;

[[noreturn]] void refuse(const std::string &what)
{
    throw status_error(DW_E_ARG, what);
}

std::string place(const std::string &list, size_t i, const std::string &rest = "")
{
    return list + "[" + std::to_string(i) + "]" + rest;
}

std::string shown(const common_json &value)
{
    std::string text = value.dump_safe();
    return text.size() > 40 ? text.substr(0, 40) + "..." : text;
}

/* Nested lists and objects, which templates recurse on, and values, of which a few bytes each make
 * a reader take many. */
constexpr dw_json_bounds json_bounds = {SIZE_MAX, 2000000, depth_max, 4};

bool is_within(std::string_view text, dw_json_excess &excess)
{
    return dw_json_within(text.data(), text.size(), &json_bounds, &excess);
}

void check_extent(std::string_view text)
{
    dw_json_excess excess = {};
    if (is_within(text, excess)) {
        return;
    }
    std::string what = excess.what;
    if (what == "levels") {
        throw status_error(DW_E_LIMIT, "the request nests lists and objects more than " +
                                           std::to_string(depth_max) + " deep");
    }
    if (what == "values") {
        throw status_error(DW_E_LIMIT, "the request has more than " + std::to_string(excess.limit) +
                                           " values of JSON");
    }
    refuse("the request is not JSON: byte " + std::to_string(excess.at) + " is NUL");
}

bool flag(const common_json &value, const std::string &name)
{
    if (!value.is_boolean()) {
        refuse(name + ": " + shown(value) + ", true or false is wanted");
    }
    return value.get<bool>();
}

/* ---- messages ------------------------------------------------------------------------------- */

/* The template prints it as its own text, so it may hold nothing that could be a token. */
void check_role(const common_json &message, const std::string &at)
{
    if (!message.contains("role") || !message.at("role").is_string()) {
        refuse(at + ".role: a string is wanted");
    }
    auto role = message.at("role").get<std::string>();
    bool plain = !role.empty() && role.size() <= role_bytes_max &&
                 std::all_of(role.begin(), role.end(), [](char c) {
                     return std::isalnum((unsigned char)c) != 0 || c == '_' || c == '-' || c == ' ';
                 });
    if (!plain) {
        refuse(at + ".role: " + shown(message.at("role")) +
               ", 1 to 64 letters, digits, spaces, _ and - are allowed");
    }
}

void check_content(const common_json &content, const std::string &at)
{
    if (content.is_string() || content.is_null()) {
        return;
    }
    if (!content.is_array()) {
        refuse(at + ": " + shown(content) + ", a string, a list of parts or null is wanted");
    }
    for (size_t i = 0; i < content.size(); i++) {
        const auto &part = content.at(i);
        if (!part.is_object() || !part.contains("type") || !part.at("type").is_string()) {
            refuse(place(at, i, ".type: a string is wanted"));
        }
        bool text = part.at("type").get<std::string>() == "text";
        if (text && (!part.contains("text") || !part.at("text").is_string())) {
            refuse(place(at, i, ".text: a string is wanted"));
        }
        bool media = part.at("type").get<std::string>().find("image") != std::string::npos ||
                     part.at("type").get<std::string>().find("audio") != std::string::npos ||
                     part.at("type").get<std::string>().find("video") != std::string::npos;
        if (media) {
            refuse(place(at, i, ".type: ") + shown(part.at("type")) +
                   ", only text can be read here");
        }
    }
}

void check_calls(const common_json &calls, const std::string &at)
{
    if (calls.is_null()) {
        return;
    }
    if (!calls.is_array()) {
        refuse(at + ": " + shown(calls) + ", a list is wanted");
    }
    for (size_t i = 0; i < calls.size(); i++) {
        const auto &call = calls.at(i);
        const common_json *function =
            call.is_object() && call.contains("function") ? &call.at("function") : &call;
        if (!function->is_object() || !function->contains("name") ||
            !function->at("name").is_string()) {
            refuse(place(at, i, ".function.name: a string is wanted"));
        }
        if (function->contains("arguments") && !function->at("arguments").is_string() &&
            !function->at("arguments").is_object() && !function->at("arguments").is_null()) {
            refuse(place(at, i, ".function.arguments: ") + shown(function->at("arguments")) +
                   ", JSON text or an object is wanted");
        }
    }
}

void check_messages(const common_json &messages)
{
    if (!messages.is_array() || messages.empty()) {
        refuse("messages: " + shown(messages) + ", a list of at least one is wanted");
    }
    if (messages.size() > messages_max) {
        throw status_error(DW_E_LIMIT, "messages: " + std::to_string(messages.size()) + ", limit " +
                                           std::to_string(messages_max));
    }
    for (size_t i = 0; i < messages.size(); i++) {
        std::string at = place("messages", i);
        const auto &message = messages.at(i);
        if (!message.is_object()) {
            refuse(at + ": " + shown(message) + ", an object is wanted");
        }
        check_role(message, at);
        if (message.contains("content")) {
            check_content(message.at("content"), at + ".content");
        }
        if (message.contains("tool_calls")) {
            check_calls(message.at("tool_calls"), at + ".tool_calls");
        }
        for (const char *key : {"name", "tool_call_id", "reasoning_content"}) {
            if (message.contains(key) && !message.at(key).is_string() &&
                !message.at(key).is_null()) {
                refuse(at + "." + key + ": " + shown(message.at(key)) + ", a string is wanted");
            }
        }
    }
}

/* ---- tools and what else a request says ------------------------------------------------------ */

void check_tools(const common_json &tools)
{
    if (!tools.is_array()) {
        refuse("tools: " + shown(tools) + ", a list is wanted");
    }
    if (tools.size() > tools_max) {
        throw status_error(DW_E_LIMIT, "tools: " + std::to_string(tools.size()) + ", limit " +
                                           std::to_string(tools_max));
    }
    for (size_t i = 0; i < tools.size(); i++) {
        const auto &tool = tools.at(i);
        if (!tool.is_object() || !tool.contains("type") || tool.at("type") != "function") {
            refuse(place("tools", i, ".type: \"function\" is wanted"));
        }
        if (!tool.contains("function") || !tool.at("function").is_object() ||
            !tool.at("function").contains("name") || !tool.at("function").at("name").is_string() ||
            tool.at("function").at("name").get<std::string>().empty()) {
            refuse(place("tools", i, ".function.name: a string is wanted"));
        }
        const auto &function = tool.at("function");
        if (function.contains("parameters") && !function.at("parameters").is_object() &&
            !function.at("parameters").is_null()) {
            refuse(place("tools", i, ".function.parameters: ") + shown(function.at("parameters")) +
                   ", a JSON Schema is wanted");
        }
    }
}

bool has_tool(const chat_request &request, const std::string &name)
{
    for (size_t i = 0; request.tools.is_array() && i < request.tools.size(); i++) {
        if (request.tools.at(i).at("function").at("name").get<std::string>() == name) {
            return true;
        }
    }
    return false;
}

void read_choice(chat_request &request, const common_json &choice)
{
    static const std::map<std::string, dw_chat_choice> words = {
        {"auto", DW_CHAT_TOOLS_AUTO},
        {"none", DW_CHAT_TOOLS_NONE},
        {"required", DW_CHAT_TOOLS_REQUIRED}};
    if (choice.is_string()) {
        auto found = words.find(choice.get<std::string>());
        if (found == words.end()) {
            refuse("tool_choice: " + shown(choice) +
                   ", \"auto\", \"none\", \"required\" or a function is wanted");
        }
        request.choice = found->second;
    } else if (choice.is_object() && choice.contains("function") &&
               choice.at("function").is_object() && choice.at("function").contains("name") &&
               choice.at("function").at("name").is_string()) {
        request.choice = DW_CHAT_TOOLS_REQUIRED;
        request.only_tool = choice.at("function").at("name").get<std::string>();
        request.parallel_calls = false; /* it is that call which is wanted */
        if (!has_tool(request, request.only_tool)) {
            refuse("tool_choice: no tool is named " + shown(choice.at("function").at("name")));
        }
    } else if (!choice.is_null()) {
        refuse("tool_choice: " + shown(choice) +
               ", \"auto\", \"none\", \"required\" or a function is wanted");
    }
    if (request.choice == DW_CHAT_TOOLS_REQUIRED && !request.tools.is_array()) {
        refuse("tool_choice: a call is required, and there are no tools");
    }
}

void read_response_format(chat_request &request, const common_json &format)
{
    std::string type =
        format.is_object() && format.contains("type") && format.at("type").is_string()
            ? format.at("type").get<std::string>()
            : "";
    if (type == "json_object") {
        const bool has_schema = format.contains("schema") && format.at("schema").is_object();
        request.schema = has_schema ? format.at("schema") : common_json{{"type", "object"}};
        if (!has_schema) {
            request.schema["additionalProperties"] = true;
        }
    } else if (type == "json_schema") {
        const common_json *schema = format.contains("json_schema") ? &format.at("json_schema")
                                    : format.contains("schema")    ? &format
                                                                   : nullptr;
        if (schema == nullptr || !schema->is_object() || !schema->contains("schema")) {
            refuse("response_format.json_schema.schema: a JSON Schema is wanted");
        }
        request.schema = schema->at("schema");
    } else if (type != "text" && !format.is_null()) {
        refuse("response_format.type: \"text\", \"json_object\" or \"json_schema\" is wanted");
    }
}

void read_variables(chat_request &request, const common_json &more)
{
    if (!more.is_object()) {
        refuse("chat_template_kwargs: " + shown(more) + ", an object is wanted");
    }
    for (auto it = more.begin(); it != more.end(); ++it) {
        if (it.key() == "messages" || it.key() == "tools") {
            refuse("chat_template_kwargs." + it.key() + ": it is a part of the request itself");
        }
        if (it.key() == "enable_thinking") {
            request.says_thinking = true;
            request.thinks = flag(it.value(), "chat_template_kwargs.enable_thinking");
        } else {
            request.variables[it.key()] = it.value();
        }
    }
}

using reader = std::function<void(chat_request &, const common_json &)>;

const std::map<std::string, reader> &readers()
{
    static const std::map<std::string, reader> all = {
        {"messages", [](chat_request &r, const common_json &v) { r.messages = v; }},
        {"tools",
         [](chat_request &r, const common_json &v) {
             if (!v.is_null()) {
                 check_tools(v);
                 r.tools = v.empty() ? common_json() : v;
             }
         }},
        {"tool_choice", [](chat_request &, const common_json &) { /* when tools are known */ }},
        {"response_format", read_response_format},
        {"documents", [](chat_request &r, const common_json &v) { r.variables["documents"] = v; }},
        {"chat_template_kwargs",
         [](chat_request &r, const common_json &v) {
             if (!v.is_null()) {
                 read_variables(r, v);
             }
         }},
        {"reasoning_effort",
         [](chat_request &r, const common_json &v) {
             if (!v.is_string()) {
                 refuse("reasoning_effort: " + shown(v) + ", a string is wanted");
             }
             r.variables["reasoning_effort"] = v;
         }},
        {"enable_thinking",
         [](chat_request &r, const common_json &v) {
             r.says_thinking = true;
             r.thinks = flag(v, "enable_thinking");
         }},
        {"parallel_tool_calls",
         [](chat_request &r, const common_json &v) {
             r.parallel_calls = flag(v, "parallel_tool_calls");
         }},
        {"now",
         [](chat_request &r, const common_json &v) {
             if (!v.is_number_integer() || v.get<int64_t>() < 0 ||
                 v.get<int64_t>() > INT64_C(253402300799)) {
                 refuse("now: " + shown(v) + ", seconds since 1970 are wanted");
             }
             r.now = v.get<int64_t>();
         }},
        {"add_generation_prompt",
         [](chat_request &r, const common_json &v) {
             r.generation_prompt = flag(v, "add_generation_prompt");
         }},
        {"continue_final_message",
         [](chat_request &r, const common_json &v) {
             r.continues = flag(v, "continue_final_message");
         }},
    };
    return all;
}

/* ---- as the template wants it ---------------------------------------------------------------- */

/* JSON text, as OpenAI has it, to the object that templates written for Hugging Face take. Text
 * that is no JSON stays: the model wrote it, and reads it again. */
void arguments_as_object(common_json &message)
{
    if (!message.contains("tool_calls") || !message.at("tool_calls").is_array()) {
        return;
    }
    auto &calls = message.at("tool_calls");
    for (size_t i = 0; i < calls.size(); i++) {
        auto &call = calls.at(i);
        auto &function = call.contains("function") ? call.at("function") : call;
        if (!function.contains("arguments") || !function.at("arguments").is_string()) {
            continue;
        }
        auto text = function.at("arguments").get<std::string>();
        dw_json_excess excess = {};
        if (!is_within(text, excess)) {
            continue;
        }
        common_json parsed = common_json::parse_no_throw(text);
        if (!parsed.is_discarded()) {
            function["arguments"] = parsed;
        }
    }
}

void content_as_wanted(common_json &message, const dw_jinja_asks &asks)
{
    if (!message.contains("content")) {
        return;
    }
    if (asks.no_null_content && message.at("content").is_null()) {
        message["content"] = "";
    }
    auto &content = message.at("content");
    if (asks.no_text_content && content.is_string()) {
        common_json part = common_json::object();
        part["type"] = "text";
        part["text"] = content;
        common_json parts = common_json::array();
        parts.push_back(part);
        message["content"] = parts;
    } else if (asks.no_part_content && content.is_array()) {
        std::string text;
        bool first = true;
        for (size_t i = 0; i < content.size(); i++) {
            if (content.at(i).contains("text") && content.at(i).at("text").is_string()) {
                text += (first ? "" : "\n") + content.at(i).at("text").get<std::string>();
                first = false;
            }
        }
        message["content"] = text;
    }
}

} // namespace

chat_request read_request(std::string_view text)
{
    if (text.size() > request_bytes_max) {
        throw status_error(DW_E_LIMIT, "the request has " + std::to_string(text.size()) +
                                           " bytes, limit " + std::to_string(request_bytes_max));
    }
    check_extent(text);
    common_json all;
    try {
        all = common_json::parse(std::string(text));
    } catch (const std::exception &e) {
        refuse(std::string("the request is not JSON: ") + e.what());
    }
    if (!all.is_object()) {
        refuse("the request: " + shown(all) + ", an object is wanted");
    }
    chat_request request;
    request.variables = common_json::object();
    for (auto it = all.begin(); it != all.end(); ++it) {
        auto found = readers().find(it.key());
        if (found == readers().end()) {
            refuse("the request: \"" + it.key().substr(0, 40) + "\" is not known");
        }
        found->second(request, it.value());
    }
    check_messages(request.messages);
    if (all.contains("tool_choice")) {
        read_choice(request, all.at("tool_choice"));
    }
    if (request.continues &&
        request.messages.at(request.messages.size() - 1).at("role") != "assistant") {
        refuse("continue_final_message: the last message is not the assistant's");
    }
    return request;
}

common_json messages_for(const chat_request &request, const dw_jinja_asks &asks)
{
    common_json messages = request.messages;
    for (size_t i = 0; i < messages.size(); i++) {
        if (asks.object_arguments) {
            arguments_as_object(messages.at(i));
        }
        content_as_wanted(messages.at(i), asks);
    }
    return messages;
}

} // namespace dw
