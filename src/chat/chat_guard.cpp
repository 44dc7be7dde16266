/* The one place where exceptions of llama.cpp's code for chats end. */
#include "chat/chat_guard.h"

#include <chat-peg-parser.h>
#include <chat.h>
#include <json-schema-to-grammar.h>
#include <log.h>

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <new>
#include <set>
#include <sstream>

#include "base/alloc.h"
#include "base/ggml_guard.h"
#include "base/json_mend.h"
#include "chat/chat_internal.h"
#include "chat/chat_request.h"
#include "values/bounds.h"

struct dw_jinja {
    std::string source;
    std::string bos, eos;
    jinja::program program;
    dw_jinja_asks asks = {};
};

struct dw_chat_format {
    common_chat_params params;
    common_peg_arena arena;
    std::vector<dw_chat_trigger> triggers;
    std::vector<std::string> trigger_texts;
    std::vector<const char *> stops;
    std::string thinking_end, grammar_prefix, note;
    bool has_late_ids = false;
    bool has_bare_calls = false; /* JSON without a mark around it */
    bool is_free = false;        /* content is not held to a schema */
    bool marks[256] = {};
};

namespace
{

/* ---- calls on a deep stack ------------------------------------------------------------------ */

/* What the parser, the program and model output recurse on is bounded to fit into this. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t stack_bytes = (size_t)512 << 20;
constexpr size_t used_bytes = (size_t)56 << 20; /* ASan unwinds no more than 64 MiB */
#else
constexpr size_t stack_bytes = (size_t)128 << 20;
constexpr size_t used_bytes = stack_bytes / 4 * 3;
#endif

/* How long the caller's thread waits for this one, until others on it have their turns. */
constexpr std::chrono::milliseconds wait_between_turns(1);

struct deep_call {
    const std::function<void()> *work;
    struct dw_stop *stop; /* may be NULL */
    dw_status status;
    dw_error error;
    std::mutex lock;
    std::condition_variable changed;
    bool ended; /* guarded by lock */
};

bool asks(void *stop)
{
    return dw__chat_stop_asked(static_cast<struct dw_stop *>(stop));
}

void run_guarded(void *user)
{
    auto *call = static_cast<deep_call *>(user);
    try {
        dw::jinja_limits limits;
        limits.stack_bytes = used_bytes;
        limits.asks = asks;
        limits.stop = call->stop;
        dw::jinja_scope scope(limits);
        (*call->work)();
    } catch (const dw::status_error &e) {
        call->status = dw_fail(&call->error, e.status, "%s", e.what());
    } catch (const dw::stop_reached &e) {
        call->status = dw_fail(&call->error, DW_E_CANCELLED, "%s", e.what());
    } catch (const dw::limit_reached &e) {
        call->status = dw_fail(&call->error, DW_E_LIMIT, "%s", e.what());
    } catch (const dw::memory_reached &e) {
        call->status = dw_fail(&call->error, DW_E_MEMORY, "%s", e.what());
    } catch (const std::bad_alloc &) {
        call->status = dw_fail(&call->error, DW_E_MEMORY, "no memory for a chat");
    } catch (const std::exception &e) {
        call->status = dw_fail(&call->error, DW_E_ARG, "%s", e.what());
    }
}

void *run_deep(void *user)
{
    auto *call = static_cast<deep_call *>(user);
    dw_error aborted;
    if (dw_ggml_guarded_here(run_guarded, call, &aborted) != DW_OK) {
        call->status = dw_fail(&call->error, DW_E_ARG, "%s", aborted.message);
    }
    std::lock_guard<std::mutex> held(call->lock);
    call->ended = true;
    call->changed.notify_all();
    return nullptr;
}

/* Meanwhile others on the caller's thread have their turns, where there are any. */
void wait_for(deep_call &call)
{
    std::unique_lock<std::mutex> held(call.lock);
    while (!call.changed.wait_for(held, wait_between_turns, [&] { return call.ended; })) {
        held.unlock();
        bool takes_turns = dw__chat_stop_pause(call.stop);
        held.lock();
        if (!takes_turns) {
            return; /* whoever joins the thread waits */
        }
    }
}

dw_status deeply(const std::function<void()> &work, dw_error *err, struct dw_stop *stop = nullptr)
{
    deep_call call = {&work, stop, DW_OK, {}, {}, {}, false};
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a thread");
    }
    (void)pthread_attr_setstacksize(&attributes, stack_bytes);
    int failed = pthread_create(&thread, &attributes, run_deep, &call);
    (void)pthread_attr_destroy(&attributes);
    if (failed != 0) {
        return dw_fail(err, DW_E_MEMORY, "no thread for a chat: %s", std::strerror(failed));
    }
    wait_for(call);
    (void)pthread_join(thread, nullptr);
    if (call.status != DW_OK && err != nullptr) {
        *err = call.error;
    }
    return call.status;
}

