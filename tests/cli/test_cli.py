#!/usr/bin/env python3
"""The command line as people use it: what it prints, what it answers to bad input, its exit codes.

Called by ctest with the source and the build folder; the default model is in DW_TEST_MODEL_DIR.
"""
import json
import math
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE, BUILD = sys.argv[1:3]
PROGRAM = os.path.join(BUILD, "driftwood")
MODEL_DIR = os.environ.get("DW_TEST_MODEL_DIR", os.path.expanduser("~/.cache/driftwood"))
MODEL = os.path.join(MODEL_DIR, "SmolLM2-135M-Instruct.Q4_1.gguf")
# One thread: ggml's threads wait for each other by spinning, which on a machine that is busy with
# other tests makes two of them thirty times slower than one.
WITH_MODEL = ["--model", MODEL, "--threads", "1"]
STATS_KEYS = ["load_ms", "prompt_tokens", "prompt_tokens_per_s", "generated_tokens",
              "generated_tokens_per_s", "device_staged_bytes", "rss_bytes", "modules_compiled",
              "modules_found", "run_ms", "device_ms", "guest_ms", "host_calls", "graph_runs",
              "adapters", "account"]


# ---- modules, written byte by byte (WebAssembly core specification, chapter 5) ----------------

def leb(number):
    out = bytearray()
    while True:
        byte = number & 0x7f
        number >>= 7
        out.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(out)


def name(text):
    return leb(len(text)) + text.encode()


def section(number, items):
    body = leb(len(items)) + b"".join(items)
    return bytes([number]) + leb(len(body)) + body


TYPE_VOID = section(1, [b"\x60\x00\x00"])
FUNC_VOID = section(3, [b"\x00"])
MEMORY = section(5, [b"\x00\x01"])
EXPORT_START = name("_start") + b"\x00\x00"
EXPORT_MEMORY = name("memory") + b"\x02\x00"


def code(body):
    function = b"\x00" + body + b"\x0b"
    return section(10, [leb(len(function)) + function])


def module(*sections):
    return b"\0asm\x01\0\0\0" + b"".join(sections)


def command(body, memory=MEMORY, exports=(EXPORT_START, EXPORT_MEMORY), imports=b""):
    return module(TYPE_VOID, imports, FUNC_VOID, memory, section(7, list(exports)), code(body))


NOTHING = command(b"")
SPIN = command(b"\x03\x40\x0c\x00\x0b")  # loop br 0 end
TRAP = command(b"\x00")  # unreachable


def run(*args, stdin=subprocess.DEVNULL, **environment):
    env = dict(os.environ, **environment)
    return subprocess.run([PROGRAM, *args], env=env, text=isinstance(stdin, int) or
                          isinstance(stdin, str), capture_output=True, timeout=300,
                          **({"input": stdin} if not isinstance(stdin, int) else
                             {"stdin": stdin}))


# With sanitizers a model takes ten times as long, and unit tests show them the same code.
SANITIZED_SHORT = bool(os.environ.get("DW_TEST_SHORT")) and any(
    line.startswith("DRIFTWOOD_SANITIZE:STRING=") and not line.endswith("=\n")
    for line in open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8"))
unsanitized = unittest.skipIf(SANITIZED_SHORT, "with sanitizers only in full runs")


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dw-cli-")

    def tearDown(self):
        shutil.rmtree(self.folder)

    def file(self, file_name, content):
        path = os.path.join(self.folder, file_name)
        with open(path, "wb") as stream:
            stream.write(content)
        return path

    def expect_refused(self, result, words, code=1):
        """One line on standard error, with the words in it."""
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("driftwood: "), result.stderr)
        for word in words if isinstance(words, (list, tuple)) else [words]:
            self.assertIn(word, result.stderr)


class Help(Case):
    def test_help_and_version(self):
        for command_name in ["run", "chat", "doctor", "devices", "models", "inspect", "eval",
                             "check"]:
            self.assertIn(command_name, run("--help").stdout)
            result = run(command_name, "--help")
            self.assertEqual(result.returncode, 0)
            self.assertTrue(result.stdout.startswith("usage: driftwood " + command_name))
            self.assertEqual(run("help", command_name).stdout, result.stdout)
        with open(os.path.join(SOURCE, "include/driftwood.h")) as stream:
            version = re.search(r'DW_VERSION "([^"]+)"', stream.read()).group(1)
        self.assertEqual(run("--version").stdout, f"driftwood {version}\n")

    def test_wrong_words(self):
        self.expect_refused(run(), "no command", 2)
        self.expect_refused(run("fly"), "'fly'", 2)
        self.expect_refused(run("--fly"), "option '--fly'", 2)
        self.expect_refused(run("run", "--fly"), "--fly", 2)
        self.expect_refused(run("run", "--prompt"), "--prompt", 2)
        self.expect_refused(run("devices", "CPU"), "'CPU'", 2)
        self.expect_refused(run("models", "CPU"), "'CPU'", 2)
        self.expect_refused(run("chat", "CPU"), "'CPU'", 2)
        self.expect_refused(run("run"), "--prompt", 2)
        self.expect_refused(run("run", "hello", "world"), "'world'", 2)

    def test_wrong_numbers(self):
        wrong = {
            "--temp": ["nan", "inf", "-1", "101", "warm", "", "0.5x"],
            "--top-p": ["nan", "1.01", "-0.1"],
            "--min-p": ["2"],
            "--repeat-penalty": ["-1", "nan"],
            "--top-k": ["-1", "1.5", "99999999999"],
            "--max-tokens": ["-1", "many", "2147483648"],
            "--seed": ["-1", "18446744073709551616", "0x10"],
            "--threads": ["0", "513", "x"],
            "--context": ["0", "-5"],
            "--memory-max": ["1", "5G", "64Q", "18446744073709551615G"],
            "--timeout": ["0", "nan", "-3"],
            "--stats": [],
            "--env": ["NAME", "=1"],
            "--dir": ["", "::x"],
        }
        for option, values in wrong.items():
            for value in values:
                result = run("run", "--prompt", "x", f"{option}={value}")
                self.expect_refused(result, [option], 2)
        self.expect_refused(run("run", "--prompt", "x", "--stats=xml"), "xml", 2)


