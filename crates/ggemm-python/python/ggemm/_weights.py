"""fp8 copies of a weight that are kept from product to product."""

from __future__ import annotations

import threading
from typing import Any

from . import _frameworks, _ggemm, _writes
from ._errors import ArgumentError, ArgumentTypeError

# One copy is made at a time: a thread that finds copies out of date waits for another that makes them.
_MAKING = threading.RLock()

# Operation, which operand, its type: w of forward, and w of grad_x, both float8_e4m3fn.
_FORWARD, _GRAD_X = (0, 1, _frameworks.E4M3), (1, 1, _frameworks.E4M3)

_SOURCE = 1


class QuantizedWeights:
    """A weight's two fp8 copies, float8_e4m3fn with scales: as forward reads it and as grad_x does. Made once for as many
    products as there are until the weight changes, in one pass over it where scales are those of blocks.

    Pass it to `forward`, `grad_x` and `ggemm.torch.grouped_mm` in place of a weight.

    ==============  ===============================  ==================================================
    attribute       what it is                       [G, N, K] weights; shared ones lack G
    ==============  ===============================  ==================================================
    nk, nk_scale    w and w_scale of forward         [G, N, K]; [G, N], or
                                                     [G, ceil(N/128), ceil(K/128)]
    kn, kn_scale    w and w_scale of grad_x          [G, K, N]; [G, K], or
                                                     [G, ceil(K/128), ceil(N/128)]
    ==============  ===============================  ==================================================

    `update` makes them anew where they lie, so that a CUDA graph may hold products of them, with the update or without.
    Nothing else changes them unless ``follow`` is set.

    Args:
        w: the weight, bfloat16, float16 or float32, of a framework that can make arrays. Kept as ``source``: gradients of
            `ggemm.torch.grouped_mm` are those of this tensor. `release` lets it go.
        scaling: "block" or "row", as in `ggemm.quantize`.
        w_layout: which of w's dimensions comes first, "nk" or "kn".
        powers_of_two: scales are rounded up to powers of two.
        follow: torch alone: copies are made at the first use, and again at a use where w may have changed since: torch
            counted a write, any optimizer stepped, or w has another storage, type or place. What neither torch nor an
            optimizer's step tells of goes unseen: writes through ``w.data``, ``apply_`` and ``map_``, another alias that counts
            for itself (NumPy, DLPack), a storage, a kernel of one's own, a collective, another process or the replay of a
            CUDA graph. After those call `update` or ``torch.autograd.graph.increment_version(w)``. While a CUDA graph is
            captured, each product makes copies of its own, which every replay makes anew.

    Copies are ordered among torch's streams: a product waits for the stream that made them. Inside a capture, and in
    other frameworks, that is the caller's. Threads may share them.
    """

    __slots__ = (
        "__weakref__",
        "_fence",
        "_mark",
        "_stream",
        "follow",
        "kn",
        "kn_scale",
        "nk",
        "nk_scale",
        "powers_of_two",
        "scaling",
        "source",
        "w_layout",
    )

    source: Any
    scaling: str
    w_layout: str
    powers_of_two: bool
    follow: bool
    nk: Any
    nk_scale: Any
    kn: Any
    kn_scale: Any

    def __init__(
        self,
        w: Any,
        *,
        scaling: str = "block",
        w_layout: str = "nk",
        powers_of_two: bool = False,
        follow: bool = False,
    ) -> None:
        if scaling not in ("block", "row"):
            raise ArgumentError(f'scaling is "{scaling}", expected "block" or "row"')
        if w_layout not in ("nk", "kn"):
            raise ArgumentError(f'w_layout is "{w_layout}", expected "nk" or "kn"')
        if follow and not _is_torch(w):
            raise ArgumentTypeError(f"follow is set and w is {type(w).__name__}: only torch counts writes; call update")
        self.source, self.scaling, self.w_layout = w, scaling, w_layout
        self.powers_of_two, self.follow = powers_of_two, follow
        self.nk = self.nk_scale = self.kn = self.kn_scale = None
        self._mark = self._fence = None
        self._stream = 0
        if not follow:
            self.update()

    def update(self, w: Any = None) -> None:
        """Makes the copies anew, of w or else of ``source``, on the current stream. They stay where they are as long as w has
        the shape and the device that it had. In torch a product that was computed before and is differentiated afterwards
        raises, as after any write in place."""
        w = self.source if w is None else w
        if w is None:
            raise ArgumentError("w is missing, and the source was let go: pass the weight to make copies of")
        with _MAKING:
            self._make(w)

    def release(self) -> None:
        """Lets the source go. What is left are constants: no gradient leads to a weight, and `update` must be given one."""
        self.source, self.follow = None, False

    def is_current(self) -> bool:
        """Whether nothing is known to have changed the source since the copies were made. True where nothing would be known:
        of frameworks other than torch, and of a source that was let go. An update that was captured counts for nothing: it is
        done by replays."""
        if self.nk is None:
            return False
        if self.source is None or not _is_torch(self.source):
            return True
        return self._mark is not None and self._mark.is_current(self.source)

    def check_source(self) -> None:
        """Refuses copies of a source that torch knows to be another now: its gradient would be that of other values."""
        if self.source is not None and self._mark is not None and not self._mark.is_same(self.source):
            raise ArgumentError("w was written since its copies were made: call update() on them before the product")

    def operand(self, operation: str) -> tuple[Any, Any, str]:
        """w, w_scale and w_layout of "forward" or of "grad_x", to be read on the current stream: made anew where they follow
        a source that changed."""
        if operation not in ("forward", "grad_x"):
            raise ArgumentError(f'operation is "{operation}", expected "forward" or "grad_x"')
        if self.follow:
            self._catch_up()
        self._order()
        return (self.nk, self.nk_scale, "nk") if operation == "forward" else (self.kn, self.kn_scale, "kn")

    def _catch_up(self) -> None:
        with _MAKING:
            if _frameworks.of(self.source).is_capturing(self.source) or not self.is_current():
                self._make(self.source)

    def _order(self) -> None:
        """Lets the current stream wait for the one that made the copies."""
        framework = _frameworks.of(self.nk)
        if framework.stream(self.nk) != self._stream:
            framework.wait(self._fence, self.nk, self.nk_scale, self.kn, self.kn_scale)

    def _make(self, w: Any) -> None:
        framework = _frameworks.of(w)
        # What is written while it is read is seen as changed.
        mark = _writes.Mark(self.source) if self.source is not None and _is_torch(self.source) else None
        stream = framework.stream(w)
        raw = framework.raw(w, "w", stream)
        kinds = tuple(
            (*which, self.scaling, self.w_layout, layout, False, False)
            for which, layout in ((_FORWARD, "nk"), (_GRAD_X, "kn"))
        )
        pairs = [(self.nk, self.nk_scale), (self.kn, self.kn_scale)]
        for number, kind in enumerate(kinds):
            shapes = _ggemm.quantized_shapes(kind, raw, None, False)
            if not (framework.rewrites and _fits(pairs[number], shapes, w)):
                codes = (_frameworks.E4M3, _frameworks.F32)
                pairs[number] = tuple(framework.lasting(w, shape, code) for shape, code in zip(shapes, codes))
        made = tuple(tuple(framework.raw(tensor, "out", stream) for tensor in pair) for pair in pairs)
        if _ggemm.quantize_both(kinds, raw, None, False, self.powers_of_two, made, stream) & _SOURCE:
            w = framework.dense(w)
            raw = framework.raw(w, "w", stream)
            if _ggemm.quantize_both(kinds, raw, None, False, self.powers_of_two, made, stream):
                raise ArgumentError("w cannot be laid out densely: copy it first")
        for pair in pairs:
            for tensor in pair:
                framework.written(tensor)
        framework.finish(raw[4] if type(raw) is tuple else raw.device, stream)
        (self.nk, self.nk_scale), (self.kn, self.kn_scale) = pairs
        self._fence, self._stream = framework.fence(self.nk), stream
        if not framework.is_capturing(w):
            self._mark = mark

    def __reduce__(self) -> tuple:
        if self.source is None:
            raise ArgumentError("the source of these copies was let go, and copies alone are not pickled or deep-copied")
        return _again, (self.source, self.scaling, self.w_layout, self.powers_of_two, self.follow)

    def __repr__(self) -> str:
        shape = None if self.nk is None else tuple(self.nk.shape)
        return (
            f"QuantizedWeights(nk={shape}, scaling={self.scaling!r}, w_layout={self.w_layout!r}, "
            f"powers_of_two={self.powers_of_two}, follow={self.follow})"
        )


def _again(w: Any, scaling: str, w_layout: str, powers_of_two: bool, follow: bool) -> QuantizedWeights:
    return QuantizedWeights(w, scaling=scaling, w_layout=w_layout, powers_of_two=powers_of_two, follow=follow)


def _is_torch(tensor: Any) -> bool:
    return isinstance(_frameworks.of(tensor), _frameworks.Torch)


def _fits(pair: tuple, shapes: tuple, w: Any) -> bool:
    """Whether these can be written again."""
    return all(
        tensor is not None
        and tuple(tensor.shape) == tuple(shape)
        and getattr(tensor, "device", None) == getattr(w, "device", None)
        for tensor, shape in zip(pair, shapes)
    )
