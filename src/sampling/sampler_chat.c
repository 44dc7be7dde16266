/* A chat's format as a sampler's grammar. */
#include <string.h>

#include "base/alloc.h"
#include "sampling/sampler.h"

/* Whether the template itself opened the model's thinking. */
static bool thinks_already(const dw_chat_format_info *info)
{
    size_t begin_bytes = strlen(info->thinking_begin);
    const char *found = NULL;
    for (const char *at = info->generation_prompt;
         begin_bytes > 0 && (at = strstr(at, info->thinking_begin)) != NULL; at += begin_bytes) {
        found = at;
    }
    return found != NULL && strstr(found, info->thinking_end) == NULL;
}

dw_status dw_sampler_set_chat_format(dw_sampler *sampler, const dw_vocab *vocab,
                                     const dw_chat_format *format, dw_error *err)
{
    dw_chat_format_info info = dw_chat_format_info_of(format);
    if (info.grammar[0] == '\0') {
        return dw_sampler_set_grammar(sampler, vocab, NULL, 0, err);
    }
    dw_trigger *list = dw_alloc(info.trigger_count, sizeof *list);
    if (list == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu triggers", info.trigger_count);
    }
    for (size_t i = 0; i < info.trigger_count; i++) {
        list[i] =
            (dw_trigger){.kind = info.triggers[i].is_pattern ? DW_TRIGGER_PATTERN : DW_TRIGGER_WORD,
                         .text = info.triggers[i].text,
                         .bytes = strlen(info.triggers[i].text)};
    }
    bool pauses = info.thinking_begin[0] != '\0' && info.thinking_end[0] != '\0';
    const dw_trigger_options triggers = {.list = list,
                                         .count = info.trigger_count,
                                         .pause = info.thinking_begin,
                                         .pause_bytes = pauses ? strlen(info.thinking_begin) : 0,
                                         .resume = info.thinking_end,
                                         .resume_bytes = pauses ? strlen(info.thinking_end) : 0,
                                         .paused = pauses && thinks_already(&info)};
    const dw_tool_grammar grammar = {
        .text = info.grammar,
        .bytes = strlen(info.grammar),
        .triggers = info.grammar_begins_later ? &triggers : NULL,
        .prefix = info.grammar_prefix,
        .prefix_bytes = info.grammar_begins_later ? 0 : strlen(info.grammar_prefix),
    };
    dw_status status = dw_sampler_set_tool_grammar(sampler, vocab, &grammar, err);
    dw_free(list);
    return status;
}
