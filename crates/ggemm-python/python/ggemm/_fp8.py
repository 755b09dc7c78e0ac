"""Products of fp8 copies for training in torch: both operands of each product are quantized before it, forward and backward.

Operators are registered that are each a product with the quantization of its operands, so that tracers see no copies but the
one that outlives its product.

=======================  ===========================================  =============================================
operator                 makes                                        derivative
=======================  ===========================================  =============================================
ggemm::fp8_forward       y, of a weight that needs no gradient        fp8_grad_x
ggemm::fp8_forward_both  y, and of the same read of x its copy for    fp8_grads, or the one of fp8_grad_x and
                         grad_w, which is saved in x' stead           fp8_grad_w that is asked for
ggemm::fp8_grad_x        dx                                           none
ggemm::fp8_grad_w        dw, with x' copy                             none
ggemm::fp8_grads         dx and dw, of one read of dy                 none
=======================  ===========================================  =============================================

The first two, fp8_grad_x and fp8_grads have a second form that takes copies of the weight that are there already, whose name
ends in ``_kept``. With scales of rows no kernel makes two copies of one read: there it is a pass for each.
"""

from __future__ import annotations

from typing import Any, Tuple

import torch
from torch import Tensor

from ._errors import ArgumentError
from ._products import forward, grad_w, grad_x
from ._quantize import quantize, quantize_both
from ._weights import QuantizedWeights

# What elements share a scale, by the recipe's name.
RECIPES = {"fp8_block": "block", "fp8_row": "row"}
GRADIENTS = ("float8_e4m3fn", "float8_e5m2")


def grouped_mm(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, recipe: str, gradients: str) -> Tensor:
    """As `ggemm.torch.grouped_mm` with a recipe."""
    _check_gradients(gradients)
    return _product(x, w, groups, ends, kn, scaling_of(recipe), gradients, False)


def grouped_mm_kept(
    x: Tensor, weights: QuantizedWeights, groups: Tensor, ends: bool, recipe: str | None, gradients: str, keeps: bool
) -> Tensor:
    """The same of kept copies. ``keeps`` says whether those that follow their source may be made now and kept."""
    scaling, kn = weights.scaling, weights.w_layout == "kn"
    if recipe is not None and scaling_of(recipe) != scaling:
        raise ArgumentError(f'recipe is "{recipe}", and the copies of w have scaling "{scaling}": pass none')
    _check_gradients(gradients)
    w = weights.source
    if weights.follow and not keeps:
        return _product(x, w, groups, ends, kn, scaling, gradients, weights.powers_of_two)
    if w is not None and not _needs_grad(w):
        w = None
    if w is not None and keeps and not weights.follow:
        weights.check_source()
    # Outside of what is traced copies that follow are brought up to date, and streams ordered.
    if keeps:
        weights.operand("forward")
    copies = weights.nk, weights.nk_scale, weights.kn, weights.kn_scale
    if w is None:
        return _forward_kept(x, *copies, groups, ends, scaling, gradients)
    return _forward_both_kept(x, w, *copies, groups, ends, kn, scaling, gradients)[0]


def _product(
    x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str, powers_of_two: bool
) -> Tensor:
    options = ends, kn, scaling, gradients, powers_of_two
    return _forward_both(x, w, groups, *options)[0] if _needs_grad(w) else _forward(x, w, groups, *options)


def _needs_grad(w: Tensor) -> bool:
    return w.requires_grad and torch.is_grad_enabled()


def scaling_of(recipe: str) -> str:
    """What elements share a scale."""
    if recipe not in RECIPES:
        raise ArgumentError(f'recipe is "{recipe}", expected None, {" or ".join(map(repr, RECIPES))}')
    return RECIPES[recipe]


def _check_gradients(gradients: str) -> None:
    if gradients not in GRADIENTS:
        raise ArgumentError(f'gradients is "{gradients}", expected {" or ".join(map(repr, GRADIENTS))}')


def _rows(groups: Tensor, ends: bool) -> dict[str, Tensor]:
    return {"ends" if ends else "sizes": groups}


def _layout(kn: bool) -> str:
    return "kn" if kn else "nk"


# Operands and products.


def _weight(w: Tensor, operation: str, kn: bool, scaling: str, powers_of_two: bool) -> tuple[Tensor, Tensor]:
    # Tensor cores read both operands along the reduction.
    to_layout = "nk" if operation == "forward" else "kn"
    how = {"scaling": scaling, "powers_of_two": powers_of_two, "w_layout": _layout(kn), "to_layout": to_layout}
    return quantize(w.detach(), "w", operation, **how)