char *copy_out(const std::string &text)
{
    char *copy = static_cast<char *>(dw_alloc(text.size() + 1, 1));
    if (copy == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, text.data(), text.size());
    return copy;
}

/* ---- templates ------------------------------------------------------------------------------ */

jinja::program parse(const std::string &source)
{
    try {
        jinja::lexer lexer;
        return jinja::parse_from_tokens(lexer.tokenize(source));
    } catch (const dw::placed_error &e) {
        throw dw::status_error(DW_E_FORMAT, e.what());
    }
}

void open_template(dw_jinja *jinja)
{
    jinja->program = parse(jinja->source);
    dw::jinja_limits limits = dw::trial_limits(used_bytes);
    limits.steps *= 8; /* several trials */
    dw::jinja_scope scope(limits);
    auto caps = jinja::caps_get(jinja->program);
    dw::find_forms(jinja->program, used_bytes, &jinja->asks);
    jinja->asks.system_role = caps.supports_system_role;
    jinja->asks.tools = caps.supports_tools;
    jinja->asks.tool_calls = caps.supports_tool_calls;
}

/* Keys are as much from outside as values are. */
void mark_keys(const jinja::value &value)
{
    if (jinja::is_val<jinja::value_array>(value)) {
        for (const auto &item : value->as_array()) {
            mark_keys(item);
        }
    } else if (jinja::is_val<jinja::value_object>(value)) {
        for (const auto &[key, item] : value->as_ordered_object()) {
            key->val_str.mark_input();
            mark_keys(item);
        }
    }
}

/* Roles are the template's own words (chat.c checks what they may be): "<|" + role + "|>". */
void unmark_roles(const jinja::value &messages)
{
    if (!jinja::is_val<jinja::value_array>(messages)) {
        return;
    }
    for (const auto &message : messages->as_array()) {
        if (!jinja::is_val<jinja::value_object>(message)) {
            continue;
        }
        for (const auto &[key, item] : message->as_ordered_object()) {
            if (key->val_str.str() == "role" && jinja::is_val<jinja::value_string>(item)) {
                for (auto &part : item->val_str.parts) {
                    part.is_input = false;
                }
            }
        }
    }
}

void set_variables(jinja::context &context, const dw_jinja *jinja, const dw::chat_request &request,
                   const std::string &tokens)
{
    /* As Hugging Face's library does: there, if only as none. */
    common_json trusted = common_json::parse(tokens);
    trusted["tools"] = nullptr;
    trusted["documents"] = nullptr;
    trusted["add_generation_prompt"] = request.generation_prompt && !request.continues;
    if (request.says_thinking) {
        trusted["enable_thinking"] = request.thinks;
    }
    jinja::global_from_json(context, trusted, false);
    common_json outside = request.variables;
    outside["messages"] = dw::messages_for(request, jinja->asks);
    if (request.tools.is_array()) {
        outside["tools"] = request.tools;
    }
    jinja::global_from_json(context, outside, true);
    for (auto it = outside.begin(); it != outside.end(); ++it) {
        mark_keys(context.get_val(it.key()));
    }
    unmark_roles(context.get_val("messages"));
}

/* Cut behind the last message's content, as Hugging Face's continue_final_message does. */
void cut_behind(std::vector<jinja::string_part> &parts, const dw::chat_request &request)
{
    const auto &last = request.messages.at(request.messages.size() - 1);
    std::string content = last.contains("content") && last.at("content").is_string()
                              ? string_strip(last.at("content").get<std::string>())
                              : "";
    std::string text;
    for (const auto &part : parts) {
        text += part.val;
    }
    size_t at = content.empty() ? std::string::npos : text.rfind(content);
    if (at == std::string::npos) {
        throw dw::status_error(DW_E_ARG, "continue_final_message: the template does not write the "
                                         "last message's content as it is");
    }
    size_t left = at + content.size();
    for (auto &part : parts) {
        part.val.resize(std::min(part.val.size(), left));
        left -= part.val.size();
    }
}

