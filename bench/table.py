#!/usr/bin/env python3
"""table.py BUILD MODELS RESULT.md: runs the benchmarks of BUILD against llama.cpp, on the default
model and on two of random weights (made in MODELS where they are missing), and writes a table.
BENCH_ROWS: only these rows of the two, whose long prompts take llama.cpp many minutes."""
import csv
import io
import os
import pathlib
import platform
import shutil
import subprocess
import sys

GOALS = {  # at least so many times theirs; of loading at most
    "prefill_128": 1.0, "prefill_512": 1.0, "decode_depth_0": 1.05, "decode_depth_1024": 1.5,
    "decode_depth_4096": 2.0, "decode_depth_128": 1.2, "beside_decode_depth_0": 1.2,
    "beside_decode_depth_128": 1.2, "decode_8_sequences_depth_128": 1.2,
    "decode_32_sequences_depth_128": 1.3, "decode_8_sequences_depth_1024": 2.0,
    "load_context_512": 0.8, "load_context_4096": 0.8,
}
MADE = [("1b-q8_0", "Llama 3.2 1B shape, Q8_0, random", "q8_0"),
        ("1b-q4_k", "Llama 3.2 1B shape, Q4_K_M, random", "q4_k")]
REPACKED = "1b-q4_k"  # Q4_K is what ggml repacks on x86: Q8_0, Q4_1 and Q6_K it does not
REPACKED_ROWS = "prefill_128,decode_depth_0,decode_8_sequences_depth_128,load_context_512"
PROFILED = "prefill_128,decode_depth_0,decode_depth_1024"
NEEDED_BYTES = 4 << 30  # of disk, for both


def rows_of(text):
    return {row["row"]: row for row in csv.DictReader(io.StringIO(text))}


def is_met(name, ratio):
    """Whether the goal is; None: there is none."""
    if name not in GOALS:
        return None
    return ratio <= GOALS[name] if name.startswith("load") else ratio >= GOALS[name]


def share_of_memory(name, row, figures, bandwidth):
    """Of the memory's speed, what a single sequence's decoding reads; None: not bound by it."""
    if not name.startswith("decode_depth_") or not bandwidth:
        return None
    depth = int(name.rsplit("_", 1)[1])
    read = float(figures["weights_read"]["driftwood"])
    read += depth * float(figures["kv_record"]["driftwood"])
    return read * float(row["driftwood"]) / bandwidth


def table(title, rows, bandwidth):
    lines = [f"## {title}", "", "| test | unit | Driftwood | llama.cpp | ratio | goal | | of memory |",
             "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |"]
    for name, row in rows.items():
        if not row["ratio"]:
            continue
        met = is_met(name, float(row["ratio"]))
        goal = "" if met is None else ("<= " if name.startswith("load") else ">= ") + \
            f"{GOALS[name]:g}"
        share = share_of_memory(name, row, rows, bandwidth)
        lines.append(f"| {name} | {row['unit']} | {row['driftwood']} | {row['llama.cpp']} | "
                     f"{row['ratio']} | {goal} | {'' if met is None else 'met' if met else 'MISSED'}"
                     f" | {'' if share is None else f'{share:.0%}'} |")
    return lines + [""]


def profile(rows):
    """A table a step: the operations that take a hundredth of it or more, the dearest first."""
    steps = {}
    for name, row in rows.items():
        _, step, operation = name.split("/", 2)
        times = float(row["driftwood"]), float(row["llama.cpp"])
        steps.setdefault(step, []).append((operation, times))
    lines = []
    for step, kinds in steps.items():
        totals = [sum(times[side] for _, times in kinds) or 1.0 for side in (0, 1)]
        lines += [f"### Where {step} goes, in milliseconds", "",
                  "| operation | Driftwood | share | llama.cpp | share |",
                  "| --- | ---: | ---: | ---: | ---: |"]
        for operation, times in sorted(kinds, key=lambda kind: -max(kind[1])):
            shares = [times[side] / totals[side] for side in (0, 1)]
            if max(shares) >= 0.01:
                lines.append(f"| {operation} | {times[0]:.2f} | {shares[0]:.0%} | {times[1]:.2f} | "
                             f"{shares[1]:.0%} |")
        lines.append("")
    return lines


def cpu():
    """The instruction sets that matter here; names of machines have no place in a table."""
    wanted = ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd"]
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    except OSError:
        flags = []
    return f"{platform.machine()}, {os.cpu_count()} cores, " + \
        ", ".join(flag for flag in wanted if flag in flags)


def run(build, program, *args):
    print(f"==> {program} {' '.join(args)}", file=sys.stderr, flush=True)
    done = subprocess.run([f"{build}/bench/{program}", *args], stdout=subprocess.PIPE, text=True,
                          check=True)
    return rows_of(done.stdout)


def models(build, folder):
    """Paths and titles; those that there is no room for are left out, with a word."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, title, kind in MADE:
        path = folder / f"{name}.gguf"
        if not path.exists():
            if shutil.disk_usage(folder).free < NEEDED_BYTES:
                print(f"==> no room for {path}: left out", file=sys.stderr)
                continue
            subprocess.run([f"{build}/bench/make_model", "--type", kind, f"{path}.part"],
                           check=True)
            os.replace(f"{path}.part", path)
        found.append((title, ["--model", str(path), "--rounds", "2"]))
        if name == REPACKED:
            found.append((f"{title}, llama.cpp with repacked weights",
                          ["--model", str(path), "--rounds", "2", "--extra", "repack"]))
    return found


def run_model(build, args):
    """The rows of one model, and the profile of one whose rows are all run."""
    rows = args and os.environ.get("BENCH_ROWS")
    if "--extra" in args:
        rows = REPACKED_ROWS
    only = ["--rows", rows] if rows else []
    found = run(build, "bench_llama_cpp", *args, *only)
    found.update(run(build, "bench_load", *args, *only))
    has_profile = "--extra" not in args and pathlib.Path(build, "bench/bench_profile").exists()
    return found, run(build, "bench_profile", *args, "--rows", PROFILED) if has_profile else {}


def main():
    build, folder, result = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    memory = run(build, "bench_memory")
    bandwidth = max(float(row["driftwood"]) for row in memory.values())
    lines = ["# Driftwood and llama.cpp, in one run", "",
             f"{cpu()}. Both sides: the same file, threads and ggml, taking turns, the best round of",
             "each. libllama uses the weights as they are mapped (`--extra none`, see bench/README.md).",
             "`of memory`: what decoding reads, of what the cores can read at most.", ""]
    lines += [f"- {name}: {float(row['driftwood']) / 1e9:.1f} GB/s" for name, row in memory.items()]
    lines.append("")
    for title, args in [("SmolLM2-135M, Q4_1", [])] + models(build, folder):
        rows, parts = run_model(build, args)
        lines += table(title, rows, bandwidth) + profile(parts)
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
