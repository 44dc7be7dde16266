#!/usr/bin/env python3
"""Holds the house rules over our own sources: sizes, banned functions, who may use whom, layout,
words.

tidy.py                all checks; prints FILE:LINE: what, which value, which limit; exit 1 if any
tidy.py --format       rewrites the sources with clang-format
tidy.py --clang-tidy   the checks and clang-tidy (slow), with build/compile_commands.json
tidy.py --root DIR     the same of another tree (tests/check_tidy.py)

Exceptions are in scripts/tidy-exceptions.txt, each with its reason; words that are not used any
more in scripts/retired-words.txt.
"""
import bisect
import collections
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 1000
README_LINES_MAX = 40
TOP_README_LINES_MAX = 200
COLUMNS_MAX = 100
PARAMETERS_MAX = 6
FOLDER_SHARE_MAX = 0.13  # src/runtime has most: it is where all others meet
# Folders of src: each may include headers of those before it, and its own.
FOLDERS = ["base", "memory", "device", "kernels", "gguf", "tokenizer", "text", "grammar", "schema",
           "values", "templates", "chat", "sampling", "kv", "model", "inference", "tensor",
           "nn", "contexts", "wasm", "actor", "snapshot", "guest_abi", "scheduler", "journal", "prefixes", "store",
           "seeing", "runtime", "dashboard", "http", "serving", "routes",
           "hosting", "server",
           "api", "cli"]
PATTERNS = ["src/*/*.[ch]", "src/*/*.cpp", "src/*/*.cu", "include/*.h", "guest/*.h",
            "guest/examples/*.c", "tests/unit/*.[ch]", "tests/support/*.[ch]", "tests/guest/*.c",
            "bench/*.[ch]", "bench/*.cpp", "fuzz/*.[ch]", "examples/*.c"]
# Where retired words are looked for: all text but what tells of the past.
WORD_PATTERNS = ["*.md", "Makefile", "CMakeLists.txt", "src/**/*", "include/*", "guest/**/*",
                 "tests/**/*", "bench/*", "fuzz/**/*", "docs/**/*", "man/**/*", "scripts/*",
                 "cmake/*", "examples/**/*", "sdk/*", "sdk/*/*.*", "sdk/*/src/*", "sdk/*/examples/*"]
WORDS_LEFT_OUT = ["CHANGELOG.md", "scripts/retired-words.txt",
                  "scripts/tidy-exceptions.txt", "tests/golden/", "tests/data/"]

# function: what to use. Everywhere in our own C.
BANNED = {
    "strcpy": "snprintf", "strcat": "snprintf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "strtok": "strcspn", "atoi": "strtol", "atol": "strtol", "atof": "strtod", "gets": "fgets",
    "alloca": "dw_alloc",
}
# In src/ outside src/base and src/cli: memory is the embedder's allocator's, and countable.
RAW_MEMORY = {"malloc": "dw_alloc", "calloc": "dw_alloc", "realloc": "dw_realloc",
              "strdup": "dw_strdup", "aligned_alloc": "dw_alloc", "posix_memalign": "dw_alloc"}
# Likewise: a thread's stack is as large as ours are, whatever the system's usual is.
RAW_THREADS = {"pthread_create": "dw_os_start_thread"}
# In src/ outside src/base and src/cli (whose main takes the standard descriptors first): a file of
# ours never gets the number of a standard descriptor that is closed.
OPENING = ["open", "openat", "fopen", "opendir", "memfd_create", "mkstemp", "socket", "pipe"]
# In src/ outside src/cli and src/base: only the program prints or exits.
PRINTING = ["printf", "puts", "perror", "exit", "_exit", "abort", "vprintf", "putchar"]


def load_exceptions():
    """{(rule, path or path:name): used} from lines `rule path[:name] reason...`; # starts a comment."""
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


def load_words():
    """[(regex, what to write instead)] from lines `regex | instead`; # starts a comment. A regex
    stands for whole words; blanks in it match line breaks of a comment too."""
    words, problems = [], []
    path = ROOT / "scripts/retired-words.txt"
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, instead = line.partition(" | ")
        if not instead.strip():
            problems.append(f"{path.relative_to(ROOT)}:{number}: nothing to write instead: {line}")
            continue
        words.append((re.compile(rf"(?<!\w)(?:{word.strip()})(?!\w)"), instead.strip()))
    return words, problems


def join_lines(text):
    """`text` on one line, without the marks that begin a line of a comment; and for each line of
    it, where that begins there."""
    starts, parts, length = [], [], 0
    for line in text.split("\n"):
        line = re.sub(r"^\s*(?:/?\*+(?!/)|//+|#+)?\s*", "", line).rstrip() + " "
        starts.append(length)
        parts.append(line)
        length += len(line)
    return "".join(parts), starts