void render(const dw_jinja *jinja, const dw::chat_request &request, const std::string &tokens,
            int64_t seconds, dw_chat_text *out)
{
    jinja::context context(jinja->source);
    context.current_time = (std::time_t)(request.now != 0 ? request.now : seconds);
    set_variables(context, jinja, request, tokens);

    jinja::runtime runtime(context);
    auto parts = jinja::runtime::gather_string_parts(runtime.execute(jinja->program));
    auto &pieces = parts->val_str.parts;
    if (request.continues) {
        cut_behind(pieces, request);
    }
    std::string text = parts->as_string().str();
    dw::jinja_charge(text.size());
    out->bytes = text.size();
    out->text = copy_out(text);
    out->pieces = static_cast<dw_chat_piece *>(dw_alloc(pieces.size() + 1, sizeof *out->pieces));
    if (out->pieces == nullptr) {
        throw std::bad_alloc();
    }
    for (const auto &piece : pieces) {
        if (!piece.val.empty()) {
            out->pieces[out->piece_count++] = {piece.val.size(), piece.is_input};
        }
    }
}

/* ---- formats -------------------------------------------------------------------------------- */

/* A tool that names no parameters takes none, as its caller would expect. */
common_json parameters_of(const common_json &function)
{
    common_json schema = common_chat_tool_parameters(function);
    bool plain = schema.is_object() && schema.contains("type") && schema.at("type") == "object" &&
                 !(schema.contains("properties") && !schema.at("properties").empty());
    for (const char *key : {"additionalProperties", "patternProperties", "anyOf", "allOf", "oneOf",
                            "minProperties", "$ref"}) {
        plain = plain && !schema.contains(key);
    }
    if (plain) {
        schema["additionalProperties"] = false;
    }
    return schema;
}

std::string described(const common_json &function)
{
    bool there = function.contains("description") && function.at("description").is_string();
    return there ? function.at("description").get<std::string>() : "";
}

/* A format does not depend on what is said: one short message stands for all. */
common_chat_templates_inputs inputs_of(const dw::chat_request &request)
{
    common_chat_templates_inputs inputs;
    common_chat_msg message;
    message.role = "user";
    message.content = "Hello.";
    inputs.messages = {message};
    inputs.add_generation_prompt = true;
    inputs.use_jinja = true;
    for (size_t i = 0; request.tools.is_array() && i < request.tools.size(); i++) {
        const auto &function = request.tools.at(i).at("function");
        auto name = function.at("name").get<std::string>();
        if (request.only_tool.empty() || request.only_tool == name) {
            inputs.tools.push_back({name, described(function), parameters_of(function).dump()});
        }
    }
    inputs.json_schema = request.schema.is_null() ? "" : request.schema.dump();
    inputs.tool_choice = request.choice == DW_CHAT_TOOLS_REQUIRED ? COMMON_CHAT_TOOL_CHOICE_REQUIRED
                         : request.choice == DW_CHAT_TOOLS_NONE   ? COMMON_CHAT_TOOL_CHOICE_NONE
                                                                  : COMMON_CHAT_TOOL_CHOICE_AUTO;
    inputs.parallel_tool_calls = request.parallel_calls;
    inputs.reasoning_format = COMMON_REASONING_FORMAT_AUTO;
    inputs.enable_thinking = request.thinks;
    for (auto it = request.variables.begin(); it != request.variables.end(); ++it) {
        inputs.chat_template_kwargs[it.key()] = it.value().dump();
    }
    return inputs;
}

/* Where the model's template does not know tools, calls are written as the most common form has
 * them. Nothing of it is rendered: the template stays as its maker wrote it. */
const char plain_tools[] =
    "{%- if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}</tools>"
    "{% endif %}{%- for message in messages %}[{{ message.role }}]{{ message.content }}"
    "{%- for call in message.tool_calls %}\n<tool_call>\n{\"name\": \"{{ call.function.name }}\", "
    "\"arguments\": {{ call.function.arguments | tojson }}}\n</tool_call>{% endfor %}[end]\n"
    "{% endfor %}";

common_chat_params params_for(const dw_jinja *jinja, const std::string &source,
                              const common_chat_templates_inputs &inputs)
{
    auto templates = common_chat_templates_init(nullptr, source, jinja->bos, jinja->eos);
    return common_chat_templates_apply(templates.get(), inputs);
}

