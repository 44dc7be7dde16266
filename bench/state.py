#!/usr/bin/env python3
"""state.py BUILD MODELS RESULT.md: what actors' state costs, measured by bench_actor and bench_state
on the default model and on one of random weights in the shape of Llama 3.2 1B (made in MODELS where
it is missing), against goals, into a table. BENCH_ROUNDS: rounds of each row, 10 by default."""
import os
import pathlib
import subprocess
import sys

import table

ROUNDS = os.environ.get("BENCH_ROUNDS", "10")
MADE = ("1b-q4_k", "Llama 3.2 1B shape, Q4_K_M, random", "q4_k")


def number(rows, name, side="driftwood"):
    return float(rows[name][side])


def us(value):
    return f"{value / 1e6:,.3g} s" if value >= 1e6 else f"{value / 1e3:,.3g} ms" if value >= 1e3 else f"{value:.3g} us"


def line(what, figure, goal, met, why=""):
    verdict = "" if met is None else "met" if met else "MISSED"
    return f"| {what} | {figure} | {goal} | {verdict} | {why} |"


def at_most(what, value, limit, why=""):
    return line(what, us(value), f"<= {us(limit)}", value <= limit, why)


def at_depth(actor, state):
    """The rows of 4,096 tokens."""
    base = "actor_4096_tokens_"
    # Prefilled once by each program: the faster one, since others' work only slows it down.
    prefill = min(number(state, "prefill_4096"), number(actor, base + "thaw", "llama.cpp"))
    bare = number(state, "thaw_4096")
    thaw, after = number(actor, base + "thaw"), number(state, "thaw_next_4096")
    size = number(actor, base + "file")
    freeze, plain = number(actor, base + "freeze"), number(actor, base + "plain_write")
    next_token = number(state, "next_4096")
    ceiling = prefill / next_token
    lines = [
        at_most("thaw a context", bare, 1e3),
        at_most("thaw an actor with it, guest and all", thaw, 1e3),
        line("the context, against prefilling it again", f"{prefill / bare:,.0f}x", ">= 10,000x",
             prefill >= 1e4 * bare, f"prefill takes {us(prefill)}"),
        line("with the next token", f"{prefill / after:,.0f}x in {us(after)}", ">= 1,000x",
             prefill >= 1e3 * after,
             f"the token alone, nothing thawed, takes {us(next_token)}: {ceiling:,.0f}x at most, "
             "since a token of a prompt costs so much less than one that is decoded"),
        line("freeze an actor the first time, onto the disk", f"{size / freeze / 1e3:.2f} GB/s",
             f"a plain write's: {size / plain / 1e3:.2f} GB/s", freeze <= 1.25 * plain,
             f"{size / 1e6:.0f} MB in {us(freeze)}, hashes and fsync in it"),
        at_most("freeze again after 64 tokens", number(actor, base + "freeze_64_more"), 20e3,
                f"{number(actor, base + 'delta_file') / 1e6:.1f} MB, fsync in it"),
        at_most("fork a context", number(state, "fork_4096"), 200),
        at_most("fork an actor", number(actor, base + "fork"), 200),
        at_most("fork an actor whose memory was written since", number(
            actor, base + "fork_after_work"), 200, "the written pages are copied to an image first"),
    ]
    for what, value in (("context", number(state, "fork_4096_memory")),
                        ("actor", number(actor, base + "fork_memory"))):
        lines.append(line(f"memory of a fork of the {what}", f"{value:,.0f} bytes",
                          "<= 8,192 bytes", value <= 8192))
    for what, name in (("save, no fsync", "freeze_4096"), ("restore", "thaw_4096"),
                       ("restore, next token", "thaw_next_4096"),
                       ("a fork, theirs by copying", "fork_4096")):
        ours, theirs = number(state, name), number(state, name, "llama.cpp")
        lines.append(line(f"llama_state_seq: {what}", f"{theirs / ours:,.{0 if theirs > 10 * ours else 1}f}x as fast", "reported",
                          None, f"{us(ours)}, llama.cpp {us(theirs)}"))
    return lines


def of_few(actor, state):
    """The original system's case, and what has no depth."""
    times = number(state, "thaw_identical")
    return [
        at_most("24 tokens: save", number(state, "freeze_24"), 1.1e3, "no fsync"),
        at_most("24 tokens: restore", number(state, "thaw_24"), 200),
        line("24 tokens: identical logits", f"{times:.0f} of {times:.0f}", "10 of 10", times >= 10),
        line("24 tokens: the actor, onto the disk and back",
             f"{us(number(actor, 'actor_24_tokens_freeze'))}, "
             f"{us(number(actor, 'actor_24_tokens_thaw'))}", "reported", None, "fsync in it"),
        at_most("spawn from a compiled module", number(actor, "actor_spawn"), 100),
        at_most("thaw a guest's memory of 1 MiB", number(actor, "memory_thaw_1_mib"), 50),
    ]


def measure(build, args):
    actor = table.run(build, "bench_actor", *args, "--rounds", ROUNDS)
    deep = table.run(build, "bench_state", *args, "--rounds", ROUNDS)
    few = table.run(build, "bench_state", *args, "--rounds", ROUNDS, "--context", "88")
    return at_depth(actor, deep) + of_few(actor, few), number(deep, "kv_state")


def main():
    build, folder, result = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    name, title, kind = MADE
    model = folder / f"{name}.gguf"
    if not model.exists():
        subprocess.run([f"{build}/bench/make_model", "--type", kind, f"{model}.part"], check=True)
        os.replace(f"{model}.part", model)
    lines = ["# What actors' state costs", "",
             f"{table.cpu()}. By `bench/state.py`: the best of {ROUNDS} rounds, files in the page "
             "cache but for what fsync",
             "brings to the disk. llama.cpp's figures are of the same run, tokens and threads.", ""]
    for what, args in (("SmolLM2-135M, Q4_1", []), (title, ["--model", str(model)])):
        rows, state = measure(build, args)
        lines += [f"## {what}: 4,096 tokens are {state / (1 << 20):.0f} MiB", "",
                  "| what | figure | goal | | |", "| --- | ---: | ---: | --- | --- |", *rows, ""]
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