class Lists(Case):
    def test_devices(self):
        devices = json.loads(run("devices", "--json").stdout)
        self.assertTrue(any(device["name"] == "CPU" and device["unified"] and
                            device["shares_host"] for device in devices))
        self.assertIn("CPU", run("devices").stdout)

    def test_models(self):
        cache = os.path.join(self.folder, "driftwood")
        os.mkdir(cache)
        os.symlink(MODEL, os.path.join(cache, "Small.gguf"))
        self.file("driftwood/broken.gguf", b"GGUF")
        self.file("driftwood/notes.txt", b"")
        models = json.loads(run("models", "--json", XDG_CACHE_HOME=self.folder).stdout)
        self.assertEqual([model["name"] for model in models], ["Small.gguf", "broken.gguf"])
        self.assertEqual(models[0]["architecture"], "llama")
        self.assertEqual(models[0]["bytes"], os.path.getsize(MODEL))
        self.assertTrue(models[1]["error"])
        self.assertIn("Small.gguf", run("models", XDG_CACHE_HOME=self.folder).stdout)

    def test_inspect(self):
        told = json.loads(run("inspect", MODEL, "--json").stdout)
        self.assertEqual((told["architecture"], told["layers"], told["heads"], told["kv_heads"],
                          told["loads"], told["parts"]), ("llama", 30, 9, 3, True, 1))
        self.assertEqual(told["file_bytes"], os.path.getsize(MODEL))
        self.assertEqual(sum(kind["bytes"] for kind in told["weight_types"]),
                         told["weights_bytes"])
        self.assertEqual(told["kv_bytes_whole_context"],
                         told["kv_bytes_per_token"] * told["context"])
        self.assertIn("<|im_start|>", told["chat_template"])
        self.assertEqual(told["special_tokens"]["eos"]["text"], "<|im_end|>")
        self.assertGreater(told["memory_free_bytes"], 0)
        self.assertEqual(told["fits"], told["memory_needed_bytes"] <= told["memory_free_bytes"])
        again = json.loads(run("inspect", MODEL, "--json", "--fingerprint").stdout)
        self.assertRegex(again["fingerprint"], "^gguf2:[0-9a-f]{64}$")
        self.assertGreaterEqual(again["fingerprint_threads"], 1)
        text = run("inspect", MODEL)
        self.assertEqual(text.returncode, 0)
        self.assertIn("chat_template          yes", text.stdout)

    def test_inspect_what_does_not_load(self):
        key = struct.pack("<Q", 20) + b"general.architecture" + struct.pack("<IQ", 8, 5) + b"mamba"
        path = self.file("other.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key)
        result = run("inspect", path, "--json")
        told = json.loads(result.stdout)
        self.assertEqual((result.returncode, told["loads"], told["architecture"]),
                         (1, False, "mamba"))
        self.assertIn("'mamba' is not supported", told["error"])
        self.expect_refused(run("inspect", self.file("broken.gguf", b"GGUF")), "truncated")
        self.expect_refused(run("inspect", "no-such-model"), "no-such-model")
        self.expect_refused(run("inspect"), "one model", 2)

    def test_no_models(self):
        result = run("models", XDG_CACHE_HOME=self.folder)
        self.assertEqual(result.returncode, 0)
        self.assertIn("make model", result.stdout)


class Eval(Case):
    TEXT = os.path.join(SOURCE, "tests/data/alice.txt")

    def test_perplexity(self):
        result = run("eval", "perplexity", *WITH_MODEL, "--text", self.TEXT, "--context", "64",
                     "--tokens", "150", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        told = json.loads(result.stdout)
        self.assertEqual((told["tokens"], told["windows"], told["context"]), (128, 2, 64))
        self.assertTrue(1 < told["perplexity"] < 200 and told["error"] > 0)

    def test_refusals(self):
        def refused(words, *arguments, code=1):
            self.expect_refused(run("eval", "perplexity", *WITH_MODEL, *arguments), words, code)
        refused("one window takes 512", "--text", self.file("short.txt", b"Too short."))
        refused("the model was made for 8192", "--text", self.TEXT, "--context", "8193")
        refused("none.txt", "--text", self.folder + "/none.txt")
        refused("--text", code=2)
        refused("--context", "--text", self.TEXT, "--context", "3", code=2)
        self.expect_refused(run("eval", "beauty"), "perplexity", 2)
        self.expect_refused(run("eval", "logits", "--text", self.TEXT), "--out FILE", 2)
        result = run("eval", "logits", *WITH_MODEL, "--text", self.TEXT, "--tokens", "2", "--out",
                     self.folder + "/none/x")
        self.expect_refused(result, "/none/x", 1)

    @unsanitized
    def test_logits_are_those_of_perplexity(self):
        out = self.folder + "/logits.safetensors"
        arguments = [*WITH_MODEL, "--text", self.TEXT, "--context", "8", "--tokens", "19"]
        told = run("eval", "logits", *arguments, "--out", out, "--json")
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertEqual(json.loads(told.stdout),
                         {"positions": 19, "vocabulary": 49152, "context": 8})
        with open(out, "rb") as file:
            size, = struct.unpack("<Q", file.read(8))
            head = json.loads(file.read(size))
            data = file.read()
        self.assertEqual(size % 8, 0)
        self.assertEqual((head["logits"]["dtype"], head["logits"]["shape"]), ("F32", [19, 49152]))
        self.assertEqual((head["tokens"]["dtype"], head["tokens"]["shape"]), ("I32", [19]))
        start, end = head["tokens"]["data_offsets"]
        self.assertEqual((head["logits"]["data_offsets"], end), ([0, start], len(data)))
        tokens = struct.unpack("<19i", data[start:end])
        losses = []
        for window in (0, 8):
            for i in range(window + 4, window + 7):
                row = struct.unpack("<49152f", data[4 * 49152 * i:4 * 49152 * (i + 1)])
                losses.append(math.log(sum(map(math.exp, row))) - row[tokens[i + 1]])
        result = json.loads(run("eval", "perplexity", *arguments, "--json").stdout)
        self.assertAlmostEqual(math.exp(sum(losses) / 6) / result["perplexity"], 1, places=5)


class Check(Case):
    """Snapshot files, as the unit tests' example writes them."""
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.folder, "example.dws")
        writer = os.path.join(BUILD, "tests", "test_snapshot_file")
        subprocess.run([writer, "--write", self.path], check=True)
        with open(self.path, "rb") as stream:
            self.content = stream.read()

    def changed(self, byte):
        content = bytearray(self.content)
        content[byte] ^= 4
        return self.file("changed.dws", content)

    def test_whole_file(self):
        result = run("check", self.path)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout,
                         f"{self.path}: ok, 8 tensors, {len(self.content)} bytes\n")
        piped = run("check", "-", stdin=self.content)
        self.assertEqual((piped.returncode, piped.stdout),
                         (0, f"-: ok, 8 tensors, {len(self.content)} bytes\n".encode()))
        told = json.loads(run("check", self.path, "--json").stdout)
        self.assertEqual((told["ok"], told["path"], told["bytes"], told["tensor_count"]),
                         (True, self.path, len(self.content), 8))
        self.assertEqual(told["identity"], self.content[-16:].hex())
        self.assertEqual(told["metadata"]["kind"], "full")
        tensors = {tensor["name"]: tensor for tensor in told["tensors"]}
        self.assertEqual(tensors["memory"], {
            "name": "memory", "dtype": "U8", "shape": [2, 65536], "offset": 65536,
            "bytes": 131072, "known": True})
        self.assertFalse(tensors["weights"]["known"])

    def test_damage_is_named_by_its_byte(self):
        tensors = json.loads(run("check", self.path, "--json").stdout)["tensors"]
        kv = next(tensor["offset"] for tensor in tensors if tensor["name"] == "kv.0")
        for byte, words in [(65536 + 100, "byte 65536: memory: checksum"),
                            (kv + 3, f"byte {kv}: kv.0: checksum"),
                            (kv - 1, f"byte {kv - 1}: pad.0: a filler"),
                            (len(self.content) - 1, f"byte {len(self.content) - 16}: seal:"),
                            (7, "byte 0: header:"), (8, "byte 8: header:")]:
            self.expect_refused(run("check", self.changed(byte)), words)
        told = run("check", self.changed(kv), "--json")
        self.assertEqual(told.returncode, 1)
        told = json.loads(told.stdout)
        self.assertEqual((told["ok"], told["byte"]), (False, kv))
        self.assertIn("kv.0", told["error"])

    def test_cut_and_other_files(self):
        cut = self.file("cut.dws", self.content[:70000])
        self.expect_refused(run("check", cut), "byte 70000: memory: the file ends")
        self.expect_refused(run("check", self.file("longer.dws", self.content + b"x")),
                            f"byte {len(self.content)}: more behind the seal")
        self.expect_refused(run("check", self.file("empty.dws", b"")), "byte 0: header:")
        self.expect_refused(run("check", self.file("text.dws", b"Once upon a time")), "limit")
        self.expect_refused(run("check", os.path.join(self.folder, "none")), "No such file")
        self.expect_refused(run("check", self.folder), "folder")

    def test_wrong_words(self):
        self.expect_refused(run("check"), "one file, 0 given", 2)
        self.expect_refused(run("check", "a", "b"), "one file, 2 given", 2)
        self.assertEqual(run("check", "--fly", "a").returncode, 2)


