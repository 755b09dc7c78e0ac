"""fp8 operands from tensors of 16 or 32 bits."""

from __future__ import annotations

from typing import Any

from . import _frameworks, _ggemm
from ._errors import ArgumentError, ArgumentTypeError
from ._products import NAMES

_OPERATIONS = {"forward": 0, "grad_x": 1, "grad_w": 2}

# Which operations read tokens of this name.
_TOKENS = {"x": ("forward", "grad_w"), "dy": ("grad_x", "grad_w")}

# Which tensors must first be copied, as the native part says it.
_SOURCE, _GROUPS = 1, 4


def quantize(
    tensor: Any,
    argument: str,
    operation: str = "forward",
    sizes: Any = None,
    *,
    ends: Any = None,
    scaling: str = "block",
    dtype: Any = "float8_e4m3fn",
    powers_of_two: bool = False,
    w_layout: str = "nk",
    to_layout: str | None = None,
    shared: bool = False,
    reduction_blocks: bool = False,
) -> tuple[Any, Any]:
    """The fp8 elements and the float32 scales of one operand of one operation, where the tensor lies. `quantize_both` makes
    both copies of x or dy that a step of training multiplies.

    On a GPU a kernel makes them on the current stream, with the bits that the host would make; sizes or ends lie there
    too and are not looked at. What belongs to no group is left as it was allocated, and no product reads it.

    A scale is the largest finite magnitude of its block over the largest of the format (448 of float8_e4m3fn, 57344 of
    float8_e5m2). Elements round to nearest even; infinities become the format's largest, NaN stays NaN, and a block of
    zeros has scale 1. Multiply an element by its scale to have it back.

    ==================  ==========================  ===================================================
    argument            scaling="row"               scaling="block"
    ==================  ==========================  ===================================================
    x of forward        [M]                         [M, ceil(K/128)]
    w of forward        [G, N]                      [G, ceil(N/128), ceil(K/128)], in w's order
    dy of grad_x        [M]                         [M, ceil(N/128)]
    w of grad_x         [G, K]                      [G, ceil(N/128), ceil(K/128)], in w's order
    dy, x of grad_w     [G, N], [G, K]              [M // 128 + G, N], [M // 128 + G, K]
    ==================  ==========================  ===================================================

    Args:
        tensor: bfloat16, float16 or float32, as the operation takes it.
        argument: what the operation calls it: "x", "w" or "dy".
        operation: "forward", "grad_x" or "grad_w".
        sizes, ends: which rows are whose, for grad_w alone, whose groups share no scale.
        scaling: "row", a scale for each row along the reduction, or "block", one for 128 elements of a token and one for
            128 x 128 of a weight.
        dtype: float8_e4m3fn or float8_e5m2.
        powers_of_two: scales are rounded up to powers of two.
        w_layout: which of the weight's dimensions comes first, "nk" or "kn".
        to_layout: which comes first in the copy; default: as in w. fp8 tensor cores read forward's as "nk" and grad_x' as
            "kn".
        shared: grad_w of one weight for all groups: all rows are one group's.
        reduction_blocks: grad_w's operand as fp8 tensor cores read it, transposed and with every group from a multiple of
            128 on: [N, L] or [K, L], L = 128 * (M // 128 + G). Pass M as ``m`` to `grad_w` then.

    Raises:
        ArgumentError, ArgumentTypeError: as `forward`.
        UnsupportedError: a tensor on a GPU before compute capability 8.9, which has no conversion to fp8.
    """
    if operation not in _OPERATIONS:
        raise ArgumentError(f'operation is "{operation}", expected "forward", "grad_x" or "grad_w"')
    code = _OPERATIONS[operation]
    if argument not in NAMES[code]:
        first, second = NAMES[code]
        raise ArgumentError(f'argument is "{argument}", expected "{first}" or "{second}" of {operation}')
    if sizes is not None and ends is not None:
        raise ArgumentTypeError("exactly one of sizes and ends says which rows are whose, and both was given")
    groups, name = (ends, "ends") if sizes is None else (sizes, "sizes")
    fp8 = _frameworks.dtype_code(dtype, "dtype")
    which = NAMES[code].index(argument)
    kind = (code, which, fp8, scaling, w_layout, to_layout or w_layout, shared, reduction_blocks)
    (copy,) = _copies(tensor, argument, (kind,), groups, name, powers_of_two)
    return copy


