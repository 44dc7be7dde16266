/* What llama.cpp's code for chats calls and finds here (deps/chat.cmake renames three of its
 * functions): the grammars of tools' arguments, made by schema/json_grammar.h, which follows more
 * of JSON Schema; and small functions of files that are not built. */
#include <common.h>
#include <json-schema-to-grammar.h>
#include <log.h>

#include <cctype>
#include <cstring>
#include <map>

#include "base/alloc.h"
#include "chat/chat_internal.h"
#include "schema/json_grammar.h"

common_chat_schema_document common_parse_chat_schema(const common_json &schema);
std::string common_build_grammar(const std::function<void(const common_grammar_builder &)> &rules,
                                 const common_grammar_options &options);

namespace dw
{
namespace
{

/* The schemas that this thread's formats are made of, by the nodes that stand for them. */
struct schemas {
    schemas *outer = nullptr;
    std::map<const common_chat_schema *, std::string> texts;
    std::string note;
    unsigned count = 0;
    struct dw_stop *stop = nullptr;
};

thread_local schemas *current = nullptr;

/* Nodes of a document that was dropped can come back as others'. */
void forget(const common_chat_schema *node)
{
    if (node == nullptr) {
        return;
    }
    current->texts.erase(node);
    if (node->kind() == common_chat_schema::KIND_OBJECT) {
        const auto &object = static_cast<const common_chat_schema_object &>(*node);
        for (const auto &property : object.properties) {
            forget(property.schema.get());
        }
        forget(object.additional_properties.get());
    } else if (node->kind() == common_chat_schema::KIND_ARRAY) {
        forget(static_cast<const common_chat_schema_array &>(*node).items.get());
    } else if (node->kind() == common_chat_schema::KIND_ANY_OF) {
        for (const auto &child : static_cast<const common_chat_schema_any_of &>(*node).children) {
            forget(child.get());
        }
    } else if (node->kind() == common_chat_schema::KIND_ALL_OF) {
        for (const auto &child : static_cast<const common_chat_schema_all_of &>(*node).children) {
            forget(child.get());
        }
    } else if (node->kind() == common_chat_schema::KIND_TUPLE) {
        for (const auto &child : static_cast<const common_chat_schema_tuple &>(*node).items) {
            forget(child.get());
        }
    }
}

/* The property's schema, with the definitions that it may refer to. */
std::string property_text(const common_json &schema, const std::string &name)
{
    common_json property = schema.at("properties").at(name);
    for (const char *definitions : {"$defs", "definitions"}) {
        if (property.is_object() && schema.contains(definitions) &&
            !property.contains(definitions)) {
            property[definitions] = schema.at(definitions);
        }
    }
    return property.dump();
}

void remember(const common_chat_schema_document &document, const common_json &schema)
{
    forget(document.root.get());
    for (const auto &[name, node] : document.refs) {
        forget(node.get());
    }
    current->texts[document.root.get()] = schema.dump();
    if (document.root->kind() != common_chat_schema::KIND_OBJECT || !schema.is_object() ||
        !schema.contains("properties")) {
        return;
    }
    const auto &object = static_cast<const common_chat_schema_object &>(*document.root);
    for (const auto &property : object.properties) {
        if (schema.at("properties").contains(property.name)) {
            current->texts[property.schema.get()] = property_text(schema, property.name);
        }
    }
}

void add_note(const std::string &name, const std::string &why)
{
    if (current->note.find(name) == std::string::npos) {
        current->note +=
            (current->note.empty() ? "" : "; ") + name + ": not held to its schema: " + why;
    }
}

bool is_name(char c)
{
    return std::isalnum((unsigned char)c) != 0 || c == '-' || c == '_';
}

/* GBNF text with `prefix` before each rule's name; strings, sets and tokens stay. */
std::string with_prefix(const std::string &text, const std::string &prefix)
{
    std::string out;
    char inside = 0;
    for (size_t i = 0; i < text.size(); i++) {
        char c = text[i];
        if (inside == 0 && is_name(c)) {
            bool counts = std::isdigit((unsigned char)c) != 0; /* of {m,n} */
            out += counts ? "" : prefix;
            for (; i < text.size() && is_name(text[i]); i++) {
                out += text[i];
            }
            i--;
            continue;
        }
        out += c;
        if (inside != 0) {
            if (c == '\\' && i + 1 < text.size()) {
                out += text[++i];
            } else if (c == inside) {
                inside = 0;
            }
        } else {
            inside = c == '"' ? '"' : c == '[' ? ']' : c == '<' ? '>' : 0;
        }
    }
    return out;
}

/* The rules of a grammar's text, one a line, added under names of their own. -> the root's name */
std::string add_rules(const common_grammar_builder &builder, const std::string &text)
{
    std::string prefix = "dw-" + std::to_string(current->count++) + "-";
    std::string prefixed = with_prefix(text, prefix);
    for (size_t at = 0; at < prefixed.size();) {
        size_t end = prefixed.find('\n', at);
        end = end == std::string::npos ? prefixed.size() : end;
        std::string line = prefixed.substr(at, end - at);
        size_t sign = line.find("::=");
        if (sign != std::string::npos) {
            std::string name = line.substr(0, line.find_first_of(" \t:"));
            (void)builder.add_rule(name, line.substr(sign + 3));
        }
        at = end + 1;
    }
    return prefix + "root";
}

std::string add_schema(const common_grammar_builder &builder, const std::string &name,
                       const common_chat_schema &node)
{
    auto found = current->texts.find(&node);
    if (found == current->texts.end()) {
        return builder.add_schema(name, node);
    }
    char *grammar = nullptr;
    dw_error err;
    dw_status status = dw_json_grammar_make_for(&grammar, found->second.c_str(),
                                                found->second.size(), current->stop, &err);
    if (status == DW_E_CANCELLED) {
        throw stop_reached(err.message);
    }
    if (status != DW_OK) {
        add_note(name, err.message);
        return builder.add_schema(name, node);
    }
    std::string text = grammar;
    dw_free(grammar);
    return add_rules(builder, text);
}

} // namespace

schema_scope::schema_scope(struct dw_stop *stop)
{
    auto *made = new schemas();
    made->outer = current;
    made->stop = stop;
    current = made;
}

schema_scope::~schema_scope()
{
    schemas *mine = current;
    current = mine->outer;
    delete mine;
}

std::string schema_scope::note() const
{
    return current->note;
}

} // namespace dw