/* A template that writes calls, though it is not told of tools, has a form of them of its own. */
common_chat_params params_of(const dw_jinja *jinja, const common_chat_templates_inputs &inputs)
{
    bool own = inputs.tools.empty() || jinja->asks.tools || jinja->asks.tool_calls;
    if (own) {
        auto params = params_for(jinja, jinja->source, inputs);
        bool may_call = inputs.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE;
        if (inputs.tools.empty() || jinja->asks.tools || !may_call || !params.grammar.empty()) {
            return params;
        }
    }
    return params_for(jinja, plain_tools, inputs);
}

/* Whether calls have their ids behind the arguments: after these they are not whole yet. */
bool has_late_ids(const std::string &grammar)
{
    std::istringstream lines(grammar);
    for (std::string line; std::getline(lines, line);) {
        size_t arguments = line.rfind("tool-", 0) == 0 ? line.rfind("-root") : std::string::npos;
        if (arguments != std::string::npos &&
            line.find("id\\\"\"", arguments) != std::string::npos) {
            return true;
        }
    }
    return false;
}

/* A call that is required begins at once, or once the thinking ends that the template opened. The
 * grammar of a call alone is that which begins later. */
void require_call(dw_chat_format *format, const dw_jinja *jinja,
                  common_chat_templates_inputs inputs)
{
    auto &params = format->params;
    inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_AUTO;
    common_chat_params later = params_of(jinja, inputs);
    if (later.grammar.empty() || !later.grammar_lazy) {
        return; /* the format's own */
    }
    params.grammar = later.grammar;
    format->grammar_prefix.clear();
    size_t begin = params.thinking_start_tag.empty()
                       ? std::string::npos
                       : params.generation_prompt.rfind(params.thinking_start_tag);
    bool thinks =
        begin != std::string::npos && !params.thinking_end_tags.empty() &&
        params.generation_prompt.find(params.thinking_end_tags.front(), begin) == std::string::npos;
    size_t root = params.grammar.rfind("root ::=", 0) == 0 ? 0 : params.grammar.find("\nroot ::=");
    if (!thinks || root == std::string::npos) {
        return;
    }
    root += params.grammar[root] == '\n' ? 1 : 0;
    params.grammar.replace(root, 4, "dw-call");
    params.grammar += "root ::= " + gbnf_format_literal(params.thinking_end_tags.front()) +
                      " [ \\n]{0,8} dw-call\n";
    params.grammar_lazy = true;
    params.grammar_triggers = {
        {COMMON_GRAMMAR_TRIGGER_TYPE_WORD, params.thinking_end_tags.front()}};
    /* nothing is passed over: thinking ends where the grammar begins */
    params.thinking_start_tag.clear();
}

/* Behind the rules of `to` those of `from`, whose root is called `root`; equal ones are there once.
 */
void add_rules(std::string &to, const std::string &from, const std::string &root)
{
    std::set<std::string> known;
    std::istringstream there(to);
    std::istringstream lines(from);
    for (std::string line; std::getline(there, line);) {
        known.insert(line);
    }
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind("root ::=", 0) == 0) {
            line.replace(0, 4, root);
        }
        if (known.insert(line).second) {
            to += line + "\n";
        }
    }
}

/* The names of the rules that schemas begin with (chat_schema.cpp). */
std::vector<std::string> schema_roots(const std::string &grammar)
{
    static const std::string end = "-root";
    std::vector<std::string> names;
    std::istringstream lines(grammar);
    for (std::string line; std::getline(lines, line);) {
        std::string name = line.substr(0, line.find(' '));
        if (name.rfind("dw-", 0) == 0 && name.size() > 3 && isdigit((unsigned char)name[3]) &&
            name.size() > end.size() &&
            name.compare(name.size() - end.size(), end.size(), end) == 0) {
            names.push_back(name);
        }
    }
    return names;
}

/* An answer of a schema, where tools are to be had: it may be calls as well, until a last one is of
 * the schema. Most of llama.cpp's formats know the one or the other: the grammar of the text takes
 * calls where it takes the schema, and the answer is read as one that may call. */
