#!/usr/bin/env python3
"""scripts/tidy.py finds a violation of each of its rules, and none where there is none.

check_tidy.py SOURCE_DIR BUILD_DIR
"""
import pathlib
import subprocess
import sys
import tempfile

# rule, file, its text. Each tree has these files and is checked for this rule.
CASES = [
    ("folders", {"src/base/a.c": '#include "kv/kv_log.h"\n'}),
    ("folders", {"src/base/a.cpp": '#include "kv/kv_log.h"\n'}),
    ("folders", {"src/base/a.cu": '#include "kv/kv_attend.inc.h"\n'}),
    ("folders", {"src/elsewhere/a.h": "int a;\n"}),
    ("private", {"src/kv/a.cu": '#include "base/os_internal.h"\n'}),
    ("cli", {"src/cli/a.c": '#include "base/os.h"\n'}),
    ("internal", {"src/base/a.h": "void dw__a(void);\n",
                  "src/kv/b.c": "void b(void)\n{\n    dw__a();\n}\n"}),
    ("function-lines", {"src/base/a.c": "void a(void)\n{\n" + "    b();\n" * 60 + "}\n"}),
    ("function-lines", {"src/base/a.cu": "void a(void)\n{\n" + "    b();\n" * 60 + "}\n"}),
    ("parameters", {"src/base/a.cpp": "void a(int b, int c, int d, int e, int f, int g, int h);\n"}),
    ("file-lines", {"bench/a.c": "int a;\n" * 1001}),
    ("readme-lines", {"src/base/README.md": "a\n" * 41}),
    ("readme-lines", {"README.md": "a\n" * 201}),
    ("columns", {"src/base/a.cpp": "/* " + "a" * 100 + " */\n"}),
    ("whitespace", {"src/base/a.c": "int a; \n"}),
    ("banned", {"src/kv/a.cpp": "void a(void)\n{\n    malloc(1);\n}\n"}),
    ("folder-share", {"src/base/a.c": "int a;\n" * 13, "src/kv/b.c": "int a;\n" * 2}),
    ("words", {"docs/a.md": "A retired\nword.\n"}),
    ("words", {"src/base/a.c": "/* A retired\n * word. */\n"}),
    ("words", {"man/a.1": "dw_old is here\n"}),
]
# Near to a violation, and none.
FINE = {
    "src/base/a.h": "/* Not retired; words. dw_older */\nvoid dw__a(void);\n",
    "src/base/a.c": '#include "base/a.h"\n\nvoid b(void)\n{\n    dw__a();\n}\n',
    "src/kv/b.h": '#include "base/a.h"\n',
    "src/cli/c.h": '#include "cli/cli.h"\n',
    "tests/unit/test_a.c": "void c(void)\n{\n    dw__a();\n}\n",
    "src/base/README.md": "a\n" * 40,
    "CHANGELOG.md": "A retired word, dw_old.\n",
}


def tidy(source, files, exceptions=""):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        files = {"scripts/tidy-exceptions.txt": exceptions,
                 "scripts/retired-words.txt": "# a comment\nretired word | new\ndw_old | dw_new\n",
                 **files}
        (root / ".clang-format").write_text((source / ".clang-format").read_text())
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        done = subprocess.run([sys.executable, source / "scripts/tidy.py", "--root", root],
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def main():
    source = pathlib.Path(sys.argv[1])
    failures = []
    for rule, files in CASES:
        status, said = tidy(source, files)
        if status != 1 or f"[{rule}]" not in said:
            failures.append(f"{rule}: {sorted(files)} passes:\n{said}")
    share = "folder-share src/base one of two folders\n"
    status, said = tidy(source, FINE, share)
    if status != 0:
        failures.append(f"a tree without a violation: {said}")
    status, said = tidy(source, FINE, share + "columns src/base/a.c wide\n")
    if status != 1 or "nothing needs it" not in said:
        failures.append(f"an exception that nothing needs: {said}")
    for failure in failures:
        print(failure)
    print(f"{len(CASES) + 2} trees, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
