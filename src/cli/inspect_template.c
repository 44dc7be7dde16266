/* driftwood inspect --template: the chat templates of a model file, and how its answers are read.
 * */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"

static const char asks_for_tools[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello.\"}],\"tools\":[{\"type\":\"function\","
    "\"function\":{\"name\":\"look_up\",\"description\":\"Looks a word up.\",\"parameters\":{"
    "\"type\":\"object\",\"properties\":{\"word\":{\"type\":\"string\"}},\"required\":[\"word\"]}}}"
    "]}";

/* A file's text; control characters other than line ends and tabs must not reach the terminal. */
static void print_source(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 && byte != '\n' && byte != '\t') {
            dw_cli_print("\\x%02x", byte);
        } else {
            dw_cli_put(text + i, 1);
        }
    }
    if (bytes == 0 || text[bytes - 1] != '\n') {
        dw_cli_put("\n", 1);
    }
}

/* -> how many there are */
static size_t print_templates(const dw_gguf *gguf)
{
    static const char list[] = "tokenizer.chat_templates";
    dw_gguf_string name;
    dw_gguf_string source;
    size_t named = 0;
    size_t printed = 0;
    if (dw_gguf_text(gguf, "tokenizer.chat_template", &source, NULL) == DW_OK) {
        dw_cli_print("==> tokenizer.chat_template\n");
        print_source(source.text, source.bytes);
        printed++;
    }
    (void)dw_gguf_text_at(gguf, list, 0, &name, &named, NULL);
    for (size_t i = 0; i < named; i++) {
        char key[256];
        if (dw_gguf_text_at(gguf, list, i, &name, &named, NULL) != DW_OK) {
            break;
        }
        int needed =
            snprintf(key, sizeof key, "tokenizer.chat_template.%.*s", (int)name.bytes, name.text);
        if (needed > 0 && (size_t)needed < sizeof key &&
            dw_gguf_text(gguf, key, &source, NULL) == DW_OK) {
            dw_cli_print("==> %s\n", key);
            print_source(source.text, source.bytes);
            printed++;
        }
    }
    return printed;
}

static void print_names(void)
{
    const char *name;
    dw_cli_print("names for --chat-template:");
    for (size_t i = 0; (name = dw_chat_template_name(i)) != NULL; i++) {
        dw_cli_print(" %s", name);
    }
    dw_cli_print("\n");
}

static dw_status print_format(dw_model *model, dw_error *err)
{
    dw_chat_answer *answer = NULL;
    dw_chat_info info = {.struct_bytes = sizeof info};
    dw_status status =
        dw_chat_answer_create(&answer, model, asks_for_tools, strlen(asks_for_tools), err);
    if (status == DW_OK) {
        status = dw_chat_answer_get_info(answer, &info);
    }
    if (status == DW_OK) {
        dw_cli_print("==> answers\n%-22s %s\n%-22s %s\n%-22s %s\n", "format", info.name, "thinking",
                     info.thinking_begin[0] != '\0' ? info.thinking_begin : "no", "tool calls",
                     info.grammar[0] != '\0' ? "held to their schemas" : "no");
    }
    dw_chat_answer_destroy(answer);
    return status;
}

/* The template is tried on the CPU, where the model's file is mapped and nothing is copied. */
static dw_status try_template(const char *path, dw_error *err)
{
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    dw_status status = dw_engine_create(&engine, &options, err);
    if (status == DW_OK) {
        status = dw_model_open(&model, engine, path, err);
    }
    if (status == DW_OK) {
        status = print_format(model, err);
    }
    dw_model_unref(model);
    dw_engine_destroy(engine);
    return status;
}

int dw_cli_inspect_template(const char *name)
{
    char path[DW_CLI_PATH_MAX];
    dw_error error;
    dw_gguf *gguf;
    if (dw_cli_open_gguf(&gguf, path, name, &error) != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    size_t count = print_templates(gguf);
    dw_gguf_close(gguf);
    if (count == 0) {
        dw_cli_print("no chat template\n");
        print_names();
        return 0;
    }
    return try_template(path, &error) == DW_OK ? 0 : dw_cli_fail_with(&error);
}