def _y(x: Tensor, copy: tuple[Tensor, Tensor], w8: Tensor, w_scale: Tensor, groups: Tensor, ends: bool) -> Tensor:
    x8, x_scale = copy
    return forward(x8, w8, **_rows(groups, ends), x_scale=x_scale, w_scale=w_scale, out_dtype=x.dtype)


def _dx(dy: Tensor, copy: tuple[Tensor, Tensor], w8: Tensor, w_scale: Tensor, groups: Tensor, ends: bool) -> Tensor:
    dy8, dy_scale = copy
    rows = _rows(groups, ends)
    return grad_x(dy8, w8, **rows, w_layout="kn", dy_scale=dy_scale, w_scale=w_scale, out_dtype=dy.dtype)


def _dw(
    dy: Tensor, copy: tuple[Tensor, Tensor], x8: Tensor, x_scale: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool
) -> Tensor:
    dy8, dy_scale = copy
    how = {"w_layout": _layout(kn), "shared": shared, "m": dy.shape[0], "out_dtype": dy.dtype}
    return grad_w(dy8, x8, **_rows(groups, ends), dy_scale=dy_scale, x_scale=x_scale, **how)


# The operators.


@torch.library.custom_op("ggemm::fp8_forward", mutates_args=())
def _forward(
    x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str, powers_of_two: bool
) -> Tensor:
    copy = quantize(x.detach(), "x", scaling=scaling)
    return _y(x, copy, *_weight(w, "forward", kn, scaling, powers_of_two), groups, ends)


@torch.library.custom_op("ggemm::fp8_forward_kept", mutates_args=())
def _forward_kept(
    x: Tensor,
    nk: Tensor,
    nk_scale: Tensor,
    kn: Tensor,
    kn_scale: Tensor,
    groups: Tensor,
    ends: bool,
    scaling: str,
    gradients: str,
) -> Tensor:
    return _y(x, quantize(x.detach(), "x", scaling=scaling), nk, nk_scale, groups, ends)


@torch.library.custom_op("ggemm::fp8_forward_both", mutates_args=())
def _forward_both(
    x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str, powers_of_two: bool
) -> Tuple[Tensor, Tensor, Tensor]:
    copy, kept = quantize_both(x.detach(), "x", **_rows(groups, ends), scaling=scaling, shared=w.dim() == 2)
    return _y(x, copy, *_weight(w, "forward", kn, scaling, powers_of_two), groups, ends), *kept


@torch.library.custom_op("ggemm::fp8_forward_both_kept", mutates_args=())
def _forward_both_kept(
    x: Tensor,
    w: Tensor,
    nk: Tensor,
    nk_scale: Tensor,
    kn: Tensor,
    kn_scale: Tensor,
    groups: Tensor,
    ends: bool,
    w_is_kn: bool,
    scaling: str,
    gradients: str,
) -> Tuple[Tensor, Tensor, Tensor]:
    copy, kept = quantize_both(x.detach(), "x", **_rows(groups, ends), scaling=scaling, shared=nk.dim() == 2)
    return _y(x, copy, nk, nk_scale, groups, ends), *kept


@torch.library.custom_op("ggemm::fp8_grad_x", mutates_args=())
def _grad_x(
    dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str, powers_of_two: bool
) -> Tensor:
    copy = quantize(dy.detach(), "dy", "grad_x", scaling=scaling, dtype=gradients)
    return _dx(dy, copy, *_weight(w, "grad_x", kn, scaling, powers_of_two), groups, ends)


@torch.library.custom_op("ggemm::fp8_grad_x_kept", mutates_args=())
def _grad_x_kept(
    dy: Tensor, kn: Tensor, kn_scale: Tensor, groups: Tensor, ends: bool, scaling: str, gradients: str
) -> Tensor:
    copy = quantize(dy.detach(), "dy", "grad_x", scaling=scaling, dtype=gradients)
    return _dx(dy, copy, kn, kn_scale, groups, ends)


@torch.library.custom_op("ggemm::fp8_grad_w", mutates_args=())
def _grad_w(
    dy: Tensor,
    x8: Tensor,
    x_scale: Tensor,
    groups: Tensor,
    ends: bool,
    kn: bool,
    shared: bool,
    scaling: str,
    gradients: str,
) -> Tensor:
    how = {"scaling": scaling, "dtype": gradients, "shared": shared, "reduction_blocks": True}
    copy = quantize(dy.detach(), "dy", "grad_w", **_rows(groups, ends), **how)
    return _dw(dy, copy, x8, x_scale, groups, ends, kn, shared)


