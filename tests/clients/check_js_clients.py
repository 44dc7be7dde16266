#!/usr/bin/env python3
"""driftwood serve with what is written in JavaScript: the makers' libraries (check_clients.mjs), Codex, Claude Code.

usage: check_js_clients.py BUILD_DIR MODEL
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from check_clients import Case  # noqa: E402

PLACE = os.environ["DW_CLIENTS_JS"]
CONFIG = """model = "small"
model_provider = "driftwood"
[model_providers.driftwood]
name = "driftwood"
base_url = "{url}/v1"
wire_api = "responses"
"""


@unittest.skipUnless(shutil.which("node") and os.path.isdir(os.path.join(PLACE, "node_modules")),
                     "there is no Node.js")
class JavaScript(Case):
    def run_in(self, place, *command, ends=None, **environment):
        """-> what it told; `ends`: how it may tell that it failed, as it should"""
        told = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=900,
                              check=False, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, HOME=place, **environment))
        if ends is None or not re.search(ends, told.stdout + told.stderr):
            self.assertEqual(told.returncode, 0, told.stdout + told.stderr)
        return told.stdout

    def tool(self, name):
        return os.path.join(PLACE, "node_modules", ".bin", name)

    def test_libraries(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_clients.mjs")
        told = self.run_in(self.place.name, "node", "--test", "--test-concurrency=1", script,
                           DW_SERVER_URL=self.url)
        self.assertRegex(told, r"# pass [1-9]")

    def test_codex(self):
        with tempfile.TemporaryDirectory(prefix="dw-codex-") as place:
            with open(os.path.join(place, "config.toml"), "w") as file:
                file.write(CONFIG.format(url=self.url))
            told = self.run_in(place, self.tool("codex"), "exec", "--skip-git-repo-check",
                               "Say hello.", CODEX_HOME=place)
            self.assertTrue(told.strip())
            first = self.overview()["runtime"]
            told = self.run_in(place, self.tool("codex"), "exec", "resume", "--last",
                               "--skip-git-repo-check", "And again.", CODEX_HOME=place)
            self.assertTrue(told.strip())
            last = self.overview()["runtime"]
            self.assertLess(last["prompt_tokens"] - first["prompt_tokens"],
                            first["prompt_tokens"] // 10)  # it went on from what was held

    def test_claude_code(self):
        with tempfile.TemporaryDirectory(prefix="dw-claude-") as place:
            # its own prompt and tools are longer than what the default model takes
            claude = os.path.join(PLACE, "node_modules", "@anthropic-ai", "claude-code",
                                  "cli-wrapper.cjs")  # as nothing that packages bring was run
            # It asks for a temperature of 1: the model does not always end by itself, which the client takes
            # for a failure, and says so.
            told = self.run_in(place, "node", claude, "-p", "Say hello.", "--tools", "",
                               "--system-prompt", "You are brief.", ends=r"exceeded the 128 output token maximum",
                               ANTHROPIC_BASE_URL=self.url,
                               ANTHROPIC_AUTH_TOKEN="any", ANTHROPIC_MODEL="small",
                               ANTHROPIC_SMALL_FAST_MODEL="small", CLAUDE_CODE_MAX_OUTPUT_TOKENS="128",
                               CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1")
            self.assertTrue(told.strip())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