void allow_calls(dw_chat_format *format, const dw_jinja *jinja, common_chat_templates_inputs inputs)
{
    static const std::string fenced =
        "space (\"```json\" space response-format space \"```\" | space response-format space)";
    auto alone = inputs;
    alone.tools.clear();
    inputs.json_schema.clear();
    common_chat_params text = params_of(jinja, alone);
    common_chat_params calls = params_of(jinja, inputs);
    auto roots = schema_roots(text.grammar);
    std::string either = text.grammar;
    size_t fence = either.find(fenced);
    if (fence != std::string::npos) { /* fences are read as text where calls are looked for */
        either.replace(fence, fenced.size(), "response-format");
    }
    const std::string used = roots.size() == 1 ? " " + roots.front() : "";
    const std::string begun = gbnf_format_literal(text.generation_prompt) + used;
    size_t line = either.find("\nresponse-format ::=");
    line = line != std::string::npos ? line : either.find("\nroot ::=");
    size_t at =
        used.empty() || line == std::string::npos ? std::string::npos : either.find(used, line);
    at = at < either.find('\n', line + 1) ? at : std::string::npos;
    bool has_mark =
        at != std::string::npos && either[at - 1] == '"' && either.find(begun) == std::string::npos;
    if (at == std::string::npos || has_mark || either.find("```") != std::string::npos ||
        !calls.grammar_lazy || calls.grammar.empty()) {
        /* Calls have no mark, or texts have, between which is no place for calls. */
        if (schema_roots(format->params.grammar).empty() && !roots.empty()) {
            format->grammar_prefix = text.generation_prompt;
            format->params = std::move(text);
        }
        return;
    }
    text.grammar = either.replace(at, used.size(), " (dw-calls |" + used + ")");
    add_rules(text.grammar, calls.grammar, "dw-calls");
    format->grammar_prefix = text.generation_prompt;
    format->params = std::move(calls);
    format->params.grammar = text.grammar;
    format->params.grammar_lazy = text.grammar_lazy;
    format->params.grammar_triggers = text.grammar_triggers;
}

/* Where each call has marks of its own, the grammar of several also takes none at all, and several
 * where one is wanted. */
void count_calls(std::string &grammar, bool several)
{
    static const std::string loose = "tool-calls ::= (tool-call? space)+\n";
    size_t at = grammar.find(loose);
    if (at != std::string::npos) {
        grammar.replace(at, loose.size(),
                        several ? "tool-calls ::= tool-call (space tool-call)*\n"
                                : "tool-calls ::= tool-call\n");
    }
}

void keep_triggers(dw_chat_format *format)
{
    for (const auto &trigger : format->params.grammar_triggers) {
        bool pattern = trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN ||
                       trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL;
        format->trigger_texts.push_back(trigger.value);
        format->triggers.push_back({nullptr, pattern});
    }
    for (size_t i = 0; i < format->triggers.size(); i++) {
        format->triggers[i].text = format->trigger_texts[i].c_str();
    }
}

void open_format(dw_chat_format *format, const dw_jinja *jinja, const dw::chat_request &request,
                 struct dw_stop *stop)
{
    dw::schema_scope schemas(stop);
    auto inputs = inputs_of(request);
    auto &params = format->params;
    if (inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED) {
        inputs.json_schema.clear(); /* a call has its own */
    }
    params = params_of(jinja, inputs);
    format->grammar_prefix = params.generation_prompt;
    if (!inputs.json_schema.empty() && !inputs.tools.empty() &&
        inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_AUTO &&
        schema_roots(params.grammar).size() <= inputs.tools.size()) {
        allow_calls(format, jinja, inputs);
    }
    if (!params.parser.empty()) {
        format->arena.load(params.parser);
    }
    format->note = schemas.note();
    if (inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED) {
        require_call(format, jinja, inputs);
    }
    count_calls(params.grammar, request.parallel_calls);
    keep_triggers(format);
    format->has_late_ids = has_late_ids(params.grammar);
    format->is_free = inputs.json_schema.empty();
    dw::find_marks(format->arena, format->marks);
    format->has_bare_calls = !inputs.tools.empty() && inputs.json_schema.empty() &&
                             inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_AUTO &&
                             params.grammar.empty();
    for (const auto &text : params.additional_stops) {
        format->stops.push_back(text.c_str());
    }
    if (!params.thinking_end_tags.empty()) {
        format->thinking_end = params.thinking_end_tags.front();
    }
    if (!inputs.tools.empty() && !jinja->asks.tools) {
        format->note += format->note.empty() ? "" : "; ";
        format->note += "the chat template does not tell the model of its tools";
    }
    dw::jinja_work(UINT64_C(1) << 20); /* a format is kept: what was left half done is none */
}

/* ---- answers -------------------------------------------------------------------------------- */