class Guests(Case):
    def refuse(self, content, words):
        self.expect_refused(run("run", self.file("guest.wasm", content)), words)

    def test_runs_without_a_model(self):
        path = self.file("guest.wasm", NOTHING)
        result = run("run", path, XDG_CACHE_HOME=self.folder)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_not_a_guest(self):
        self.refuse(b"", "guest.wasm")
        self.refuse(b"hello, this is text", "not a WebAssembly module")
        self.refuse(b"(module)", "text form")
        self.refuse(b"\0asm\x0d\0\x01\0", "component")
        self.refuse(NOTHING[:-3], "guest.wasm")
        self.expect_refused(run("run", "./none.wasm"), "none.wasm")
        self.expect_refused(run("run", "none"), ["'none'", "./guest.wasm"])
        self.expect_refused(run("run", self.folder + "/"), self.folder)

    def test_lacks_something(self):
        self.refuse(module(), "exports nothing")
        self.refuse(command(b"", exports=[EXPORT_START]), "memory")
        self.refuse(module(MEMORY, section(7, [EXPORT_MEMORY])), "nothing to run")
        self.refuse(command(b"", exports=[EXPORT_MEMORY, name("other") + b"\x00\x00"]), "_start")
        missing = section(2, [name("driftwood") + name("warp") + b"\x00\x00"])
        exports = [name("_start") + b"\x00\x01", EXPORT_MEMORY]
        self.refuse(command(b"", imports=missing, exports=exports), ["driftwood", "warp"])

    def test_wants_what_there_is_not(self):
        self.refuse(command(b"", memory=section(5, [b"\x04\x01"])), "memory64")
        self.refuse(command(b"", memory=section(5, [b"\x03\x01\x02"])), "thread")
        huge = command(b"", memory=section(5, [b"\x00" + leb(32)]))
        path = self.file("huge.wasm", huge)
        self.expect_refused(run("run", path, "--memory-max", "1M"), "1048576")

    def test_leaves_with_a_code(self):
        """Its own, of which a shell sees & 255."""
        leave = os.path.join(BUILD, "guests", "leave.wasm")
        for number in (0, 1, 2, 125, 126, 127, 128, 130, 200, 255, 256, 300, -1, -2, 2**31 - 1,
                       -2**31):
            result = run("run", leave, "--", str(number))
            self.assertEqual((result.returncode, result.stdout, result.stderr),
                             (number & 255, "", ""), number)
        state = os.path.join(self.folder, "state")
        actor = run("actor", "spawn", "--guest", leave, "--state", state).stdout.strip()
        for number in (0, 7, 126, 255, -1, -7):
            result = run("actor", "send", "--state", state, "--", actor, str(number))
            self.expect_refused(result, f"the guest left with code {number}")
        self.assertEqual(run("actor", "send", actor, ".", "--state", state).returncode, 0)

    def test_imports_that_are_not_given_are_explained(self):
        for place, what, words in (
                ("env", "abort", ["AssemblyScript", "--use abort=", "wasi-shim"]),
                ("env", "console.log", ["AssemblyScript"]),
                ("env", "emscripten_memcpy_big", ["Emscripten", "-sSTANDALONE_WASM"]),
                ("env", "invoke_vi", ["Emscripten"]), ("env", "my_function", ["dw_import"]),
                ("wasi_unstable", "fd_write", ["before preview 1", "wasm32-wasip1"]),
                ("wasi_snapshot_preview1", "sock_connect", ["preview 1"]),
                ("wasi", "thread-spawn", ["threads"]),
                ("wasi:cli/environment@0.2.0", "get-arguments", ["preview 2"]),
                ("wasi_ephemeral_nn", "load_by_hand", ["no function of wasi-nn"]),
                ("wbg", "__wbg_log_1234", ["wasm-bindgen"]),
                ("__wbindgen_placeholder__", "__wbindgen_throw", ["wasm-bindgen"]),
                ("./guest_bg.js", "log", ["wasm-bindgen"]), ("gojs", "runtime.wasmExit", ["GOOS"]),
                ("go", "debug", ["GOOS"]), ("driftwood", "warp", ["this version"]),
                ("other", "thing", ["dw_import"]), ("x" * 300, "y" * 300, ["xxxx", "yyyy"])):
            missing = section(2, [name(place) + name(what) + b"\x00\x00"])
            exports = [name("_start") + b"\x00\x01", EXPORT_MEMORY]
            self.refuse(command(b"", imports=missing, exports=exports),
                        [f"imports '{what[:60]}' from '{place[:40]}'", *words])
        memory = section(2, [name("env") + name("memory") + b"\x02\x00\x01"])
        self.refuse(module(TYPE_VOID, memory, FUNC_VOID, section(7, [EXPORT_START, EXPORT_MEMORY]),
                           code(b"")), ["'memory' from 'env'", "--import-memory"])
        # One that is there, of another type, is no missing one.
        wrong = section(2, [name("driftwood") + name("model_open") + b"\x00\x00"])
        self.refuse(command(b"", imports=wrong,
                            exports=[name("_start") + b"\x00\x01", EXPORT_MEMORY]), "model_open")

    def test_functions_of_another_type_are_refused(self):
        def typed(parameters, results, function):
            kind = section(1, [b"\x60" + leb(len(parameters)) + parameters + leb(len(results)) +
                               results])
            body = b"".join({0x7f: b"\x41\x00", 0x7e: b"\x42\x00", 0x7d: b"\x43\0\0\0\0",
                             0x7c: b"\x44" + bytes(8)}[result] for result in results)
            return module(kind, FUNC_VOID, MEMORY,
                          section(7, [name(function) + b"\x00\x00", EXPORT_MEMORY]), code(body))
        state = os.path.join(self.folder, "state")
        for parameters, results, shown in ((b"\x7f", b"", "(i32) -> ()"),
                                           (b"\x7f\x7e", b"\x7f", "(i32, i64) -> i32"),
                                           (b"", b"\x7e", "() -> i64"),
                                           (b"\x7d" * 30, b"", "(f32, f32"),
                                           (b"", b"\x7f\x7c", "() -> (i32, f64)")):
            path = self.file("guest.wasm", typed(parameters, results, "driftwood_receive"))
            spawned = run("actor", "spawn", "--guest", path, "--state", state)
            self.expect_refused(spawned, ["'driftwood_receive'", shown, "() -> i32"])
            self.refuse(typed(parameters, results, "_start"), ["'_start'", shown, "() -> i32"])
            self.assertEqual(run("actor", "list", "--state", state).stdout, "")
        for results in (b"", b"\x7f"):
            path = self.file("guest.wasm", typed(b"", results, "driftwood_receive"))
            spawned = run("actor", "spawn", "--guest", path, "--state", state)
            self.assertEqual(spawned.returncode, 0, spawned.stderr)

    def test_ends_badly(self):
        self.refuse(TRAP, "unreachable")
        path = self.file("spin.wasm", SPIN)
        self.expect_refused(run("run", path, "--timeout", "0.2"), "200 ms")

    def test_interrupted(self):
        process = subprocess.Popen([PROGRAM, "run", self.file("spin.wasm", SPIN)],
                                   stderr=subprocess.PIPE)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        process.stderr.close()

    def run_hostile(self, act, *options):
        """`driftwood run` of a guest who waits: nobody writes to its input, reads its output."""
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [PROGRAM, "run", os.path.join(BUILD, "guests", "hostile.wasm"), *WITH_MODEL, *options,
             "--", act, "3600000"], stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.addCleanup(os.close, reader)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def test_one_interrupt_is_enough(self):
        for act in ("sleep", "read", "poll_input", "write", "spin"):
            process = self.run_hostile(act)
            time.sleep(1.0)
            self.assertIsNone(process.poll(), act)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(30), 130, act)

    def test_time_ends_what_waits(self):
        for act in ("sleep", "read", "write"):
            process = self.run_hostile(act, "--timeout", "0.3")
            self.assertEqual(process.wait(30), 1, act)
            self.assertIn(b"300 ms", process.stderr.read())

    def test_devices(self):
        path = self.file("guest.wasm", NOTHING)
        self.expect_refused(run("run", path, "--device", "Abacus0"), ["Abacus0", "CPU"])
        self.assertEqual(run("run", path, "--device", "cpu").returncode, 0)


