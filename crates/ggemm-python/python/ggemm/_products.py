"""forward, grad_x and grad_w."""

from __future__ import annotations

from typing import Any

from . import _frameworks, _ggemm
from ._errors import ArgumentError, ArgumentTypeError
from ._weights import QuantizedWeights

FORWARD, GRAD_X, GRAD_W = range(3)
NAMES = (("x", "w"), ("dy", "w"), ("dy", "x"))

# Which tensors must first be copied, as the native part says it.
_LHS, _RHS, _GROUPS, _OUT, _LHS_SCALES, _RHS_SCALES = 1, 2, 4, 8, 16, 32


def forward(
    x: Any,
    w: Any,
    sizes: Any = None,
    *,
    ends: Any = None,
    w_layout: str = "nk",
    out: Any = None,
    tail: str = "zero",
    x_scale: Any = None,
    w_scale: Any = None,
    fast_accumulation: bool = False,
    allow_tf32: bool = False,
    out_dtype: Any = None,
) -> Any:
    """``y[r] = x[r] @ w[g].T`` for every row r of every group g.

    Args:
        x: [M, K], bfloat16, float16, float32, or fp8 (float8_e4m3fn, float8_e5m2); the rows of a group stand together.
        w: a weight for each group, [G, N, K], or with ``w_layout="kn"`` [G, K, N]; 2-D: one for all groups. Or its
            `QuantizedWeights`, which bring w_scale and w_layout with them.
        sizes: [G], int32 or int64, the rows of each group, where x is. Exactly one of sizes and ends is given.
        ends: [G], the row after each group's last (torch's ``offs``).
        w_layout: which of the weight's dimensions comes first, "nk" or "kn".
        out: the [M, N] result, if it is not to be a new tensor; its dtype counts.
        tail: what happens to rows past the last group: "zero", "untouched", or "none" where there are none to be.
        x_scale, w_scale: float32, for fp8 alone: x_scale [M] and w_scale [G, N], a scale for each row, or in blocks of 128
            x_scale [M, ceil(K/128)] and w_scale [G, ceil(N/128), ceil(K/128)], its dimensions in the order of w's. Those
            of one weight for all groups lack G. `quantize` makes them.
        fast_accumulation: on a GPU sums of fp8 products with a scale for each row may stay in the tensor cores' accumulator,
            which is faster and keeps fewer bits than a float32 has (torch's ``use_fast_accum``).
        allow_tf32: a GPU may round float32 operands to TF32, which has 10 bits of fraction; it multiplies none otherwise. The
            host multiplies them as they are.
        out_dtype: of a new result: bfloat16, float16 or float32, as a framework's dtype or its name. Default: x's, of fp8
            bfloat16.

    Returns:
        out, or a new tensor of x' framework.

    Raises:
        ArgumentError, ArgumentTypeError: arguments that do not go together, and on the host sizes or ends that contradict
            M. A GPU clips those: nothing outside the tensors is ever touched.
        UnsupportedError: fp8 that no kernel of the GPU multiplies, or float32 on a GPU without allow_tf32; the message says
            what to change.
        DeviceError: no usable GPU, or a failing one.
    """
    if type(w) is QuantizedWeights:
        w, w_scale, w_layout = _kept(w, "forward", x_scale, w_scale)
    scales = _pair(FORWARD, x_scale, w_scale)
    how = (fast_accumulation, allow_tf32)
    return product(FORWARD, x, w, sizes, ends, w_layout, out, tail, False, False, out_dtype, None, scales, None, how)


