#!/usr/bin/env python3
"""test_sdk.py SOURCE BUILD LANGUAGE: what `driftwood new` makes in that language builds and works.

The example that generates says what the guest `generate` says, which is in C, and the actor what the guest
`chat` does. The model of `tool` calls the host's tool. The actor keeps its context over processes, and is equal to its forks and copies. Projects
stay in BUILD/sdk-projects, so that tools find what they compiled the last time."""
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
LANGUAGE = sys.argv[3]
DRIFTWOOD = str(BUILD / "driftwood")
MODEL = pathlib.Path(os.environ.get("DW_TEST_MODEL_DIR", pathlib.Path.home() / ".cache/driftwood")
                     ) / "SmolLM2-135M-Instruct.Q4_1.gguf"
# Where scripts/fetch-zig puts it.
os.environ["PATH"] += f":{SOURCE / 'build/zig/ziglang'}"
PROJECTS = BUILD / "sdk-projects" / LANGUAGE
PROMPT = "Name three things that float."
WORDS = {"zig": {"fail": "NoTide", "panic": "panic: no tide today", "bounds": "panic: index out of bounds: index 6"},
         "go": {"fail": "panic: no tide today", "nil": "panic: assignment to entry in nil map"}}
WITH_MODEL = ["--model", str(MODEL), "--threads", "1"]


def run(*args, stderr_empty=False, **more):
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, timeout=600,
                          check=False, stdin=subprocess.DEVNULL, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(str(a) for a in args)}: {done.returncode}:\n"
                             f"{done.stdout}{done.stderr}")
    if stderr_empty and done.stderr:  # no note that a setting is not known, for example
        raise AssertionError(done.stderr)
    return done.stdout


def skip(why):
    print(f"SKIPPED: {LANGUAGE}: {why}")
    sys.exit(77)


def look_for_tools():
    """Ends as skipped, with the word why, where a tool of the language is not there."""
    for tool in plan()["tools"]:
        if not tool["name"].startswith("@") and shutil.which(tool["name"]) is None:
            skip(f"{tool['name']} is not installed: {tool['get']}")
    if LANGUAGE == "rust":
        core = subprocess.run(["rustc", "--print", "target-libdir", "--target", "wasm32-wasip1"],
                              capture_output=True, text=True, check=False).stdout.strip()
        if not pathlib.Path(core or "none").is_dir():
            skip("the target wasm32-wasip1 is not installed: rustup target add wasm32-wasip1")
    for one in plan()["sdk"]:
        if one[0].startswith("@guest@/") and not (BUILD / f"guests/{one[0][8:]}.wasm").exists():
            skip(f"the guest '{one[0][8:]}' is not built: its sources were not fetched")
    if not MODEL.exists():
        skip(f"there is no {MODEL}")


def plan():
    return json.loads((SOURCE / "sdk" / LANGUAGE / "project.json").read_text())


@functools.cache
def project(example, own=None):
    """The module of a new project of that example; what is there of the last one is used again.
    `own`: a program of tests/sdk/LANGUAGE takes the example's place."""
    PROJECTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECTS) as folder:
        made = pathlib.Path(folder) / (own or example)
        said = run(DRIFTWOOD, "new", made, "--language", LANGUAGE, "--example", example)
        assert "driftwood build" in said, said
        kept = PROJECTS / made.name
        if own:
            main = made / plan()["examples"][example]["files"][-1][1]
            shutil.copyfile(SOURCE / "tests/sdk" / LANGUAGE / (own + main.suffix), main)
        for path in made.rglob("*"):
            to = kept / path.relative_to(made)
            if path.is_dir():
                to.mkdir(parents=True, exist_ok=True)
            elif not to.exists() or to.read_bytes() != path.read_bytes():
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
    try:
        said = run(DRIFTWOOD, "build", kept)
    except AssertionError as problem:
        if re.search(r"ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ENOTCACHED", str(problem)):
            raise unittest.SkipTest(f"{LANGUAGE}: no network: {str(problem)[-200:]}") from problem
        raise
    assert said.splitlines()[-1] == f"{kept.name}.wasm", said
    return kept / f"{kept.name}.wasm"


