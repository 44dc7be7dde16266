#!/usr/bin/env python3
"""Holds the house rules over our own sources: sizes, banned functions, who may use whom, layout.

tidy.py                all checks; prints FILE:LINE: what, which value, which limit; exit 1 if any
tidy.py --format       rewrites the sources with clang-format
tidy.py --clang-tidy   the checks and clang-tidy (slow), with build/compile_commands.json

Exceptions stand in scripts/tidy-exceptions.txt, each with its reason.
"""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1000
COLUMNS_MAX = 100
PARAMETERS_MAX = 6
FOLDERS = ["base", "memory", "device", "kernels", "gguf", "text", "sampling", "kv", "model",
           "inference", "tensor", "wasm", "actor", "snapshot", "guest_abi", "scheduler", "store",
           "runtime", "server", "api", "cli"]
PATTERNS = ["src/*/*.[ch]", "include/*.h", "guest/*.h", "guest/examples/*.c", "tests/unit/*.[ch]",
            "tests/support/*.[ch]", "tests/guest/*.c", "bench/*.[ch]", "fuzz/*.[ch]", "examples/*.c"]
TEXTS = ["*.md", "docs/*.md", "src/*/README.md"]

# function: what to use. Everywhere in our own C.
BANNED = {
    "strcpy": "snprintf", "strcat": "snprintf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "strtok": "strcspn", "atoi": "strtol", "atol": "strtol", "atof": "strtod", "gets": "fgets",
    "alloca": "dw_alloc",
}
# In src/ outside src/base: memory is countable there.
RAW_MEMORY = {"malloc": "dw_alloc", "calloc": "dw_alloc", "realloc": "dw_realloc",
              "strdup": "dw_strdup", "aligned_alloc": "dw_alloc", "posix_memalign": "dw_alloc"}
# In src/ outside src/cli and src/base: only the program prints or exits.
PRINTING = ["printf", "puts", "perror", "exit", "_exit", "abort", "vprintf", "putchar"]


def load_exceptions():
    """{(rule, path or path:name)} from lines `rule path[:name] reason...`; # starts a comment."""
    known, problems = {}, []
    path = ROOT / "scripts/tidy-exceptions.txt"
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        words = line.split(None, 2)
        if len(words) < 3:
            problems.append(f"{path.relative_to(ROOT)}:{number}: no reason given: {line}")
            continue
        known[(words[0], words[1])] = False
    return known, problems


def blank(text):
    """`text` with comments and literals replaced by spaces, line by line the same length."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return token.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def count_parameters(inside):
    inside = inside.strip()
    if inside in ("", "void"):
        return 0
    depth, count = 0, 1
    for c in inside:
        depth += (c in "([{") - (c in ")]}")
        count += c == "," and depth == 0
    return count


def closing(text, start):
    """Index of the parenthesis that closes the one at `start`, or -1."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return -1