def grad_x(
    dy: Any,
    w: Any,
    sizes: Any = None,
    *,
    ends: Any = None,
    w_layout: str = "nk",
    out: Any = None,
    tail: str = "zero",
    dy_scale: Any = None,
    w_scale: Any = None,
    fast_accumulation: bool = False,
    allow_tf32: bool = False,
    out_dtype: Any = None,
) -> Any:
    """``dx[r] = dy[r] @ w[g]`` for every row r of every group g: what `forward` hands back to x.

    dy is [M, N], the result [M, K]. Scales of fp8 are dy_scale [M] and w_scale [G, K], or in blocks dy_scale
    [M, ceil(N/128)] and w_scale as in `forward`. All else is as there, `QuantizedWeights` too.
    """
    if type(w) is QuantizedWeights:
        w, w_scale, w_layout = _kept(w, "grad_x", dy_scale, w_scale)
    scales = _pair(GRAD_X, dy_scale, w_scale)
    how = (fast_accumulation, allow_tf32)
    return product(GRAD_X, dy, w, sizes, ends, w_layout, out, tail, False, False, out_dtype, None, scales, None, how)


def grad_w(
    dy: Any,
    x: Any,
    sizes: Any = None,
    *,
    ends: Any = None,
    w_layout: str = "nk",
    out: Any = None,
    accumulate: bool = False,
    shared: bool = False,
    dy_scale: Any = None,
    x_scale: Any = None,
    m: int | None = None,
    fast_accumulation: bool = False,
    allow_tf32: bool = False,
    out_dtype: Any = None,
) -> Any:
    """``dw[g] = dy[rows of g].T @ x[rows of g]`` for every group g: what `forward` hands back to w.

    dy is [M, N], x [M, K], the result like w: [G, N, K], or with ``w_layout="kn"`` [G, K, N]. Groups without rows get zeros.

    Args:
        accumulate: add to what a float32 ``out`` holds.
        shared: one weight for all groups: a new result is 2-D, the sum over the groups. (An ``out`` says so by itself.)
        dy_scale, x_scale: float32, for fp8 alone: [G, N] and [G, K], a scale for each column of each group, or in blocks of
            128 rows [M // 128 + G, N] and [M // 128 + G, K]: row start // 128 + g + i is that of block i of group g, which
            starts at row start. Where dw is shared there is one group.
        m: M, of fp8 operands that `quantize` made with ``reduction_blocks=True``: dy is [N, L] and x [K, L].

    All else is as in `forward`.
    """
    if accumulate and out is None:
        raise ArgumentError("accumulate is set and out is missing: pass the float32 tensor to add to as out")
    scales = _pair(GRAD_W, dy_scale, x_scale)
    how = (fast_accumulation, allow_tf32)
    return product(GRAD_W, dy, x, sizes, ends, w_layout, out, "zero", accumulate, shared, out_dtype, None, scales, m, how)


def _kept(weights: QuantizedWeights, operation: str, other_scale: Any, w_scale: Any) -> tuple[Any, Any, str]:
    """What kept copies bring: w, w_scale and w_layout."""
    if w_scale is not None:
        raise ArgumentTypeError("w is QuantizedWeights and w_scale is given: the copies have their own; pass none")
    if other_scale is None:
        other = "x" if operation == "forward" else "dy"
        raise ArgumentTypeError(
            f"w is QuantizedWeights and {other}_scale is not given: quantize {other} as well, and pass its scales"
        )
    return weights.operand(operation)


def _pair(operation: int, first: Any, second: Any) -> tuple | None:
    """Both scales, or none."""
    if first is None and second is None:
        return None
    if first is None or second is None:
        given, missing = NAMES[operation] if second is None else reversed(NAMES[operation])
        raise ArgumentTypeError(f"{given}_scale is given and {missing}_scale is not: pass both, or neither")
    return first, second


def product(
    operation: int,
    lhs: Any,
    rhs: Any,
    sizes: Any,
    ends: Any,
    w_layout: str,
    out: Any,
    tail: str,
    accumulate: bool,
    shared: bool,
    out_dtype: Any,
    plan: Any = None,
    scales: tuple | None = None,
    m: int | None = None,
    how: tuple[bool, bool] = (False, False),
) -> Any:
    """Any of the three. What is here runs for every call: it costs the host microseconds."""
    framework = _frameworks.of(lhs)
    framework.check(lhs, rhs)
    return launch(
        framework, operation, lhs, rhs, sizes, ends, w_layout, out, tail, accumulate, shared, out_dtype, plan, scales, m, how
    )


