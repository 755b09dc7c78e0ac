"""The native part. Use the package: what is here takes addresses as they are."""

from typing import Any, TypeAlias

__version__: str

# Address, dtype code, shape, strides in elements, device code (-1: the host).
_Tensor: TypeAlias = tuple[int, int, tuple[int, ...], tuple[int, ...], int] | Imported

class Device:
    """The device that ggemm would choose, and what is known of it."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def arch(self) -> str | None: ...
    @property
    def driver(self) -> str | None: ...
    @property
    def why_not_gpu(self) -> str | None: ...
    @property
    def is_gpu(self) -> bool: ...

class Imported:
    """A tensor that another framework exported by DLPack."""

    def __init__(self, capsule: Any) -> None: ...
    @property
    def device(self) -> int: ...

class Plan:
    """A problem bound to a device and to what computes it."""

    @property
    def variant(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def problem(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def operation(self) -> int: ...
    @property
    def options(self) -> tuple[bool, str, str, bool, bool, int]: ...
    @property
    def m(self) -> int | None: ...
    @property
    def fast_accumulation(self) -> bool: ...
    @property
    def allow_tf32(self) -> bool: ...

def probe() -> Device:
    """Looks for a GPU. Where there is none, the result is the CPU and says why."""

def out_shape(
    operation: int,
    lhs: _Tensor,
    rhs: _Tensor,
    groups: _Tensor,
    w_layout: str,
    shared: bool,
    m: int | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]: ...
def run(
    operation: int,
    lhs: _Tensor,
    rhs: _Tensor,
    groups: _Tensor,
    out: _Tensor,
    ends: bool,
    w_layout: str,
    tail: str,
    accumulate: bool,
    stream: int,
    plan: Plan | None = None,
    scales: tuple[_Tensor, _Tensor] | None = None,
    m: int | None = None,
    fast_accumulation: bool = False,
    allow_tf32: bool = False,
) -> int: ...
def synchronize(device: int, stream: int) -> None: ...
def plan(
    operation: int,
    extents: tuple[int, int, int, int],
    types: tuple[int, int, int],
    w_layout: str,
    shared: bool,
    ends: bool,
    tail: str,
    accumulate: bool,
    strides: tuple[int | None, int | None, int | None, int | None],
    device: int,
    variant: str | None,
    batch_invariant: bool,
    checked: bool,
    scaling: str | None = None,
    second: int | None = None,
    reduction_blocks: bool = False,
    fast_accumulation: bool = False,
    allow_tf32: bool = False,
) -> Plan: ...

# Operation, which operand, dtype code, scaling, w_layout, to_layout, shared, reduction_blocks.
_Kind: TypeAlias = tuple[int, int, int, str, str, str, bool, bool]

def quantized_shapes(
    kind: _Kind, source: _Tensor, groups: _Tensor | None, ends: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]: ...
def quantize(
    kind: _Kind,
    source: _Tensor,
    groups: _Tensor | None,
    ends: bool,
    powers_of_two: bool,
    made: tuple[_Tensor, _Tensor],
    stream: int,
) -> int: ...
def quantize_both(
    kinds: tuple[_Kind, _Kind],
    source: _Tensor,
    groups: _Tensor | None,
    ends: bool,
    powers_of_two: bool,
    made: tuple[tuple[_Tensor, _Tensor], tuple[_Tensor, _Tensor]],
    stream: int,
) -> int: ...

class Tuned:
    @property
    def label(self) -> str: ...
    @property
    def problem(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def microseconds(self) -> float: ...
    @property
    def known(self) -> bool: ...

def tune(
    suite: str | None,
    model: tuple[str, list[int], int] | None,
    types: tuple[int, int | None],
    w_layout: str,
    device: int,
    table: str | None,
    within: float,
    again: bool,
) -> list[Tuned]: ...