class Checker:
    def __init__(self):
        self.exceptions, self.problems = load_exceptions()

    def report(self, rule, path, line, message, name=None):
        for key in ((rule, f"{path}:{name}"), (rule, str(path))):
            if key in self.exceptions:
                self.exceptions[key] = True
                return
        self.problems.append(f"{path}:{line}: {message} [{rule}]")

    def check_file(self, path):
        text = (ROOT / path).read_text()
        lines = text.splitlines()
        if len(lines) > FILE_LINES_MAX:
            self.report("file-lines", path, 1, f"{len(lines)} lines, limit {FILE_LINES_MAX}")
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX:
                self.report("columns", path, number, f"{len(line)} columns, limit {COLUMNS_MAX}")
            if line != line.rstrip():
                self.report("whitespace", path, number, "blanks at the end of the line")
            if "\t" in line:
                self.report("whitespace", path, number, "a tab")
        if text and not text.endswith("\n"):
            self.report("whitespace", path, len(lines), "no newline at the end")
        code = blank(text)
        self.check_functions(path, code)
        self.check_calls(path, code)
        self.check_includes(path, lines)

    def check_functions(self, path, code):
        lines = code.splitlines()
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                head = start - 1
                while head > 1 and lines[head - 2].strip() and \
                        not lines[head - 2].rstrip().endswith((";", "}", "{")) and \
                        not lines[head - 2].startswith("#"):
                    head -= 1
                signature = " ".join(lines[head - 1:start - 1])
                found = re.search(r"([A-Za-z_]\w*)\s*\(", signature)
                name = found.group(1) if found else "?"
                length = number - head + 1
                if length > FUNCTION_LINES_MAX:
                    self.report("function-lines", path, head,
                                f"{name}: {length} lines, limit {FUNCTION_LINES_MAX}", name)
                start = None
        # Declarations and definitions start at column 0 and name a function of ours.
        for m in re.finditer(r"^[A-Za-z_][\w \*]*?\b([a-z_]\w*)\(", code, re.M):
            if m.group().startswith(("return", "typedef", "else", "case")):
                continue
            end = closing(code, m.end() - 1)
            count = count_parameters(code[m.end():end]) if end > 0 else 0
            if count > PARAMETERS_MAX:
                line = code.count("\n", 0, m.start()) + 1
                self.report("parameters", path, line,
                            f"{m.group(1)}: {count} parameters, limit {PARAMETERS_MAX}",
                            m.group(1))

    def check_calls(self, path, code):
        parts = path.parts
        in_src = parts[0] == "src"
        for m in re.finditer(r"(?<![\w.>])([a-z_]+)\s*\(", code):
            name = m.group(1)
            line = code.count("\n", 0, m.start()) + 1
            if name in BANNED:
                self.report("banned", path, line, f"{name}: use {BANNED[name]}", name)
            if in_src and parts[1] != "base" and name in RAW_MEMORY:
                self.report("banned", path, line, f"{name}: use {RAW_MEMORY[name]}", name)
            if in_src and parts[1] not in ("base", "cli") and name in PRINTING:
                self.report("banned", path, line, f"{name}: only src/cli prints or exits", name)
        for m in re.finditer(r"\bfprintf\s*\(\s*(stdout|stderr)", code):
            if in_src and parts[1] not in ("base", "cli"):
                line = code.count("\n", 0, m.start()) + 1
                self.report("banned", path, line, f"fprintf({m.group(1)}): only src/cli prints")

    def check_includes(self, path, lines):
        if path.parts[0] != "src":
            return
        folder = path.parts[1]
        if folder not in FOLDERS:
            self.report("folders", path, 1, f"folder src/{folder} has no place in the order")
            return
        for number, line in enumerate(lines, 1):
            m = re.match(r'\s*#\s*include\s*[<"]([a-z_]+)/(\w+\.h)[>"]', line)
            if not m or m.group(1) not in FOLDERS:
                continue
            if FOLDERS.index(m.group(1)) > FOLDERS.index(folder):
                target = f"{m.group(1)}/{m.group(2)}"
                self.report("folders", path, number,
                            f"src/{folder} may not use {target}: it comes later", target)

    def check_format(self, paths):
        if not shutil.which("clang-format"):
            print("tidy: clang-format is missing, layout not checked", file=sys.stderr)
            return
        for path in paths:
            if ("format", str(path)) in self.exceptions:
                self.exceptions[("format", str(path))] = True
                continue
            want = subprocess.run(["clang-format", str(ROOT / path)], check=True,
                                  capture_output=True, text=True).stdout
            have = (ROOT / path).read_text()
            if want != have:
                pairs = zip(want.splitlines() + [""], have.splitlines() + [""])
                line = next((i for i, (w, h) in enumerate(pairs, 1) if w != h), 1)
                self.report("format", path, line, "not as clang-format has it: run `make format`")


def our_files():
    found = []
    for pattern in PATTERNS:
        found += sorted(p.relative_to(ROOT) for p in ROOT.glob(pattern))
    return found


def clang_tidy(paths):
    database = ROOT / "build"
    if not (database / "compile_commands.json").exists():
        sys.exit("tidy: build/compile_commands.json is missing: run `make` first")
    units = [str(ROOT / p) for p in paths if p.suffix == ".c" and p.parts[0] == "src" and
             p.name != "os_darwin.c" and not p.name.endswith("_cuda.c")]
    return subprocess.run(["clang-tidy", "-quiet", "-p", str(database), *units]).returncode


def main(arguments):
    paths = our_files()
    checker = Checker()
    if "--format" in arguments:
        chosen = [str(ROOT / p) for p in paths if ("format", str(p)) not in checker.exceptions]
        return subprocess.run(["clang-format", "-i", *chosen]).returncode
    for path in paths:
        checker.check_file(path)
    checker.check_format(paths)
    for (rule, name), used in sorted(checker.exceptions.items()):
        if not used:
            checker.problems.append(
                f"scripts/tidy-exceptions.txt: {rule} {name}: nothing needs it any more")
    for problem in checker.problems:
        print(problem)
    print(f"tidy: {len(paths)} files, {len(checker.problems)} problems")
    if checker.problems:
        return 1
    return clang_tidy(paths) if "--clang-tidy" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