class Models(Case):
    def refuse(self, model, words, **environment):
        self.expect_refused(run("run", "--prompt", "x", "--model", model, **environment), words)

    def test_not_a_model(self):
        self.refuse("/nowhere/x.gguf", "/nowhere/x.gguf")
        self.refuse("NoSuchModel", ["NoSuchModel", "make setup"])
        self.refuse("", "empty")
        self.refuse(self.file("empty.gguf", b""), "empty.gguf")
        self.refuse(self.file("text.gguf", b"no model at all, just some text"), "text.gguf")
        with open(MODEL, "rb") as stream:
            head = stream.read(3_000_000)
        self.refuse(self.file("head.gguf", head), "head.gguf")
        self.refuse(self.file("short.gguf", head[:5000]), "short.gguf")
        counts = b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60)
        self.refuse(self.file("counts.gguf", counts), "counts.gguf")
        with open(MODEL, "rb") as stream:
            other = bytearray(stream.read())
        at = other.index(b"general.architecture") + len("general.architecture") + 4 + 8
        other[at:at + 5] = b"mamba"
        self.refuse(self.file("other.gguf", bytes(other)), "mamba")

    def test_no_default_model(self):
        result = run("run", "--prompt", "x", XDG_CACHE_HOME=self.folder)
        self.expect_refused(result, ["SmolLM2", "make setup"])

    def test_names(self):
        cache = os.path.join(self.folder, "driftwood")
        os.mkdir(cache)
        os.symlink(MODEL, os.path.join(cache, "Alpha-1.gguf"))
        os.symlink(MODEL, os.path.join(cache, "Alpine.gguf"))
        for model in ["Alpha-1.gguf", "alpha-1", "ALPHA", "alpin"]:
            result = run("run", "--prompt", "x", "--max-tokens", "1", "--model", model,
                         "--threads", "1",
                         XDG_CACHE_HOME=self.folder)
            self.assertEqual(result.returncode, 0, result.stderr)
        self.refuse("alp", ["'alp'", "2"], XDG_CACHE_HOME=self.folder)


