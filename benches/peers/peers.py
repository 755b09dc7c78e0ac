"""The peers. Each takes a layer and an operation and returns a function that asks for the product and returns where it is,
or raises `Absent` with the reason why it does not take part."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import Any

import torch

from clock import median, take_turns
from layers import Layer

Run = Callable[[], torch.Tensor]


class Absent(Exception):
    """Why a peer does not take part."""


def imported(module: str) -> Any:
    try:
        return __import__(module, fromlist=["_"])
    except Exception as error:  # A broken installation is as good as none.
        raise Absent(f"{module} cannot be imported: {error}") from error


def ggemm(layer: Layer, operation: str) -> Run:
    module, out = imported("ggemm"), layer.empty(operation)
    sizes, call = layer.sizes_on_gpu, getattr(module, operation)
    first, second = {
        "forward": (layer.x, layer.w),
        "grad_x": (layer.dy, layer.w),
        "grad_w": (layer.dy, layer.x),
    }[operation]
    return lambda: call(first, second, sizes, out=out)


def torch_grouped(layer: Layer, operation: str) -> Run:
    if not hasattr(torch, "_grouped_mm"):
        raise Absent("this torch has no grouped product")
    ends, call = layer.ends_on_gpu, torch._grouped_mm
    return {
        "forward": lambda: call(layer.x, layer.w.transpose(-2, -1), offs=ends),
        "grad_x": lambda: call(layer.dy, layer.w, offs=ends),
        "grad_w": lambda: call(layer.dy.t(), layer.x, offs=ends),
    }[operation]


def cublas_loop(layer: Layer, operation: str) -> Run:
    out = layer.empty(operation).zero_()

    def run() -> torch.Tensor:
        layer.by_loop(operation, out)
        return out

    return run


@cache
def triton_kernel() -> tuple[Any, Any]:
    triton = imported("triton")
    tl = imported("triton.language")

    choices = [
        triton.Config({"TILE_M": m, "TILE_N": n, "TILE_K": k}, num_warps=warps, num_stages=stages)
        for m, n, k, warps, stages in (
            (128, 256, 64, 8, 3),
            (128, 128, 64, 8, 4),
            (64, 256, 64, 8, 4),
            (64, 128, 64, 4, 4),
            (32, 128, 128, 4, 4),
            (16, 128, 128, 4, 4),
        )
    ]

    @triton.autotune(configs=choices, key=["groups", "rows", "n", "k"])
    @triton.jit
    def rows_by_weights(
        a, b, out, starts, groups, rows, n, k, b_group, b_n, b_k,
        WINDOW: tl.constexpr, TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
    ):  # fmt: skip
        """A tile a program: it counts the tiles of all groups at once to find its own."""
        columns = tl.cdiv(n, TILE_N)
        tile = tl.program_id(0) // columns
        lane = tl.arange(0, WINDOW)
        real = lane < groups
        first = tl.load(starts + lane, mask=real, other=0)
        last = tl.load(starts + lane + 1, mask=real, other=0)
        tiles = tl.cdiv(last - first, TILE_M)
        through = tl.cumsum(tiles, 0)
        mine = (through > tile) & (through - tiles <= tile) & real
        found = tl.sum(mine.to(tl.int32), 0)
        if found > 0:
            group = tl.sum(tl.where(mine, lane, 0), 0).to(tl.int64)
            start = tl.sum(tl.where(mine, first + (tile - through + tiles) * TILE_M, 0), 0).to(tl.int64)
            end = tl.sum(tl.where(mine, last, 0), 0)
            m_at = start + tl.arange(0, TILE_M)
            n_at = (tl.program_id(0) % columns) * TILE_N + tl.arange(0, TILE_N)
            k_at = tl.arange(0, TILE_K)
            a_at = a + m_at[:, None] * k + k_at[None, :]
            b_at = b + group * b_group + k_at[:, None] * b_k + n_at[None, :] * b_n
            total = tl.zeros((TILE_M, TILE_N), tl.float32)
            for done in range(0, k, TILE_K):
                inside = k_at < k - done
                left = tl.load(a_at, mask=(m_at < end)[:, None] & inside[None, :], other=0.0)
                right = tl.load(b_at, mask=inside[:, None] & (n_at < n)[None, :], other=0.0)
                total = tl.dot(left, right, total)
                a_at += TILE_K
                b_at += TILE_K * b_k
            kept = (m_at < end)[:, None] & (n_at < n)[None, :]
            tl.store(out + m_at[:, None] * n + n_at[None, :], total.to(out.dtype.element_ty), mask=kept)

    return triton, rows_by_weights


def triton_simple(layer: Layer, operation: str) -> Run:
    """What one writes in an afternoon: pointers, masks and autotuning."""
    if operation == "grad_w":
        raise Absent("it has no such kernel")
    triton, kernel = triton_kernel()
    out = layer.empty(operation)
    a = layer.x if operation == "forward" else layer.dy
    n, k = (layer.n, layer.k) if operation == "forward" else (layer.k, layer.n)
    by_group, by_row, by_col = layer.w.stride()
    by_n, by_k = (by_row, by_col) if operation == "forward" else (by_col, by_row)
    window = triton.next_power_of_2(layer.groups)

    def grid(tile: dict) -> tuple[int]:
        # Each group adds at most one tile that is not full.
        return ((triton.cdiv(layer.m, tile["TILE_M"]) + layer.groups) * triton.cdiv(n, tile["TILE_N"]),)

    def run() -> torch.Tensor:
        kernel[grid](a, layer.w, out, layer.starts_on_gpu, layer.groups, layer.m, n, k, by_group, by_n, by_k, window)
        return out

    return run


def deep_gemm(layer: Layer, operation: str) -> Run:
    """DeepGEMM, on rows that were padded for it beforehand: each group to a multiple of 128."""
    module = imported("deep_gemm")
    if layer.dtype != torch.bfloat16:
        raise Absent("only bfloat16 is raced")
    if operation == "grad_w":
        raise Absent("it adds into float32, which is another operation")
    padded = [-(-size // 128) * 128 for size in layer.sizes]
    source = layer.x if operation == "forward" else layer.dy
    rows = source.new_zeros(sum(padded), source.shape[1])
    owner = torch.full((sum(padded),), -1, dtype=torch.int32)
    at = 0
    for group, (run, size) in enumerate(zip(layer.runs, padded)):
        length = run.stop - run.start
        rows[at : at + length] = source[run]
        owner[at : at + length] = group
        at += size
    owner = owner.to("cuda")
    kept = (owner >= 0).nonzero().flatten()
    out = source.new_empty(len(rows), layer.n if operation == "forward" else layer.k)
    name = "m_grouped_bf16_gemm_nt_contiguous" if operation == "forward" else "m_grouped_bf16_gemm_nn_contiguous"
    call = getattr(module, name, None)
    if call is None:
        raise Absent(f"this deep_gemm has no {name}")

    def run() -> torch.Tensor:
        call(rows, layer.w, out, owner)
        return out

    run.result = lambda: out[kept]
    return run


def quack(layer: Layer, operation: str) -> Run:
    """QuACK, with the fastest of a few tiles."""
    interface, config = imported("quack.gemm_interface"), imported("quack.gemm_config").GemmConfig
    if layer.n % 8 or layer.k % 8:
        raise Absent("rows must be multiples of 16 bytes")
    out = layer.empty(operation)
    first, second = {
        "forward": (layer.x, layer.w.transpose(-2, -1)),
        "grad_x": (layer.dy, layer.w),
        "grad_w": (layer.dy.t(), layer.x),
    }[operation]
    ragged = {"cu_seqlens_k" if operation == "grad_w" else "cu_seqlens_m": layer.starts_on_gpu}

    def with_tile(m: int, n: int, pingpong: bool, cluster: tuple[int, int]) -> Run:
        tile = config(
            tile_m=m, tile_n=n, pingpong=pingpong, cluster_m=cluster[0], cluster_n=cluster[1], is_dynamic_persistent=False
        )

        def run() -> torch.Tensor:
            interface.gemm_tuned.fn(first, second, out, config=tile, **ragged)
            return out

        return run

    tiles = ((128, 256, False, (2, 1)), (128, 192, True, (1, 2)), (256, 128, False, (2, 1)), (128, 128, True, (2, 1)))
    runs = {str(tile): with_tile(*tile) for tile in tiles}
    for run in runs.values():
        run()
    times = take_turns(runs, rounds=5)
    return runs[min(times, key=lambda name: median(times[name]))]


FP8_OPERANDS = {"forward": ("x", "w"), "grad_x": ("dy", "w"), "grad_w": ("dy", "x")}


def ggemm_fp8(scaling: str, fast: bool) -> Callable[[Layer, str], Run]:
    def peer(layer: Layer, operation: str) -> Run:
        module, out = imported("ggemm"), layer.empty(operation)
        names = FP8_OPERANDS[operation]
        (a, a_scale), (b, b_scale) = (layer.fp8.operand(operation, name, scaling) for name in names)
        named = {f"{names[0]}_scale": a_scale, f"{names[1]}_scale": b_scale, "fast_accumulation": fast, "out": out}
        if operation == "grad_x":
            named["w_layout"] = "kn"
        if operation == "grad_w":
            named["m"] = layer.m
        call, sizes = getattr(module, operation), layer.sizes_on_gpu
        return lambda: call(a, b, sizes, **named)

    return peer


def torch_fp8(layer: Layer, operation: str) -> Run:
    """torch with a scale for each row. Of grad_w, whose groups it wants at multiples of 16 rows, there is no race."""
    if not hasattr(torch, "_scaled_grouped_mm"):
        raise Absent("this torch has no grouped product of fp8")
    if operation == "grad_w":
        raise Absent("it takes groups whose rows are multiples of 16")
    (a, a_scale), (b, b_scale) = (layer.fp8.operand(operation, name, "row") for name in FP8_OPERANDS[operation])
    call, ends, b = torch._scaled_grouped_mm, layer.ends_on_gpu, b.transpose(-2, -1)
    return lambda: call(a, b, a_scale, b_scale, offs=ends, out_dtype=torch.bfloat16, use_fast_accum=True)


def deep_gemm_fp8(layer: Layer, operation: str) -> Run:
    """DeepGEMM with scales of blocks, on rows that were padded for it beforehand: each group to a multiple of 128."""
    module = imported("deep_gemm")
    if operation == "grad_w":
        raise Absent("it adds into float32, which is another operation")
    call = getattr(module, "m_grouped_fp8_gemm_nt_contiguous", None)
    if call is None:
        raise Absent("this deep_gemm has no m_grouped_fp8_gemm_nt_contiguous")
    (a, a_scale), (b, b_scale) = (layer.fp8.operand(operation, name, "block") for name in FP8_OPERANDS[operation])
    padded = [-(-size // 128) * 128 for size in layer.sizes]
    rows, scales = a.new_zeros(sum(padded), a.shape[1]), a_scale.new_ones(sum(padded), a_scale.shape[1])
    owner = torch.full((sum(padded),), -1, dtype=torch.int32)
    at = 0
    for group, (run, size) in enumerate(zip(layer.runs, padded)):
        length = run.stop - run.start
        rows[at : at + length], scales[at : at + length] = a[run], a_scale[run]
        owner[at : at + length] = group
        at += size
    owner = owner.to("cuda")
    kept = (owner >= 0).nonzero().flatten()
    out = layer.x.new_empty(len(rows), b.shape[1])

    def run() -> torch.Tensor:
        call((rows, scales), (b, b_scale), out, owner)
        return out

    run.result = lambda: out[kept]
    return run


FP8 = {
    "row": {"ggemm": ggemm_fp8("row", fast=True), "ggemm-promoted": ggemm_fp8("row", fast=False), "torch": torch_fp8},
    "block": {"ggemm": ggemm_fp8("block", fast=False), "deepgemm": deep_gemm_fp8},
}

ALL = {
    "ggemm": ggemm,
    "torch": torch_grouped,
    "cublas-loop": cublas_loop,
    "triton": triton_simple,
    "deepgemm": deep_gemm,
    "quack": quack,
}

PACKAGES = {
    "ggemm": "ggemm",
    "torch": "torch",
    "triton": "triton",
    "deepgemm": ("deep-gemm", "tokenspeed-deepgemm"),
    "quack": "quack-kernels",
}


def versions() -> dict[str, str]:
    """Of the peers that are installed."""
    found = {}
    for peer, names in PACKAGES.items():
        for name in (names,) if isinstance(names, str) else names:
            try:
                found[peer] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
    return found
