#!/usr/bin/env python3
"""check_bench.py SOURCE BUILD: the benchmarks' table, and that the models they make are read."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "bench"))
import table  # noqa: E402  (from the folder above)

CSV = """row,unit,driftwood,llama.cpp,ratio
weights_read,bytes,1000,,
kv_record,bytes,2,,
decode_depth_0,tokens/s,10,10,1.000
decode_depth_1024,tokens/s,10,5,2.000
load_context_512,ms,90,100,0.900
load_text_context_512,ms,90,100,0.900
"""


class Table(unittest.TestCase):
    def test_goals(self):
        self.assertTrue(table.is_met("prefill_128", 1.0))
        self.assertFalse(table.is_met("decode_depth_0", 1.049))
        self.assertTrue(table.is_met("load_context_512", 0.8))
        self.assertFalse(table.is_met("load_context_512", 0.81))
        self.assertIsNone(table.is_met("load_text_context_512", 0.5))

    def test_rows(self):
        lines = "\n".join(table.table("T", table.rows_of(CSV), 100000.0)).splitlines()
        cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
                 for line in lines[4:] if line}
        self.assertEqual(set(cells), {"decode_depth_0", "decode_depth_1024", "load_context_512",
                                      "load_text_context_512"})
        self.assertEqual(cells["decode_depth_0"][4:], [">= 1.05", "MISSED", "10%"])
        self.assertEqual(cells["decode_depth_1024"][4:], [">= 1.5", "met", "30%"])
        self.assertEqual(cells["load_context_512"][4:], ["<= 0.8", "MISSED", ""])
        self.assertEqual(cells["load_text_context_512"][4:], ["", "", ""])

    def test_profile(self):
        lines = table.profile(table.rows_of("row,unit,driftwood,llama.cpp,ratio\n"
                                            "profile/decode_depth_0/MUL_MAT q4_1,ms,3,4,0.750\n"
                                            "profile/decode_depth_0/our attend,ms,1,0,\n"
                                            "profile/decode_depth_0/ROPE,ms,0.001,0.001,1\n"))
        self.assertIn("decode_depth_0", lines[0])
        self.assertEqual(lines[4], "| MUL_MAT q4_1 | 3.00 | 75% | 4.00 | 100% |")
        self.assertEqual(lines[5:], ["| our attend | 1.00 | 25% | 0.00 | 0% |", ""])


class DeviceMemory(unittest.TestCase):
    def test_rows(self):
        done = subprocess.run([BUILD / "bench/bench_vram", "--records", "512", "--record-bytes",
                               "8192", "--rounds", "1"], check=True, capture_output=True, text=True)
        self.assertIn("this is the emulation", done.stderr)
        rows = {line.split(",")[0]: float(line.split(",")[2])
                for line in done.stdout.splitlines()[1:]}
        self.assertEqual(rows["state"], 512 * 8192)
        self.assertEqual(rows["fork_copies"], 0)
        self.assertEqual(rows["fork_behind_64_more_copies"], 64 * 8192)
        for row in ("thaw", "freeze", "freeze_fsync", "delta", "fork", "evict", "restore"):
            self.assertGreater(rows[row], 0)


class Models(unittest.TestCase):
    def test_made_models_load(self):
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("q8_0", "q4_k", "q4_1"):
                path = f"{folder}/{kind}.gguf"
                subprocess.run([BUILD / "bench/make_model", "--type", kind, "--layers", "2",
                                "--embedding", "256", "--heads", "4", "--kv-heads", "2", "--ff",
                                "512", "--vocab", "600", "--context", "128", path], check=True)
                told = json.loads(subprocess.run([BUILD / "driftwood", "inspect", path, "--json"],
                                                 check=True, capture_output=True).stdout)
                self.assertTrue(told["loads"], told["error"])
                self.assertEqual(told["layers"], 2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
