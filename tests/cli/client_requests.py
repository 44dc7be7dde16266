"""Requests of clients that no registry has as a library, as their sources publish them: name, path, body.

Members that do nothing here stand in them as they come, null ones too. `small` is the model.
"""
PATH = {"type": "object", "required": ["path", "line_ranges"], "additionalProperties": False,
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"path": {"type": "string", "description": "from the root"},
                       "line_ranges": {"type": ["array", "null"], "items": {
                           "type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}}}}
READ = {"name": "read_file", "description": "reads", "parameters": PATH}
TOOL, STRICT = {"type": "function", "function": READ}, {"type": "function", "function": {**READ, "strict": True}}
BARE = {"type": "function", "function": {"name": "list", "description": "has no parameters"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "read_file",
                                                     "arguments": '{"path":"a","line_ranges":null}'}}
OWN_CALL = {"id": "c1", "function": {"name": "read_file", "arguments": {"path": "a", "line_ranges": None}}}
HI = {"role": "user", "content": "hi"}
MARKED = {"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
NOTHING = dict.fromkeys(["num_keep", "seed", "tfs_z", "typical_p", "logits_all", "embedding_only", "stop", "top_p",
                         "top_k", "min_p", "temperature", "mirostat", "num_thread", "use_mmap", "num_ctx"])
CHAT, OLLAMA = "/v1/chat/completions", "/api/chat"

CLIENTS = [
    ("Cline", CHAT, {"messages": [{"role": "system", "content": "You help."}, {"role": "user", "content": [
        {"type": "text", "text": "<task>hi</task>"}, {"type": "text", "text": "<environment_details/>"}]}],
                     "temperature": 0, "max_tokens": 4, "reasoning_effort": None, **USAGE}),
    ("Roo", CHAT, {"messages": [{"role": "system", "content": [MARKED]}, HI,
                                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                                {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "x"}]}],
                   "tools": [STRICT], "tool_choice": "auto", "parallel_tool_calls": False, "temperature": 0,
                   "max_completion_tokens": 4, "metadata": {"mode": "code"}, **USAGE}),
    ("Cline, Ollama's", OLLAMA, {"messages": [{**HI, "images": None}, {"role": "assistant", "content": "a",
                                                                      "tool_calls": None}, HI],
                                 "stream": True, "options": {"num_ctx": 32768, "num_predict": 4}, "keep_alive": -1}),
    ("Cline, Anthropic's", "/v1/messages?beta=true", {
        "max_tokens": 4, "thinking": None, "temperature": 0, "system": [MARKED], "stream": True, "tools": None,
        "tool_choice": None, "metadata": None, "stop_sequences": None,
        "messages": [{"role": "user", "content": [MARKED]}]}),
    ("Continue, show", "/api/show", {"name": "small"}),
    ("Continue, Ollama's", OLLAMA, {"messages": [HI], "options": {**NOTHING, "num_predict": 4}, "keep_alive": 1800,
                                    "stream": True, "think": None, "format": None}),
    ("Continue, completing", "/api/generate", {
        "prompt": "<fim_prefix>a<fim_suffix>b<fim_middle>", "raw": True, "suffix": "", "keep_alive": 1800,
        "stream": True, "options": {"num_predict": 4, "stop": ["<fim_prefix>", "\n\n"], "temperature": 0.01}}),
    ("Continue, embedding", "/api/embed", {"input": ["a", "b"], "truncate": True, "keep_alive": "30m", "options": {}}),
    ("Continue", CHAT, {"messages": [HI], "max_tokens": 4, "stream": True, "stop": ["</s>"], "prediction": None,
                        "presence_penalty": None, "frequency_penalty": None, "top_p": None, "temperature": None,
                        "tool_choice": None, "tools": None}),
    ("Continue, completing, OpenAI's", "/v1/completions", {"prompt": "a", "suffix": None, "max_tokens": 4, "top_p": 1,
                                                           "temperature": 0.01, "stop": ["x", "y"], "stream": True}),
    ("Zed, Ollama's", OLLAMA, {"messages": [
        {**HI, "images": None}, {"role": "assistant", "content": "", "tool_calls": [OWN_CALL], "images": None,
                                 "thinking": None}, {"role": "tool", "tool_name": "read_file", "content": "x"}],
                               "stream": True, "keep_alive": -1, "think": False, "tools": [TOOL],
                               "options": {"num_ctx": 8192, "num_predict": 4, "stop": [], "top_p": None}}),
    ("Zed", CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]},
                                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                                {"role": "tool", "content": [{"type": "text", "text": "x"}], "tool_call_id": "c1"}],
                   "stream": True, "max_completion_tokens": 4, "stop": [], "temperature": 1.0, "tools": [TOOL],
                   "tool_choice": "auto", "parallel_tool_calls": True, "prompt_cache_key": "abc"}),
    ("Copilot", CHAT, {"messages": [{"role": "system", "content": "x"}, HI], "temperature": 0.1, "top_p": 1, "n": 1,
                       "max_tokens": 4, "tools": [TOOL, BARE], "intent": False, "snippy": {"enabled": False}, **USAGE}),
    ("LibreChat", CHAT, {"messages": [{"role": "system", "content": "x"}, {**HI, "name": "ann"}], "user": "65f",
                         "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0,
                         "max_tokens": 4, "stop": [], **USAGE}),
    ("n8n, Ollama's", OLLAMA, {"messages": [HI], "keep_alive": "5m", "stream": True, "format": None, "tools": [],
                               "options": {**NOTHING, "numa": None, "num_batch": 512, "num_gpu": -1, "f16_kv": True,
                                           "top_k": -1, "repeat_last_n": 64, "num_predict": 4, "repeat_penalty": 1,
                                           "mirostat": 0, "mirostat_tau": 5, "penalize_newline": True}}),
    ("n8n", "/v1/responses", {"input": [{"type": "message", **HI}], "max_output_tokens": 16, "stream": True,
                              "text": {"format": {"type": "text"}}, "parallel_tool_calls": None, "metadata": {},
                              "store": None, "tools": [], "tool_choice": None, "user": None, "include": [],
                              "truncation": None, "service_tier": None, "prompt_cache_key": None}),
    ("Open WebUI", OLLAMA, {"messages": [HI], "stream": True, "options": {"num_predict": 4, "num_ctx": None},
                            "format": "", "metadata": None, "template": None, "truncate": True, "shift": True}),
    ("Open WebUI, tasks", "/api/generate", {
        "prompt": "hi", "stream": False, "options": {"num_predict": 4}, **dict.fromkeys(
            ["system", "template", "context", "images", "format", "suffix", "raw", "keep_alive", "think"])}),
    ("Open WebUI, embedding", "/api/embed", {"input": "x", "truncate": True, "dimensions": 64}),
    ("Open WebUI, pulling", "/api/pull", {"stream": True}),
    ("Open WebUI, unloading", "/api/generate", {"prompt": "", "keep_alive": 0}),
]
