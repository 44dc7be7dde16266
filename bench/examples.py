#!/usr/bin/env python3
"""The programs of guest/examples for decoding and agents, each by its own figure, and what running its branches together is
worth: the guest's time with a run of the device for each step (ONE_BY_ONE=1), against that with one for all.

usage: bench/examples.py [--driftwood P] [--guests DIR] [--model M] [--device D] [--rounds N] [--only NAMES]
Program and guests are those of build/ beside bench/ where none are named, wherever it is called from; the model is a file, or
a name that driftwood knows. It needs Python's standard library alone.
Prints CSV: example, together_ms, one_by_one_ms, ratio, equal (whether both said the same), figure. The device is
DW_TEST_DEVICE's, else the CPU. Ways take turns, and the best of each counts. Examples without branches, or that compare both
ways themselves, have no times. `speculate fitting` drafts for a model that says what its draft says: the same with
layers more that change nothing.
"""
import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile

LAYERS = 4  # times as many in the model that has a draft which fits
TOGETHER = {  # whose branches go through the device together
    "best_of_n": {"N": 8}, "vote": {"N": 8}, "beam": {"WIDTH": 7}, "tree": {}, "mcts": {"PLAYS": 8},
    "guidance": {"SCALE": 10}, "map_reduce": {},
}
WITH_TOKENS = {"best_of_n": 64, "vote": 64, "beam": 48, "guidance": 48, "map_reduce": 32}
BY_ITSELF = {"prefix_tree": {}, "lookup": {}, "speculate": {}, "sink": {}, "watermark": {},
             "json_repair": {"TRIES": 1}, "rag": {}}


def arguments():
    root = pathlib.Path(__file__).resolve().parent.parent
    own = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    own.add_argument("--driftwood", default=str(root / "build/driftwood"))
    own.add_argument("--guests", default=str(root / "build/guests"))
    own.add_argument("--model", default="SmolLM2-135M-Instruct.Q4_1")
    own.add_argument("--device", default=os.environ.get("DW_TEST_DEVICE", "CPU"))
    own.add_argument("--rounds", type=int, default=2)
    own.add_argument("--only", default="", help="these examples, with commas between")
    given = own.parse_args()
    found = shutil.which(given.driftwood)  # a path, or a name that PATH has
    if not found:
        own.error(f"{given.driftwood}: no such program")
    if not os.path.isfile(os.path.join(given.guests, "branches.wasm")):
        own.error(f"{given.guests}: no guests there (branches.wasm)")
    given.driftwood, given.guests = os.path.abspath(found), os.path.abspath(given.guests)
    if os.path.exists(given.model):
        given.model = os.path.abspath(given.model)
    return given


# ---- a model that a draft fits ---------------------------------------------------------------------

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of values in GGUF
TEXT, LIST = 8, 9