constexpr size_t answer_bytes_max = (size_t)4 << 20;
constexpr size_t answer_depth_max = 2000; /* of brackets, which the parser recurses on */
/* Of brackets, quotes, commas and marks: each makes some nodes of a tree, of 250 bytes, and what is
 * made of a tree looks at no clock. So many take 50 ms. */
constexpr size_t answer_parts_max = (size_t)1 << 17;

void check_shape(std::string_view text)
{
    size_t depth = 0, parts = 0;
    for (char c : text) {
        depth += c == '[' || c == '{' ? 1 : 0;
        depth -= (c == ']' || c == '}') && depth > 0 ? 1 : 0;
        parts += c == '[' || c == '{' || c == '"' || c == ',' || c == '<' ? 1 : 0;
        if (depth > answer_depth_max) {
            throw dw::status_error(DW_E_LIMIT, "the answer nests brackets more than " +
                                                   std::to_string(answer_depth_max) + " deep");
        }
    }
    if (parts > answer_parts_max) {
        throw dw::status_error(DW_E_LIMIT, "the answer has " + std::to_string(parts) +
                                               " brackets, quotes, commas and marks, limit " +
                                               std::to_string(answer_parts_max));
    }
}

std::unique_ptr<common_chat_peg_mapper> mapper_of(common_chat_format kind, common_chat_msg &message)
{
    if (kind == COMMON_CHAT_FORMAT_PEG_GEMMA4) {
        return std::make_unique<common_chat_peg_gemma4_mapper>(message);
    }
    if (kind == COMMON_CHAT_FORMAT_PEG_MINIMAX_M3) {
        return std::make_unique<common_chat_peg_minimax_m3_mapper>(message);
    }
    return std::make_unique<common_chat_peg_mapper>(message);
}

std::string message_text(const common_chat_msg &message)
{
    common_json out = common_json::object();
    out["role"] = "assistant";
    out["content"] = message.content;
    if (!message.reasoning_content.empty()) {
        out["reasoning_content"] = message.reasoning_content;
    }
    if (!message.tool_calls.empty()) {
        out["tool_calls"] = common_json::array();
        for (const auto &call : message.tool_calls) {
            common_json one = common_json::object();
            one["type"] = "function";
            one["id"] = call.id;
            common_json function = common_json::object();
            function["name"] = call.name;
            function["arguments"] = call.arguments;
            one["function"] = function;
            out["tool_calls"].push_back(one);
        }
    }
    return out.dump_safe();
}

/* An answer that does not follow the format: its reasoning, where that has an end, and all the rest
 * as content. */
void read_as_plain(const dw_chat_format *format, const std::string &answer,
                   common_chat_msg &message)
{
    const std::string &end = format->thinking_end, &begin = format->params.thinking_start_tag;
    size_t at = end.empty() ? std::string::npos : answer.find(end);
    message = {};
    message.role = "assistant";
    message.content = answer;
    if (at == std::string::npos) {
        return;
    }
    std::string thought = string_strip(answer.substr(0, at)), mark = string_strip(begin);
    size_t from = mark.empty() ? std::string::npos : thought.find(mark);
    if (from != std::string::npos && from > 0) {
        return; /* there is text before it */
    }
    message.reasoning_content = string_strip(from == 0 ? thought.substr(mark.size()) : thought);
    at = answer.find_first_not_of(" \r\n\t", at + end.size());
    message.content = at != std::string::npos ? answer.substr(at) : "";
}

/* Between the parts of the work, none of which looks at a clock itself. */
void look_whether_to_stop()
{
    dw::jinja_work(UINT64_C(1) << 20);
}

/* Whether what was read is text at its end. */
bool ends_in_text(const common_peg_parse_context &context, const common_peg_parse_result &result)
{
    bool ends = false;
    context.ast.visit(result, [&](const common_peg_ast_node &node) {
        ends = ends || (node.end == context.input.size() &&
                        (node.tag == common_chat_peg_builder::CONTENT ||
                         node.tag == common_chat_peg_builder::REASONING));
    });
    return ends && !result.fail();
}

/* True: it was read to its end. `in_text`, if not NULL: and that is text. */
bool parse_answer(const dw_chat_format *format, const std::string &answer,
                  common_peg_parse_flags flags, common_chat_msg &message, bool *in_text = nullptr)
{
    common_peg_parse_context context(format->params.generation_prompt + answer, flags);
    auto result = format->arena.parse(context);
    look_whether_to_stop();
    if (in_text != nullptr) {
        *in_text = ends_in_text(context, result);
    }
    message = {};
    message.role = "assistant";
    mapper_of(format->params.format, message)->from_ast(context.ast, result);
    message.reasoning_content = string_strip(message.reasoning_content);
    look_whether_to_stop();
    return !result.fail();
}