class Sdk(unittest.TestCase):
    def test_generate(self):
        module = project("generate")
        for prompt, tokens in (PROMPT, 24), ("Sag \"Hallo\" \\ und \t 你好!", 12):
            args = ["--prompt", prompt, "--max-tokens", tokens, *WITH_MODEL]
            own = run(DRIFTWOOD, "run", module, *args, stderr_empty=True)
            self.assertEqual(own, run(DRIFTWOOD, "run", *args, "--temp", "0"))

    def test_layers(self):
        """Trees of drafts, steps of several contexts, embeddings: bit for bit what the guest `layers`
        of the C API says."""
        said = run(DRIFTWOOD, "run", project("generate", "layers"), *WITH_MODEL, stderr_empty=True)
        wanted = run(DRIFTWOOD, "run", BUILD / "guests" / "layers.wasm", *WITH_MODEL)
        self.assertEqual(said, wanted)
        self.assertEqual([line.split()[0] for line in said.splitlines()],
                         ["tree", "kept", "mask", "many", "steps", "rows", "embed"])
        self.assertIn(" refused\n", said)

    @unittest.skipIf(LANGUAGE == "c", "tests/unit/test_generate_abi.c has it of the ABI")
    def test_ahead(self):
        """While the device generates on a context, that and the sampler are refused to all else; a
        generation that has ended neither waits for nor ends the next one; what is closed stays so.
        Where closing cannot fail, and in Python, it ends what is under way."""
        said = run(DRIFTWOOD, "run", project("generate", "ahead"), *WITH_MODEL, stderr_empty=True)
        state, handle = -11, -4
        refuses = LANGUAGE in ("javascript", "go", "assemblyscript")
        twice = handle if LANGUAGE in ("go", "assemblyscript") else 0
        taken = [0] * 4 + [state] if LANGUAGE == "python" else [state] * 5
        self.assertEqual(said.splitlines(), [
            f"taken {' '.join(map(str, taken))}", "ended 8 8 8", "free 0 0 0, again 8 false",
            f"closing {state if refuses else 0}, then {state if refuses else handle}",
            f"closed {twice}, then {handle} {handle}"])

    def test_no_model(self):
        """A failure is told in the host's words, and is a failure."""
        module = project("generate")
        done = subprocess.run([DRIFTWOOD, "run", str(module), *WITH_MODEL, "--limit",
                               "contexts=1", "--limit", "handles=1"], capture_output=True,
                              text=True, timeout=600, check=False, stdin=subprocess.DEVNULL)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn("limit 1", done.stderr)

    def test_tool(self):
        module = project("tool")
        said = run(DRIFTWOOD, "run", module, "--tool", "weather=echo sunny, 21 degrees", *WITH_MODEL)
        lines = said.splitlines()
        self.assertTrue(lines[0].startswith("weather {"), said)
        self.assertIn("-> sunny, 21 degrees", lines)
        self.assertGreater(len(lines[-1]), 10, said)
        refused = subprocess.run([DRIFTWOOD, "run", str(module), *WITH_MODEL], capture_output=True,
                                 text=True, timeout=600, check=False, stdin=subprocess.DEVNULL)
        self.assertNotEqual(refused.returncode, 0, refused.stdout)
        self.assertIn("weather", refused.stderr)

    def test_actor(self):
        module = project("actor")
        with tempfile.TemporaryDirectory(prefix="dw-sdk-") as folder:
            def actor(command, *args):
                return run(DRIFTWOOD, "actor", command, *args, "--state", folder)
            first = actor("spawn", "--guest", module, *WITH_MODEL).strip()
            answer = actor("send", first, PROMPT)
            chat = actor("spawn", "--guest", "chat", "--max-tokens", "24", "--temp", "0",
                         *WITH_MODEL).strip()
            self.assertEqual(answer, actor("send", chat, PROMPT))
            actor("send", first, "And another one?")
            twin = actor("fork", first).strip()
            actor("freeze", first)
            actor("thaw", first)
            third = actor("send", first, "Which of these is the largest?")
            self.assertEqual(third, actor("send", twin, "Which of these is the largest?"))
            fresh = actor("spawn", "--guest", module, *WITH_MODEL).strip()
            self.assertNotEqual(third, actor("send", fresh, "Which of these is the largest?"))
            equal = actor("verify", twin, "--message", "And the smallest?", "--tokens", "4")
            self.assertTrue(equal.startswith("equal: "), equal)
            self.assertNotIn("equal: 0 bytes of answer", equal)
            print(f"{LANGUAGE}: {equal.strip()}", file=sys.stderr)

    @unittest.skipIf(LANGUAGE == "c", "tests/cli/test_serve_actors.py has it of C")
    def test_words(self):
        """What goes wrong in an actor is told in the language's own words to whoever awaits the answer; bytes of any
        value go through messages, tools and answers."""
        module = project("actor", "words")
        with tempfile.TemporaryDirectory(prefix="dw-sdk-") as folder:
            def send(message):
                return subprocess.run([DRIFTWOOD, "actor", "send", actor, message, "--state", folder],
                                      capture_output=True, text=True, check=False, timeout=600)
            actor = run(DRIFTWOOD, "actor", "spawn", "--guest", module, "--state", folder).strip()
            self.assertTrue(send("well").stdout.endswith("well\n"))
            for message, words in WORDS.get(LANGUAGE, {"fail": "no tide today"}).items():
                done = send(message)
                told = [line for line in done.stderr.splitlines() if line.startswith("driftwood: ")]
                self.assertNotEqual(done.returncode, 0, message)
                self.assertIn(words, told[-1])
            self.assertTrue(send("well").stdout.endswith("well\n"))
            for count in 256, 6000:  # in the first room for an answer, and beyond it
                message = (bytes(range(256)) * count)[:count]
                done = subprocess.run([DRIFTWOOD, "actor", "send", actor, "-", "--state", folder, "--tool", "echo=cat"],
                                      input=b"=" + message, capture_output=True, check=False, timeout=600)
                self.assertEqual(done.stdout.removesuffix(b"\n"), message.removesuffix(b"\n"), done.stderr)

    @unittest.skipUnless(LANGUAGE == "javascript", "a program in JavaScript")
    def test_depth(self):
        said = run(DRIFTWOOD, "run", "javascript", "--dir", ".", "--", "depth.js",
                   cwd=SOURCE / "tests/sdk/javascript").splitlines()
        self.assertEqual([line.split()[1:] for line in said], [["RangeError", "true"]] * 11)
        with tempfile.TemporaryDirectory(prefix="dw-sdk-") as folder:
            deep = run(DRIFTWOOD, "actor", "spawn", "--guest", project("generate", "depth"), "--state", folder).strip()
            for _ in range(2):
                said = run(DRIFTWOOD, "actor", "send", deep, "go", "--state", folder)
                self.assertEqual(said.splitlines()[-1], "RangeError")

    @unittest.skipUnless(LANGUAGE == "python", "a program in Python")
    def test_python(self):
        """The language, json and re, as this Python has them."""
        folder = SOURCE / "tests/sdk/python"
        for name in "language.py", "regex.py", "numbers.py":
            own = run(DRIFTWOOD, "run", "python", "--dir", ".", "--", name, cwd=folder)
            wanted = run(sys.executable, name, cwd=folder, env=dict(os.environ, PYTHONUTF8="1"))
            self.assertEqual(own.splitlines(), wanted.splitlines())

    @unittest.skipUnless(LANGUAGE == "python", "a program in Python")
    def test_python_refuses(self):
        """What pocketpy has not is told with its line, and no text is taken for a program."""
        with tempfile.TemporaryDirectory(prefix="dw-sdk-") as folder:
            for text in ("try:\n    pass\nfinally:\n    pass", "def f():\n    nonlocal a",
                         "async def f():\n    pass", "if (a := 1):\n    pass", "class A:\n    class B:\n        pass",
                         "class A(int, str):\n    pass", "def f():\n    x = yield 1",
                         "1 / 0", "import nothing", "def f(*, a):\n    pass", "raise ValueError from None",
                         "with open('a') as a, open('b') as b:\n    pass", "a = [1]\na[0:1] = []",
                         "9223372036854775807 + 1", "2 ** 64", "x = 0xffffffffffffffff", "1 << 63",
                         "int(1e30)", "def f(*a):\n    pass\nf(*list(range(5000)))",
                         f"f({'1, ' * 300})", f"a = [{'1, ' * 5000}]", "x = [**{}]", "x = [*1]",
                         "def f(n):\n    return f(n + 1)\nf(0)"):
                (pathlib.Path(folder) / "main.py").write_text("\n" + text + "\n")
                done = subprocess.run([DRIFTWOOD, "run", "python", "--dir", ".", "--", "main.py"],
                                      cwd=folder, capture_output=True, text=True, timeout=60,
                                      check=False, stdin=subprocess.DEVNULL)
                self.assertEqual((done.returncode, done.stdout), (1, ""), text)
                self.assertRegex(done.stderr, r'File "main.py", line [2-5]', text)

    @unittest.skipUnless(LANGUAGE == "python", "a program in Python")
    def test_python_exits(self):
        """SystemExit is the exit status; what is no number is told."""
        with tempfile.TemporaryDirectory(prefix="dw-sdk-") as folder:
            for text in ("raise SystemExit(0)", "raise SystemExit(3)", "raise SystemExit", "exit()", "exit(4)",
                         "raise SystemExit('it is \\xe9nough')", "import sys\nsys.exit(5)", "exit(True)",
                         "import sys\nsys.exit([1, 2])", "raise SystemExit(-1)",
                         "try:\n    exit(6)\nexcept Exception:\n    print('no')",
                         "try:\n    exit(7)\nexcept SystemExit as e:\n    print(e.code)"):
                (pathlib.Path(folder) / "main.py").write_text(f"print('said')\n{text}\n", "utf-8")
                own, wanted = (subprocess.run(
                    [*command, "main.py"], cwd=folder, capture_output=True, text=True, timeout=60,
                    check=False, stdin=subprocess.DEVNULL, env=dict(os.environ, PYTHONUTF8="1"))
                    for command in ([DRIFTWOOD, "run", "python", "--dir", ".", "--"], [sys.executable]))
                self.assertEqual((own.returncode, own.stdout, own.stderr),
                                 (wanted.returncode, wanted.stdout, wanted.stderr), text)

    @unittest.skipUnless(LANGUAGE == "python", "a program in Python")
    def test_python_forgotten(self):
        """What the host goes on writing to is nobody else's memory, however it was forgotten."""
        said = run(DRIFTWOOD, "run", "python", "--dir", ".", *WITH_MODEL, "--", "forgotten.py",
                   cwd=SOURCE / "tests/sdk/python")
        self.assertEqual(said, "8 chosen, 0 changed\nended 0\nclosed 0\n")

    @unittest.skipUnless(LANGUAGE == "go", "a program in Go")
    def test_chance(self):
        """What Go leaves to chance is the actor's own: equal in a twin and in a message that is
        worked on again after a kill, another in a fork."""
        module = project("actor", "chance")
        with tempfile.TemporaryDirectory(prefix="dw-sdk-") as folder:
            def actor(command, *args):
                return run(DRIFTWOOD, "actor", command, *args, "--state", folder)
            first = actor("spawn", "--guest", module).strip()
            said = [actor("send", first, "look") for _ in range(2)]
            self.assertNotEqual(said[0].split()[:2], said[1].split()[:2])
            for _ in range(2):
                equal = actor("verify", first, "--message", "look")
                self.assertTrue(equal.startswith("equal: "), equal)
            print(f"{LANGUAGE}: {equal.strip()}", file=sys.stderr)
            actor("freeze", first)
            forks = [actor("fork", first).strip() for _ in range(2)]
            said = [actor("send", one, "look").split() for one in (first, *forks)]
            self.assertEqual(len({tuple(words[:3]) for words in said}), 3, said)
            with subprocess.Popen([DRIFTWOOD, "actor", "send", first, "work", "--state", folder],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True) as process:
                told = process.stderr.readline()
                process.kill()
            self.assertEqual(len(told.split()), 6, told)
            actor("run")
            self.assertEqual(actor("send", first, "again"), told)


if __name__ == "__main__":
    look_for_tools()
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
