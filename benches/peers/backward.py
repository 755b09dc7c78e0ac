"""Times what the backward pass of a layer takes in bf16 and in fp8, quantization included: `python backward.py`.

Everything takes turns in one process, as in race.py: products alone, each with the quantization of its operands by passes of
their own, and the backward pass of ggemm.torch's recipe, which reads dy once for both of its copies and finds x' copy made by
forward. Results are held against a loop of cuBLAS first.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import ggemm  # noqa: E402
import peers  # noqa: E402
from clock import median, take_turns  # noqa: E402
from layers import SUITE, Layer, suite  # noqa: E402
from race import conditions, words, write  # noqa: E402

LAYERS = ["mixtral-up", "mixtral-down", "dsv3-up", "dsv3-down"]
# Relative error above which a result is wrong: products of e5m2, which has two bits of fraction, by e4m3 are 0.06 off.
TOLERANCE = 0.08


def fp8(layer: Layer, scaling: str, gradients: str) -> dict:
    """What is timed of fp8, by the name in the table."""
    sizes, m = layer.sizes_on_gpu, layer.m
    weights = ggemm.QuantizedWeights(layer.w, scaling=scaling)
    dx, dw = layer.empty("grad_x"), layer.empty("grad_w")
    tokens = {"x": (layer.x, "float8_e4m3fn", "forward"), "dy": (layer.dy, gradients, "grad_x")}

    def both(name: str) -> tuple:
        tensor, dtype, _ = tokens[name]
        return ggemm.quantize_both(tensor, name, sizes, scaling=scaling, dtype=dtype)

    def first(name: str) -> tuple:
        tensor, dtype, operation = tokens[name]
        return ggemm.quantize(tensor, name, operation, scaling=scaling, dtype=dtype)

    def second(name: str) -> tuple:
        tensor, dtype, _ = tokens[name]
        return ggemm.quantize(tensor, name, "grad_w", sizes, scaling=scaling, dtype=dtype, reduction_blocks=True)

    def grad_x(dy: tuple) -> torch.Tensor:
        return ggemm.grad_x(dy[0], weights, sizes, dy_scale=dy[1], out=dx)

    def grad_w(dy: tuple, x: tuple) -> torch.Tensor:
        return ggemm.grad_w(dy[0], x[0], sizes, dy_scale=dy[1], x_scale=x[1], m=m, out=dw)

    (dy_rows, dy_reduction), (_, x_reduction) = both("dy"), both("x")

    def backward() -> tuple[torch.Tensor, torch.Tensor]:
        rows, reduction = both("dy")
        return grad_x(rows), grad_w(reduction, x_reduction)

    for operation, result in zip(("grad_x", "grad_w"), backward()):
        error = layer.error(operation, result)
        if not error < TOLERANCE:
            raise SystemExit(f"{layer.name} {operation}: the result is off by {error:.1e}")
    return {
        "grad_x": lambda: grad_x(dy_rows),
        "grad_x, dy": lambda: grad_x(first("dy")),
        "grad_w": lambda: grad_w(dy_reduction, x_reduction),
        "grad_w, dy, x": lambda: grad_w(second("dy"), second("x")),
        "backward": backward,
        "dy, both copies": lambda: both("dy"),
        "x, forward's copy": lambda: first("x"),
        "x, both copies": lambda: both("x"),
        "weights, both copies": weights.update,
    }


def bf16(layer: Layer) -> dict:
    grad_x, grad_w = (peers.ggemm(layer, operation) for operation in ("grad_x", "grad_w"))
    return {"bf16 grad_x": grad_x, "bf16 grad_w": grad_w, "bf16 backward": lambda: (grad_x(), grad_w())}


def ratios(times: dict[str, float]) -> dict[str, float]:
    """bf16's time over fp8's."""
    return {
        "grad_x, dy": times["bf16 grad_x"] / times["grad_x, dy"],
        "grad_w, dy, x": times["bf16 grad_w"] / times["grad_w, dy, x"],
        "backward": times["bf16 backward"] / times["backward"],
        "backward, x' second copy": times["bf16 backward"] / (times["backward"] + times["x, second copy"]),
    }


def measure(case: dict, options: argparse.Namespace) -> dict:
    layer = Layer(case, torch.bfloat16)
    runs = bf16(layer) | fp8(layer, options.scaling, options.gradients)
    times = {name: median(found) for name, found in take_turns(runs, options.rounds).items()}
    # What it adds to the pass that forward makes anyway.
    times["x, second copy"] = times["x, both copies"] - times["x, forward's copy"]
    compared = ratios(times)
    print(f"\n{layer.name}: {layer.groups} groups, M {layer.m}, N {layer.n}, K {layer.k}")
    for name, time in times.items():
        print(f"  {name:26}{time:10.1f} us")
    for name, ratio in compared.items():
        print(f"  bf16 / fp8: {name:26}{ratio:8.2f}", flush=True)
    extents = {"groups": layer.groups, "m": layer.m, "n": layer.n, "k": layer.k}
    rounded = ({name: round(value, digits) for name, value in of.items()} for of, digits in ((times, 2), (compared, 3)))
    return {"case": layer.name, **extents, **dict(zip(("microseconds", "ratios"), rounded))}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--suite", type=Path, default=SUITE, help="the layers, as JSON")
    options.add_argument("--only", type=words, default=LAYERS, metavar="CASE,...")
    options.add_argument("--scaling", choices=["block", "row"], default="block")
    options.add_argument("--gradients", choices=["float8_e5m2", "float8_e4m3fn"], default="float8_e5m2")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--json", type=Path, help="write the results here too")
    options = options.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU: there is nothing to time")
    report = conditions(options.rounds) | {"scaling": options.scaling, "gradients": options.gradients}
    print(json.dumps(report), flush=True)
    report["rows"] = []
    for case in suite(options.suite, options.only):
        report["rows"].append(measure(case, options))
        torch.cuda.empty_cache()
    write(report, options.json)


if __name__ == "__main__":
    main()
