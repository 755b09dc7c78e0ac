"""Products of fp8 copies for training in torch: both operands of each product are quantized before it, forward and backward.

Three operators are registered, ``ggemm::fp8_forward``, ``ggemm::fp8_grad_x`` and ``ggemm::fp8_grad_w``, each a product with
the quantization of its operands, so that tracers see no copies. The first has a derivative, the other two. Two more take
copies of the weight that are there already, ``ggemm::fp8_forward_kept`` and ``ggemm::fp8_grad_x_kept``.
"""

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from ._errors import ArgumentError
from ._products import forward, grad_w, grad_x
from ._quantize import quantize
from ._weights import QuantizedWeights

# What elements share a scale, by the recipe's name.
RECIPES = {"fp8_block": "block", "fp8_row": "row"}
GRADIENTS = ("float8_e4m3fn", "float8_e5m2")


def grouped_mm(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, recipe: str, gradients: str) -> Tensor:
    """As `ggemm.torch.grouped_mm` with a recipe."""
    _check_gradients(gradients)
    return _forward(x, w, groups, ends, kn, scaling_of(recipe), gradients, False)


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
        return _forward(x, w, groups, ends, kn, scaling, gradients, weights.powers_of_two)
    if w is not None and not (w.requires_grad and torch.is_grad_enabled()):
        w = None
    if w is not None and keeps and not weights.follow:
        weights.check_source()
    # Outside of what is traced copies that follow are brought up to date, and streams ordered.
    if keeps:
        weights.operand("forward")
    copies = weights.nk, weights.nk_scale, weights.kn, weights.kn_scale
    return _forward_kept(x, w, *copies, groups, ends, kn, scaling, gradients)


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


@torch.library.custom_op("ggemm::fp8_forward", mutates_args=())
def _forward(
    x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str, powers_of_two: bool
) -> Tensor:
    # Tensor cores read both operands along the reduction.
    how = {"scaling": scaling, "powers_of_two": powers_of_two, "w_layout": _layout(kn), "to_layout": "nk"}
    return _forward_of(x, *quantize(w.detach(), "w", **how), groups, ends, scaling)


def _forward_of(x: Tensor, w8: Tensor, w_scale: Tensor, groups: Tensor, ends: bool, scaling: str) -> Tensor:
    elements, scales = quantize(x.detach(), "x", scaling=scaling)
    rows = _rows(groups, ends)
    return forward(elements, w8, **rows, x_scale=scales, w_scale=w_scale, out_dtype=x.dtype)


@torch.library.custom_op("ggemm::fp8_forward_kept", mutates_args=())
def _forward_kept(
    x: Tensor,
    w: Optional[Tensor],
    nk: Tensor,
    nk_scale: Tensor,
    kn: Tensor,
    kn_scale: Tensor,
    groups: Tensor,
    ends: bool,
    w_is_kn: bool,
    scaling: str,
    gradients: str,
) -> Tensor:
    return _forward_of(x, nk, nk_scale, groups, ends, scaling)


@torch.library.custom_op("ggemm::fp8_grad_x", mutates_args=())
def _grad_x(
    dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str, powers_of_two: bool
) -> Tensor:
    how = {"scaling": scaling, "powers_of_two": powers_of_two, "w_layout": _layout(kn), "to_layout": "kn"}
    return _grad_x_of(dy, *quantize(w.detach(), "w", "grad_x", **how), groups, ends, scaling, gradients)


def _grad_x_of(
    dy: Tensor, w8: Tensor, w_scale: Tensor, groups: Tensor, ends: bool, scaling: str, gradients: str
) -> Tensor:
    elements, scales = quantize(dy.detach(), "dy", "grad_x", scaling=scaling, dtype=gradients)
    rows = _rows(groups, ends)
    return grad_x(elements, w8, **rows, w_layout="kn", dy_scale=scales, w_scale=w_scale, out_dtype=dy.dtype)


@torch.library.custom_op("ggemm::fp8_grad_x_kept", mutates_args=())
def _grad_x_kept(
    dy: Tensor, kn: Tensor, kn_scale: Tensor, groups: Tensor, ends: bool, scaling: str, gradients: str
) -> Tensor:
    return _grad_x_of(dy, kn, kn_scale, groups, ends, scaling, gradients)


@torch.library.custom_op("ggemm::fp8_grad_w", mutates_args=())
def _grad_w(
    dy: Tensor, x: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool, scaling: str, gradients: str
) -> Tensor:
    rows = _rows(groups, ends)
    copies = dict(rows, scaling=scaling, shared=shared, reduction_blocks=True)
    dy8, dy_scale = quantize(dy.detach(), "dy", "grad_w", dtype=gradients, **copies)
    x8, x_scale = quantize(x.detach(), "x", "grad_w", **copies)
    scales = {"dy_scale": dy_scale, "x_scale": x_scale}
    return grad_w(dy8, x8, **rows, w_layout=_layout(kn), shared=shared, m=x.shape[0], out_dtype=dy.dtype, **scales)


@_forward.register_fake
def _(
    x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str, powers_of_two: bool
) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[-1] if kn else w.shape[-2]))


@_forward_kept.register_fake
def _(x: Tensor, w: Optional[Tensor], nk: Tensor, *rest: Any) -> Tensor:
    return x.new_empty((x.shape[0], nk.shape[-2]))


@_grad_x.register_fake
def _(
    dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str, powers_of_two: bool
) -> Tensor:
    return dy.new_empty((dy.shape[0], w.shape[-2] if kn else w.shape[-1]))


@_grad_x_kept.register_fake
def _(dy: Tensor, kn: Tensor, *rest: Any) -> Tensor:
    return dy.new_empty((dy.shape[0], kn.shape[-2]))


@_grad_w.register_fake
def _(
    dy: Tensor, x: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool, scaling: str, gradients: str
) -> Tensor:
    shape = (x.shape[1], dy.shape[1]) if kn else (dy.shape[1], x.shape[1])
    return dy.new_empty(shape if shared else (groups.shape[0], *shape))


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, w, groups, *ctx.options = inputs
    ctx.save_for_backward(x, w, groups)


def _backward(ctx: Any, dy: Tensor) -> tuple:
    x, w, groups = ctx.saved_tensors
    ends, kn, *how, powers_of_two = ctx.options
    need_x, need_w = ctx.needs_input_grad[:2]
    dx = _grad_x(dy, w, groups, ends, kn, *how, powers_of_two) if need_x else None
    dw = _grad_w(dy, x, groups, ends, kn, w.dim() == 2, *how) if need_w else None
    return dx, dw, None, None, None, None, None, None


_forward.register_autograd(_backward, setup_context=_keep)


def _keep_copies(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, w, _, _, kn, kn_scale, groups, *ctx.options = inputs
    # w is saved for what torch makes of it: an error where it was written in between.
    ctx.save_for_backward(x, w, kn, kn_scale, groups)


def _backward_of_copies(ctx: Any, dy: Tensor) -> tuple:
    x, _, kn, kn_scale, groups = ctx.saved_tensors
    ends, w_is_kn, *how = ctx.options
    need_x, need_w = ctx.needs_input_grad[:2]
    dx = _grad_x_kept(dy, kn, kn_scale, groups, ends, *how) if need_x else None
    dw = _grad_w(dy, x, groups, ends, w_is_kn, kn.dim() == 2, *how) if need_w else None
    return dx, dw, *(None,) * 9


_forward_kept.register_autograd(_backward_of_copies, setup_context=_keep_copies)
