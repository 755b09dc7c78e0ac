"""The layers that are raced: sizes, tensors, and what the results must be."""

from __future__ import annotations

import json
import math
import zlib
from functools import cached_property
from pathlib import Path

import torch

OPERATIONS = ("forward", "grad_x", "grad_w")
# As in `ggemm bench`.
SKEW = 0.6
SUITE = Path(__file__).resolve().parent.parent / "gpu" / "suite.json"


class Layer:
    """One layer's tensors on the GPU: x [M, K], dy [M, N], w [G, N, K] and the rows of each group."""

    def __init__(self, case: dict, dtype: torch.dtype) -> None:
        self.name, self.dtype = case["name"], dtype
        self.groups, self.m, self.n, self.k = (case[extent] for extent in ("groups", "m", "n", "k"))
        self.operations = case.get("operations", OPERATIONS)
        spread, skew = case.get("spread", "zipf"), case.get("skew", SKEW)
        self.sizes = case.get("sizes") or draw(self.groups, self.m, spread, skew, self.name)
        starts = [0]
        for size in self.sizes:
            starts.append(starts[-1] + size)
        self.runs = [slice(start, end) for start, end in zip(starts, starts[1:])]
        generator = torch.Generator("cuda").manual_seed(zlib.crc32(self.name.encode()))

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, device="cuda", dtype=dtype)

        self.x, self.dy = normal(self.m, self.k), normal(self.m, self.n)
        self.w = normal(self.groups, self.n, self.k).mul_(1 / math.sqrt(self.k))
        self.sizes_on_gpu = torch.tensor(self.sizes, dtype=torch.int32, device="cuda")
        self.starts_on_gpu = torch.tensor(starts, dtype=torch.int32, device="cuda")
        self.ends_on_gpu = self.starts_on_gpu[1:].contiguous()

    @property
    def flops(self) -> float:
        """Useful operations: what a peer adds by padding does not count."""
        return 2.0 * self.m * self.n * self.k

    @cached_property
    def fp8(self) -> Fp8:
        """The same as fp8."""
        return Fp8(self)

    def empty(self, operation: str) -> torch.Tensor:
        shape = {"forward": (self.m, self.n), "grad_x": (self.m, self.k), "grad_w": (self.groups, self.n, self.k)}
        return torch.empty(shape[operation], device="cuda", dtype=self.dtype)

    def by_loop(self, operation: str, out: torch.Tensor) -> None:
        """The product as one call of cuBLAS for each group that has rows."""
        for group, rows in enumerate(self.runs):
            if rows.start == rows.stop:
                continue
            if operation == "forward":
                torch.mm(self.x[rows], self.w[group].t(), out=out[rows])
            elif operation == "grad_x":
                torch.mm(self.dy[rows], self.w[group], out=out[rows])
            else:
                torch.mm(self.dy[rows].t(), self.x[rows], out=out[group])

    @cached_property
    def expected(self) -> dict[str, torch.Tensor]:
        return {}

    def error(self, operation: str, result: torch.Tensor) -> float:
        """How far a result is off, as the norm of the difference over the norm of the loop's result."""
        if operation not in self.expected:
            self.expected[operation] = self.empty(operation).zero_()
            self.by_loop(operation, self.expected[operation])
        expected = self.expected[operation]
        square, whole = 0.0, 0.0
        # Piece by piece: the largest layer's weights fill a good part of the memory in float32.
        for ours, theirs in zip(result.split(max(1, len(result) // 8)), expected.split(max(1, len(expected) // 8))):
            square += (ours.float() - theirs.float()).square().sum(dtype=torch.float64).item()
            whole += theirs.float().square().sum(dtype=torch.float64).item()
        return math.sqrt(square / whole) if whole else math.sqrt(square)


class Fp8:
    """A layer's operands in e4m3 with scales, each as tensor cores read it: along the reduction. What quantizes them is not
    raced."""

    LARGEST = 448.0

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.made: dict[tuple, tuple[torch.Tensor, torch.Tensor]] = {}

    def operand(self, operation: str, which: str, scaling: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Elements and float32 scales: of tokens [M, R] and [M] or [M, ceil(R/128)], of weights [G, C, R] and [G, C] or
        [G, ceil(C/128), ceil(R/128)], R the reduction. Of grad_w [C, L] and [G, C] or [L/128, C]: every group of rows begins
        at a multiple of 128 columns, as `ggemm.quantize` has it."""
        key = (operation, which, scaling)
        if key not in self.made:
            source = getattr(self.layer, which)
            if operation == "grad_w":
                self.made[key] = self.along_rows(source, scaling)
            else:
                if which == "w" and operation == "grad_x":
                    source = source.transpose(-2, -1)
                side = 128 if which == "w" and scaling == "block" else 1
                self.made[key] = self.quantized(source, side, 128 if scaling == "block" else source.shape[-1])
        return self.made[key]

    def quantized(self, source: torch.Tensor, side: int, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Blocks of side x depth share a scale."""
        rows, cols = source.shape[-2:]
        padded = torch.nn.functional.pad(source, (0, -cols % depth, 0, -rows % side))
        blocks = padded.unflatten(-1, (-1, depth)).unflatten(-3, (-1, side))
        scales = blocks.abs().amax((-3, -1), keepdim=True).float().clamp_min(1e-30) / self.LARGEST
        elements = (blocks / scales).flatten(-4, -3).flatten(-2).to(torch.float8_e4m3fn)
        scales = scales.squeeze(-1).squeeze(-2)
        return elements[..., :rows, :cols].contiguous(), (scales if depth < cols or side > 1 else scales[..., 0]).contiguous()

    def along_rows(self, source: torch.Tensor, scaling: str) -> tuple[torch.Tensor, torch.Tensor]:
        blocks = self.layer.m // 128 + self.layer.groups
        elements = source.new_zeros(source.shape[1], blocks * 128, dtype=torch.float8_e4m3fn)
        of = self.layer.groups if scaling == "row" else blocks
        scales = source.new_ones(of, source.shape[1], dtype=torch.float32)
        for group, rows in enumerate(self.layer.runs):
            if rows.start == rows.stop:
                continue
            first = rows.start // 128 + group
            mine, own = self.quantized(source[rows].t(), 1, 128 if scaling == "block" else rows.stop - rows.start)
            elements[:, first * 128 : first * 128 + mine.shape[1]] = mine
            if scaling == "row":
                scales[group] = own.reshape(-1)
            else:
                own = own.reshape(len(own), -1)
                scales[first : first + own.shape[1]] = own.t()
        return elements, scales


def draw(groups: int, m: int, spread: str, skew: float, name: str) -> list[int]:
    """Rows of each group: even, or of experts whose shares fall with a power of their rank."""
    if spread == "balanced":
        return [m // groups + (group < m % groups) for group in range(groups)]
    if spread != "zipf":
        raise SystemExit(f"{name}: the spread is {spread}, expected balanced or zipf")
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    shares = torch.arange(1, groups + 1, dtype=torch.float64).pow(-skew)[torch.randperm(groups, generator=generator)]
    rows = torch.multinomial(shares, m, replacement=True, generator=generator)
    return torch.bincount(rows, minlength=groups).tolist()


def suite(path: Path, only: list[str]) -> list[dict]:
    cases = json.loads(path.read_text())["cases"]
    unknown = set(only) - {case["name"] for case in cases}
    if unknown:
        raise SystemExit(f"{path.name} has no case {', '.join(sorted(unknown))}")
    return [case for case in cases if not only or case["name"] in only]