bool says_nothing(const common_chat_msg &message)
{
    return message.content.empty() && message.reasoning_content.empty() &&
           message.tool_calls.empty();
}

/* Whether the answer is reasoning that has no end, or content without a call, and all of it was
 * read as that. */
bool is_all_text(const dw_chat_format *format, const std::string &answer,
                 const common_chat_msg &message)
{
    common_chat_msg plain;
    read_as_plain(format, answer, plain);
    if (!message.tool_calls.empty()) {
        return false;
    }
    if (!message.content.empty()) {
        return string_strip(message.content) == string_strip(plain.content);
    }
    std::string all = string_strip(answer), begin = string_strip(format->params.thinking_start_tag);
    if (!begin.empty() && all.rfind(begin, 0) == 0) {
        all = string_strip(all.substr(begin.size()));
    }
    return all == string_strip(message.reasoning_content);
}

/* Also JSON of numbers and escapes that the parser does not hold. */
bool is_json(const std::string &text)
{
    if (!common_json::parse_no_throw(text).is_discarded()) {
        return true;
    }
    size_t bytes = 0;
    char *mended = dw_json_mend(text.data(), text.size(), &bytes);
    bool is = mended != nullptr &&
              !common_json::parse_no_throw(std::string(mended, bytes)).is_discarded();
    dw_free(mended);
    return is;
}

bool calls_are_whole(const common_chat_msg &message)
{
    return std::all_of(message.tool_calls.begin(), message.tool_calls.end(), [](const auto &call) {
        return call.arguments.empty() || is_json(call.arguments);
    });
}

/* Text ends anywhere, within reasoning too, but not within a call. Formats' parsers may insist on a
 * call: what has none is read as a beginning. */
bool read_whole(const dw_chat_format *format, const std::string &answer, common_chat_msg &message)
{
    bool whole = parse_answer(format, answer, COMMON_PEG_PARSE_FLAG_NONE, message);
    whole = whole && calls_are_whole(message);
    whole = whole && (!says_nothing(message) || string_strip(answer).empty());
    if (whole && (!message.reasoning_content.empty() || !message.tool_calls.empty())) {
        return true;
    }
    common_chat_msg begun;
    if (parse_answer(format, answer, COMMON_PEG_PARSE_FLAG_LENIENT, begun) &&
        is_all_text(format, answer, begun)) {
        message = begun;
        return true;
    }
    if (!whole) {
        read_as_plain(format, answer, message);
        message.content = message.reasoning_content.empty() ? answer : message.content;
    }
    return whole || (format->has_bare_calls && answer.find("\"name\"") == std::string::npos);
}

/* False: the answer does not follow the format, or ends within a call. */
bool read_answer(const dw_chat_format *format, std::string_view text, bool is_partial,
                 common_chat_msg &message, bool *in_text)
{
    dw::jinja_limits limits; /* of templates: an answer is bounded by its length */
    limits.milliseconds = UINT32_MAX;
    dw::jinja_scope scope(limits);
    dw::answer_watch_begin();
    std::string answer(text);
    message.role = "assistant";
    if (format->arena.empty()) {
        message.content = answer;
        *in_text = true;
        return true;
    }
    check_shape(text);
    return is_partial
               ? parse_answer(format, answer, COMMON_PEG_PARSE_FLAG_LENIENT, message, in_text)
               : read_whole(format, answer, message);
}

} // namespace

/* ---- what C calls --------------------------------------------------------------------------- */

extern "C" dw_status dw_jinja_open(dw_jinja **out, const char *source, size_t bytes,
                                   const char *bos, const char *eos, dw_error *err)
{
    *out = nullptr;
    if (bytes > DW_CHAT_TEMPLATE_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "the chat template has %zu bytes, limit %zu", bytes,
                       DW_CHAT_TEMPLATE_BYTES_MAX);
    }
    auto *made = new (std::nothrow) dw_jinja();
    if (made == nullptr) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a chat template");
    }
    dw_status status = deeply(
        [&] {
            made->source.assign(source, bytes);
            made->bos = bos;
            made->eos = eos;
            open_template(made);
        },
        err);
    if (status != DW_OK) {
        dw_jinja_close(made);
        return status;
    }
    *out = made;
    return DW_OK;
}

