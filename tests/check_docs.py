#!/usr/bin/env python3
"""Runs what the documents tell readers to run, and checks what they point to.

usage: check_docs.py SOURCE_DIR BUILD_DIR

In every document, a link to a file or to a heading leads to one that exists, and a path of the source tree
that is named (src/kv/kv_log.c, tests/unit/test_*.c) exists, as does a name of ours (`dw_context_fork`,
`DW_E_LIMIT`, `test_batch`). CHANGELOG.md may name what is gone.

The table of limits in docs/security.md is the one that the program prints.

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
import socket
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 300


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
MERGE = re.compile(r"^(?:<{7}|>{7}) .*$", re.MULTILINE)
TREE = "src tests docs fuzz bench guest include examples man scripts cmake deps sdk"
IDENTIFIER = re.compile(r"\b(?:(?:dw|DW)__?[a-zA-Z]|test_[a-z])\w*\b(?!\*)")
NAMED = re.compile(r"(?<![\w./~-])(?:%s)/[\w./*-]*\w" % TREE.replace(" ", "|"))


def anchors(document):
    """The headings of a document as GitHub makes anchors of them."""
    text = FENCE.sub("", document.read_text())
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-")
            for h in HEADING.findall(text)}


def identifiers(source):
    """Every name of ours in the sources, tests and build files."""
    found = set()
    for pattern in ("src/*/*", "include/*", "guest/**/*.[ch]", "tests/**/*.[ch]", "tests/*.txt",
                    "tests/*/*.py", "bench/*.[ch]", "fuzz/*.c", "CMakeLists.txt", "cmake/*"):
        for path in source.glob(pattern):
            if path.is_file():
                found.add(path.stem)
                found.update(IDENTIFIER.findall(path.read_text()))
    return found


def check_links(document, source, known):
    text = FENCE.sub("", document.read_text())
    for mark in MERGE.findall(text):
        yield f"{mark}: a merge was left unfinished"
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists():
            yield f"link to {link}: there is no such file"
        elif anchor and anchor not in anchors(target):
            yield f"link to {link}: there is no such heading"
    if document.name == "CHANGELOG.md":
        return
    for name in NAMED.findall(re.sub(r"\]\([^)]*\)", "]", text)):
        if "NAME" not in name and not any(source.glob(name)):
            yield f"{name}: there is no such file"
    for name in sorted(set(IDENTIFIER.findall(text)) - known):
        if "NAME" in name:
            continue
        yield f"{name}: the sources have no such name"


def check_all_links(source):
    documents = [*source.glob("*.md"), *source.glob("docs/*.md"), *source.glob("src/*/README.md"),
                 *source.glob("bench/**/*.md"), *source.glob("docs/guests/*.md"),
                 *source.glob("sdk/*.md"), *source.glob("sdk/*/*.md"), *source.glob("tests/**/*.md")]
    failures = 0
    known = identifiers(source)
    for document in sorted(documents):
        for failure in check_links(document, source, known):
            failures += 1
            print(f"{document.relative_to(source)}: {failure}")
    print(f"{len(documents)} documents, {failures} links, paths and names that lead nowhere")
    return failures


def run(command, where, env):
    done = subprocess.run(command, cwd=where, env=env, timeout=TIMEOUT_S, text=True,
                          shell=isinstance(command, str), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def check_shell(code, where, env):
    if "curl " in code and shutil.which("curl") is None:
        print("no curl for the commands in the documents: skipped")
        return
    with socket.socket() as probe:  # another port than readers': that may be taken
        probe.bind(("127.0.0.1", 0))
        code = code.replace(":8080", f":{probe.getsockname()[1]}")
    for line in code.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        status, output = run(line, where, env)
        if status != 0:
            yield f"`{line}` left with {status}:\n{output}"


def check_limits(source, env):
    """docs/security.md has the table of limits as the program prints it."""
    document = source / "docs/security.md"
    status, table = run(["driftwood", "limits", "--markdown"], source, env)
    if status != 0 or table not in document.read_text():
        print(f"{document.relative_to(source)}: its table of limits is not what "
              f"`driftwood limits --markdown` prints:\n{table}")
        return 1
    return 0


def check_c(code, where, env, source):
    file = pathlib.Path(where) / "example.c"
    file.write_text(code)
    guest = "#include <driftwood_guest.h>" in code
    if guest:
        compiler = env.get("DRIFTWOOD_WASI_CC", "clang")
        sysroot = env.get("DRIFTWOOD_WASI_SYSROOT", "/usr")
        status, output = run([compiler, "--target=wasm32-wasi", f"--sysroot={sysroot}", "-O2",
                              "-Wl,--stack-first",
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
    source, build = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
    broken = check_all_links(source)
    env = dict(os.environ, PATH=f"{build}:{os.environ['PATH']}")
    broken += check_limits(source, env)
    # A machine that only runs what was built elsewhere (scripts/device-test) has no such compiler.
    if shutil.which(os.environ.get("DRIFTWOOD_WASI_CC", "clang")) is None:
        print("no clang for the guests in the documents: skipped")
        return 1 if broken else 77
    failures = blocks = 0
    for document in [source / "README.md", *sorted((source / "docs").glob("**/*.md"))]:
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
            shutil.rmtree(where, ignore_errors=True)  # a server may still be leaving
    print(f"{blocks} blocks run, {failures} failed")
    return 1 if failures or broken or not blocks else 0


if __name__ == "__main__":
    sys.exit(main())
