#!/usr/bin/env python3
"""serve.py BUILD [LLAMA_SERVER]: `driftwood serve` against llama.cpp's server, over HTTP, in turn. A folder in
the place of LLAMA_SERVER is another build of Driftwood.

Both serve the same model with as many threads and slots, and are asked the same, streamed, in pairs: who begins changes
from round to round. Prints CSV: name, unit, ours, theirs, ratio; `load` is the machine's, on average over the last minute,
before and after a row. By the environment: DRIFTWOOD_LLAMA_SERVER: the server; BENCH_MODEL: a GGUF file (the default
model); BENCH_DEVICE (CPU); BENCH_CLIENTS (1,16,64); BENCH_ROUNDS (3); BENCH_CHATS: chats of a round, at least one a client
(8); BENCH_ROW_SECONDS: a row has no further round after so long, and a side's round of chats is cut off at a quarter of it,
with what came by then (240); BENCH_ROWS: only these, beginnings of names, with commas. `wrk` measures /health where
there is one. `inf`: of as many chats no token came before they were cut off.
"""
import http.client
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build")
ROOT = pathlib.Path(__file__).resolve().parent.parent
THEIRS = sys.argv[2] if len(sys.argv) > 2 else os.environ.get(
    "DRIFTWOOD_LLAMA_SERVER", str(ROOT / "build/llama-server/build/bin/llama-server"))
MODEL = os.environ.get("BENCH_MODEL", os.path.expanduser(
    "~/.cache/driftwood/SmolLM2-135M-Instruct.Q4_1.gguf"))
DEVICE = os.environ.get("BENCH_DEVICE", "CPU")
CLIENTS = [int(n) for n in os.environ.get("BENCH_CLIENTS", "1,16,64").split(",")]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CHATS = int(os.environ.get("BENCH_CHATS", "8"))
ROW_SECONDS = float(os.environ.get("BENCH_ROW_SECONDS", "240"))
ROWS = [row for row in os.environ.get("BENCH_ROWS", "").split(",") if row]
SLOTS = max(CLIENTS)
SENTENCES = ["The tide took the boats out past the bar before the light came.",
             "Nobody in the village had seen the mail ship since the first frost.",
             "She counted the crates twice and wrote the number on the wall.",
             "A gull walked along the rail as if it had paid for the crossing.",
             "They mended nets by the stove and spoke of other winters."]


def passage(seed, sentences):
    """Some 14 tokens a sentence, and different from the first word on for each seed."""
    words = [SENTENCES[(seed + i * (1 + seed % 3)) % len(SENTENCES)] for i in range(sentences)]
    return f"Entry {seed}. " + " ".join(words)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    def __init__(self, program, slots=SLOTS, context=2048):
        self.build = program if program.is_dir() else None  # None: llama.cpp's
        self.program, self.slots, self.context = program, slots, context
        self.place = tempfile.TemporaryDirectory(prefix="dw-bench-")
        self.start()

    def start(self):
        self.port = free_port()
        if self.build:
            command = [str(self.build / "driftwood"), "serve", "--listen", f"127.0.0.1:{self.port}", "--state",
                       self.place.name, "--model", "m=" + MODEL, "--device", DEVICE]
        else:
            command = [str(self.program), "--host", "127.0.0.1", "--port", str(self.port), "--model", MODEL, "--flash-attn",
                       "on", "--no-webui", "--parallel", str(self.slots), "--ctx-size",
                       str(self.slots * self.context), "--threads", str(os.cpu_count()),
                       *(["--device", "none", "--gpu-layers", "0"] if DEVICE == "CPU" else
                         ["--device", DEVICE, "--gpu-layers", "999"])]
        environment = dict(os.environ, DRIFTWOOD_GUESTS=str((self.build or BUILD) / "guests"))
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env=environment)
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{command[0]} ended: {' '.join(command)}")
            time.sleep(0.05)
        self.chat([{"role": "user", "content": "Warm up."}], 4)  # theirs has loaded its model, ours does now

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait()

    def close(self):
        self.stop()
        self.place.cleanup()

    def chat(self, messages, tokens, until=None):
        """-> the answer, times of its pieces after the request (s), usage; at `until` (perf_counter) it is left"""
        body = json.dumps({"messages": messages, "max_tokens": tokens, "temperature": 0, "stream": True,
                           "ignore_eos": True, "cache_prompt": True,
                           "stream_options": {"include_usage": True}})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3600)
        begin = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        text, times, usage = "", [], {}
        try:
            for line in self.lines(connection, until):
                if line.startswith(b"data: {"):
                    event = json.loads(line[6:])
                    usage = event.get("usage") or usage
                    delta = (event.get("choices") or [{}])[0].get("delta", {}).get("content")
                    if delta:
                        times.append(time.perf_counter() - begin)
                        text += delta
        except TimeoutError:
            pass
        connection.close()
        return text, times, usage

    @staticmethod
    def lines(connection, until):
        """Of the answer; TimeoutError: the time is over"""
        def wait():
            if until is not None:
                left = until - time.perf_counter()
                if left <= 0:
                    raise TimeoutError
                stream.settimeout(left)

        stream = connection.sock
        wait()
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {answer.read()[:400]}")
        while True:
            wait()
            line = answer.readline()
            if not line:
                return
            yield line


def print_row(name, unit, ours, theirs):
    """Medians of the rounds; the ratio is of the medians."""
    a, b = statistics.median(ours), statistics.median(theirs) if theirs else None
    ratio = f"{a / b:.4g}" if b and math.isfinite(a) and math.isfinite(b) else ""
    print(f"{name},{unit},{a:.5g},{'' if b is None else f'{b:.5g}'},{ratio}", flush=True)


