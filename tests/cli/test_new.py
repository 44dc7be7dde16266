#!/usr/bin/env python3
"""driftwood new and build: what is made, what is refused, and what a missing tool is told as.

Called by ctest with the source and the build folder. tests/sdk has what projects do."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
PROGRAM = str(BUILD / "driftwood")
# The least module there is, as the result of a build without a compiler.
MODULE = b"\0asm\1\0\0\0"


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dw-new-"))

    def tearDown(self):
        shutil.rmtree(self.folder)

    def run_in(self, *args, **environment):
        return subprocess.run([PROGRAM, *map(str, args)], cwd=self.folder, text=True, timeout=60,
                              capture_output=True, check=False, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, **environment))

    def good(self, *args, **environment):
        done = self.run_in(*args, **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def refused(self, code, words, *args, **environment):
        done = self.run_in(*args, **environment)
        self.assertEqual(done.returncode, code, done.stderr)
        last = done.stderr.splitlines()[-1]
        self.assertTrue(last.startswith("driftwood: "), done.stderr)
        for word in words:
            self.assertIn(word, last)

    def recipe(self, **parts):
        """A project `thing` with this driftwood.json."""
        folder = self.folder / "thing"
        folder.mkdir(exist_ok=True)
        (folder / "driftwood.json").write_text(json.dumps(parts))
        return folder


class New(Case):
    def test_languages(self):
        there = {path.parent.name for path in (SOURCE / "sdk").glob("*/project.json")}
        listed = json.loads(self.good("new", "--list", "--json"))
        self.assertEqual({one["language"] for one in listed}, there)
        for one in listed:
            self.assertLessEqual({"generate", "actor", "tool"}, set(one["examples"]))
        text = self.good("new", "--list")
        self.assertEqual([line.split()[0] for line in text.splitlines()], sorted(there))

    def test_projects_name_themselves(self):
        for language in sorted(path.parent.name for path in (SOURCE / "sdk").glob("*/project.json")):
            for example in "generate", "actor", "tool":
                name = f"my-{language}_{example}"
                said = self.good("new", f"./{name}", "-l", language, "-e", example)
                self.assertIn(f"cd ./{name}", said)
                made = self.folder / name
                self.assertIn(name, (made / "README.md").read_text())
                self.assertTrue((made / "driftwood").is_dir())
                recipe = json.loads((made / "driftwood.json").read_text())
                self.assertEqual((recipe["name"], recipe["language"]), (name, language))
                for path in made.rglob("*"):
                    if path.is_file():
                        self.assertNotIn(b"@NAME@", path.read_bytes(), path)
                        self.assertNotIn(os.fsencode(SOURCE), path.read_bytes(), path)

    def test_other_names(self):
        self.good("new", "a", "--language", "RS")
        self.assertTrue((self.folder / "a/Cargo.toml").exists())

    def test_refusals(self):
        self.refused(1, ["'cobol'", "cpp", "rust"], "new", "a", "-l", "cobol")
        self.refused(1, ["'poem'", "--list"], "new", "a", "-l", "c", "-e", "poem")
        self.assertFalse((self.folder / "a").exists())
        for name in "", "A", "1a", "a b", "a/", "ä", "x" * 64, "..":
            self.refused(2, ["a name of 1 to 63"], "new", name, "-l", "c")
        self.refused(2, ["--language"], "new", "a")
        self.refused(2, ["--language"], "new", "-l", "c")
        self.refused(2, ["'b'"], "new", "a", "b", "-l", "c")
        self.refused(2, ["'a'"], "new", "--list", "a")
        (self.folder / "there").mkdir()
        self.refused(1, ["there", "exists"], "new", "there", "-l", "c")
        self.refused(1, ["none/a", "No such"], "new", "none/a", "-l", "c")
        self.refused(1, ["DRIFTWOOD_SDK=/none"], "new", "a", "-l", "c", DRIFTWOOD_SDK="/none")

    def test_another_folder_of_sdks(self):
        sdk = self.folder / "sdks/basic"
        sdk.mkdir(parents=True)
        (sdk / "main.bas").write_bytes(b"10 PRINT \"@NAME@ @VERSION@\"\n")
        (sdk / "binary").write_bytes(b"\0@NAME@")
        (sdk / "project.json").write_text(json.dumps({
            "also": ["bas"], "sdk": [["main.bas", "driftwood/lib.bas"]], "tools": [],
            "examples": {"generate": {"files": [["main.bas", "src/deep/main.bas"],
                                                ["binary", "binary"]]}},
            "build": [["cp", "binary", "@NAME@.wasm"]], "result": "@NAME@.wasm"}))
        self.good("new", "prog", "-l", "bas", DRIFTWOOD_SDK=str(sdk.parent))
        version = self.good("--version").split()[1]
        self.assertEqual((self.folder / "prog/src/deep/main.bas").read_text(),
                         f"10 PRINT \"prog {version}\"\n")
        self.assertEqual((self.folder / "prog/binary").read_bytes(), b"\0@NAME@")
        self.refused(1, ["prog.wasm", "no WebAssembly"], "build", "prog")
        (sdk / "project.json").write_text("[]")
        self.refused(1, ["project.json", "an object"], "new", "b", "-l", "basic",
                     DRIFTWOOD_SDK=str(sdk.parent))


class Build(Case):
    def test_recipe(self):
        folder = self.recipe(name="thing", tools=[{"name": "cp"}], result="out/b.wasm",
                             build=[["mkdir", "-p", "out"], ["cp", "in*", "out/b.wasm"]])
        (folder / "in put").write_bytes(MODULE)
        done = self.run_in("build", "thing")
        self.assertEqual((done.returncode, done.stdout), (0, "thing.wasm\n"), done.stderr)
        self.assertEqual(done.stderr, "==> mkdir -p out\n==> cp in put out/b.wasm\n")
        self.assertEqual((folder / "thing.wasm").read_bytes(), MODULE)
        self.assertEqual(self.run_in("build", "-q", "thing").stderr, "")

    def test_no_shell(self):
        self.recipe(name="thing", build=[["echo", "$(touch it); touch it"]], result="none.wasm")
        self.refused(1, ["none.wasm"], "build", "thing")
        self.assertFalse((self.folder / "thing/it").exists())

    def test_tools_that_are_missing(self):
        self.recipe(name="thing", tools=[{"name": "no-such-tool", "get": "from the moon"}],
                    build=[["true"]], result="x")
        self.refused(1, ["no-such-tool was not found", "from the moon"], "build", "thing")
        for language, tool in ("rust", "cargo"), ("c", "clang"):
            self.good("new", language, "-l", language)
            self.refused(1, [f"{tool} was not found: "], "build", language, PATH="/none")
        self.refused(1, ["my-clang was not found"], "build", "c", DRIFTWOOD_WASI_CC="my-clang")

    def test_failures(self):
        self.refused(1, ["no driftwood.json", "driftwood new"], "build")
        self.refused(1, ["none: No such"], "build", "none")
        self.refused(2, ["'b'"], "build", "a", "b")
        for parts, words in (({}, ["\"build\" is no list"]),
                             ({"build": [[]]}, ["step 1", "no list of words"]),
                             ({"build": [["true"], ["echo", 1]]}, ["step 2, word 2"]),
                             ({"build": [["false"]]}, ["false left with status 1"]),
                             ({"build": [["no-such-tool"]]}, ["no-such-tool: No such"]),
                             ({"build": [["cat", "*.none"]]}, ["there is no *.none"]),
                             ({"build": [["true"]]}, ["\"name\" and \"result\""]),
                             ({"build": [["true"]], "name": "../x", "result": "y"}, ["\"name\""]),
                             ({"tools": [1], "build": [["true"]]}, ["tools: {"])):
            self.recipe(**parts)
            self.refused(1, words, "build", "thing")
        self.recipe(build=[["sh", "-c", "kill -9 $$"]])
        self.refused(1, ["ended by signal 9"], "build", "thing")
        (self.folder / "thing/driftwood.json").write_text("{\n\"a\"")
        self.refused(1, ["driftwood.json:2"], "build", "thing")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
