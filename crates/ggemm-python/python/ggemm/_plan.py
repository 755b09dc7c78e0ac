"""Plans: what computes a problem, why, and running exactly that."""

from __future__ import annotations

from typing import Any

from . import _frameworks, _ggemm
from ._errors import ArgumentError
from ._products import product

_OPERATIONS = {"forward": 0, "grad_x": 1, "grad_w": 2}


class Plan:
    """A problem bound to a device and to what computes it. Make it with `plan`."""

    __slots__ = ("_plan",)

    def __init__(self, native: _ggemm.Plan) -> None:
        self._plan = native

    @property
    def variant(self) -> str:
        """The kernel variant's name, or ``cpu``."""
        return self._plan.variant

    @property
    def reason(self) -> str:
        """Why it was chosen."""
        return self._plan.reason

    @property
    def problem(self) -> str:
        """The problem, on one line."""
        return self._plan.problem

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda:N``."""
        return self._plan.device

    def run(self, lhs: Any, rhs: Any, groups: Any, out: Any = None, scales: tuple | None = None) -> Any:
        """Computes the product of tensors that are what was planned for: x and w of forward, dy and w of grad_x, dy and x
        of grad_w; ``groups`` are sizes or ends, as planned; ``scales`` are those of both operands, of fp8. Streams, results and errors are as in `ggemm.forward`."""
        ends, w_layout, tail, accumulate, shared, code = self._plan.options
        if accumulate and out is None:
            raise ArgumentError("the plan accumulates and out is missing: pass the float32 tensor to add to as out")
        sizes, ends = (None, groups) if ends else (groups, None)
        dtype = _frameworks.NAMES[code] if out is None else None
        operation = self._plan.operation
        m, how = self._plan.m, (self._plan.fast_accumulation, self._plan.allow_tf32)
        return product(
            operation, lhs, rhs, sizes, ends, w_layout, out, tail, accumulate, shared, dtype, self._plan, scales, m, how
        )

    def __repr__(self) -> str:
        return repr(self._plan)


def plan(
    operation: str,
    *,
    groups: int,
    m: int,
    n: int,
    k: int,
    dtype: Any = "bfloat16",
    out_dtype: Any = None,
    w_layout: str = "nk",
    shared: bool = False,
    ends: bool = False,
    index_dtype: Any = "int32",
    tail: str = "zero",
    accumulate: bool = False,
    x_row_stride: int | None = None,
    y_row_stride: int | None = None,
    w_row_stride: int | None = None,
    w_group_stride: int | None = None,
    device: str | int | None = None,
    variant: str | None = None,
    batch_invariant: bool = False,
    checked: bool = False,
    scaling: str | None = None,
    second_dtype: Any = None,
    reduction_blocks: bool = False,
    fast_accumulation: bool = False,
    allow_tf32: bool = False,
) -> Plan:
    """Plans one problem, with no tensors yet: to see what computes it, to load its kernel before a CUDA graph is captured,
    or to say more than a call can.

    Args:
        operation: "forward", "grad_x" or "grad_w".
        groups, m, n, k: the problem's extents.
        dtype, out_dtype: of operands and output; dtypes or names. The output of fp8 is bfloat16 by default.
        w_layout, shared, tail, accumulate: as in `ggemm.forward` and `ggemm.grad_w`.
        ends, index_dtype: whether ends are given, not sizes, and in which integers.
        x_row_stride, y_row_stride, w_row_stride, w_group_stride: elements from one row (or weight) to the next, of x or dx,
            of y or dy, of w or dw; default: dense.
        device: "cpu", "cuda", "cuda:N" or N; default: what `ggemm.probe` finds.
        variant: computes with this kernel and no other.
        batch_invariant: a row's result does not depend on other rows, to the bit.
        scaling: how fp8 operands are scaled, "row" or "block".
        second_dtype: of the second operand, where it is the other fp8 type.
        reduction_blocks: grad_w's operands are copies along the rows, as in `ggemm.quantize`.
        fast_accumulation, allow_tf32: as in `ggemm.forward`.
        checked: on a GPU too, refuse sizes or ends that contradict M, at the price of a synchronization.
    """
    if operation not in _OPERATIONS:
        raise ArgumentError(f'operation is "{operation}", expected "forward", "grad_x" or "grad_w"')
    operands = _frameworks.dtype_code(dtype, "dtype")
    fp8 = operands in (_frameworks.E4M3, _frameworks.E5M2)
    default = _frameworks.BF16 if fp8 else operands
    result = default if out_dtype is None else _frameworks.dtype_code(out_dtype, "out_dtype")
    index = _frameworks.dtype_code(index_dtype, "index_dtype")
    native = _ggemm.plan(
        _OPERATIONS[operation],
        (groups, m, n, k),
        (operands, result, index),
        w_layout,
        shared,
        ends,
        tail,
        accumulate,
        (x_row_stride, y_row_stride, w_row_stride, w_group_stride),
        _device(device),
        variant,
        batch_invariant,
        checked,
        scaling,
        None if second_dtype is None else _frameworks.dtype_code(second_dtype, "second_dtype"),
        reduction_blocks,
        fast_accumulation,
        allow_tf32,
    )
    return Plan(native)


def _device(device: Any) -> int:
    name = _ggemm.probe().kind if device is None else str(device)
    if name == "cpu":
        return -1
    number = name.removeprefix("cuda").removeprefix(":") or "0"
    if not number.isdecimal():
        raise ArgumentError(f'device is "{device}", expected "cpu", "cuda", "cuda:N" or N')
    return int(number)