def wanted(name):
    return not ROWS or any(name.startswith(row) for row in ROWS)


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def pairs(sides):
    """-> round, number of a side, side: as many rounds as a row has time for, at least one"""
    end = time.perf_counter() + ROW_SECONDS
    print(f"load,,{os.getloadavg()[0]:.1f},,", flush=True)
    for r in range(ROUNDS):
        if r > 0 and time.perf_counter() >= end:
            break
        for i in sorted(range(len(sides)), reverse=r % 2 == 1):
            yield r, i, sides[i]
    print(f"load,,{os.getloadavg()[0]:.1f},,", flush=True)


# ---- rows ----

def load(server, clients, seed):
    """Closed loop: each client chats of about 128 tokens in, 64 out, until the round's are done or its time is over."""
    firsts, gaps, counts = [], [], []
    lock = threading.Lock()
    until = time.perf_counter() + ROW_SECONDS / 4

    def client(number):
        for chat in range(max(CHATS // clients, 1)):
            if time.perf_counter() >= until:
                break
            message = passage(seed + number * 100 + chat, 8)
            _, times, usage = server.chat([{"role": "user", "content": message}], 64, until)
            with lock:
                firsts.append(times[0] if times else math.inf)
                gaps.extend(b - a for a, b in zip(times, times[1:]))
                counts.append(usage.get("completion_tokens", len(times)))
    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"tokens_per_second": sum(counts) / (time.perf_counter() - begin),
            "first_token_50": 1e3 * quantile(firsts, 0.5), "first_token_99": 1e3 * quantile(firsts, 0.99),
            "between_tokens_99": 1e3 * quantile(gaps or [math.inf], 0.99)}


def chats(sides):
    for clients in CLIENTS:
        name = f"chats_{clients}"
        if not wanted(name):
            continue
        rows = [[], []]
        for r, i, side in pairs(sides):
            rows[i].append(load(side, clients, 100000 * (r + 1) + 7 * clients))
        for what, unit in (("tokens_per_second", "1/s"), ("first_token_50", "ms"), ("first_token_99", "ms"),
                           ("between_tokens_99", "ms")):
            print_row(f"{name}_{what}", unit, [row[what] for row in rows[0]], [row[what] for row in rows[1]])


def long_talk(server, seed):
    """A first turn of 1,500 tokens -> its messages"""
    messages = [{"role": "user", "content": passage(seed, 104)}]
    text, _, usage = server.chat(messages, 16)
    return messages + [{"role": "assistant", "content": text}], usage


def restart(sides):
    if not wanted("second_turn_after_restart"):
        return
    times = [[], []]
    for r, i, side in pairs(sides):
        messages, _ = long_talk(side, 5000 + r)
        side.stop(signal.SIGKILL)
        side.start()
        _, taken, _ = side.chat(messages + [{"role": "user", "content": "And then?"}], 4)
        times[i].append(1e3 * taken[0])
    print_row("second_turn_after_restart_first_token", "ms", *times)


def branches(sides):
    if not wanted("four_branches"):
        return
    times = [[], []]
    for r, i, side in pairs(sides):
        messages, _ = long_talk(side, 9000 + r)
        threads = [threading.Thread(target=side.chat, args=(messages + [
            {"role": "user", "content": f"Go on, way {n}."}], 32)) for n in range(4)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times[i].append(time.perf_counter() - begin)
    print_row("four_branches_of_1500_tokens", "s", *times)


def health(sides):
    if not wanted("health") or shutil.which("wrk") is None:
        return
    rates = [[], []]
    for _, i, side in pairs(sides):
        told = subprocess.run(["wrk", "-t1", "-c32", "-d3s", f"http://127.0.0.1:{side.port}/health"],
                              capture_output=True, text=True, check=True).stdout
        rates[i].append(float(re.search(r"Requests/sec:\s*([\d.]+)", told)[1]))
    print_row("health", "1/s", *rates)


def loop_time(server):
    """Of the thread that answers, in ns, as the kernel counts it."""
    path = f"/proc/{server.process.pid}/task/{server.process.pid}/schedstat"
    return int(pathlib.Path(path).read_text().split()[0])


def streamed(sides):
    """What the server's loop takes for a token that is streamed, ours alone: to one client, and to many."""
    if not pathlib.Path("/proc/self/schedstat").exists():
        return
    for clients in (1, 16):
        name = "loop_time_a_streamed_token" + (f"_{clients}" if clients > 1 else "")
        if not wanted(name):
            continue
        taken = [[], []]
        for r, i, side in pairs(sides):
            if side.build:
                until = time.perf_counter() + ROW_SECONDS / 4
                before, counts = loop_time(side), []
                threads = [threading.Thread(target=lambda n, side=side, until=until, counts=counts, r=r: counts.append(
                    len(side.chat([{"role": "user", "content": passage(30000 + 100 * r + n, 2)}], 300, until)[1])),
                                            args=(n,)) for n in range(clients)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                taken[i].append((loop_time(side) - before) / max(sum(counts), 1) / 1e3)
        print_row(name, "us", *taken)


def main():
    print("row,unit,driftwood,llama.cpp,ratio", flush=True)
    sides = [Server(BUILD)]
    if not ROWS or any(not row.startswith("loop") for row in ROWS) or pathlib.Path(THEIRS).is_dir():
        sides.append(Server(pathlib.Path(THEIRS)))
    try:
        for rows in (chats, restart, branches, health, streamed):
            rows(sides)
    finally:
        for side in sides:
            side.close()


if __name__ == "__main__":
    main()
