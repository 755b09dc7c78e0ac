"""ggemm for torch: with autograd, ``torch.compile`` and CUDA graphs, as a function and as a module.

Three operators are registered, ``ggemm::forward``, ``ggemm::grad_x`` and ``ggemm::grad_w``, each with a fake implementation
and with its derivatives, which are the other two. Tracers and transforms see them. In plain eager mode `grouped_mm` goes
past torch's dispatcher, which costs the host less.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from . import _fp8, _frameworks
from ._errors import ArgumentError, ArgumentTypeError
from ._products import FORWARD, GRAD_W, GRAD_X, launch
from ._weights import QuantizedWeights

__all__ = ["GroupedLinear", "grouped_mm", "grouped_mm_like_torch"]

_is_compiling = torch.compiler.is_compiling
_is_grad_enabled = torch.is_grad_enabled
_is_transformed = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
_dispatch_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
_is_any_autocast = getattr(torch._C, "_is_any_autocast_enabled", lambda: True)
_PLAIN = (Tensor, nn.Parameter)


def _framework() -> _frameworks.Torch:
    """Made here too, so that it exists whatever tensor comes first."""
    made = _frameworks._made.get("torch")
    if made is None:
        made = _frameworks._made["torch"] = _frameworks.Torch(torch)
    return made


_TORCH = _framework()


def _launch(operation: int, lhs: Tensor, rhs: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool) -> Tensor:
    sizes, ends_of = (None, groups) if ends else (groups, None)
    layout = "kn" if kn else "nk"
    # torch's own word on float32 products of a GPU.
    tf32 = lhs.dtype == torch.float32 and lhs.is_cuda and torch.get_float32_matmul_precision() != "highest"
    return launch(
        _TORCH, operation, lhs, rhs, sizes, ends_of, layout, None, "zero", False, shared, None, how=(False, tf32)
    )


# The operators, for tracers and transforms.


@torch.library.custom_op("ggemm::forward", mutates_args=())
def _forward(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool) -> Tensor:
    return _launch(FORWARD, x.detach(), w.detach(), groups, ends, kn, False)


@torch.library.custom_op("ggemm::grad_x", mutates_args=())
def _grad_x(dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool) -> Tensor:
    return _launch(GRAD_X, dy.detach(), w.detach(), groups, ends, kn, False)


@torch.library.custom_op("ggemm::grad_w", mutates_args=())
def _grad_w(dy: Tensor, x: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool) -> Tensor:
    return _launch(GRAD_W, dy.detach(), x.detach(), groups, ends, kn, shared)


@_forward.register_fake
def _(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool) -> Tensor:
    _check_fake(x, w, groups)
    return x.new_empty((x.shape[0], w.shape[-1] if kn else w.shape[-2]))


@_grad_x.register_fake
def _(dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool) -> Tensor:
    _check_fake(dy, w, groups)
    return dy.new_empty((dy.shape[0], w.shape[-2] if kn else w.shape[-1]))


@_grad_w.register_fake
def _(dy: Tensor, x: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool) -> Tensor:
    shape = (x.shape[1], dy.shape[1]) if kn else (dy.shape[1], x.shape[1])
    return dy.new_empty(shape if shared else (groups.shape[0], *shape))


def _check_fake(lhs: Tensor, w: Tensor, groups: Tensor) -> None:
    torch._check(lhs.dim() == 2, lambda: f"the first operand has {lhs.dim()} dimensions, 2 are needed")
    torch._check(w.dim() in (2, 3), lambda: f"w has {w.dim()} dimensions, 3 are needed, or 2 for one weight for all")
    torch._check(groups.dim() == 1, lambda: f"sizes (or ends) has {groups.dim()} dimensions, 1 is needed")


# Each product is linear in both operands, and the derivative by either is one of the other two.


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    lhs, rhs, groups, *ctx.options = inputs
    ctx.save_for_backward(lhs, rhs, groups)


def _forward_backward(ctx: Any, dy: Tensor) -> tuple:
    x, w, groups = ctx.saved_tensors
    ends, kn = ctx.options
    need_x, need_w = ctx.needs_input_grad[:2]
    dx = _call(GRAD_X, dy, w, groups, ends, kn, False) if need_x else None
    dw = _call(GRAD_W, dy, x, groups, ends, kn, w.dim() == 2) if need_w else None
    return dx, dw, None, None, None


def _grad_x_backward(ctx: Any, ddx: Tensor) -> tuple:
    dy, w, groups = ctx.saved_tensors
    ends, kn = ctx.options
    need_dy, need_w = ctx.needs_input_grad[:2]
    ddy = _call(FORWARD, ddx, w, groups, ends, kn, False) if need_dy else None
    dw = _call(GRAD_W, dy, ddx, groups, ends, kn, w.dim() == 2) if need_w else None
    return ddy, dw, None, None, None


def _grad_w_backward(ctx: Any, ddw: Tensor) -> tuple:
    dy, x, groups = ctx.saved_tensors
    ends, kn, _ = ctx.options
    need_dy, need_x = ctx.needs_input_grad[:2]
    ddy = _call(FORWARD, x, ddw, groups, ends, kn, False) if need_dy else None
    dx = _call(GRAD_X, dy, ddw, groups, ends, kn, False) if need_x else None
    return ddy, dx, None, None, None, None


_forward.register_autograd(_forward_backward, setup_context=_keep)
_grad_x.register_autograd(_grad_x_backward, setup_context=_keep)
_grad_w.register_autograd(_grad_w_backward, setup_context=_keep)

_OPERATORS = (_forward, _grad_x, _grad_w)


# The same for eager mode, past the dispatcher.


class _EagerForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool) -> Tensor:
        ctx.options = ends, kn
        ctx.save_for_backward(x, w, groups)
        return _launch(FORWARD, x, w, groups, ends, kn, False)

    backward = staticmethod(_forward_backward)


class _EagerGradX(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool) -> Tensor:
        ctx.options = ends, kn
        ctx.save_for_backward(dy, w, groups)
        return _launch(GRAD_X, dy, w, groups, ends, kn, False)

    backward = staticmethod(_grad_x_backward)


class _EagerGradW(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dy: Tensor, x: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool) -> Tensor:
        ctx.options = ends, kn, shared
        ctx.save_for_backward(dy, x, groups)
        return _launch(GRAD_W, dy, x, groups, ends, kn, shared)

    backward = staticmethod(_grad_w_backward)


# What `apply` calls in the end; on its way there it looks for torch.func, as is done here already.
_EAGER = tuple(super(torch.autograd.Function, function).apply for function in (_EagerForward, _EagerGradX, _EagerGradW))


# The same for torch.func, which wants the context set up apart and calls slower.


class _FuncForward(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool) -> Tensor:
        return _launch(FORWARD, x, w, groups, ends, kn, False)

    setup_context = staticmethod(_keep)
    backward = staticmethod(_forward_backward)


class _FuncGradX(torch.autograd.Function):
    @staticmethod
    def forward(dy: Tensor, w: Tensor, groups: Tensor, ends: bool, kn: bool) -> Tensor:
        return _launch(GRAD_X, dy, w, groups, ends, kn, False)

    setup_context = staticmethod(_keep)
    backward = staticmethod(_grad_x_backward)


class _FuncGradW(torch.autograd.Function):
    @staticmethod
    def forward(dy: Tensor, x: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool) -> Tensor:
        return _launch(GRAD_W, dy, x, groups, ends, kn, shared)

    setup_context = staticmethod(_keep)
    backward = staticmethod(_grad_w_backward)


_FUNC = (_FuncForward, _FuncGradX, _FuncGradW)


def _call(operation: int, lhs: Tensor, rhs: Tensor, groups: Tensor, ends: bool, kn: bool, shared: bool) -> Tensor:
    options = (ends, kn, shared) if operation == GRAD_W else (ends, kn)
    if _is_compiling() or _dispatch_modes() or not (type(lhs) in _PLAIN and type(rhs) in _PLAIN):
        return _OPERATORS[operation](lhs, rhs, groups, *options)
    if _is_transformed():
        return _FUNC[operation].apply(lhs, rhs, groups, *options)
    if _is_grad_enabled() and (lhs.requires_grad or rhs.requires_grad):
        return _EAGER[operation](lhs, rhs, groups, *options)
    return _launch(operation, lhs, rhs, groups, ends, kn, shared)


def _keeps(x: Tensor, w: Tensor | None) -> bool:
    """Whether copies of w may be made now and kept: nothing traces, transforms or captures."""
    if _is_compiling() or _dispatch_modes() or _is_transformed():
        return False
    return (w is None or type(w) in _PLAIN) and not _TORCH.is_capturing(x)


def grouped_mm(
    x: Tensor,
    w: Tensor | QuantizedWeights,
    sizes: Tensor | None = None,
    *,
    ends: Tensor | None = None,
    w_layout: str = "nk",
    recipe: str | None = None,
    gradients: str = "float8_e5m2",
) -> Tensor:
    """``y[r] = x[r] @ w[g].T`` for every row r of every group g, differentiable in x and w, as often as wanted.

    Args:
        x: [M, K], bfloat16, float16 or float32; the rows of a group stand together. A GPU multiplies float32 as TF32, and
            only where ``torch.set_float32_matmul_precision`` says "high" or "medium".
        w: [G, N, K], or with ``w_layout="kn"`` [G, K, N]; 2-D: one weight for all groups. A transposed view is read as it
            lies, without a copy, and its gradient is made in the same order. Or `ggemm.QuantizedWeights`, kept from call to
            call: the product is one of fp8 copies then, and w_layout theirs.
        sizes: [G], int32 or int64, the rows of each group, on x' device; the host never reads them on a GPU.
        ends: [G], the row after each group's last (torch's ``offs``). Exactly one of sizes and ends is given.
        w_layout: which of the weight's dimensions comes first, "nk" or "kn".
        recipe: None, or "fp8_block" or "fp8_row": each product, backward too, is one of fp8 copies, which are made before
            it, with scales as `ggemm.quantize` describes. x and w become float8_e4m3fn. Differentiable once. On a GPU it
            takes sm_90 and N and K that are multiples of 16. x and dy are quantized once for both of their products; where w
            needs a gradient, x' copy for it, of a byte an element, is saved for backward in place of x. A weight that is a tensor is quantized by every call and once
            more by its backward: torch does not tell of all writes. `ggemm.QuantizedWeights` are made once an update.
        gradients: what dy becomes, "float8_e5m2", which reaches further, or "float8_e4m3fn", which is finer.

    Returns:
        [M, N] in x' dtype. Rows past the last group are zeros, and so are their gradients.

    Call it once before the first capture of a CUDA graph with tensors of the same shape: that loads the kernel.

    Under autocast both operands are cast to autocast's dtype.
    """
    if (sizes is None) == (ends is None):
        given = "neither" if sizes is None else "both"
        raise ArgumentTypeError(f"exactly one of sizes and ends says which rows are whose, and {given} was given")
    if w_layout not in ("nk", "kn"):
        raise ArgumentError(f'w_layout is "{w_layout}", expected "nk" or "kn"')
    kn = w_layout == "kn"
    if (_is_compiling() or _is_any_autocast()) and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, w = x.to(dtype), w if type(w) is QuantizedWeights else w.to(dtype)
    by_ends = sizes is None
    groups = ends if by_ends else sizes
    if type(w) is QuantizedWeights:
        return _fp8.grouped_mm_kept(x, w, groups, by_ends, recipe, gradients, _keeps(x, w.source))
    if w.dim() >= 2 and w.stride(-1) != 1 and w.stride(-2) == 1:
        # Rows in memory are the view's columns: the gradient is then made in memory's order too.
        w, kn = w.transpose(-2, -1), not kn
    if recipe is not None:
        return _fp8.grouped_mm(x, w, groups, by_ends, kn, recipe, gradients)
    return _call(FORWARD, x, w, groups, by_ends, kn, False)


def grouped_mm_like_torch(
    x: Tensor,
    w_gkn: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """In place of ``torch._grouped_mm`` and ``torch.nn.functional.grouped_mm`` where the groups are ragged.

    x [M, K] and w_gkn [G, K, N] give [M, N] (the groups are runs of rows). x [N, M] and w_gkn [M, K] give [G, N, K] (the
    groups are runs of the reduction, as in a weight's gradient). Unlike torch's, sizes, strides and alignment are free,
    and rows past the last group are zeros.
    """
    if bias is not None:
        raise ArgumentError("bias is given, which no grouped product here adds: pass None and add it to the rows")
    if offs is None:
        raise ArgumentError("offs is None: ggemm multiplies ragged groups; use torch.bmm for equal ones")
    if out_dtype is not None and out_dtype != x.dtype:
        raise ArgumentError(f"out_dtype is {out_dtype}, x holds {x.dtype}: only x' own dtype is made here")
    if x.dim() == 2 and w_gkn.dim() == 3:
        return grouped_mm(x, w_gkn, ends=offs, w_layout="kn")
    if x.dim() == 2 and w_gkn.dim() == 2:
        return _call(GRAD_W, x.t(), w_gkn, offs, True, False, False)
    raise ArgumentError(
        f"x has {x.dim()} dimensions and w_gkn {w_gkn.dim()}: give [M, K] and [G, K, N], or [N, M] and [M, K]"
    )


class GroupedLinear(nn.Module):
    """A linear layer without bias for each group, on rows that are sorted by group.

    ``weight`` is [groups, out_features, in_features], or with ``w_layout="kn"`` [groups, in_features, out_features].
    ``recipe`` is `grouped_mm`'s. With ``keep_copies`` the weight's fp8 copies are kept from call to call, by
    `ggemm.QuantizedWeights` that follow it: made at the first call, and again after a step of any optimizer or a write that
    torch counts. Their documentation says which writes nobody tells of; it is off unless asked for because of those.
    """

    def __init__(
        self,
        groups: int,
        in_features: int,
        out_features: int,
        *,
        w_layout: str = "nk",
        recipe: str | None = None,
        keep_copies: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = torch.bfloat16,
    ) -> None:
        super().__init__()
        if keep_copies and recipe is None:
            raise ArgumentError("keep_copies is set and recipe is None: without a recipe there are no copies")
        if w_layout not in ("nk", "kn"):
            raise ArgumentError(f'w_layout is "{w_layout}", expected "nk" or "kn"')
        self.groups, self.in_features, self.out_features, self.w_layout = groups, in_features, out_features, w_layout
        self.recipe, self.keep_copies = recipe, keep_copies
        self._kept: QuantizedWeights | None = None
        matrix = (out_features, in_features) if w_layout == "nk" else (in_features, out_features)
        self.weight = nn.Parameter(torch.empty((groups, *matrix), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As torch.nn.Linear's, of each group's own fan-in."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, sizes: Tensor | None = None, *, ends: Tensor | None = None) -> Tensor:
        """x [M, in_features] to [M, out_features]; see `grouped_mm`."""
        w = self.weight
        # What stands in for the parameter, as in torch.func.functional_call, lives no longer than the call.
        if self.keep_copies and type(w) is nn.Parameter and _keeps(x, w):
            w = self._copies(w)
        return grouped_mm(x, w, sizes, ends=ends, w_layout=self.w_layout, recipe=self.recipe)

    def _copies(self, w: Tensor) -> QuantizedWeights:
        kept = self._kept
        # Another parameter may have taken the weight's name.
        if kept is None or kept.source is not w:
            scaling = _fp8.scaling_of(self.recipe)
            kept = self._kept = QuantizedWeights(w, scaling=scaling, w_layout=self.w_layout, follow=True)
        return kept

    def extra_repr(self) -> str:
        return (
            f"groups={self.groups}, in_features={self.in_features}, out_features={self.out_features}, "
            f"w_layout={self.w_layout!r}"
        )
