"""Races ggemm and its peers in one process: `python race.py --json ../results/nvidia-h100-peers.json`.

For each layer and operation every peer's result is first held against a loop of cuBLAS; then the peers take turns, each
for a block of launches, the L2 cache flushed before each, and the median of the GPU's own times is told. Useful operations
count, padding does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import overhead  # noqa: E402
import peers  # noqa: E402
from clock import median, take_turns  # noqa: E402
from layers import OPERATIONS, SUITE, Layer, suite  # noqa: E402

SCHEMA = 1
# Relative error, in the Frobenius norm, above which a result is wrong: two roundings to bfloat16 are 0.004 apart, and
# products of operands that were rounded to e4m3 some 0.04 from those of what they were rounded from.
TOLERANCE = {"bf16": 0.01, "fp8": 0.06}


def taking_part(layer: Layer, operation: str, wanted: list[str], fp8: str | None) -> dict:
    """The peers whose results are right."""
    known = peers.FP8[fp8] if fp8 else peers.ALL
    tolerance = TOLERANCE["fp8" if fp8 else "bf16"]
    runs = {}
    for name in wanted:
        try:
            run = known[name](layer, operation)
            result = run()
            torch.cuda.synchronize()
            error = layer.error(operation, run.result() if hasattr(run, "result") else result)
            if not error < tolerance:
                raise peers.Absent(f"its result is off by {error:.1e}")
            runs[name] = run
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"{layer.name:18}{operation:9}{name:12} left out: {reason[:150]}", flush=True)
    return runs


def race(cases: list[dict], options: argparse.Namespace, dtype: torch.dtype) -> list[dict]:
    rows = []
    for case in cases:
        layer = Layer(case, dtype)
        for operation in (operation for operation in layer.operations if operation in options.operations):
            runs = taking_part(layer, operation, options.peers, options.fp8)
            if not runs:
                continue
            for name, times in take_turns(runs, options.rounds).items():
                middle = median(times)
                rate = layer.flops / middle / 1e6
                extents = dict(groups=layer.groups, m=layer.m, n=layer.n, k=layer.k)
                kind = f"e4m3-{options.fp8}" if options.fp8 else str(dtype).removeprefix("torch.")
                row = dict(case=layer.name, operation=operation, dtype=kind, **extents)
                rows.append(row | dict(peer=name, microseconds=round(middle, 2), tflops=round(rate, 1)))
                print(f"{layer.name:18}{operation:9}{name:12}{middle:10.1f} us{rate:8.1f} TFLOP/s", flush=True)
            del runs
        del layer
        torch.cuda.empty_cache()
    return rows


def driver() -> str | None:
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def conditions(rounds: int) -> dict:
    """What a file of results says of how they came about."""
    return {
        "schema": SCHEMA,
        "device": torch.cuda.get_device_name(),
        "driver": driver(),
        "cuda": torch.version.cuda,
        "commit": os.environ.get("GGEMM_COMMIT"),
        "versions": peers.versions(),
        "rounds": rounds,
    }


def write(report: dict, path: Path | None) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--suite", type=Path, default=SUITE, help="the layers, as JSON")
    options.add_argument("--only", type=words, default=[], metavar="CASE,...")
    options.add_argument("--operations", type=words, default=list(OPERATIONS), metavar="OPERATION,...")
    options.add_argument("--fp8", choices=list(peers.FP8), help="race e4m3 operands whose scales are of rows, or of blocks")
    options.add_argument("--peers", type=words, metavar="PEER,...", help="default: all")
    options.add_argument("--dtype", choices=["bfloat16", "float16"], default="bfloat16")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--json", type=Path, help="write the results here too")
    options = options.parse_args()
    known = list(peers.FP8[options.fp8] if options.fp8 else peers.ALL)
    options.peers = options.peers or known
    if unknown := set(options.peers) - set(known):
        raise SystemExit(f"no peer is called {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU: there is nothing to race on")
    report = conditions(options.rounds)
    print(json.dumps(report), flush=True)
    report["rows"] = race(suite(options.suite, options.only), options, getattr(torch, options.dtype))
    report["host_microseconds"] = {name: round(time, 2) for name, time in overhead.measure().items()}
    for name, microseconds in report["host_microseconds"].items():
        print(f"host: {name:40}{microseconds:8.2f} us")
    write(report, options.json)


if __name__ == "__main__":
    main()
