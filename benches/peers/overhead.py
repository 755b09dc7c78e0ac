"""What one call costs the host, ggemm's beside torch's own: `python overhead.py [--json FILE]`.

A problem so small that the GPU is never behind; calls in batches, the callables taking turns; the median of the batches.
"""

import argparse
import json
import statistics
import time

import ggemm
import ggemm.torch as gt
import torch


def calls():
    groups, m, n, k = 4, 64, 64, 64
    make = dict(device="cuda", dtype=torch.bfloat16)
    x, w, dy = torch.randn(m, k, **make), torch.randn(groups, n, k, **make), torch.randn(m, n, **make)
    sizes = torch.full((groups,), m // groups, dtype=torch.int32, device="cuda")
    ends = torch.cumsum(sizes, 0, dtype=torch.int32)
    w_gkn = w.transpose(-2, -1)
    dense_gkn = w_gkn.contiguous()
    out = torch.empty(m, n, **make)
    xg, wg = x.clone().requires_grad_(), w.clone().requires_grad_()
    wg_gkn = dense_gkn.clone().requires_grad_()

    def step(product):
        product().backward(dy)
        xg.grad = wg.grad = wg_gkn.grad = None

    return {
        "ggemm.forward": lambda: ggemm.forward(x, w, sizes),
        "ggemm.forward, out": lambda: ggemm.forward(x, w, sizes, out=out),
        "ggemm.grad_w": lambda: ggemm.grad_w(dy, x, sizes),
        "ggemm.torch.grouped_mm": lambda: gt.grouped_mm(x, w, sizes),
        "ggemm.torch.grouped_mm, requires grad": lambda: gt.grouped_mm(xg, wg, sizes),
        "ggemm.torch.grouped_mm_like_torch": lambda: gt.grouped_mm_like_torch(x, w_gkn, ends),
        "torch.ops.ggemm.forward": lambda: torch.ops.ggemm.forward(x, w, sizes, False, False),
        "torch._grouped_mm": lambda: torch._grouped_mm(x, w_gkn, offs=ends),
        "torch._grouped_mm, requires grad": lambda: torch._grouped_mm(xg, wg_gkn, offs=ends),
        "ggemm.torch.grouped_mm, with backward": lambda: step(lambda: gt.grouped_mm(xg, wg, sizes)),
        "torch._grouped_mm, with backward": lambda: step(lambda: torch._grouped_mm(xg, wg_gkn, offs=ends)),
        "torch.mm": lambda: torch.mm(x, w_gkn[0]),
        "torch.empty": lambda: torch.empty((m, n), **make),
    }


def measure(batches=15, batch=100):
    found = {}
    named = calls()
    for name, call in list(named.items()):
        try:
            for _ in range(20):
                call()
            torch.cuda.synchronize()
            found[name] = []
        except Exception as error:
            print(f"{name}: left out: {error}")
    for _ in range(batches):
        for name, times in found.items():
            call = named[name]
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(batch):
                call()
            times.append((time.perf_counter() - start) / batch * 1e6)
    return {name: statistics.median(times) for name, times in found.items()}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json")
    options = options.parse_args()
    found = measure()
    for name, microseconds in found.items():
        print(f"{name:40s} {microseconds:7.2f} us")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
