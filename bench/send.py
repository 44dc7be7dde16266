#!/usr/bin/env python3
"""What a message to an actor takes that is in no process: `driftwood actor send`, from start to end.

usage: bench/send.py [DRIFTWOOD [GUESTS [MODEL [RUNS]]]]
Prints CSV: which actor, the median and the least time of the command, and its processor time, in ms.
On a machine that does other work as well the processor time is what to look at.
"""
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time


def measure(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1e3, cpu * 1e3


def main():
    given = sys.argv[1:] + [None] * 4
    program = given[0] or "build/driftwood"
    guests = given[1] or "build/guests"
    model = given[2] or "SmolLM2-135M-Instruct.Q4_1"
    runs = int(given[3] or 20)
    echo = os.path.join(guests, "actor_echo.wasm")
    chat = os.path.join(guests, "chat.wasm")
    one_token = ["--model", model, "--max-tokens", "1"]
    print("actor,wall_median_ms,wall_least_ms,cpu_median_ms")
    with tempfile.TemporaryDirectory(prefix="dw-send-") as state:
        for name, guest, options in (("without a model", echo, []),
                                     ("with a model", echo, ["--model", model]),
                                     ("a chat, one token", chat, one_token)):
            made = subprocess.run([program, "actor", "spawn", "--guest", guest, "--state", state,
                                   *options], check=True, capture_output=True, text=True)
            actor = made.stdout.strip()
            taken = [measure([program, "actor", "send", actor, "hello", "--state", state])
                     for _ in range(runs)][2:]
            walls, cpus = zip(*taken)
            print(f"{name},{statistics.median(walls):.1f},{min(walls):.1f},"
                  f"{statistics.median(cpus):.1f}")


if __name__ == "__main__":
    main()
