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
            guest = BUILD / f"guests/{language}.wasm"
            if "@guest@" in (SOURCE / f"sdk/{language}/project.json").read_text() and \
                    not guest.exists():
                self.refused(1, [f"guest '{language}'"], "new", language, "-l", language)
                self.assertFalse((self.folder / language).exists())
                continue
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


# A guest with room for files at 65536, in a memory of two pages, whose _start does nothing; its data
# section has the mark at address 8.
def room(address=65536, bytes_=64, used=0, times=1):
    mark = (b"driftwood-files\0" + b"".join(n.to_bytes(4, "little") for n in
                                             (address, bytes_, used, 0))) * times
    segment = b"\0\x41\x08\x0b" + bytes([len(mark)]) + mark
    data = b"\x01" + segment
    return MODULE + b"\x05\x03\x01\x00\x02" + b"\x0b" + bytes([len(data)]) + data


class Pack(Case):
    """Files into a guest that runs them."""
    def pack(self, guest, **files):
        folder = self.recipe(name="thing", pack=["guest.wasm", "b.js", "*.js"], result="thing.wasm")
        (folder / "guest.wasm").write_bytes(guest)
        for name, text in files.items():
            (folder / f"{name}.js").write_bytes(text)
        return folder

    def test_what_is_where(self):
        folder = self.pack(room(), b=b"own", a=b"x\0y")
        self.assertEqual(self.good("build", "thing"), "thing.wasm\n")
        files = (b"\4\0\0\0\3\0\0\0b.jsown" b"\4\0\0\0\3\0\0\0a.jsx\0y")
        packed = (folder / "thing.wasm").read_bytes()
        self.assertTrue(packed.endswith(b"\0\x41\x80\x80\x04\x0b" + bytes([len(files)]) + files))
        self.assertIn((64).to_bytes(4, "little") + len(files).to_bytes(4, "little"), packed)
        self.assertIn(b"\x0b" + bytes([len(room()) - 15 + len(files) + 7]) + b"\x02", packed)
        shutil.copy(folder / "thing.wasm", folder / "guest.wasm")
        self.refused(1, ["files already"], "build", "thing")

    def test_refusals(self):
        for guest, words in ((room(bytes_=29), ["30 bytes", "room for 29"]),
                             (room(times=2), ["no room for files"]), (MODULE, ["no room for files"]),
                             (b"no module", ["no WebAssembly module"]),
                             (room()[:-1], ["is cut off"]), (MODULE + b"\x0b\xff", ["cut off"])):
            self.pack(guest, b=b"own", a=b"x\0y")
            self.refused(1, ["guest.wasm", *words], "build", "thing")
        whole = room()
        for count in range(len(whole)):
            self.pack(whole[:count], b=b"own")
            self.refused(1, ["guest.wasm"], "build", "thing")
        folder = self.recipe(name="thing", pack=["guest.wasm"], result="thing.wasm")
        self.refused(1, ["\"pack\" is no list"], "build", "thing")
        (folder / "driftwood.json").write_text('{"name": "thing", "pack": ["a", "none.js"], '
                                               '"result": "thing.wasm"}')
        self.refused(1, ["a: No such"], "build", "thing")

    @unittest.skipUnless((BUILD / "guests/javascript.wasm").exists(), "no guest `javascript`")
    def test_javascript(self):
        self.good("new", "js", "-l", "js")
        own = self.folder / "js"
        program = self.folder / "js/main.js"

        def ran(text, *args, build=False):
            program.write_text(text)
            if build:
                self.good("build", "js")
            guest = ["js/js.wasm", *args] if build else ["javascript", "--dir", own, "--", program]
            done = self.run_in("run", *guest)
            return done.returncode, done.stdout, done.stderr
        (own / "util.js").write_text("export const twice = (x) => 2 * x;\n")
        self.assertEqual(ran('import { print, env } from "driftwood"; import { twice } from '
                             '"./util.js";\nconst two = await Promise.resolve(2);\n'
                             'print(`${twice(two)} ${env("A")} ${env("B")} 你好\\n`); '
                             'console.log({ a: [1, "x"] }, "y");', "--env", "A=1", build=True),
                         (0, '4 1 undefined 你好\n{"a":[1,"x"]} y\n', ""))
        for text, words in (("let x = ;", ["SyntaxError", "main.js:1"]),
                            ("\nfunction f() { throw new TypeError('bad') } f();",
                             ["TypeError: bad", "at f (", "main.js:2"]),
                            ("import './none.js'", ["no module '", "none.js'"]),
                            ("await new Promise(() => {})", ["nothing settles"]),
                            ("import { call } from 'driftwood'; call('x', '')",
                             ["DriftwoodError", "no tools"]),
                            ("import { Model } from 'driftwood'; new Model('none')",
                             ["DriftwoodError", "none"]),
                            ("import { raw } from 'driftwood'; raw.alloc(-1)", ["RangeError"]),
                            ("import { raw } from 'driftwood'; raw.input(Symbol(), 1)",
                             ["TypeError"])):
            status, _, said = ran(text)
            self.assertEqual(status, 1, said)
            for word in words:
                self.assertIn(word, said)
        self.assertEqual(ran("import { exit } from 'driftwood'; exit(7);")[0], 7)
        self.assertEqual(ran("import { twice } from './util.js'; console.log(twice(21));"),
                         (0, "42\n", ""))
        self.assertIn("name a file", self.run_in("run", "javascript").stderr)


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