extern "C" void dw_jinja_close(dw_jinja *jinja)
{
    if (jinja != nullptr) {
        (void)deeply([&] { jinja->program.body.clear(); }, nullptr); /* a deep tree */
        delete jinja;
    }
}

extern "C" dw_jinja_asks dw_jinja_asks_for(const dw_jinja *jinja)
{
    return jinja->asks;
}

extern "C" const char *dw_jinja_source(const dw_jinja *jinja)
{
    return jinja->source.c_str();
}

extern "C" dw_status dw_jinja_render(const dw_jinja *jinja, dw_chat_request request,
                                     const char *tokens, int64_t seconds, dw_chat_text *out,
                                     dw_error *err)
{
    *out = {};
    dw_status status = deeply(
        [&] {
            render(jinja, dw::read_request({request.json, request.bytes}), tokens, seconds, out);
        },
        err, request.stop);
    if (status != DW_OK) {
        dw_chat_text_release(out);
    }
    return status;
}

extern "C" dw_status dw_chat_request_has_tools(dw_chat_request request, bool *has_tools,
                                               dw_error *err)
{
    *has_tools = false;
    return deeply(
        [&] {
            *has_tools = dw::read_request({request.json, request.bytes}).tools.is_array();
        },
        err, request.stop);
}

extern "C" void dw_chat_text_release(dw_chat_text *text)
{
    dw_free(text->text);
    dw_free(text->pieces);
    *text = {};
}

extern "C" dw_status dw_chat_format_open(dw_chat_format **out, const dw_jinja *jinja,
                                         dw_chat_request request, dw_error *err)
{
    *out = nullptr;
    auto *made = new (std::nothrow) dw_chat_format();
    if (made == nullptr) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a chat's format");
    }
    dw_status status = deeply(
        [&] {
            open_format(made, jinja, dw::read_request({request.json, request.bytes}), request.stop);
        },
        err, request.stop);
    if (status != DW_OK) {
        delete made;
        return status;
    }
    *out = made;
    return DW_OK;
}

extern "C" dw_status dw_chat_format_key(dw_chat_request request, char **key, dw_error *err)
{
    *key = nullptr;
    return deeply(
        [&] {
            dw::chat_request read = dw::read_request({request.json, request.bytes});
            common_json all = common_json::object();
            all["tools"] = read.tools;
            all["variables"] = read.variables;
            all["schema"] = read.schema;
            all["choice"] = (int)read.choice;
            all["only_tool"] = read.only_tool;
            all["parallel"] = read.parallel_calls;
            all["thinks"] = read.thinks;
            *key = copy_out(all.dump());
        },
        err, request.stop);
}

extern "C" void dw_chat_format_close(dw_chat_format *format)
{
    delete format;
}

extern "C" dw_chat_format_info dw_chat_format_info_of(const dw_chat_format *format)
{
    const auto &params = format->params;
    dw_chat_format_info info = {};
    info.name = common_chat_format_name(params.format);
    info.grammar = params.grammar.c_str();
    info.grammar_begins_later = params.grammar_lazy;
    info.triggers = format->triggers.data();
    info.trigger_count = format->triggers.size();
    info.generation_prompt = params.generation_prompt.c_str();
    info.stops = format->stops.data();
    info.stop_count = format->stops.size();
    info.thinking_begin = params.thinking_start_tag.c_str();
    info.thinking_end = format->thinking_end.c_str();
    info.grammar_prefix = format->grammar_prefix.c_str();
    info.note = format->note.c_str();
    info.has_late_ids = format->has_late_ids;
    info.marks = format->is_free ? format->marks : nullptr;
    return info;
}

extern "C" dw_status dw_chat_format_parse(const dw_chat_format *format, dw_chat_raw answer,
                                          dw_chat_read *out, dw_error *err)
{
    *out = {};
    if (answer.bytes > answer_bytes_max) {
        return dw_fail(err, DW_E_LIMIT, "the answer has %zu bytes, limit %zu", answer.bytes,
                       answer_bytes_max);
    }
    return deeply(
        [&] {
            common_chat_msg read;
            bool in_text = false;
            out->well_formed =
                read_answer(format, {answer.text, answer.bytes}, answer.is_partial, read, &in_text);
            out->ends_in_text = in_text;
            look_whether_to_stop();
            out->json = copy_out(message_text(read));
        },
        err, answer.stop);
}
