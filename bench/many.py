#!/usr/bin/env python3
"""many.py BUILD MODELS RESULT.md: many actors at once, against llama.cpp's server and against goals,
into a table. The default model, and one of random weights that is made in MODELS where it is missing.
By the environment:
DRIFTWOOD_LLAMA_SERVER: the server (default: what scripts/build-llama-server has built).
BENCH_DEVICE (CPU); BENCH_TEXT: a file of English for prompts; BENCH_ROUNDS (3); BENCH_SCALE: of the
agent's 40,000 tokens (0.2); BENCH_ROWS: only these, beginnings of names will do, with commas."""
import math
import os
import pathlib
import subprocess
import sys

import table

DEVICE = os.environ.get("BENCH_DEVICE", "CPU")
ROUNDS = os.environ.get("BENCH_ROUNDS", "3")
SCALE = os.environ.get("BENCH_SCALE", "0.2")
ROWS = [row for row in os.environ.get("BENCH_ROWS", "").split(",") if row]
ON_CPU = DEVICE == "CPU"
THROUGHPUT = 1.5 if ON_CPU else 2.0
# 32,000 tokens again take a large model's server many minutes on two cores.
LONG = ["--layers", "4", "--embedding", "512", "--heads", "8", "--kv-heads", "2", "--ff", "1024",
        "--vocab", "32000"] if ON_CPU else ["--type", "bf16"]


def at_least(row, goal, what="ratio"):
    return (row, what, goal, lambda value: value >= goal, f">= {goal:,g}")


def at_most(row, goal, what="ratio"):
    return (row, what, goal, lambda value: value <= goal, f"<= {goal:,g}")


def shown(row, what="ratio"):
    return (row, what, None, None, "")


CHATS = [at_least("tokens_per_second", THROUGHPUT), shown("tokens_per_second_from_the_start"),
         shown("first_token_50"), shown("first_token_99"), shown("between_tokens_50"),
         at_most("between_tokens_99", 1.0), shown("tokens"), shown("prompt_tokens_computed")]
SHARED = [at_least("tokens_per_second", 3.0)] + CHATS[2:5] + [shown("between_tokens_99")] + \
    CHATS[6:]


def plan(long_model):
    """Name, program, arguments, rows with goals."""
    text = ["--text", os.environ["BENCH_TEXT"]] if "BENCH_TEXT" in os.environ else []
    on = ["--device", DEVICE]
    chats = on + text + ["--rounds", ROUNDS]
    guests = "256" if ON_CPU else "8,64,256"
    parked = "first_token_of_parked_against_llama_server"
    from_file = [] if ON_CPU else \
        [shown("first_token_of_parked_from_file_against_llama_server")]
    return [
        ("16 chats", "bench_llama_server", [*chats, "--clients", "16"], CHATS),
        ("16 chats, all at once", "bench_llama_server",
         [*chats, "--clients", "16", "--together"], CHATS),
        ("64 chats", "bench_llama_server", [*chats, "--clients", "64"], CHATS),
        ("16 chats, 1,000 tokens shared", "bench_llama_server",
         [*chats, "--clients", "16", "--system", "1000", "--together"], SHARED),
        ("64 chats, 1,000 tokens shared", "bench_llama_server",
         [*chats, "--clients", "64", "--chats", "1", "--rounds", "1", "--system", "1000",
          "--together"], SHARED),
        ("parked with 2,000 tokens", "bench_parking", [*on, "--rounds", ROUNDS],
         [at_most(parked, 0.05), *from_file, shown("tokens_of_context"), shown("park", "driftwood")]),
        ("parked with 32,000 tokens", "bench_parking",
         [*on, "--rounds", "2", "--context", "32000", "--model", long_model],
         [at_most(parked, 0.01), *from_file, shown("tokens_of_context"), shown("park", "driftwood")]),
        ("agent", "bench_agent", [*on, *text, "--scale", SCALE],
         [at_most("agent_of_43_turns", 0.5), shown("prompt_tokens_computed"), shown("tokens"),
          shown("fork", "driftwood")]),
        ("messages", "bench_runtime", [],
         [at_most("message_round_trip", 10, "driftwood"),
          at_least("messages_of_all_actors", 2e5, "driftwood"),
          at_least("durable_messages_of_all_actors", 2e4, "driftwood"),
          shown("durable_each_messages_of_all_actors", "driftwood")]),
        ("256 guests", "bench_guests",
         [*on, "--sequences", guests, "--choose", "--device-thread", "--rounds", "2",
          *(["--depth", "32", "--tokens", "8"] if ON_CPU else [])],
         [shown("guests_256_depth"), shown("guests_256_cost_of_a_step", "driftwood"),
          at_most("guests_256_ahead_cost_of_a_step", 5, "driftwood"),
          at_most("guests_256_ahead_device_idle_median", 20e3, "driftwood")]),
        ("one actor", "bench_one_actor", [*on, "--rounds", "9"],
         [at_least("ratio_median", 0.99, "driftwood"), shown("decode")]),
    ]


def find_row(rows, name):
    return next((row for key, row in rows.items() if key.startswith(name)), None)


def lines_of(name, rows, wanted):
    lines = []
    for row_name, what, goal, is_met, words in wanted:
        row = find_row(rows, row_name)
        if row is None:
            continue
        ours, theirs, ratio = (row.get(key) or "" for key in ("driftwood", "llama.cpp", "ratio"))
        value = float(row[what] or math.nan)
        verdict = "" if goal is None or math.isnan(value) else "met" if is_met(value) else "MISSED"
        lines.append(f"| {name} | {row_name} | {row['unit']} | {ours} | {theirs} | {ratio} | "
                     f"{words} | {verdict} |")
    return lines


def run(build, program, args):
    print(f"==> {program} {' '.join(args)}", file=sys.stderr, flush=True)
    done = subprocess.run([f"{build}/bench/{program}", *args], stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        print(f"==> {program} failed", file=sys.stderr)
        return {}
    text = done.stdout.replace("actor,driftwood run,", "driftwood,llama.cpp,", 1)
    return table.rows_of(text)


def main():
    build, folder, result = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    root = pathlib.Path(__file__).resolve().parent.parent
    built = root / "build/llama-server/build/bin/llama-server"
    if built.exists():
        os.environ.setdefault("DRIFTWOOD_LLAMA_SERVER", str(built))
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "long.gguf"
    if not model.exists():
        subprocess.run([f"{build}/bench/make_model", *LONG, "--context", "65536", f"{model}.part"],
                       check=True)
        os.replace(f"{model}.part", model)
    loads = [f"{os.getloadavg()[0]:.1f}"]
    rows = []
    for name, program, args, wanted in plan(str(model)):
        if not ROWS or any(name.startswith(row) for row in ROWS):
            rows += lines_of(name, run(build, program, args), wanted)
            loads.append(f"{os.getloadavg()[0]:.1f}")
    lines = ["# Many actors at once", "",
             f"{table.cpu()}; device {DEVICE}. By `bench/many.py`; load before and behind each: "
             f"{', '.join(loads)}.", "",
             "| what | row | unit | Driftwood | theirs | ratio | goal | |",
             "| --- | --- | --- | ---: | ---: | ---: | --- | --- |", *rows, ""]
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
