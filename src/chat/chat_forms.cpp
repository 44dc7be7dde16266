/* OpenAI's JSON has forms that templates do not share: arguments of calls as JSON text, content as
 * a string, as a list of parts or, beside calls, as null. Which of them a template reads is found
 * by trying it, once. */
#include "chat/chat_internal.h"

#include <json.h>

#include <initializer_list>

#include "values/bounds.h"

namespace dw
{
namespace
{

const char needle[] = "needle-7f";
const char planted[] = "value-3c";

struct trial {
    const jinja::program &program;
    size_t stack_bytes;

    /* What the template makes of it; false: it refuses. */
    bool render(const common_json &messages, const common_json &tools, std::string &text) const
    {
        common_json all = common_json::object();
        all["messages"] = messages;
        all["tools"] = tools;
        all["documents"] = nullptr;
        all["add_generation_prompt"] = true;
        all["bos_token"] = "<s>";
        all["eos_token"] = "</s>";
        try {
            jinja_scope scope(trial_limits(stack_bytes));
            jinja::context context;
            context.current_time = 0;
            jinja::global_from_json(context, all, false);
            text = program.body.at(0)->execute(context)->val_str.str();
            return true;
        } catch (const memory_reached &) {
            throw;
        } catch (const std::exception &) {
            return false;
        }
    }

    bool shows(const common_json &messages, const common_json &tools, const char *wanted,
               std::initializer_list<const char *> unwanted) const
    {
        std::string text;
        if (!render(messages, tools, text) || text.find(wanted) == std::string::npos) {
            return false;
        }
        for (const char *one : unwanted) {
            if (text.find(one) != std::string::npos) {
                return false;
            }
        }
        return true;
    }
};

common_json message(const char *role, const common_json &content)
{
    common_json made = common_json::object();
    made["role"] = role;
    made["content"] = content;
    return made;
}

common_json parts_of(const char *text)
{
    common_json part = common_json::object();
    part["type"] = "text";
    part["text"] = text;
    common_json parts = common_json::array();
    parts.push_back(part);
    return parts;
}

/* A question, behind what the system says, if that is not null. */
common_json told(const common_json &system, const common_json &question)
{
    common_json messages = common_json::array();
    if (!system.is_null()) {
        messages.push_back(message("system", system));
    }
    messages.push_back(message("user", question));
    return messages;
}

/* A question, and an answer that calls. */
common_json calling(const common_json &question, const common_json &arguments,
                    const common_json &content)
{
    common_json answer = message("assistant", content);
    answer["tool_calls"] = common_json::parse(
        R"([{"id": "call00001", "type": "function", "function": {"name": "look"}}])");
    answer["tool_calls"].at(0).at("function")["arguments"] = arguments;
    common_json messages = told(nullptr, question);
    messages.push_back(answer);
    return messages;
}

} // namespace

jinja_limits trial_limits(size_t stack_bytes)
{
    jinja_limits limits;
    limits.steps = 1u << 18;
    limits.bytes = 64u << 20;
    limits.value_bytes = 1u << 20;
    limits.milliseconds = 1000;
    limits.stack_bytes = stack_bytes;
    return limits;
}

void find_forms(const jinja::program &program, size_t stack_bytes, dw_jinja_asks *asks)
{
    const trial t{program, stack_bytes};
    bool as_text = t.shows(told(nullptr, needle), nullptr, needle, {});
    bool as_parts = t.shows(
        told(nullptr, parts_of(needle)), nullptr, needle,
        {"{'type': 'text', 'text': 'needle-7f'}", R"({"type": "text", "text": "needle-7f"})"});
    /* A system's content is not always read as a user's is. */
    if (as_parts && as_text && t.shows(told(planted, needle), nullptr, planted, {})) {
        as_parts = t.shows(
            told(parts_of(planted), needle), nullptr, planted,
            {"{'type': 'text', 'text': 'value-3c'}", R"({"type": "text", "text": "value-3c"})"});
    }
    asks->no_text_content = as_parts && !as_text;
    asks->no_part_content = as_text && !as_parts;

    common_json tools = common_json::parse(
        R"([{"type": "function", "function": {"name": "look", "description": "d", "parameters":
            {"type": "object", "properties": {"needle-7f": {"type": "string"}}}}}])");
    common_json asked = asks->no_text_content ? parts_of(needle) : common_json(needle);
    common_json object = common_json::object();
    object[needle] = planted;
    const char *shown = "{'needle-7f': 'value-3c'}";
    asks->object_arguments = t.shows(calling(asked, object, ""), tools, planted, {shown}) ||
                             t.shows(calling(asked, object, nullptr), tools, planted, {shown});

    common_json arguments =
        asks->object_arguments ? object : common_json(R"({"needle-7f": "value-3c"})");
    common_json empty = asks->no_text_content ? parts_of("") : common_json("");
    asks->no_null_content = !t.shows(calling(asked, arguments, nullptr), tools, "", {"None"}) &&
                            t.shows(calling(asked, arguments, empty), tools, "", {"None"});
}

} // namespace dw