class Reader:
    """GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def text(self):
        length = self.take("Q")
        self.at += length
        return bytes(self.data[self.at - length:self.at])

    def skip(self, kind):
        if kind == TEXT:
            self.text()
        elif kind == LIST:
            of, count = self.take("IQ")
            if of in SIZES:
                self.at += count * SIZES[of]
            else:
                for _ in range(count):
                    self.skip(of)
        else:
            self.at += SIZES[kind]


def text_of(value):
    return struct.pack("<Q", len(value)) + value


def deepened(path, target, times):
    """The model with `times` as many layers, of which the new ones add zeros to what they are given."""
    reader = Reader(memoryview(path.read_bytes()))
    magic, version, tensor_count, pair_count = reader.take("4sIQQ")
    pairs, layers, alignment, new = [], 0, 32, []
    for _ in range(pair_count):
        begin = reader.at
        key = reader.text()
        kind = reader.take("I")
        if key.endswith(b".block_count"):
            layers = reader.take("I")
            pairs.append(text_of(key) + struct.pack("<II", kind, layers * times))
            continue
        value = reader.at
        reader.skip(kind)
        if key == b"general.alignment":
            alignment = struct.unpack_from("<I", reader.data, value)[0]
        pairs.append(bytes(reader.data[begin:reader.at]))
    tensors = []
    for _ in range(tensor_count):
        name = reader.text()
        dims = reader.take("I")
        shape = bytes(reader.data[reader.at:reader.at + 8 * dims])
        reader.at += 8 * dims
        tensors.append((name, dims, shape, *reader.take("IQ")))
    start = -(-reader.at // alignment) * alignment
    ends = sorted([offset for *_, offset in tensors] + [len(reader.data) - start])
    for name, dims, shape, kind, offset in tensors:
        data = reader.data[start + offset:start + ends[ends.index(offset) + 1]]
        new.append((name, dims, shape, kind, data))
        layer = re.fullmatch(rb"blk\.(\d+)\.(.+)", name)
        for more in range(1, times if layer else 1):
            own = b"blk.%d.%s" % (int(layer[1]) + more * layers, layer[2])
            silent = layer[2] in (b"attn_output.weight", b"ffn_down.weight")
            new.append((own, dims, shape, kind, bytes(len(data)) if silent else data))
    with open(target, "wb") as to:
        to.write(struct.pack("<4sIQQ", magic, version, len(new), pair_count) + b"".join(pairs))
        offset = 0
        for name, dims, shape, kind, data in new:
            to.write(text_of(name) + struct.pack("<I", dims) + shape + struct.pack("<IQ", kind, offset))
            offset += -(-len(data) // alignment) * alignment
        to.write(bytes(-to.tell() % alignment))
        for *_, data in new:
            to.write(data)
            to.write(bytes(-len(data) % alignment))


# ---- runs --------------------------------------------------------------------------------------------

class Failed(Exception):
    pass


class Examples:
    def __init__(self, given):
        self.given = given

    def run(self, guest, *options, model=None, **settings):
        """What it says, its figure, and the guest's time in ms."""
        command = [self.given.driftwood, "run", "--device", self.given.device, "--stats=json"]
        for one in model or [self.given.model]:
            command += ["--model", one]
        for name, value in settings.items():
            command += ["--env", f"{name}={value}"]
        done = subprocess.run([*command, *options, os.path.join(self.given.guests, guest + ".wasm")],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise Failed(f"{guest}: {done.returncode}: {done.stdout}{done.stderr}")
        stats = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")][-1]
        return done.stdout, done.stdout.splitlines()[-1], stats["run_ms"]

    def together(self, guest, **settings):
        settings |= {"TOKENS": WITH_TOKENS[guest]} if guest in WITH_TOKENS else {}
        best, said, figures = [float("inf")] * 2, [None] * 2, [None] * 2
        for _ in range(self.given.rounds):
            for way in (0, 1):
                text, figure, took = self.run(guest, ONE_BY_ONE=way, **settings)
                said[way] = re.sub(r"[0-9.]+ (a second|s)$", "", text.rstrip())  # a rate is time's
                if took < best[way]:
                    best[way], figures[way] = took, figure
        show(guest, figures[0], *best, said[0] == said[1])

    def fitting(self):
        with tempfile.TemporaryDirectory(prefix="dw-examples-") as folder:
            found = pathlib.Path(self.given.model)
            if not found.exists():
                found = pathlib.Path.home() / ".cache/driftwood" / (self.given.model + ".gguf")
            large = os.path.join(folder, "large.gguf")
            deepened(found, large, LAYERS)
            show("speculate fitting", self.run("speculate", model=[large, f"draft={found}"], DRAFT="draft")[1])


    def swarm(self):
        with tempfile.TemporaryDirectory(prefix="dw-examples-") as folder:
            def actor(*given):
                done = subprocess.run([self.given.driftwood, "actor", *given, "--state", folder], check=True,
                                      capture_output=True, text=True, stdin=subprocess.DEVNULL)
                return done.stdout.strip()
            swarm = actor("spawn", "--guest", os.path.join(self.given.guests, "swarm.wasm"))
            actor("send", swarm, "ask 8")
            actor("run")
            show("swarm", actor("send", swarm, "tell"))


def show(name, figure, together=None, alone=None, equal=None):
    times = ("", "", "") if alone is None else (f"{together:.0f}", f"{alone:.0f}", f"{alone / together:.2f}")
    same = "" if equal is None else "yes" if equal else "no"
    quoted = figure.replace('"', '""')
    print(f'{name},{",".join(times)},{same},"{quoted}"', flush=True)


def each(given):
    """(name, what shows its lines) of each example."""
    examples = Examples(given)
    calculate = shlex.join([given.driftwood, "run", os.path.join(given.guests, "calculate.wasm")])

    def branches():
        for line in examples.run("branches", TOKENS=64)[0].splitlines():
            show("branches", line)

    yield "branches", branches
    for name, settings in TOGETHER.items():
        yield name, lambda: examples.together(name, **settings)
    for name, settings in BY_ITSELF.items():
        yield name, lambda: show(name, examples.run(name, **settings)[1])
    yield "speculate fitting", examples.fitting
    for name, tool in ("react", "calc"), ("code_act", "run"):
        yield name, lambda: show(name, examples.run(name, "--tool", f"{tool}={calculate}")[1])
    yield "swarm", examples.swarm


def main():
    given = arguments()
    only = [name for name in given.only.split(",") if name]
    failed = []
    print("example,together_ms,one_by_one_ms,ratio,equal,figure", flush=True)
    for name, shown in each(given):
        if only and name not in only:
            continue
        try:
            shown()
        except (Failed, subprocess.CalledProcessError, OSError) as error:  # the others' figures are wanted all the same
            failed.append(name)
            print(f"{error} {getattr(error, 'stderr', None) or ''}".rstrip(), file=sys.stderr, flush=True)
    return f"failed: {', '.join(failed)}" if failed else 0


if __name__ == "__main__":
    sys.exit(main())