def launch(
    framework: Any,
    operation: int,
    lhs: Any,
    rhs: Any,
    sizes: Any,
    ends: Any,
    w_layout: str,
    out: Any,
    tail: str,
    accumulate: bool,
    shared: bool,
    out_dtype: Any,
    plan: Any = None,
    scales: tuple | None = None,
    m: int | None = None,
    how: tuple[bool, bool] = (False, False),
) -> Any:
    """The same, without a look at what autograd might want."""
    if (sizes is None) == (ends is None):
        given = "neither" if sizes is None else "both"
        raise ArgumentTypeError(f"exactly one of sizes and ends says which rows are whose, and {given} was given")
    groups, name = (ends, "ends") if sizes is None else (sizes, "sizes")
    raw = framework.raw
    stream = framework.stream(lhs)
    names = NAMES[operation]
    a, b, g = raw(lhs, names[0], stream), raw(rhs, names[1], stream), raw(groups, name, stream)
    code = None if out_dtype is None else _frameworks.dtype_code(out_dtype, "out_dtype")
    given = None if scales is None else _raw_scales(framework, names, scales, stream)
    if given is not None and code is None and out is None:
        code = _frameworks.BF16
    result = out
    if out is None:
        shape, strides = _ggemm.out_shape(operation, a, b, g, w_layout, shared, m)
        result, d = framework.new(lhs, shape, strides, a, code, stream)
    else:
        framework.writable(out)
        framework.check(out)
        d = raw(out, "out", stream)
        if code is not None and not _holds(d, out, code):
            raise ArgumentTypeError(f"out_dtype is {out_dtype}, and out holds {out.dtype}: pass one of them")
    ends_given = sizes is None
    which = _ggemm.run(operation, a, b, g, d, ends_given, w_layout, tail, accumulate, stream, plan, given, m, *how)
    if which:
        # The copies live until the launch is made; their framework keeps the memory in the order of its stream.
        lhs = framework.dense(lhs) if which & _LHS else lhs
        rhs = framework.dense(rhs) if which & _RHS else rhs
        groups = framework.dense(groups) if which & _GROUPS else groups
        target = framework.copy(result) if which & _OUT else result
        if given is not None:
            bits = (_LHS_SCALES, _RHS_SCALES)
            scales = tuple(framework.dense(scale) if which & bit else scale for scale, bit in zip(scales, bits))
            given = _raw_scales(framework, names, scales, stream)
        tensors = ((lhs, names[0]), (rhs, names[1]), (groups, name), (target, "out"))
        a, b, g, d = (raw(tensor, argument, stream) for tensor, argument in tensors)
        which = _ggemm.run(operation, a, b, g, d, ends_given, w_layout, tail, accumulate, stream, plan, given, m, *how)
        if which & _OUT and target is result:
            # Seen only now, behind what was scattered: an output that shares memory with an input.
            target = framework.copy(result)
            d = raw(target, "out", stream)
            which = _ggemm.run(operation, a, b, g, d, ends_given, w_layout, tail, accumulate, stream, plan, given, m, *how)
        if which:
            raise ArgumentError(f"{names[0]}, {names[1]}, {name} or out cannot be laid out densely: copy them first")
        if target is not result:
            framework.assign(result, target)
    if out is not None:
        framework.written(out)
    framework.finish(a[4] if type(a) is tuple else a.device, stream)
    return result


def _raw_scales(framework: Any, names: tuple, scales: tuple, stream: int) -> tuple:
    return tuple(framework.raw(scale, f"{name}_scale", stream) for name, scale in zip(names, scales))


def _holds(raw: Any, tensor: Any, code: int) -> bool:
    if type(raw) is tuple:
        return raw[1] == code
    return _frameworks.dtype_code(tensor.dtype, "out") == code
