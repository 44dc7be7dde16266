#!/usr/bin/env python3
"""check_snapshot.py SOURCE BUILD: the package safetensors reads a snapshot of ours as it was
written, and `driftwood check` names a file of the package as none of ours."""
import ctypes
import json
import os
import struct
import subprocess
import sys
import tempfile

SOURCE, BUILD = sys.argv[1:3]
sys.path.insert(0, os.path.join(SOURCE, "build", "python"))
try:
    import safetensors
except ImportError:
    print("skipped: the Python package safetensors is missing (scripts/fetch-safetensors)")
    sys.exit(77)


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {str(found)[:300]}, expected {str(expected)[:300]}")


# What snapshot_fixture_write_example in tests/support/snapshot_fixture.c writes.
HALVES = [1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, -8]
TENSORS = {
    "memory": ("U8", [2, 65536], bytes((i * 7 + i // 256) & 255 for i in range(131072))),
    "tokens.0": ("I32", [5], struct.pack("<5i", 1, -2, 300, 49151, -2**31)),
    "kv.0": ("F16", [2, 1, 2, 1, 4], struct.pack("<16e", *HALVES)),
    "positions": ("U32", [3], struct.pack("<3I", 0, 7, 2**32 - 1)),
    "globals": ("I64", [2], struct.pack("<2q", 2**63 - 1, -1)),
    "weights": ("F32", [4], struct.pack("<4f", 0.5, -1.25, 1e30, 0)),
    "empty": ("F32", [0, 3], b""),
    "one": ("I64", [], struct.pack("<q", 2**63 - 1)),
}


def read_ours(path):
    with open(path, "rb") as stream:
        content = stream.read()
    tensors = dict(safetensors.deserialize(content))
    for name, (dtype, shape, data) in TENSORS.items():
        found = tensors.pop(name)
        expect(name, (found["dtype"], list(found["shape"]), bytes(found["data"])),
               (dtype, shape, data))
    expect("the seal", bytes(tensors.pop("seal")["data"]), content[-16:])
    for name, found in tensors.items():
        expect(name, (name[:4], found["dtype"], any(found["data"])), ("pad.", "U8", False))
    header_bytes = 8 + struct.unpack("<Q", content[:8])[0]
    expect("the header's end", header_bytes % 65536, 0)
    offsets = json.loads(content[8:header_bytes])
    for name in ["memory", "kv.0"]:
        expect(name, (header_bytes + offsets[name]["data_offsets"][0]) % 65536, 0)
    return content[-16:].hex(), offsets["__metadata__"]


def check_metadata(path, identity, metadata):
    try:
        with safetensors.safe_open(path, framework="np") as opened:
            expect("the metadata, by the package", opened.metadata(), metadata)
    except ModuleNotFoundError:
        pass  # that part of the package wants numpy; it has parsed them before in any case
    checksums = json.loads(metadata.pop("checksums"))
    expect("the metadata", metadata, {
        "format": "driftwood-snapshot", "version": "2", "kind": "full", "module": "",
        "actor": "tide \"clock\"\n\\ \u00e9"})
    expect("the checksums", sorted(checksums), sorted(TENSORS))
    # XXH3-128 of nothing, from the xxHash repository.
    expect("a checksum", checksums["empty"], "99aa06d3014798d86001c324468d497f")
    told = check(path, "--json")
    expect("driftwood check", (told.returncode, json.loads(told.stdout)["identity"]),
           (0, identity))


def check(path, *options):
    return subprocess.run([os.path.join(BUILD, "driftwood"), "check", path, *options],
                          capture_output=True, text=True)


def refuse_theirs(path, metadata):
    data = (ctypes.c_float * 2)(1, 2)
    tensor = safetensors.TensorSpec(dtype="float32", shape=[2], data_ptr=ctypes.addressof(data),
                                    data_len=ctypes.sizeof(data))
    with open(path, "wb") as stream:
        stream.write(safetensors.serialize({"w": tensor}, metadata))
    told = check(path)
    expect("a file of another program", (told.returncode, told.stderr.count("\n"),
                                         "no Driftwood snapshot" in told.stderr), (1, 1, True))


def main():
    with tempfile.TemporaryDirectory(prefix="dw-snapshot-") as folder:
        path = os.path.join(folder, "ours.dws")
        program = os.path.join(BUILD, "tests", "test_snapshot_file")
        subprocess.run([program, "--write", path], check=True)
        check_metadata(path, *read_ours(path))
        for metadata in [None, {"format": "pt"}]:
            refuse_theirs(os.path.join(folder, "theirs.safetensors"), metadata)
    print(f"safetensors {safetensors.__version__} reads {len(TENSORS)} tensors as written")


main()
