#!/usr/bin/env python3
"""Every option of every command, given once, twice and beside others: of two the last counts, a list
is one where it is called one, contradictions are refused, and what has no effect is told.

Called by ctest with the source and the build folder; the default model is in DW_TEST_MODEL_DIR.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = sys.argv[1:3]
PROGRAM = os.path.join(BUILD, "driftwood")
# A guest that is at work for longer than a millisecond and the ticks in which that is looked at, however
# fast the machine is: its _start counts to 1,000,000,000.
BUSY = bytes.fromhex("0061736d01000000" "0104016000" "00" "03020100" "0503010001"
                     "071302066d656d6f72790200065f73746172740000"
                     "0a1901" "17" "01017e" "0340" "2000" "4201" "7c" "2200" "428094ebdc03" "52" "0d00" "0b" "0b")
PRINT_ENV = os.path.join(BUILD, "guests", "print_env.wasm")
MODEL_DIR = os.environ.get("DW_TEST_MODEL_DIR", os.path.expanduser("~/.cache/driftwood"))
MODEL = os.path.join(MODEL_DIR, "SmolLM2-135M-Instruct.Q4_1.gguf")

# Options that become settings of the guest: two values each.
SETTINGS = {
    "--system": ("DRIFTWOOD_SYSTEM", "one", "two"),
    "--max-tokens": ("DRIFTWOOD_MAX_TOKENS", "1", "2"),
    "--temp": ("DRIFTWOOD_TEMP", "1", "2"),
    "--temperature": ("DRIFTWOOD_TEMP", "1", "2"),
    "--top-k": ("DRIFTWOOD_TOP_K", "1", "2"),
    "--top-p": ("DRIFTWOOD_TOP_P", "0.1", "0.2"),
    "--min-p": ("DRIFTWOOD_MIN_P", "0.1", "0.2"),
    "--repeat-penalty": ("DRIFTWOOD_REPEAT_PENALTY", "1", "2"),
    "--repeat-last-n": ("DRIFTWOOD_REPEAT_LAST_N", "1", "2"),
    "--frequency-penalty": ("DRIFTWOOD_FREQUENCY_PENALTY", "1", "2"),
    "--presence-penalty": ("DRIFTWOOD_PRESENCE_PENALTY", "1", "2"),
    "--dynatemp-range": ("DRIFTWOOD_DYNATEMP_RANGE", "0.1", "0.2"),
    "--dynatemp-exp": ("DRIFTWOOD_DYNATEMP_EXP", "1", "2"),
    "--typical-p": ("DRIFTWOOD_TYPICAL_P", "0.1", "0.2"),
    "--top-n-sigma": ("DRIFTWOOD_TOP_N_SIGMA", "1", "2"),
    "--xtc-probability": ("DRIFTWOOD_XTC_PROBABILITY", "0.1", "0.2"),
    "--xtc-threshold": ("DRIFTWOOD_XTC_THRESHOLD", "0.1", "0.2"),
    "--dry-multiplier": ("DRIFTWOOD_DRY_MULTIPLIER", "1", "2"),
    "--dry-base": ("DRIFTWOOD_DRY_BASE", "1", "2"),
    "--dry-allowed-length": ("DRIFTWOOD_DRY_ALLOWED_LENGTH", "1", "2"),
    "--dry-penalty-last-n": ("DRIFTWOOD_DRY_PENALTY_LAST_N", "1", "2"),
    "--dry-sequence-breaker": ("DRIFTWOOD_DRY_SEQUENCE_BREAKER", "one", "two"),
    "--mirostat-tau": ("DRIFTWOOD_MIROSTAT_TAU", "1", "2"),
    "--mirostat-eta": ("DRIFTWOOD_MIROSTAT_ETA", "0.1", "0.2"),
    "--seed": ("DRIFTWOOD_SEED", "1", "2"),
    "--tool-choice": ("DRIFTWOOD_TOOL_CHOICE", "auto", "required"),
    "--reasoning": ("DRIFTWOOD_REASONING", "off", "hide"),
    "--grammar": ("DRIFTWOOD_GRAMMAR", "one", "two"),
    "--json-schema": ("DRIFTWOOD_JSON_SCHEMA", "1", "2"),
}
FILES = {"--grammar-file": "DRIFTWOOD_GRAMMAR", "--json-schema-file": "DRIFTWOOD_JSON_SCHEMA"}
LISTS = {"--stop", "--logit-bias", "--env", "--dir"}
# What the host goes by, tested one by one below.
HOST = {"--model", "--lora", "--device", "--threads", "--context", "--kv-type", "--kv-memory",
        "--memory-max", "--stats", "--timeout", "--chat-template", "--tools", "--show-prompt", "--prompt", "--raw", "--help",
        "--limit", "--limits", "--cpu-time", "--fuel", "--module-cache",
        "--nn-preload", "--trace", "--profile", "--perf-map", "--strict-align",
        "--repeatable"}
ACTOR = {"--state", "--guest", "--zstd", "--by-hash", "--message", "--tokens", "--json", "--module",
         "--force", "--show", "--drop", "--retry", "--tree", "--all", "--tenant", "--priority",
         "--durability", "--manifest", "--log", "--log-level", "--trace", "--control", "--last",
         "--follow", "--dir", "--folder", "--remove"}


def run(*args, **environment):
    return subprocess.run([PROGRAM, *args], env=dict(os.environ, **environment), text=True,
                          capture_output=True, timeout=300, check=False,
                          stdin=subprocess.DEVNULL)


def entries(text):
    return [line.split("=", 1) for line in text.splitlines()]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dw-options-")
        self.state = os.path.join(self.folder, "state")
        shutil.copy(PRINT_ENV, os.path.join(self.folder, "chat.wasm"))

    def tearDown(self):
        shutil.rmtree(self.folder)

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w") as stream:
            stream.write(content)
        return path

    def environment(self, command, *args):
        """What a guest gets that `command` starts with these options."""
        if command == "run":
            done = run("run", PRINT_ENV, *args)
        elif command == "chat":
            done = run("chat", *args, DRIFTWOOD_GUESTS=self.folder)
        else:
            done = run("actor", "spawn", "--guest", PRINT_ENV, "--state", self.state, *args)
            self.assertEqual(done.returncode, 0, done.stderr)
            done = run("actor", "send", done.stdout.strip(), "x", "--state", self.state)
        self.assertEqual(done.returncode, 0, done.stderr)
        return entries(done.stdout)

    def refused(self, words, *args, code=2):
        done = run(*args, DRIFTWOOD_GUESTS=self.folder)
        self.assertEqual(done.returncode, code, done.stderr)
        lines = [line for line in done.stderr.splitlines() if ": note: " not in line]
        self.assertEqual(len(lines), 1, done.stderr)
        for word in words:
            self.assertIn(word, lines[0])

    def notes(self, *args, code=0, **environment):
        done = run(*args, **environment)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr


class Limits(Case):
    """--limit and --limits: read, refused by name, and in force."""

    def test_what_is_refused(self):
        manifest = self.file("limits", '{"timers": 3, "memory_bytes": "1Q"}')
        unknown = self.file("unknown", '{"timers": 3, "foo": 1}')
        wrong = self.file("wrong", '{"timers": {}}')
        beyond = self.file("beyond", '{"timers": 0}')
        for command in (["run", PRINT_ENV], ["chat"], ["actor", "spawn", "--guest", PRINT_ENV],
                        ["actor", "run"]):
            for words, *args in (
                    (["'foo'", "driftwood limits"], "--limit", "foo=3"),
                    (["timers", "'x'"], "--limit", "timers=x"),
                    (["timers: 0", "from 1 to 1000000"], "--limit", "timers=0"),
                    (["'timers'", "NAME=VALUE"], "--limit", "timers"),
                    (["memory_bytes", "'1Q'", manifest], "--limits", manifest),
                    (["'foo'", unknown], "--limits", unknown),
                    (["timers: an object", wrong], "--limits", wrong),
                    (["timers: 0", "from 1 to 1000000", beyond], "--limits", beyond),
                    (["none-such"], "--limits", "none-such"),
                    (["--memory-max", "memory_bytes"], "--memory-max", "1M", "--limit",
                     "memory_bytes=2M"),
                    (["--context", "context_tokens"], "--context", "9", "--limit",
                     "context_tokens=8")):
                state = ["--state", self.state] if command[0] == "actor" else []
                self.refused(words, *command, *args, *state)

    def test_the_last_counts_and_options_count_before_the_file(self):
        manifest = self.file("limits", '{"linear_bytes": "64K"}')
        self.assertEqual(run("run", PRINT_ENV, "--limits", manifest).returncode, 1)
        for args in (["--limits", manifest, "--limit", "linear_bytes=1M"],
                     ["--limit", "linear_bytes=1M", "--limits", manifest],
                     ["--limit", "linear_bytes=64K", "--limit", "linear_bytes=1M"]):
            done = run("run", PRINT_ENV, *args)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_an_actor_keeps_them_and_gets_them_anew(self):
        keeper = os.path.join(os.path.dirname(PRINT_ENV), "actor_echo.wasm")
        done = run("actor", "spawn", "--guest", keeper, "--state", self.state, "--limit",
                   "message_bytes=4")
        self.assertEqual(done.returncode, 0, done.stderr)
        actor = done.stdout.strip()
        place = os.path.join(self.folder, "file")

        def send(to, text, *args):
            return run("actor", "send", to, text, "--state", self.state, *args)

        self.assertEqual(send(actor, "four").returncode, 0)
        done = send(actor, "longer")
        self.assertEqual(done.returncode, 1)
        self.assertIn("limit 4", done.stderr)
        self.assertEqual(send(actor, "longer", "--limit", "message_bytes=6").returncode, 0)
        self.assertEqual(send(actor, "longer").returncode, 0)
        self.assertEqual(send(actor, "too long").returncode, 1)
        self.assertEqual(run("actor", "export", actor, place, "--state", self.state).returncode, 0)
        for args, good in (([], False), (["--limit", "message_bytes=8"], True)):
            done = run("actor", "import", place, "--state", self.state, *args)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(send(done.stdout.strip(), "too long").returncode == 0, good)

    def test_stats_tell_what_is_taken(self):
        done = run("run", PRINT_ENV, "--stats=json", "--memory-max", "64M", "--limit", "handles=9")
        account = json.loads(done.stderr)["account"]
        self.assertEqual(account["memory_bytes"]["limit"], 64 << 20)
        self.assertEqual(account["handles"], {"now": 0, "most": 0, "limit": 9})
        self.assertGreaterEqual(account["linear_bytes"]["now"], 65536)
        self.assertEqual(account["memory_bytes"]["now"], sum(
            entry["now"] for name, entry in account.items()
            if name not in ("memory_bytes", "handles")))
        done = run("run", PRINT_ENV, "--stats")
        self.assertRegex(done.stderr, r"\nlinear_bytes +[0-9.]+ MB, at most [0-9.]+ MB, limit 4G\n")
        done = run("run", PRINT_ENV, "--memory-max", "64K")
        self.assertEqual(done.returncode, 1)
        self.assertIn("memory_bytes", done.stderr)

    def test_the_table(self):
        table = json.loads(run("limits", "--json").stdout)
        self.assertGreater(len(table), 20)
        rows = run("limits", "--markdown").stdout.splitlines()[2:]
        self.assertEqual([row.split("`")[1] for row in rows], [row["name"] for row in table])
        for row in table:
            done = run("run", PRINT_ENV, *(word for value in (row["lowest"], row["highest"],
                                                              row["default"])
                                           for word in ("--limit", f"{row['name']}={value}")))
            self.assertEqual(done.returncode, 0, done.stderr)
        self.refused(["--json beside --markdown"], "limits", "--json", "--markdown")


class Twice(Case):
    def test_the_tables_are_whole(self):
        tools = {"--tool", "--tool-timeout"}  # tests/cli/test_tools.py
        for command, more in (("run", {"--timeout", "--prompt", "--raw", "--dir", "--env", "--contexts"} | tools),
                              ("chat", {"--state", "--actor", "--alone"}), ("actor", ACTOR | {"--env"} | tools)):
            text = run(command, "--help").stdout
            text = text[text.index("\n  --"):]
            told = set(re.findall(r"--[a-z][a-z-]+", text))
            known = set(SETTINGS) | set(FILES) | LISTS | HOST
            self.assertEqual(told - known - more, set(), command)
            self.assertEqual(set(SETTINGS) - told, set(), command)

    def test_of_a_setting_the_last_counts(self):
        for command in ("run", "chat", "spawn"):
            exclusive = {"--json-schema"}
            for options in (set(SETTINGS) - exclusive, exclusive):
                words = []
                for place in (1, 2):
                    for option in sorted(options):
                        words += [option, SETTINGS[option][place]]
                got = self.environment(command, *words)
                self.assertEqual(sorted(got), sorted(
                    {SETTINGS[option][0]: [SETTINGS[option][0], SETTINGS[option][2]]
                     for option in options}.values()), command)

    def test_of_a_file_the_last_counts(self):
        one, two = self.file("one", "root ::= \"a\""), self.file("two", "root ::= \"b\"")
        for command in ("run", "chat", "spawn"):
            for option, name in FILES.items():
                self.assertEqual(self.environment(command, option, one, option, two),
                                 [[name, 'root ::= "b"']])

    def test_lists(self):
        for command in ("run", "chat", "spawn"):
            self.assertEqual(sorted(self.environment(command, "--stop", "b", "--stop", "a")),
                             [["DRIFTWOOD_STOP_0", "b"], ["DRIFTWOOD_STOP_1", "a"]])
            # Of one token the last bias counts.
            self.assertEqual(self.environment(command, "--logit-bias", "5=1", "--logit-bias",
                                              "55=2", "--logit-bias", "05=-inf"),
                             [["DRIFTWOOD_LOGIT_BIAS", "55=2,5=-inf"]])
        for command in ("run", "spawn"):
            self.assertEqual(sorted(self.environment(command, "--env", "A=1", "--env", "B=2",
                                                     "--env", "A=3=4")),
                             [["A", "3=4"], ["B", "2"]])
            # --env and an option for the same setting: the last, as of one option.
            self.assertEqual(self.environment(command, "--env", "DRIFTWOOD_TEMP=1", "--temp", "2"),
                             [["DRIFTWOOD_TEMP", "2"]])
            self.assertEqual(self.environment(command, "--temp", "2", "--env", "DRIFTWOOD_TEMP=1"),
                             [["DRIFTWOOD_TEMP", "1"]])
        self.refused(["'/a'", "twice"], "run", PRINT_ENV, "--dir", self.folder + "::/a", "--dir",
                     "/tmp::/a")

    def test_prompts(self):
        self.assertEqual(sorted(self.environment("run", "--prompt", "-", "--raw", "--prompt",
                                                 "two", "--raw")),
                         [["DRIFTWOOD_PROMPT", "two"], ["DRIFTWOOD_RAW", "1"]])

    def test_of_what_the_host_goes_by_the_last_counts(self):
        good = ["run", PRINT_ENV]
        for first, last in ((("--device", "Abacus0"), ("--device", "CPU")),
                            (("--memory-max", "64K"), ("--memory-max", "1G")),
                            (("--threads", "2"), ("--threads", "1")),
                            (("--module-cache", "/dev/null/no"), ("--module-cache", "off")),
                            (("--context", "1"), ("--context", "64")),
                            (("--kv-type", "f32"), ("--kv-type", "f16")),
                            (("--stats=json",), ("--stats",))):
            both = [run(*good, *first, *last), run(*good, *last, *first)]
            for done, alone in zip(both, (last, first)):
                expected = run(*good, *alone)
                self.assertEqual(done.returncode, expected.returncode, done.stderr)
                if "--stats" in last:
                    self.assertEqual(done.stderr[0], expected.stderr[0])
        busy = os.path.join(self.folder, "busy.wasm")
        with open(busy, "wb") as stream:
            stream.write(BUSY)
        for options, code in ((("1000", "0.001"), 1), (("0.001", "1000"), 0)):
            done = run("run", busy, "--timeout", options[0], "--timeout", options[1])
            self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(run(*good, "--stats", "--stats=json").stderr[0], "{")
        text = self.file("text", "word " * 20)
        done = run("eval", "perplexity", "--model", "/nowhere", "--model", MODEL, "--text",
                   "/nowhere", "--text", text, "--context", "512", "--context", "8", "--tokens",
                   "4", "--tokens", "16", "--device", "Abacus0", "--device", "CPU", "--threads",
                   "9", "--threads", "1", "--kv-type", "f16", "--kv-type", "f32", "--json",
                   "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((json.loads(done.stdout)["tokens"], json.loads(done.stdout)["context"]),
                         (16, 8))
        done = run("actor", "list", "--state", "/dev/null", "--state", self.state, "--json",
                   "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (0, []))
        done = run("doctor", "--device", "CPU", "--device", "Abacus0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("Abacus0", done.stderr)

    def test_adapters_make_a_list(self):
        """For the model before them; what is no adapter, or is one of another model, is told."""
        self.refused(["'general.type'", "'adapter'"], "run", PRINT_ENV, "--model", MODEL, "--lora", MODEL,
                     code=1)
        self.refused(["/nowhere.gguf"], "run", PRINT_ENV, "--model", MODEL, "--lora",
                     "a=/nowhere.gguf:0.5", code=1)
        self.refused(["'a'", "twice"], "run", PRINT_ENV, "--lora", "a=x", "--lora", "a=y")
        self.refused(["scale 1001", "-1000 to 1000"], "run", PRINT_ENV, "--lora", "x:1001")
        self.refused(["scale nan"], "run", PRINT_ENV, "--lora", "x:nan")
        self.refused(["[NAME=]FILE[:SCALE]"], "run", PRINT_ENV, "--lora", "a=")
        self.refused(["201", "limit 200"], "run", PRINT_ENV, "--lora", "a" * 201 + "=x")
        self.refused(["more than 64"], "run", PRINT_ENV,
                     *[word for i in range(65) for word in ("--lora", f"n{i}=x")])
        idle = run("run", PRINT_ENV, "--lora", "x")
        self.assertEqual(idle.returncode, 0, idle.stderr)
        self.assertIn("--lora: no effect", idle.stderr)

    def test_models_make_a_list(self):
        """A guest is granted each under its name; what cannot be had is told."""
        good = run("run", PRINT_ENV, "--model", MODEL, "--model", "draft=" + MODEL)
        self.assertEqual(good.returncode, 0, good.stderr)
        self.refused(["/nowhere"], "run", PRINT_ENV, "--model", MODEL, "--model", "a=/nowhere",
                     code=1)
        self.refused(["'a'", "twice"], "run", PRINT_ENV, "--model", "a=" + MODEL, "--model",
                     "a=" + MODEL)
        self.refused(["201", "limit 200"], "run", PRINT_ENV, "--model", "a" * 201 + "=" + MODEL)
        self.refused(["more than 16"], "run", PRINT_ENV, *["--model", MODEL] * 17)


class Contradictions(Case):
    def test_refused(self):
        grammar = self.file("g", "root ::= \"a\"")
        schema = self.file("s", "{}")
        ways = [["--grammar", "root ::= \"a\""], ["--grammar-file", grammar],
                ["--json-schema", "{}"], ["--json-schema-file", schema]]
        for command in (["run", PRINT_ENV], ["chat"],
                        ["actor", "spawn", "--guest", PRINT_ENV, "--state", self.state]):
            for left in ways:
                for right in ways:
                    if left is not right:
                        self.refused([left[0], right[0], "one of the two"], *command, *left,
                                     *right)
        self.refused(["--json-schema", "--env", "DRIFTWOOD_GRAMMAR"], "run", PRINT_ENV, "--env",
                     "DRIFTWOOD_GRAMMAR=x", "--json-schema", "{}")
        self.assertFalse(os.path.exists(os.path.join(self.state, "actors")))

    def test_the_guest_refuses_both_as_well(self):
        done = run("run", "--model", MODEL, "--threads", "1", "--prompt", "x", "--env",
                   "DRIFTWOOD_GRAMMAR=x", "--env", "DRIFTWOOD_JSON_SCHEMA={}")
        self.assertEqual(done.returncode, 2)


class WithoutEffect(Case):
    def told(self, text):
        """{reason: options} of the notes."""
        notes = re.findall(r"^driftwood: note: ((?:--[a-z-]+(?:, )?)+): no effect,? ?(.*)$", text,
                           re.M)
        self.assertEqual(len(notes), text.count("driftwood: note: "), text)
        return {why: set(names.split(", ")) for names, why in notes}

    def test_settings_beside_others(self):
        def told(*args):
            text = self.notes("run", PRINT_ENV, *args)
            return {why: names for why, names in self.told(text).items()
                    if "guest" not in why}
        sampling = {name for name in SETTINGS if name not in (
            "--system", "--max-tokens", "--temp", "--temperature", "--seed", "--grammar",
            "--json-schema", "--tool-choice", "--reasoning")}
        every = [word for name in sorted(sampling) for word in (name, SETTINGS[name][2])]
        self.assertEqual(told(*every, "--temp", "0"),
                         {"with --temp 0, which takes the likeliest token": sampling})
        self.assertEqual(told(*every), {
            "with --mirostat-tau, which takes the place of the other cuts":
                {"--top-k", "--top-p", "--min-p", "--typical-p", "--top-n-sigma",
                 "--xtc-probability", "--xtc-threshold"}})
        self.assertEqual(told("--xtc-threshold", "0.2", "--dynatemp-exp", "2", "--mirostat-eta",
                              "0.2", "--dry-base", "2", "--dry-sequence-breaker", "x",
                              "--repeat-last-n", "9"), {
            "without --mirostat-tau": {"--mirostat-eta"},
            "without --xtc-probability": {"--xtc-threshold"},
            "without --dynatemp-range": {"--dynatemp-exp"},
            "without --dry-multiplier": {"--dry-base", "--dry-sequence-breaker"},
            "without --repeat-penalty, --frequency-penalty or --presence-penalty":
                {"--repeat-last-n"}})
        self.assertEqual(told("--temp", "0", "--seed", "3", "--logit-bias", "5=1", "--grammar",
                              "x"), {})
        self.assertEqual(told("--repeat-penalty", "1.1", "--repeat-last-n", "9", "--top-k", "5",
                              "--temp", "1"), {})

    def test_what_a_guest_does_not_know(self):
        text = self.notes("run", PRINT_ENV, "--temp", "1", "--top-k", "2", "--stop", "a", "--stop",
                          "b", "--prompt", "x", "--raw", "--system", "x", "--env", "OTHER=1",
                          "--model", MODEL, "--context", "64", "--kv-type", "f32")
        self.assertEqual(self.told(text), {
            "the guest knows no such setting": {"--top-k", "--prompt", "--raw", "--system"},
            "the guest uses no such thing": {"--model", "--context", "--kv-type"}})
        self.assertEqual(self.notes("run", PRINT_ENV, "--temp", "1", "--stop", "a"), "")
        text = self.notes("actor", "spawn", "--guest", PRINT_ENV, "--state", self.state, "--top-k",
                          "4", "--temp", "1", "--context", "5", "--chat-template", "hermes")
        self.assertEqual(self.told(text), {
            "the guest knows no such setting": {"--top-k"},
            "the guest uses no such thing": {"--context", "--chat-template"}})

    def test_our_guests_know_what_they_are_given(self):
        every = [word for name, (_, value, _) in sorted(SETTINGS.items())
                 if name not in ("--json-schema", "--grammar", "--mirostat-tau", "--max-tokens",
                                 "--dynatemp-range", "--repeat-penalty", "--xtc-probability")
                 for word in (name, value)]
        every += ["--mirostat-tau", "0", "--max-tokens", "1", "--dynatemp-range", "0.1",
                  "--repeat-penalty", "1.1", "--xtc-probability", "0.1", "--stop", "x",
                  "--logit-bias", "5=1", "--grammar", 'root ::= "a"', "--model", MODEL,
                  "--threads", "1", "--context", "256", "--kv-type", "f16"]
        for command in (["run", "--prompt", "x"], ["chat"]):
            told = self.told(self.notes(*command, *every))
            self.assertEqual(told, {"without --mirostat-tau": {"--mirostat-eta"}})

    def test_system_is_told(self):
        base = os.path.join(self.folder, "base.gguf")
        with open(MODEL, "rb") as stream:
            content = stream.read()
        with open(base, "wb") as stream:
            stream.write(content.replace(b"tokenizer.chat_template", b"tokenizer.chat_templatX"))
        args = ["--prompt", "The sea", "--max-tokens", "1", "--threads", "1"]
        for more, why in ((["--raw", "--model", MODEL], "raw"),
                          (["--model", base], "no chat template")):
            text = self.notes("run", *args, *more, "--system", "You are a pirate.")
            self.assertEqual(text.count("\n"), 1, text)
            self.assertRegex(text, "note: .*--system.* no effect.*" + why)
            for empty in ([], ["--system", ""]):
                text = self.notes("run", *args, *more, *empty)
                self.assertRegex(text, "^$" if why == "raw" else
                                 "^note: the model has no chat template, so the prompt is "
                                 "continued as it is; [^\n]*\n$")
        self.assertEqual(self.notes("run", *args, "--model", MODEL, "--system", "x"), "")

    def test_of_actor_commands(self):
        """Each command with all the options at once: what it does not go by is told."""
        spawned = {name for name in SETTINGS if name not in ("--grammar", "--json-schema",
                                                             "--temperature")}
        spawned |= {"--stop", "--logit-bias", "--env", "--context", "--memory-max", "--guest",
                    "--chat-template"}
        groups = {"spawn": spawned, "model": {"--model"}, "kv": {"--kv-type"},
                  "export": {"--zstd", "--by-hash"}, "verify": {"--message", "--tokens"},
                  "json": {"--json"}, "state": {"--force"},
                  "mail": {"--drop"}, "never": {"--stats"},
                  "terms": {"--tenant", "--priority", "--durability"},
                  "manifest": {"--manifest"},
                  "runtime": {"--log", "--log-level", "--trace", "--control"}}
        commands = {"send": "state model json runtime manifest", "mail": "state mail json", "list": "state json", "show": "state json manifest",
                    "run": "state model runtime manifest", "freeze": "state model json runtime manifest",
                    "rewind": "state model runtime manifest",
                    "thaw": "state model json", "fork": "state model json runtime manifest",
                    "export": "state model kv export json", "import": "model kv json terms runtime manifest",
                    "verify": "state model verify json", "diff": "state model json", "stop": ""}
        ids = [run("actor", "spawn", "--guest", PRINT_ENV, "--state", self.state).stdout.strip()
               for _ in range(2)]
        place = os.path.join(self.folder, "file")
        self.assertEqual(run("actor", "export", ids[0], place, "--state", self.state).returncode,
                         0)
        manifest = os.path.join(self.folder, "manifest")
        with open(manifest, "w") as file:
            json.dump({"tenants": {"": {"may": ["spawn"], "models": ["*"]},
                                   "ada": {"may": ["spawn"], "models": ["*"]}}}, file)
        arguments = {"send": [ids[0], "x"], "list": [], "run": [], "export": [ids[0], place],
                     "import": [place], "diff": ids, "rewind": [ids[0], "0"]}
        every = [word for name in sorted(spawned & set(SETTINGS))
                 for word in (name, SETTINGS[name][2])]
        every += ["--stop", "a", "--logit-bias", "5=1", "--env", "A=1", "--context", "9",
                  "--memory-max", "64M", "--guest", PRINT_ENV, "--model", MODEL, "--kv-type",
                  "f16", "--zstd", "--message", "x", "--tokens", "1", "--json", "--stats", "--force", "--drop", "all",
                  "--chat-template", "hermes", "--threads", "1", "--device", "CPU", "--state", self.state,
                  "--tenant", "ada", "--priority", "low", "--durability", "seconds:2",
                  "--manifest", manifest, "--log", os.path.join(self.folder, "log"), "--log-level", "info",
                  "--trace", os.path.join(self.folder, "trace"), "--control"]
        for command, uses in commands.items():
            options = every + (["--by-hash"] if command != "export" else [])
            told = self.told(self.notes("actor", command, *arguments.get(command, [ids[0]]),
                                        *options))
            expected = set().union(*(names for group, names in groups.items()
                                     if group not in uses.split()))
            if command == "export":
                expected -= {"--by-hash"}
            self.assertEqual(told, {"on actor " + command: expected}, command)
        done = subprocess.run([PROGRAM, "actor", "export", ids[1], "-", "--json", "--state",
                               self.state], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr.decode(), "driftwood: note: --json: no effect on what is "
                                               "exported to standard output\n")



if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