@torch.library.custom_op("ggemm::fp8_grads", mutates_args=())
def _grads(
    dy: Tensor,
    w: Tensor,
    x8: Tensor,
    x_scale: Tensor,
    groups: Tensor,
    ends: bool,
    kn: bool,
    scaling: str,
    gradients: str,
    powers_of_two: bool,
) -> Tuple[Tensor, Tensor]:
    shared = w.dim() == 2
    how = {"scaling": scaling, "dtype": gradients, "shared": shared}
    for_x, for_w = quantize_both(dy.detach(), "dy", **_rows(groups, ends), **how)
    dx = _dx(dy, for_x, *_weight(w, "grad_x", kn, scaling, powers_of_two), groups, ends)
    return dx, _dw(dy, for_w, x8, x_scale, groups, ends, kn, shared)


@torch.library.custom_op("ggemm::fp8_grads_kept", mutates_args=())
def _grads_kept(
    dy: Tensor,
    kn: Tensor,
    kn_scale: Tensor,
    x8: Tensor,
    x_scale: Tensor,
    groups: Tensor,
    ends: bool,
    w_is_kn: bool,
    scaling: str,
    gradients: str,
) -> Tuple[Tensor, Tensor]:
    shared = kn.dim() == 2
    how = {"scaling": scaling, "dtype": gradients, "shared": shared}
    for_x, for_w = quantize_both(dy.detach(), "dy", **_rows(groups, ends), **how)
    return _dx(dy, for_x, kn, kn_scale, groups, ends), _dw(dy, for_w, x8, x_scale, groups, ends, w_is_kn, shared)


# What they make, for tracers.


def _like_y(x: Tensor, w: Tensor, kn: bool) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[-1] if kn else w.shape[-2]))


def _like_dx(dy: Tensor, w: Tensor, kn: bool) -> Tensor:
    return dy.new_empty((dy.shape[0], w.shape[-2] if kn else w.shape[-1]))


def _like_dw(dy: Tensor, x8: Tensor, groups: Tensor, kn: bool, shared: bool) -> Tensor:
    shape = (x8.shape[0], dy.shape[1]) if kn else (dy.shape[1], x8.shape[0])
    return dy.new_empty(shape if shared else (groups.shape[0], *shape))


def _like_kept(x: Tensor, groups: Tensor, shared: bool, scaling: str) -> tuple[Tensor, Tensor]:
    """x' copy for grad_w, as `quantize_both` describes it."""
    m, k = x.shape
    blocks = m // 128 + (1 if shared else groups.shape[0])
    scales = (blocks, k) if scaling == "block" else (k,) if shared else (groups.shape[0], k)
    elements = x.new_empty((k, 128 * blocks), dtype=torch.float8_e4m3fn)
    return elements, x.new_empty(scales, dtype=torch.float32)


@_forward.register_fake
def _(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, *rest: Any) -> Tensor:
    return _like_y(x, w, kn)


@_forward_kept.register_fake
def _(x: Tensor, nk: Tensor, *rest: Any) -> Tensor:
    return _like_y(x, nk, False)


@_forward_both.register_fake
def _(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, *rest: Any) -> tuple:
    return _like_y(x, w, kn), *_like_kept(x, groups, w.dim() == 2, scaling)


@_forward_both_kept.register_fake
def _(
    x: Tensor,
    w: Tensor,
    nk: Tensor,
    nk_scale: Tensor,
    kn: Tensor,
    kn_scale: Tensor,
    groups: Tensor,
    ends: bool,
    w_is_kn: bool,
    scaling: str,
    gradients: str,
) -> tuple:
    return _like_y(x, nk, False), *_like_kept(x, groups, nk.dim() == 2, scaling)


@_grad_x.register_fake
def _(dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, *rest: Any) -> Tensor:
    return _like_dx(dy, w, kn)


@_grad_x_kept.register_fake
def _(dy: Tensor, kn: Tensor, *rest: Any) -> Tensor:
    return _like_dx(dy, kn, True)


@_grad_w.register_fake
def _(
    dy: Tensor, x8: Tensor, x_scale: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool, *rest: Any
) -> Tensor:
    return _like_dw(dy, x8, groups, kn, shared)