class Checker:
    def __init__(self):
        self.exceptions, self.problems = load_exceptions()
        self.definitions = collections.defaultdict(set)  # dw__ name: folders whose headers have it

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
        self.check_internal_names(path, code)

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
                signature = re.sub(r"\b__launch_bounds__\s*\([^)]*\)", "", signature)
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
            if in_src and parts[1] not in ("base", "cli") and name in RAW_MEMORY:
                self.report("banned", path, line, f"{name}: use {RAW_MEMORY[name]}", name)
            if in_src and parts[1] not in ("base", "cli") and name in RAW_THREADS:
                self.report("banned", path, line, f"{name}: use {RAW_THREADS[name]}", name)
            if in_src and parts[1] not in ("base", "cli") and name in OPENING:
                self.report("banned", path, line, f"{name}: use dw_os_open", name)
            if in_src and parts[1] not in ("base", "cli") and name in PRINTING:
                self.report("banned", path, line, f"{name}: only src/cli prints or exits", name)
        for m in re.finditer(r"\bfprintf\s*\(\s*(stdout|stderr)", code):
            if in_src and parts[1] not in ("base", "cli"):
                line = code.count("\n", 0, m.start()) + 1
                self.report("banned", path, line, f"fprintf({m.group(1)}): only src/cli prints")

    def check_includes(self, path, lines):
        in_src = path.parts[0] == "src"
        folder = path.parts[1] if in_src else None
        if in_src and folder not in FOLDERS:
            self.report("folders", path, 1, f"folder src/{folder} has no place in the order")
            return
        for number, line in enumerate(lines, 1):
            own = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if in_src and folder == "cli" and own and own[1] != "driftwood.h" and \
                    not own[1].startswith("cli/"):
                self.report("folders", path, number,
                            f"src/cli may use driftwood.h alone, not {own[1]}", own[1])
            m = re.match(r'\s*#\s*include\s*[<"]([a-z_]+)/([\w.]+)[>"]', line)
            if not m or m.group(1) not in FOLDERS or not in_src:
                continue
            target = f"{m.group(1)}/{m.group(2)}"
            if FOLDERS.index(m.group(1)) > FOLDERS.index(folder):
                self.report("folders", path, number,
                            f"src/{folder} may not use {target}: it comes later", target)
            if m.group(1) != folder and re.search(r"_internal\.(inc\.)?h$", target):
                self.report("private", path, number, f"{target} is private to src/{m.group(1)}",
                            target)
            if folder == "cli" and m.group(1) != "cli":
                self.report("cli", path, number,
                            f"src/cli uses driftwood.h and its own headers, not {target}", target)

    def learn_internal_names(self, path):
        if path.parts[0] == "src" and path.suffix == ".h":
            for name in re.findall(r"\bdw__\w+|\bDW__\w+", blank((ROOT / path).read_text())):
                self.definitions[name].add(path.parts[1])

    def check_internal_names(self, path, code):
        """What begins with dw__ belongs to its folder. Tests may use it."""
        if path.parts[0] not in ("src", "bench", "examples", "guest"):
            return
        seen = set()
        for m in re.finditer(r"\bdw__\w+|\bDW__\w+", code):
            name = m.group()
            homes = self.definitions.get(name, set())
            if homes and path.parts[1] not in homes and name not in seen:
                seen.add(name)
                line = code.count("\n", 0, m.start()) + 1
                self.report("internal", path, line,
                            f"{name} is internal to src/{', src/'.join(sorted(homes))}", name)

    def check_lengths(self):
        for path in sorted(ROOT.glob("src/*/README.md")) + sorted(ROOT.glob("sdk/*/README.md")) + [ROOT / "README.md"]:
            if not path.exists():
                continue
            limit = TOP_README_LINES_MAX if path.parent == ROOT else README_LINES_MAX
            count = len(path.read_text().splitlines())
            if count > limit:
                self.report("readme-lines", path.relative_to(ROOT), 1,
                            f"{count} lines, limit {limit}")

    def check_shares(self, paths):
        lines = collections.Counter()
        for path in paths:
            if path.parts[0] == "src":
                lines[path.parts[1]] += len((ROOT / path).read_text().splitlines())
        for folder, count in lines.items():
            share = count / sum(lines.values())
            if share > FOLDER_SHARE_MAX:
                self.report("folder-share", pathlib.Path("src") / folder, 1,
                            f"{share:.1%} of the lines of src, limit {FOLDER_SHARE_MAX:.0%}")

    def check_words(self):
        words, problems = load_words()
        self.problems += problems
        good = Good("words", (ROOT / "scripts/retired-words.txt").read_bytes())
        texts = [(path, *join_lines((ROOT / path).read_text(errors="replace")))
                 for path in good.others(text_files())]
        # Most stand nowhere, which the different words of all files tell at once; those with a
        # blank are of several words.
        different = "\n".join(set().union(*(text.split() for _, text, _ in texts)))
        words = [(word, instead) for word, instead in words
                 if " " in word.pattern or word.search(different)]
        found = set()
        for path, text, starts in texts:
            for word, instead in words:
                for m in word.finditer(text):
                    line = bisect.bisect_right(starts, m.start())
                    self.report("words", path, line, f"'{m.group()}': write {instead}", m.group())
                    found.add(path)
        good.add(path for path, _, _ in texts if path not in found)

    def check_format(self, paths):
        if not shutil.which("clang-format"):
            print("tidy: clang-format is missing, layout not checked", file=sys.stderr)
            return
        for path in paths:
            if ("format", str(path)) in self.exceptions:
                self.exceptions[("format", str(path))] = True
        good = good_layout()
        chosen = good.others(path for path in paths
                             if ("format", str(path)) not in self.exceptions)
        if not chosen:
            return
        # One process for all: starting it takes longer than most files do.
        told = subprocess.run(["clang-format", "--dry-run", *(str(ROOT / p) for p in chosen)],
                              capture_output=True, text=True)
        if told.returncode != 0:
            raise RuntimeError("clang-format: " + told.stderr[-1000:])
        seen = set()
        for name, line in re.findall(r"^(.+?):(\d+):\d+: warning: ", told.stderr, re.M):
            if name not in seen:
                seen.add(name)
                self.report("format", pathlib.Path(name).relative_to(ROOT), int(line),
                            "not as clang-format has it: run `make format`")
        good.add(path for path in chosen if str(ROOT / path) not in seen)