def quantize_both(
    tensor: Any,
    argument: str,
    sizes: Any = None,
    *,
    ends: Any = None,
    scaling: str = "block",
    dtype: Any = "float8_e4m3fn",
    powers_of_two: bool = False,
    shared: bool = False,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Both fp8 copies of x or dy that a step of training multiplies, each elements and scales: the one for forward (of dy, for
    grad_x) and the one for grad_w.

    They are those that two calls of `quantize` make, the second with ``reduction_blocks=True``. With scales of blocks a GPU
    reads the tensor once for both: 2 + 1 + 1 bytes of traffic for an element of 16 bits instead of 2 + 1 + 2 + 1. Whole rows
    share a scale in one copy and whole columns of a group in the other, so that there are two passes with ``scaling="row"``.

    ==================  ==========================  ===================================================
    copy                elements                    scales with "row"; with "block"
    ==================  ==========================  ===================================================
    x for forward       [M, K]                      [M]; [M, ceil(K/128)]
    x for grad_w        [K, L]                      [G, K]; [M // 128 + G, K]
    dy for grad_x       [M, N]                      [M]; [M, ceil(N/128)]
    dy for grad_w       [N, L]                      [G, N]; [M // 128 + G, N]
    ==================  ==========================  ===================================================

    L = 128 * (M // 128 + G); pass M as ``m`` to `grad_w`.

    Args:
        tensor: bfloat16, float16 or float32, [M, K] or [M, N].
        argument: what it is, "x" or "dy". Both copies of a weight are `QuantizedWeights`.
        sizes, ends: which rows are whose; exactly one is given.
        scaling, dtype, powers_of_two: as in `quantize`, of both copies.
        shared: one weight for all groups: all rows are one group's, G above is 1, and scales with "row" lack it.

    Raises:
        ArgumentError, ArgumentTypeError, UnsupportedError: as `quantize`.
    """
    if argument == "w":
        raise ArgumentError('argument is "w", expected "x" or "dy": QuantizedWeights(w) holds both copies of a weight')
    if argument not in _TOKENS:
        raise ArgumentError(f'argument is "{argument}", expected "x" or "dy"')
    if (sizes is None) == (ends is None):
        given = "neither" if sizes is None else "both"
        raise ArgumentTypeError(f"exactly one of sizes and ends says which rows are whose, and {given} was given")
    groups, name = (ends, "ends") if sizes is None else (sizes, "sizes")
    how = (_frameworks.dtype_code(dtype, "dtype"), scaling, "nk", "nk", shared)
    kinds = tuple(
        (_OPERATIONS[operation], NAMES[_OPERATIONS[operation]].index(argument), *how, operation == "grad_w")
        for operation in _TOKENS[argument]
    )
    first, second = _copies(tensor, argument, kinds, groups, name, powers_of_two)
    return first, second


def _copies(tensor: Any, argument: str, kinds: tuple, groups: Any, name: str, powers_of_two: bool) -> list[tuple]:
    """One copy, or two of one source."""
    framework = _frameworks.of(tensor)
    framework.check(tensor)
    stream, by_ends = framework.stream(tensor), groups is not None and name == "ends"

    def raws() -> tuple:
        return framework.raw(tensor, argument, stream), None if groups is None else framework.raw(groups, name, stream)

    source, g = raws()
    copies = []
    for kind in kinds:
        shape, scale_shape = _ggemm.quantized_shapes(kind, source, g, by_ends)
        elements = framework.empty(tensor, shape, kind[2])
        copies.append((elements, framework.empty(tensor, scale_shape, _frameworks.F32)))
    made = tuple(tuple(framework.raw(new, "out", stream) for new in copy) for copy in copies)
    is_one = len(kinds) == 1
    native, what, to = (_ggemm.quantize, kinds[0], made[0]) if is_one else (_ggemm.quantize_both, kinds, made)
    scattered = native(what, source, g, by_ends, powers_of_two, to, stream)
    if scattered:
        tensor = framework.dense(tensor) if scattered & _SOURCE else tensor
        groups = framework.dense(groups) if scattered & _GROUPS else groups
        source, g = raws()
        if native(what, source, g, by_ends, powers_of_two, to, stream):
            raise ArgumentError(f"{argument} or {name} cannot be laid out densely: copy them first")
    framework.finish(source[4] if type(source) is tuple else source.device, stream)
    return copies