@unsanitized
class Generate(Case):
    def generate(self, *args, **kwargs):
        result = run("run", *WITH_MODEL, "--temp", "0", *args, **kwargs)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def test_continues_raw_text(self):
        result = self.generate("--raw", "--prompt", "The capital of France is", "--max-tokens",
                               "8", "--stats=json")
        self.assertIn("Paris", result.stdout)
        self.assertEqual(result.stderr.count("\n"), 1)
        stats = json.loads(result.stderr)
        self.assertIn("limit_bytes", stats.pop("kv_memory"))
        self.assertEqual(list(stats), STATS_KEYS)
        self.assertEqual(stats["device_staged_bytes"], 0)
        self.assertEqual(stats["prompt_tokens"], 5)
        self.assertEqual(stats["generated_tokens"], 8)
        self.assertGreater(stats["generated_tokens_per_s"], 0)

    def test_embeds_lines(self):
        result = run("run", "embed", *WITH_MODEL, "--prompt", "A cat.\n\nA kitten.\nTaxes.")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([len(row) for row in rows], [576] * 3)
        for row in rows:
            self.assertAlmostEqual(sum(x * x for x in row), 1.0, 4)
        closeness = [sum(x * y for x, y in zip(rows[0], row)) for row in rows]
        self.assertGreater(closeness[1], closeness[2])
        refused = run("run", "embed", *WITH_MODEL, "--prompt", "x", "--env",
                      "DRIFTWOOD_POOLING=sum")
        self.assertNotEqual(refused.returncode, 0)

    def test_stops_before_a_string(self):
        args = ["--raw", "--prompt", "The capital of France is", "--max-tokens", "12"]
        whole = self.generate(*args).stdout
        self.assertIn("Paris", whole)
        # Inside a token, over a token's border, one that never comes, the earliest of two.
        for stops in (["aris"], ["s Paris"], ["Parisian", "Paris"], ["Paris", " P"]):
            options = [word for stop in stops for word in ("--stop", stop)]
            text = self.generate(*args, *options).stdout
            end = min(whole.find(stop) for stop in stops if stop in whole) \
                if any(stop in whole for stop in stops) else len(whole) - 1
            self.assertEqual(text, whole[:end] + "\n", stops)
        self.assertEqual(self.generate(*args, "--stop", "Parisian").stdout, whole)
        result = run("run", *WITH_MODEL, "--prompt", "x", "--stop", "")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--stop: 0 bytes", result.stderr)

    def test_samplers_that_people_name(self):
        args = ["--prompt", "Tell me of the sea.", "--max-tokens", "8", "--seed", "3"]
        for options in (["--typical-p", "0.5"], ["--top-n-sigma", "1"], ["--mirostat-tau", "4"],
                        ["--xtc-probability", "1", "--xtc-threshold", "0.05"],
                        ["--dry-multiplier", "1", "--dry-sequence-breaker", "none"],
                        ["--dynatemp-range", "0.5"], ["--logit-bias", "5=-inf"]):
            text = [run("run", *WITH_MODEL, *args, *options) for _ in range(2)]
            self.assertEqual(text[0].returncode, 0, text[0].stderr)
            self.assertEqual(text[0].stdout, text[1].stdout)
        for options in (["--typical-p", "2"], ["--logit-bias", "5"], ["--mirostat-eta", "x"]):
            self.assertEqual(run("run", *WITH_MODEL, *args, *options).returncode, 2)

    def test_answers_keep_to_a_grammar(self):
        grammar = ('root ::= "{\\"name\\": " string ", \\"age\\": " [1-9] [0-9]? "}"\n'
                   'string ::= "\\"" [a-zA-Z ]{1,20} "\\""\n')
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "person.gbnf")
            with open(path, "w") as file:
                file.write(grammar)
            for seed in range(5):
                text = self.generate("--prompt", "Describe a person.", "--temp", "1.5",
                                     "--seed", str(seed), "--grammar-file", path).stdout
                person = json.loads(text)
                self.assertEqual(list(person), ["name", "age"])
                self.assertTrue(1 <= person["age"] <= 99)
        args = ["--prompt", "Is the sea wet?"]
        self.assertIn(self.generate(*args, "--grammar", 'root ::= "Yes." | "No."').stdout,
                      ("Yes.\n", "No.\n"))
        result = run("run", *WITH_MODEL, *args, "--grammar", "root ::= (")
        self.assertEqual(result.returncode, 1)
        self.assertIn("line 1, column 10", result.stderr)
        schema = {"type": "object", "properties": {"wet": {"type": "boolean"}},
                  "required": ["wet"]}
        text = self.generate(*args, "--json-schema", json.dumps(schema)).stdout
        self.assertIn(json.loads(text), ({"wet": True}, {"wet": False}))
        schema["properties"]["at"] = {"enum": ["x"], "format": "uri"}
        schema["properties"]["by"] = {"type": "string", "format": "uri", "maxLength": 3}
        result = run("run", *WITH_MODEL, *args, "--json-schema", json.dumps(schema))
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count("note"), 1)
        self.assertIn("driftwood: note: --json-schema: schema: #/properties/by: 'format' 'uri' is "
                      "not enforced\n", result.stderr)
        result = run("run", *WITH_MODEL, *args, "--json-schema", '{"not": {}}')
        self.assertEqual(result.returncode, 1)
        self.assertIn("'not' is not supported", result.stderr)
        result = run("run", *WITH_MODEL, *args, "--grammar-file", "/nowhere")
        self.assertEqual(result.returncode, 2)
        self.assertIn("/nowhere", result.stderr)

    def test_tools_of_an_unknowing_template(self):
        """It is told once a chat, not at each turn."""
        path = os.path.join(self.folder, "tools.json")
        with open(path, "w") as file:
            json.dump([{"type": "function", "function": {
                "name": "now", "parameters": {"type": "object", "properties": {}}}}], file)
        result = run("chat", *WITH_MODEL, "--tools", path, "--chat-template", "chatml",
                     "--max-tokens", "2", "--temp", "0", stdin="Hi\nHi again\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr.count("does not tell the model of its tools"), 1)

    def test_kv_type(self):
        args = ["--raw", "--prompt", "The capital of France is", "--max-tokens", "8", "--temp", "0"]
        for kind in ("f16", "q8_0", "f32"):
            self.assertIn("Paris", self.generate(*args, "--kv-type", kind).stdout)
        result = run("run", *WITH_MODEL, *args, "--kv-type", "q4_0")
        self.assertEqual(result.returncode, 2)
        self.assertIn("f16, q8_0 or f32", result.stderr)

    def test_kv_memory(self):
        args = ["run", *WITH_MODEL, "--device", "CPU", "--prompt", "Hello", "--kv-memory"]
        result = run(*args, "64M", "--max-tokens", "2", "--stats=json")
        self.assertEqual(result.returncode, 0, result.stderr)
        kv = json.loads(result.stderr.splitlines()[-1])["kv_memory"]
        self.assertEqual(kv["limit_bytes"], 64 << 20)
        self.assertIn(kv["pages_bytes"], range(1, 64 << 20))
        result = run(*args, "1M", "--max-tokens", "2")
        self.assertEqual(result.returncode, 1)
        self.assertIn("limit 1048576 (device_kv_bytes)", result.stderr)
        result = run(*args, "none")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--kv-memory", result.stderr)

    def test_same_seed_same_text(self):
        def text(*args):
            result = run("run", *WITH_MODEL, "--prompt", "Tell me of the sea.",
                         "--max-tokens", "12", *args)
            self.assertEqual(result.returncode, 0, result.stderr)
            return result.stdout
        self.assertEqual(text("--seed", "7"), text("--seed", "7"))
        self.assertNotEqual(text("--seed", "7", "--temp", "2"), text("--seed", "8", "--temp", "2"))

    def test_prompt_from_standard_input(self):
        piped = self.generate("--raw", "--prompt", "-", "--max-tokens", "4",
                              stdin="The capital of France is")
        typed = self.generate("--raw", "--prompt", "The capital of France is", "--max-tokens", "4")
        self.assertEqual(piped.stdout, typed.stdout)
        result = run("run", "--prompt", "-", stdin="a\0b")
        self.expect_refused(result, "zero byte")

    def test_template_and_system(self):
        plain = self.generate("--prompt", "Who are you?", "--max-tokens", "8")
        raw = self.generate("--raw", "--prompt", "Who are you?", "--max-tokens", "8")
        pirate = self.generate("--prompt", "Who are you?", "--max-tokens", "8", "--system",
                               "You are a pirate. Answer every question with Arrr.")
        self.assertEqual(len({plain.stdout, raw.stdout, pirate.stdout}), 3)

    def test_context_is_limited(self):
        result = self.generate("--raw", "--prompt", "one two three", "--context", "8",
                               "--max-tokens", "100", "--stats=json")
        self.assertLess(json.loads(result.stderr)["generated_tokens"], 9)
        result = run("run", *WITH_MODEL, "--raw", "--prompt", "word " * 50, "--context", "8")
        self.assertEqual(result.returncode, 1)
        self.assertIn("8", result.stderr)

    def test_past_the_end(self):
        asked = ["--prompt", "Answer with yes.", "--temp", "0", "--max-tokens", "12",
                 "--stats=json"]
        plain = self.generate(*asked)
        past = self.generate(*asked, "--env", "DRIFTWOOD_PAST_END=1")
        self.assertLess(json.loads(plain.stderr)["generated_tokens"], 12)
        self.assertEqual(json.loads(past.stderr)["generated_tokens"], 12)
        self.assertTrue(past.stdout.startswith(plain.stdout.strip()))

    def test_stats_text(self):
        result = self.generate("--prompt", "Hi", "--max-tokens", "2", "--stats")
        for word in ["load", "prompt", "generated", "copied     0 bytes", "memory"]:
            self.assertIn(word, result.stderr)

    def test_whole_characters(self):
        process = subprocess.Popen([PROGRAM, "run", *WITH_MODEL, "--temp", "0", "--raw",
                                    "--prompt", "🌊🌊🌊🌊🌊🌊🌊🌊", "--max-tokens", "24"],
                                   stdout=subprocess.PIPE)
        while True:
            piece = os.read(process.stdout.fileno(), 4096)
            if not piece:
                break
            piece.decode()  # raises at half a character
        process.stdout.close()
        self.assertEqual(process.wait(), 0)

    def test_empty_prompt(self):
        result = run("run", *WITH_MODEL, "--raw", "--prompt", "")
        self.assertEqual(result.returncode, 1)
        self.assertIn("empty", result.stderr)


class Grants(Case):
    def test_host_example(self):
        program = os.path.join(BUILD, "examples", "host")
        result = subprocess.run([program, MODEL, os.path.join(BUILD, "guests", "generate.wasm"),
                                 "What is two and two?"], capture_output=True, text=True,
                                timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertGreater(len(result.stdout), 5)
        self.assertIn(" 0 bytes copied", result.stderr)

    @unsanitized
    def test_generate_example(self):
        program = os.path.join(BUILD, "examples", "generate")
        answers = [subprocess.run([program, MODEL, "What is two and two?"], capture_output=True,
                                  text=True, timeout=300) for _ in range(2)]
        for answer in answers:
            self.assertEqual(answer.returncode, 0, answer.stderr)
            self.assertEqual(answer.stderr, "")
            self.assertGreater(len(answer.stdout), 5)
        self.assertEqual(answers[0].stdout, answers[1].stdout)  # the same seed
        refused = subprocess.run([program, os.path.join(BUILD, "none.gguf"), "Hello?"],
                                 capture_output=True, text=True, timeout=300)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("none.gguf", refused.stderr)


class Looking(Case):
    def test_trace_and_profile(self):
        place = os.path.join(self.folder, "profile.json")
        args = ["run", os.path.join(BUILD, "guests", "matrix.wasm"), "--device", "CPU"]
        plain = run(*args)
        traced = run(*args, "--trace", "--profile", place)
        self.assertEqual((plain.returncode, plain.stderr), (0, ""))
        self.assertEqual(traced.returncode, 0)
        self.assertEqual(traced.stdout.splitlines()[-1], plain.stdout.splitlines()[-1])
        lines = traced.stderr.splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, r"^trace: [a-z_0-9]+\(.*\) (= |does not return).*  [0-9.]+ us$")
        with open(place) as file:
            self.assertIn("threads", json.load(file))
        refused = run(*args, "--profile", os.path.join(self.folder, "none", "file"))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("--profile", refused.stderr)
        strict = run(*args, "--strict-align")
        self.assertEqual(strict.stdout.splitlines()[-1], plain.stdout.splitlines()[-1])

    def test_trace_tells_wasi(self):
        """What a guest prints, and its end, among the calls of the host's own functions."""
        guest = os.path.join(BUILD, "guests", "misaligned.wasm")
        refused = run("run", guest, "--model", MODEL, "--trace", "--strict-align")
        self.assertEqual(refused.returncode, 1)
        told = [line.split("(")[0] for line in refused.stderr.splitlines()
                if line.startswith("trace: ")]
        self.assertEqual(told[:4], ["trace: model_open", "trace: model_info",
                                    "trace: context_create", "trace: forward"])
        self.assertEqual(told[-1], "trace: proc_exit")
        self.assertRegex(refused.stderr, r"trace: proc_exit\(1\) does not return")
        printed = run("run", os.path.join(BUILD, "guests", "print_env.wasm"), "--env", "A=B",
                      "--trace")
        self.assertEqual(printed.returncode, 0)
        self.assertRegex(printed.stderr, r"(?m)^trace: fd_write\(1, \d+, \d+, \d+\) = 0  [0-9.]+ us$")

    def test_strict_align(self):
        """What the CPU takes and another device may not, refused by name."""
        guest = os.path.join(BUILD, "guests", "misaligned.wasm")
        self.assertEqual(run("run", guest, "--model", MODEL, "--device", "CPU").returncode, 0)
        self.assertEqual(run("run", guest, "--model", MODEL, "--device", "CPU",
                             "--strict-align").returncode, 1)

    def test_repeatable(self):
        guest = os.path.join(BUILD, "guests", "chance.wasm")

        def said(*args):
            done = run("run", guest, *args)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            return done.stdout
        first = said("--repeatable", "7")
        self.assertEqual(said("--repeatable", "7"), first)
        self.assertEqual(first.split()[1:], [f"1577836800.{ns:09}" for ns in
                                             (100, 5000200, 5000300)])
        other = said("--repeatable", "8")
        self.assertNotEqual(other.split()[0], first.split()[0])
        self.assertEqual(other.split()[1:], first.split()[1:])
        self.assertNotEqual(said().split()[:2], said().split()[:2])
        self.assertEqual(run("run", guest, "--repeatable", "-1").returncode, 2)
        self.assertEqual(run("run", guest, "--repeatable", "x").returncode, 2)

    def test_perf_map(self):
        """Names of the guest's functions, where perf looks for them."""
        process = subprocess.Popen(
            [PROGRAM, "run", os.path.join(BUILD, "guests", "matrix.wasm"), "--device", "CPU",
             "--perf-map", "--module-cache", "off"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        _, errors = process.communicate(timeout=300)
        place = f"/tmp/perf-{process.pid}.map"
        self.assertEqual((process.returncode, errors), (0, ""))
        try:
            with open(place) as file:
                lines = file.read().splitlines()
        finally:
            os.unlink(place)
        for line in lines:
            self.assertRegex(line, "^(0x)?[0-9a-f]+ [0-9a-f]+ .+$")
        self.assertTrue(any("main" in line for line in lines))


class ModuleCache(Case):
    def counts(self, *args, **environment):
        """What a run says of its modules: [compiled, found]."""
        result = run("run", self.guest, "--stats=json", *args, DRIFTWOOD_LOG="warn", **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = result.stderr.splitlines()
        stats = json.loads(lines[-1])
        return [stats["modules_compiled"], stats["modules_found"]], lines[:-1]

    def setUp(self):
        super().setUp()
        self.guest = os.path.join(BUILD, "guests", "print_env.wasm")
        self.cache = os.path.join(self.folder, "driftwood", "modules")

    def test_where_it_is(self):
        self.assertEqual(self.counts(XDG_CACHE_HOME=self.folder), ([1, 0], []))
        self.assertEqual(self.counts(XDG_CACHE_HOME=self.folder), ([0, 1], []))
        self.assertEqual(self.counts("--module-cache", "off", XDG_CACHE_HOME=self.folder),
                         ([1, 0], []))
        other = os.path.join(self.folder, "a", "b")
        self.assertEqual(self.counts("--module-cache", other), ([1, 0], []))
        self.assertEqual(self.counts("--module-cache", other), ([0, 1], []))
        home = os.path.join(self.folder, "home")
        os.mkdir(home)
        self.assertEqual(self.counts(XDG_CACHE_HOME="", HOME=home), ([1, 0], []))
        self.assertTrue(os.listdir(os.path.join(home, ".cache/driftwood/modules")))

    def test_where_it_cannot_be(self):
        """The usual one is done without; one that was named is not."""
        self.assertEqual(self.counts(XDG_CACHE_HOME="/dev/null")[0], [1, 0])
        result = run("run", self.guest, "--module-cache", "/dev/null/modules")
        self.assertEqual(result.returncode, 1)
        self.assertIn("/dev/null/modules", result.stderr)
        self.counts(XDG_CACHE_HOME=self.folder)
        os.chmod(self.cache, 0o770)
        counted, told = self.counts(XDG_CACHE_HOME=self.folder)
        self.assertEqual(counted, [1, 0])
        self.assertRegex(told[0], "note: module cache .*rights 770")

    def test_damage_is_told(self):
        self.counts(XDG_CACHE_HOME=self.folder)
        for name in os.listdir(self.cache):
            os.truncate(os.path.join(self.cache, name), 1000)
        counted, told = self.counts(XDG_CACHE_HOME=self.folder)
        self.assertEqual(counted, [1, 0])
        self.assertIn("cut off: thrown away", told[0])
        self.assertEqual(self.counts(XDG_CACHE_HOME=self.folder), ([0, 1], []))

    def test_guests_do_not_get_it(self):
        args = ["run", self.guest, "--module-cache", self.cache, "--dir"]
        result = run(*args, f"{self.folder}::/d")
        self.assertEqual(result.returncode, 1)
        self.assertIn("module cache", result.stderr)
        self.assertEqual(run(*args, f"{self.folder}::/d:ro").returncode, 0)


class Chat(Case):
    def test_zero_bytes_are_refused_not_cut_at(self):
        chat = ["chat", *WITH_MODEL, "--temp", "0", "--max-tokens", "4", "--stats=json"]
        plain = run(*chat, stdin=b"Hello!\n")
        zeros = run(*chat, stdin=b"Hi\0 there\nHello!\n\0\n")
        self.assertEqual((zeros.returncode, zeros.stdout), (0, plain.stdout), zeros.stderr)
        self.assertIn(b"[a zero byte at 2", zeros.stderr)
        self.assertIn(b"[a zero byte at 0", zeros.stderr)
        tokens = [json.loads(result.stderr.splitlines()[-1])["prompt_tokens"]
                  for result in (plain, zeros)]
        self.assertEqual(*tokens)
        state = os.path.join(self.folder, "state")
        actor = run("actor", "spawn", "--guest", "chat", *WITH_MODEL, "--max-tokens", "4",
                    "--state", state).stdout.strip()
        sent = subprocess.run([PROGRAM, "actor", "send", actor, "-", "--state", state],
                              input=b"Hi\0 there", capture_output=True, check=False)
        self.assertEqual((sent.returncode, sent.stdout), (1, b""))
        self.assertIn(b"zero byte at 2", sent.stderr)

    def test_piped(self):
        result = run("chat", *WITH_MODEL, "--temp", "0", "--max-tokens", "12", "--stats=json",
                     stdin="My name is Ada.\nWhat is my name?\n\n/clear\nWhat is my name?\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertGreaterEqual(result.stdout.count("\n"), 3)
        self.assertIn("[cleared]", result.stderr)
        self.assertEqual(json.loads(result.stderr.splitlines()[-1])["device_staged_bytes"], 0)

    @unsanitized
    def test_history_stays_in_the_context(self):
        """The second turn forwards its own tokens, not the whole conversation again."""
        def prompt_tokens(lines):
            result = run("chat", *WITH_MODEL, "--temp", "0", "--max-tokens", "20",
                         "--stats=json", stdin=lines)
            self.assertEqual(result.returncode, 0, result.stderr)
            return json.loads(result.stderr.splitlines()[-1])["prompt_tokens"]
        long_line = "Remember: " + "the tide comes in and goes out again. " * 8 + "\n"
        once = prompt_tokens(long_line)
        twice = prompt_tokens(long_line + "Thanks.\n")
        self.assertGreater(twice, once)
        self.assertLess(twice, once + 40)

    @unsanitized
    def test_full_context_forgets(self):
        lines = "".join(f"Tell me about the number {i} please.\n" for i in range(6))
        result = run("chat", *WITH_MODEL, "--temp", "0", "--max-tokens", "20", "--context",
                     "100", stdin=lines)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("forgotten", result.stderr)
        self.assertEqual(result.stderr.count("too long"), 0)
        # Messages that stay are moved forward, not computed again: a line's own tokens are new, and
        # the end of an answer that reads otherwise anew; not the 100 of the context each time.
        def prompt_tokens(count):
            chat = run("chat", *WITH_MODEL, "--temp", "0", "--max-tokens", "4", "--context", "100",
                       "--system", "You help.", "--stats=json",
                       stdin="".join(f"Is {i} a number?\n" for i in range(count)))
            self.assertEqual(chat.returncode, 0, chat.stderr)
            return json.loads(chat.stderr.splitlines()[-1])["prompt_tokens"]
        few, many = prompt_tokens(4), prompt_tokens(24)
        self.assertLess((many - few) / 20, 35)
        result = run("chat", *WITH_MODEL, "--context", "16", stdin="word " * 50 + "\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("too long", result.stderr)

    def read_until(self, terminal, pattern, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if re.search(pattern, self.seen):
                return
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(terminal, 4096).decode(errors="replace")
                except OSError:
                    break
        self.assertRegex(self.seen, pattern)

    @unsanitized
    def test_interrupt_ends_the_answer_alone(self):
        process, terminal = pty.fork()
        if process == 0:
            os.environ["TERM"] = "xterm"
            # One thread and not too many tokens: several threads of ggml's crawl on a busy machine.
            os.execv(PROGRAM, [PROGRAM, "chat", *WITH_MODEL, "--temp", "0", "--max-tokens",
                               "100", "--repeat-penalty", "1.1", "--threads", "1"])
        self.seen = ""
        self.read_until(terminal, "> ")
        os.write(terminal, b"Write a very long story about the sea.\r")
        self.read_until(terminal, r"story about the sea\.[\s\S]{60,}")
        os.write(terminal, b"\x03")
        self.seen = ""
        self.read_until(terminal, r"\n.*> ")
        self.seen = ""
        os.write(terminal, b"Say hi.\r")
        self.read_until(terminal, r"Say hi\.[\s\S]*\n.*> ")
        # A key that arrives between two modes of the terminal is lost, or becomes part of the line,
        # where Ctrl-D only beeps: the line is cleared and the key pressed again.
        deadline = time.monotonic() + 120
        presses = 0
        while time.monotonic() < deadline:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline - 120 + presses:
                presses += 2
                try:
                    os.write(terminal, b"\x15\x04")
                except OSError:
                    pass
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    os.read(terminal, 4096)
                except OSError:
                    pass
        else:
            os.kill(process, signal.SIGKILL)
            self.fail("chat did not end at Ctrl-D")
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