@_grads.register_fake
def _(
    dy: Tensor, w: Tensor, x8: Tensor, x_scale: Tensor, groups: Tensor, ends: bool, kn: bool, *rest: Any
) -> tuple[Tensor, Tensor]:
    return _like_dx(dy, w, kn), _like_dw(dy, x8, groups, kn, w.dim() == 2)


@_grads_kept.register_fake
def _(
    dy: Tensor,
    kn: Tensor,
    kn_scale: Tensor,
    x8: Tensor,
    x_scale: Tensor,
    groups: Tensor,
    ends: bool,
    w_is_kn: bool,
    *rest: Any,
) -> tuple[Tensor, Tensor]:
    return _like_dx(dy, kn, True), _like_dw(dy, x8, groups, w_is_kn, kn.dim() == 2)


# Derivatives.


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    _, w, groups, *ctx.options = inputs
    if ctx.needs_input_grad[1]:
        raise ArgumentError("w needs a gradient, for which ggemm::fp8_forward keeps nothing: call ggemm::fp8_forward_both")
    ctx.save_for_backward(w, groups)


def _backward(ctx: Any, dy: Tensor) -> tuple:
    w, groups = ctx.saved_tensors
    return _grad_x(dy, w, groups, *ctx.options), *(None,) * 7


_forward.register_autograd(_backward, setup_context=_keep)


def _keep_copies(ctx: Any, inputs: tuple, output: Tensor) -> None:
    _, _, _, kn, kn_scale, groups, *ctx.options = inputs
    ctx.save_for_backward(kn, kn_scale, groups)


def _backward_of_copies(ctx: Any, dy: Tensor) -> tuple:
    kn, kn_scale, groups = ctx.saved_tensors
    return _grad_x_kept(dy, kn, kn_scale, groups, *ctx.options), *(None,) * 8


_forward_kept.register_autograd(_backward_of_copies, setup_context=_keep_copies)


def _constants(ctx: Any, copies: tuple) -> None:
    """No gradient leads to the copies, and none is made up for them."""
    ctx.mark_non_differentiable(*copies)
    ctx.set_materialize_grads(False)


def _keep_both(ctx: Any, inputs: tuple, output: tuple) -> None:
    _, w, groups, *ctx.options = inputs
    _constants(ctx, output[1:])
    ctx.save_for_backward(w, groups, *output[1:])


def _backward_both(ctx: Any, dy: Tensor | None, *_: None) -> tuple:
    w, groups, x8, x_scale = ctx.saved_tensors
    ends, kn, *how, powers_of_two = ctx.options
    dx = dw = None
    need_x, need_w = (need and dy is not None for need in ctx.needs_input_grad[:2])
    if need_x and need_w:
        dx, dw = _grads(dy, w, x8, x_scale, groups, *ctx.options)
    elif need_x:
        dx = _grad_x(dy, w, groups, *ctx.options)
    elif need_w:
        dw = _grad_w(dy, x8, x_scale, groups, ends, kn, w.dim() == 2, *how)
    return dx, dw, *(None,) * 6


_forward_both.register_autograd(_backward_both, setup_context=_keep_both)


def _keep_both_of_copies(ctx: Any, inputs: tuple, output: tuple) -> None:
    _, w, _, _, kn, kn_scale, groups, *ctx.options = inputs
    _constants(ctx, output[1:])
    # w is saved for what torch makes of it: an error where it was written in between.
    ctx.save_for_backward(w, kn, kn_scale, groups, *output[1:])


def _backward_both_of_copies(ctx: Any, dy: Tensor | None, *_: None) -> tuple:
    _, kn, kn_scale, groups, x8, x_scale = ctx.saved_tensors
    ends, w_is_kn, *how = ctx.options
    dx = dw = None
    need_x, need_w = (need and dy is not None for need in ctx.needs_input_grad[:2])
    if need_x and need_w:
        dx, dw = _grads_kept(dy, kn, kn_scale, x8, x_scale, groups, *ctx.options)
    elif need_x:
        dx = _grad_x_kept(dy, kn, kn_scale, groups, ends, *how)
    elif need_w:
        dw = _grad_w(dy, x8, x_scale, groups, ends, w_is_kn, kn.dim() == 2, *how)
    return dx, dw, *(None,) * 9


_forward_both_kept.register_autograd(_backward_both_of_copies, setup_context=_keep_both_of_copies)
