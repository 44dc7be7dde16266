#!/usr/bin/env python3
"""check_sdk.py SOURCE BUILD: the SDKs have every import of the guest ABI, and versions are the project's.

scripts/sdk-imports --check finds nothing here; and it does find what a copy of the tree was made to
lack, by its name."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[1]).resolve()
LANGUAGES = sorted(path.name for path in (SOURCE / "sdk").iterdir() if path.is_dir() and path.name != "c")
# Where a language says its package's version.
VERSIONS = {"zig/src/driftwood.zig": r'^pub const version = "([^"]*)"',
            "assemblyscript/package.json": r'^  "version": "([^"]*)"',
            "assemblyscript/assembly/index.ts": r'^export const VERSION = "([^"]*)"',
            "javascript/src/driftwood.js": r'^export const version = "([^"]*)"',
            "python/src/driftwood.py": r'^version = "([^"]*)"',
            "rust/Cargo.toml": r'^version = "([^"]*)"',
            "go/driftwood.go": r'^const Version = "([^"]*)"'}


def check(root):
    done = subprocess.run([SOURCE / "scripts/sdk-imports", "--check", "--root", root],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def expect(found, what, said):
    if not found:
        sys.exit(f"check_sdk: {what}:\n{said}")


def main():
    status, said = check(SOURCE)
    expect(status == 0, "the SDKs are not as the headers have it", said)

    with tempfile.TemporaryDirectory(prefix="driftwood-sdk-") as folder:
        root = pathlib.Path(folder)
        for part in ("guest", "src/guest_abi", "sdk"):
            shutil.copytree(SOURCE / part, root / part, ignore=shutil.ignore_patterns(
                "target", "node_modules", ".zig-cache", "build"))
        header = root / "guest/driftwood_guest.h"
        text = header.read_text()
        header.write_text(text.replace("#endif\n", 'DW_IMPORT("zebra") int32_t dw_zebra(int32_t '
                                       "herd, const uint32_t *ages, float pace);\n#endif\n"))
        expect(header.read_text() != text, "the copy was not changed", "")
        status, said = check(root)
        expect(status == 1, "an import that nobody has was not found", said)
        for language in LANGUAGES:
            expect(f"sdk/{language}: lacks import 'zebra'" in said, f"{language} was not told", said)
        expect("import 'zebra': the host has none" in said, "the host was not told", said)
        table = root / "src/guest_abi/tool_abi.c"
        table.write_text(table.read_text().replace('{"call_answer", "ii:i"',
                                                   '{"call_answer", "iI:i"'))
        status, said = check(root)
        expect("import 'call_answer': ii:i, and iI:i" in said, "other types were not found", said)

    version = re.search(r'#define DW_VERSION "([^"]*)"',
                        (SOURCE / "include/driftwood.h").read_text())[1]
    for path, pattern in VERSIONS.items():
        there = re.search(pattern, (SOURCE / "sdk" / path).read_text(), re.M)
        expect(there is not None and there[1] == version,
               f"sdk/{path}: version {there and there[1]}, the project's is {version}", "")
    print(f"{len(LANGUAGES)} SDKs: {', '.join(LANGUAGES)}")


if __name__ == "__main__":
    main()
