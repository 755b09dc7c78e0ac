"""Products of fp8 copies for training in torch: both operands of each product are quantized before it, forward and backward.

Three operators are registered, ``ggemm::fp8_forward``, ``ggemm::fp8_grad_x`` and ``ggemm::fp8_grad_w``, each a product with
the quantization of its operands, so that tracers see no copies. The first has a derivative, the other two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._errors import ArgumentError
from ._products import forward, grad_w, grad_x
from ._quantize import quantize

# What elements share a scale, by the recipe's name.
RECIPES = {"fp8_block": "block", "fp8_row": "row"}
GRADIENTS = ("float8_e4m3fn", "float8_e5m2")


def grouped_mm(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, recipe: str, gradients: str) -> Tensor:
    """As `ggemm.torch.grouped_mm` with a recipe."""
    if recipe not in RECIPES:
        raise ArgumentError(f'recipe is "{recipe}", expected None, {" or ".join(map(repr, RECIPES))}')
    if gradients not in GRADIENTS:
        raise ArgumentError(f'gradients is "{gradients}", expected {" or ".join(map(repr, GRADIENTS))}')
    return _forward(x, w, groups, ends, kn, RECIPES[recipe], gradients)


def _rows(groups: Tensor, ends: bool) -> dict[str, Tensor]:
    return {"ends" if ends else "sizes": groups}


def _layout(kn: bool) -> str:
    return "kn" if kn else "nk"


@torch.library.custom_op("ggemm::fp8_forward", mutates_args=())
def _forward(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str) -> Tensor:
    elements, scales = quantize(x.detach(), "x", scaling=scaling)
    # Tensor cores read both operands along the reduction.
    w8, w_scale = quantize(w.detach(), "w", scaling=scaling, w_layout=_layout(kn), to_layout="nk")
    rows = _rows(groups, ends)
    return forward(elements, w8, **rows, x_scale=scales, w_scale=w_scale, out_dtype=x.dtype)


@torch.library.custom_op("ggemm::fp8_grad_x", mutates_args=())
def _grad_x(dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str) -> Tensor:
    elements, scales = quantize(dy.detach(), "dy", "grad_x", scaling=scaling, dtype=gradients)
    w8, w_scale = quantize(w.detach(), "w", "grad_x", scaling=scaling, w_layout=_layout(kn), to_layout="kn")
    rows = _rows(groups, ends)
    return grad_x(elements, w8, **rows, w_layout="kn", dy_scale=scales, w_scale=w_scale, out_dtype=dy.dtype)


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
def _(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[-1] if kn else w.shape[-2]))


@_grad_x.register_fake
def _(dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool, scaling: str, gradients: str) -> Tensor:
    return dy.new_empty((dy.shape[0], w.shape[-2] if kn else w.shape[-1]))


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
    ends, kn, *how = ctx.options
    need_x, need_w = ctx.needs_input_grad[:2]
    dx = _grad_x(dy, w, groups, ends, kn, *how) if need_x else None
    dw = _grad_w(dy, x, groups, ends, kn, w.dim() == 2, *how) if need_w else None
    return dx, dw, None, None, None, None, None


_forward.register_autograd(_backward, setup_context=_keep)