class Good:
    """Hashes of files in which a check found nothing, kept in build/: layout and words of all
    files take ten seconds, of those that changed less than one."""

    def __init__(self, check, rules):
        self.file = ROOT / "build" / f"tidy-{check}"
        self.rules = rules
        self.known = set(self.file.read_text().split()) if self.file.exists() else set()

    def hash_of(self, path):
        return hashlib.sha256(self.rules + (ROOT / path).read_bytes()).hexdigest()

    def others(self, paths):
        return [path for path in paths if self.hash_of(path) not in self.known]

    def add(self, paths):
        new = {self.hash_of(path) for path in paths} - self.known
        if new and self.file.parent.is_dir():
            with self.file.open("a") as out:
                out.write("".join(line + "\n" for line in sorted(new)))


def good_layout():
    version = subprocess.run(["clang-format", "--version"], capture_output=True).stdout
    style = ROOT / ".clang-format"
    return Good("layout", version + (style.read_bytes() if style.exists() else b""))


def our_files():
    found = []
    for pattern in PATTERNS:
        found += sorted(p.relative_to(ROOT) for p in ROOT.glob(pattern))
    return found


def text_files():
    found = set()
    for pattern in WORD_PATTERNS:
        found |= {p.relative_to(ROOT) for p in ROOT.glob(pattern) if p.is_file()}
    binary = (".gguf", ".safetensors", ".wasm", ".pyc", ".png", ".zst")
    return sorted(p for p in found if p.suffix not in binary and
                  not str(p).startswith(tuple(WORDS_LEFT_OUT)))


def clang_tidy(paths):
    database = ROOT / "build"
    if not (database / "compile_commands.json").exists():
        sys.exit("tidy: build/compile_commands.json is missing: run `make` first")
    units = [str(ROOT / p) for p in paths if p.suffix == ".c" and p.parts[0] == "src" and
             p.name != "os_darwin.c" and not p.name.endswith("_cuda.c")]
    return subprocess.run(["clang-tidy", "-quiet", "-p", str(database), *units]).returncode


def main(arguments):
    global ROOT
    if "--root" in arguments:
        ROOT = pathlib.Path(arguments[arguments.index("--root") + 1]).resolve()
    paths = our_files()
    checker = Checker()
    if "--format" in arguments:
        chosen = [str(ROOT / p) for p in good_layout().others(
            p for p in paths if ("format", str(p)) not in checker.exceptions)]
        return subprocess.run(["clang-format", "-i", *chosen]).returncode if chosen else 0
    for path in paths:
        checker.learn_internal_names(path)
    for path in paths:
        checker.check_file(path)
    checker.check_lengths()
    checker.check_shares(paths)
    checker.check_words()
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
