#!/usr/bin/env python3
"""Runs what the documents tell readers to run.

usage: check_docs.py SOURCE_DIR BUILD_DIR

In README.md and docs/*.md, each line of a block marked `sh` is a command that must succeed, with
the build's driftwood first in PATH. A block marked `c` whose code includes <driftwood_guest.h> and calls
guest functions is compiled as a guest and run; other `c` blocks with a main are compiled against
include/driftwood.h. Blocks marked `console` or `text` show what people type or saw, and are left
alone.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 300


def run(command, where, env):
    done = subprocess.run(command, cwd=where, env=env, timeout=TIMEOUT_S, text=True,
                          shell=isinstance(command, str), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def check_shell(code, where, env):
    for line in code.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        status, output = run(line, where, env)
        if status != 0:
            yield f"`{line}` left with {status}:\n{output}"


def check_c(code, where, env, source):
    file = pathlib.Path(where) / "example.c"
    file.write_text(code)
    guest = "#include <driftwood_guest.h>" in code
    if guest:
        compiler = env.get("DRIFTWOOD_WASI_CC", "clang")
        sysroot = env.get("DRIFTWOOD_WASI_SYSROOT", "/usr")
        status, output = run([compiler, "--target=wasm32-wasi", f"--sysroot={sysroot}", "-O2",
                              "-Wall", "-I", str(source / "guest"), "example.c", "-o",
                              "example.wasm"], where, env)
        if status == 0:
            status, output = run(["driftwood", "run", "example.wasm"], where, env)
            if status == 0 and not output.strip():
                status, output = 1, "(it printed nothing)"
    else:
        status, output = run(["cc", "-std=c17", "-Wall", "-Wextra", "-fsyntax-only", "-I",
                              str(source / "include"), "example.c"], where, env)
    if status != 0:
        yield f"example left with {status}:\n{output}\n--- of\n{code}"


def main():
    # A machine that only runs what was built elsewhere (scripts/device-test) has no such compiler.
    if shutil.which(os.environ.get("DRIFTWOOD_WASI_CC", "clang")) is None:
        print("no clang for the guests in the documents: skipped")
        return 77
    source, build = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
    env = dict(os.environ, PATH=f"{build}:{os.environ['PATH']}")
    failures = blocks = 0
    for document in [source / "README.md", *sorted((source / "docs").glob("*.md"))]:
        for language, code in BLOCK.findall(document.read_text()):
            if language not in ("sh", "c") or (language == "c" and "main(" not in code):
                continue
            blocks += 1
            where = tempfile.mkdtemp(prefix="driftwood-docs-")
            check = check_shell(code, where, env) if language == "sh" else \
                check_c(code, where, env, source)
            for failure in check:
                failures += 1
                print(f"{document.name}: {failure}")
            shutil.rmtree(where)
    print(f"{blocks} blocks run, {failures} failed")
    return 1 if failures or not blocks else 0


if __name__ == "__main__":
    sys.exit(main())
