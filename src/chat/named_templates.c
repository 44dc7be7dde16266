/* Templates for files that bring none, by the names under which the forms are known. What each
 * model was trained on is the maker's to say; these are the plain forms. */
#include <string.h>

#include "chat/chat.h"

/* One message after the other, each between two marks; ANSWER opens the assistant's. */
#define LOOP(BODY) "{%- for message in messages -%}" BODY "{%- endfor -%}"
#define OPEN(TEXT) "{%- if add_generation_prompt -%}{{- '" TEXT "' -}}{%- endif -%}"
/* A system message in front is kept for the first message of the user. */
#define KEEP_SYSTEM                                                                                \
    "{%- set system = '' -%}"                                                                      \
    "{%- if messages[0].role == 'system' -%}"                                                      \
    "{%- set system = messages[0].content -%}{%- set messages = messages[1:] -%}"                  \
    "{%- endif -%}"

static const struct {
    const char *name;
    const char *source;
} templates[] = {
    {"chatml", LOOP("{{- '<|im_start|>' + message.role + '\\n' + message.content + "
                    "'<|im_end|>\\n' -}}") OPEN("<|im_start|>assistant\\n")},
    {"hermes",
     "{%- if tools -%}"
     "{{- '<|im_start|>system\\n' -}}"
     "{%- if messages[0].role == 'system' -%}{{- messages[0].content + '\\n\\n' -}}{%- endif -%}"
     "{{- 'You may call these functions, each described by JSON:\\n<tools>' -}}"
     "{%- for tool in tools -%}{{- '\\n' + tool | tojson -}}{%- endfor -%}"
     "{{- '\\n</tools>\\nTo call one, write\\n<tool_call>\\n{\"name\": <its name>, \"arguments\": "
     "<an object of its arguments>}\\n</tool_call><|im_end|>\\n' -}}"
     "{%- endif -%}" LOOP(
         "{%- if message.role == 'tool' -%}"
         "{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + "
         "'\\n</tool_response><|im_end|>\\n' -}}"
         "{%- elif not (tools and loop.first and message.role == 'system') -%}"
         "{{- '<|im_start|>' + message.role + '\\n' -}}"
         "{%- if message.content -%}{{- message.content -}}{%- endif -%}"
         "{%- for call in message.tool_calls or [] -%}"
         "{{- '\\n<tool_call>\\n{\"name\": ' + call.function.name | tojson + ', \"arguments\": ' + "
         "call.function.arguments | tojson + '}\\n</tool_call>' -}}"
         "{%- endfor -%}"
         "{{- '<|im_end|>\\n' -}}"
         "{%- endif -%}") OPEN("<|im_start|>assistant\\n")},
    {"llama3", "{{- bos_token -}}" LOOP(
                   "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + "
                   "message.content | trim + '<|eot_id|>' -}}")
                   OPEN("<|start_header_id|>assistant<|end_header_id|>\\n\\n")},
    {"llama2",
     KEEP_SYSTEM LOOP(
         "{%- if message.role == 'user' -%}"
         "{{- bos_token + '[INST] ' -}}"
         "{%- if loop.first and system -%}{{- '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' -}}"
         "{%- endif -%}"
         "{{- message.content | trim + ' [/INST]' -}}"
         "{%- else -%}{{- ' ' + message.content | trim + ' ' + eos_token -}}{%- endif -%}")},
    {"mistral-v1", "{{- bos_token -}}" KEEP_SYSTEM LOOP(
                       "{%- if message.role == 'user' -%}"
                       "{{- ' [INST] ' -}}"
                       "{%- if loop.first and system -%}{{- system + '\\n\\n' -}}{%- endif -%}"
                       "{{- message.content + ' [/INST]' -}}"
                       "{%- else -%}{{- ' ' + message.content + eos_token -}}{%- endif -%}")},
    {"mistral-v7-tekken",
     "{{- bos_token -}}" LOOP(
         "{%- if message.role == 'system' -%}"
         "{{- '[SYSTEM_PROMPT]' + message.content + '[/SYSTEM_PROMPT]' -}}"
         "{%- elif message.role == 'user' -%}{{- '[INST]' + message.content + '[/INST]' -}}"
         "{%- else -%}{{- message.content + eos_token -}}{%- endif -%}")},
    {"gemma",
     "{{- bos_token -}}" KEEP_SYSTEM LOOP(
         "{%- set role = 'model' if message.role == 'assistant' else message.role -%}"
         "{{- '<start_of_turn>' + role + '\\n' -}}"
         "{%- if loop.first and system -%}{{- system | trim + '\\n\\n' -}}{%- endif -%}"
         "{{- message.content | trim + '<end_of_turn>\\n' -}}") OPEN("<start_of_turn>model\\n")},
    {"phi3", LOOP("{{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' -}}")
                 OPEN("<|assistant|>\\n")},
    {"zephyr", LOOP("{{- '<|' + message.role + '|>\\n' + message.content + eos_token + '\\n' -}}")
                   OPEN("<|assistant|>\\n")},
    {"command-r",
     "{{- bos_token -}}" LOOP(
         "{%- set role = {'user': 'USER', 'assistant': 'CHATBOT'}.get(message.role, 'SYSTEM') -%}"
         "{{- '<|START_OF_TURN_TOKEN|><|' + role + '_TOKEN|>' + message.content | trim + "
         "'<|END_OF_TURN_TOKEN|>' -}}") OPEN("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>")},
    {"deepseek",
     "{{- bos_token -}}" LOOP(
         "{%- if message.role == 'user' -%}{{- '<｜User｜>' + message.content -}}"
         "{%- elif message.role == 'assistant' -%}"
         "{{- '<｜Assistant｜>' + message.content + '<｜end▁of▁sentence｜>' -}}"
         "{%- else -%}{{- message.content + '\\n\\n' -}}{%- endif -%}") OPEN("<｜Assistant｜>")},
    {"vicuna",
     LOOP("{%- if message.role == 'user' -%}{{- 'USER: ' + message.content + '\\n' -}}"
          "{%- elif message.role == 'assistant' -%}"
          "{{- 'ASSISTANT: ' + message.content + eos_token + '\\n' -}}"
          "{%- else -%}{{- message.content + '\\n\\n' -}}{%- endif -%}") OPEN("ASSISTANT:")},
    {"alpaca",
     LOOP("{%- if message.role == 'user' -%}"
          "{{- '### Instruction:\\n' + message.content + '\\n\\n' -}}"
          "{%- elif message.role == 'assistant' -%}"
          "{{- '### Response:\\n' + message.content + eos_token + '\\n\\n' -}}"
          "{%- else -%}{{- message.content + '\\n\\n' -}}{%- endif -%}") OPEN("### Response:\\n")},
};

#define COUNT (sizeof templates / sizeof templates[0])

const char *dw_chat_template_name(size_t index)
{
    return index < COUNT ? templates[index].name : NULL;
}

const char *dw_chat_template_named(const char *name)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(templates[i].name, name) == 0) {
            return templates[i].source;
        }
    }
    return NULL;
}