/* ---- called by llama.cpp's code ------------------------------------------------------------- */

common_chat_schema_document common_chat_schema_from_json(const common_json &schema)
{
    common_chat_schema_document document;
    try {
        document = common_parse_chat_schema(schema);
    } catch (const std::exception &) {
        /* More than its own subset: ours follows the text all the same. */
        document = common_parse_chat_schema(common_json{{"type", "object"}});
    }
    if (dw::current != nullptr) {
        dw::remember(document, schema);
    }
    return document;
}

std::string build_grammar(const std::function<void(const common_grammar_builder &)> &rules,
                          const common_grammar_options &options)
{
    return common_build_grammar(
        [&](const common_grammar_builder &builder) {
            if (dw::current == nullptr) {
                rules(builder);
                return;
            }
            common_grammar_builder ours = {
                builder.add_rule,
                [&](const std::string &name, const common_chat_schema &node) {
                    return dw::add_schema(builder, name, node);
                },
            };
            rules(ours);
        },
        options);
}

std::string string_strip(const std::string &text)
{
    auto is_space = [](char c) { return std::isspace((unsigned char)c) != 0; };
    size_t first = 0, last = text.size();
    while (first < last && is_space(text[first])) {
        first++;
    }
    while (last > first && is_space(text[last - 1])) {
        last--;
    }
    return text.substr(first, last - first);
}

std::string string_join(const std::vector<std::string> &texts, const std::string &between)
{
    std::string out;
    for (size_t i = 0; i < texts.size(); i++) {
        out += (i > 0 ? between : "") + texts[i];
    }
    return out;
}

std::vector<std::string> string_split(const std::string &text, const std::string &between)
{
    std::vector<std::string> parts;
    size_t at = 0;
    for (size_t found; (found = text.find(between, at)) != std::string::npos;) {
        parts.push_back(text.substr(at, found - at));
        at = found + between.size();
    }
    parts.push_back(text.substr(at));
    return parts;
}

std::string string_repeat(const std::string &text, size_t times)
{
    std::string out;
    for (size_t i = 0; i < times; i++) {
        out += text;
    }
    return out;
}

void string_replace_all(std::string &text, const std::string &what, const std::string &by)
{
    for (size_t at = 0; !what.empty() && (at = text.find(what, at)) != std::string::npos;) {
        text.replace(at, what.size(), by);
        at += by.size();
    }
}

std::string regex_escape(const std::string &text)
{
    std::string out;
    for (char c : text) {
        if (std::strchr(".^$|()*+?[]{}\\", c) != nullptr && c != '\0') {
            out += '\\';
        }
        out += c;
    }
    return out;
}

/* Nothing that it says reaches a user; errors are exceptions. */
int common_log_get_verbosity_thold(void)
{
    return -1;
}

struct common_log *common_log_main()
{
    return nullptr;
}

void common_log_add(struct common_log *, enum ggml_log_level, const char *, ...)
{
}

/* Formats are made without a vocabulary. */
std::string common_token_to_piece(const struct llama_vocab *, llama_token, bool)
{
    return "";
}

std::vector<llama_token> common_tokenize(const struct llama_vocab *, const std::string &, bool,
                                         bool)
{
    return {};
}
