"""What each framework calls things: where a tensor is, which stream is current, how an output is made.

A framework is an object with these methods. Tensors go to the native part as ``(address, dtype code, shape, strides in
elements, device code)`` or as an imported DLPack tensor; device code -1 is the host, else the GPU's ordinal.
"""

from __future__ import annotations

import sys
from typing import Any

from . import _ggemm
from ._errors import ArgumentError, ArgumentTypeError

BF16, F16, F32, I32, I64, E4M3, E5M2 = range(7)
CODES = {
    "bfloat16": BF16,
    "bf16": BF16,
    "float16": F16,
    "f16": F16,
    "half": F16,
    "float32": F32,
    "f32": F32,
    "float": F32,
    "int32": I32,
    "int64": I64,
    "float8_e4m3fn": E4M3,
    "e4m3": E4M3,
    "float8_e5m2": E5M2,
    "e5m2": E5M2,
}
NAMES = ("bfloat16", "float16", "float32", "int32", "int64", "float8_e4m3fn", "float8_e5m2")

# The driver's own name for its default stream, which DLPack shares.
LEGACY_STREAM = 1


def dtype_code(dtype: Any, argument: str) -> int:
    """The code of a dtype of any framework, or of its name."""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    code = CODES.get(name.removeprefix("torch."))
    if code is None:
        raise unknown_dtype(argument, name)
    return code


def unknown_dtype(argument: str, name: object) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{argument} holds {name}: ggemm multiplies bfloat16, float16, float32, float8_e4m3fn and float8_e5m2 into bfloat16, float16 "
        "or float32, by int32 or int64 sizes or ends; convert it"
    )


class Torch:
    """torch, on its current stream."""

    rewrites = True

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.codes = {getattr(torch, name): code for code, name in enumerate(NAMES)}
        self.dtypes = {code: dtype for dtype, code in self.codes.items()}
        self.is_grad_enabled = torch.is_grad_enabled
        # The handle alone, without an object around it: a microsecond less for each call.
        self.raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)
        self.increment_version = getattr(torch.autograd.graph, "increment_version", None)

    def stream(self, tensor: Any) -> int:
        if not tensor.is_cuda:
            return 0
        device = tensor.get_device()
        if self.raw_stream is not None:
            return self.raw_stream(device)
        return self.torch.cuda.current_stream(device).cuda_stream

    def raw(self, tensor: Any, argument: str, stream: int) -> tuple:
        try:
            device = tensor.get_device()
            # An index alone does not say of which kind of device.
            if not (tensor.is_cuda if device >= 0 else tensor.is_cpu):
                raise ArgumentError(f"{argument} is on {tensor.device}: ggemm computes on cpu and cuda; move it there")
            return (tensor.data_ptr(), self.codes[tensor.dtype], tensor.shape, tensor.stride(), device)
        except (KeyError, AttributeError, RuntimeError) as error:
            raise self.refused(tensor, argument, error) from None

    def refused(self, tensor: Any, argument: str, error: Exception) -> Exception:
        if not isinstance(tensor, self.torch.Tensor):
            return ArgumentTypeError(f"{argument} is {type(tensor).__name__}, beside torch tensors: pass a torch tensor")
        if isinstance(error, KeyError):
            return unknown_dtype(argument, tensor.dtype)
        return ArgumentTypeError(f"{argument} has no memory to read: {error}")

    def check(self, *tensors: Any) -> None:
        """Refuses what autograd would be expected to record."""
        if not self.is_grad_enabled():
            return
        for tensor in tensors:
            if not getattr(tensor, "requires_grad", False):
                continue
            raise ArgumentError(
                "a tensor requires grad, which this function does not record: call ggemm.torch.grouped_mm, "
                "or use torch.no_grad() or detach()"
            )

    def writable(self, tensor: Any) -> None:
        pass

    def empty(self, like: Any, shape: tuple, code: int | None) -> Any:
        if code is None:
            return like.new_empty(shape)
        return like.new_empty(shape, dtype=self.dtypes[code])

    def new(self, like: Any, shape: tuple, strides: tuple, raw: tuple, code: int | None, stream: int) -> tuple:
        """A new tensor and what the native part is told of it: torch need not be asked for what was asked of it."""
        tensor = self.empty(like, shape, code)
        return tensor, (tensor.data_ptr(), raw[1] if code is None else code, shape, strides, raw[4])

    def dense(self, tensor: Any) -> Any:
        return tensor.contiguous()

    def copy(self, tensor: Any) -> Any:
        return tensor.clone(memory_format=self.torch.contiguous_format)

    def assign(self, tensor: Any, value: Any) -> None:
        tensor.copy_(value)

    def written(self, tensor: Any) -> None:
        """Lets autograd know, as torch's own operations do, that a tensor of the caller's was written."""
        if self.increment_version is not None:
            self.increment_version(tensor)

    def lasting(self, like: Any, shape: tuple, code: int) -> Any:
        """An empty tensor that autograd may save, even if it is made in inference mode."""
        with self.torch.inference_mode(False):
            return self.empty(like, shape, code)

    def is_capturing(self, tensor: Any) -> bool:
        return tensor.is_cuda and self.torch.cuda.is_current_stream_capturing()

    def fence(self, tensor: Any) -> Any:
        """What another stream must wait for that reads what the current one was just asked to write; None on the host, and
        in a capture, whose events nobody outside can wait for."""
        if not tensor.is_cuda or self.is_capturing(tensor):
            return None
        event = self.torch.cuda.Event()
        event.record(self.torch.cuda.current_stream(tensor.device))
        return event

    def wait(self, fence: Any, *tensors: Any) -> None:
        """Lets the current stream wait, and the allocator know that it reads the tensors."""
        if fence is None or self.is_capturing(tensors[0]):
            return
        stream = self.torch.cuda.current_stream(tensors[0].device)
        stream.wait_event(fence)
        for tensor in tensors:
            tensor.record_stream(stream)

    def finish(self, device: int, stream: int) -> None:
        pass


class _Untracked:
    """What frameworks share that know neither autograd nor captures, and order streams by themselves."""

    # Whether what was made may be written again.
    rewrites = True

    def lasting(self, like: Any, shape: tuple, code: int) -> Any:
        return self.empty(like, shape, code)

    def is_capturing(self, tensor: Any) -> bool:
        return False

    def fence(self, tensor: Any) -> Any:
        return None

    def wait(self, fence: Any, *tensors: Any) -> None:
        pass


class NumPy(_Untracked):
    """NumPy, on the host. bfloat16 and fp8 are ml_dtypes'."""

    def __init__(self, numpy: Any) -> None:
        self.numpy = numpy

    def stream(self, tensor: Any) -> int:
        return 0

    def raw(self, tensor: Any, argument: str, stream: int) -> tuple:
        numpy = self.numpy
        if not isinstance(tensor, numpy.ndarray):
            raise ArgumentTypeError(f"{argument} is {type(tensor).__name__}, beside NumPy arrays: pass a NumPy array")
        code = CODES.get(tensor.dtype.name) if tensor.dtype.isnative else None
        if code is None:
            raise unknown_dtype(argument, f"{tensor.dtype.str} ({tensor.dtype.name})")
        size = tensor.dtype.itemsize
        strides = tensor.strides
        if any(stride % size for stride in strides):
            # A field of a structured array, say: the zeros send it to be copied.
            strides = (0,) * len(strides)
        return (
            tensor.__array_interface__["data"][0],
            code,
            tensor.shape,
            tuple(stride // size for stride in strides),
            -1,
        )

    def check(self, *tensors: Any) -> None:
        pass

    def writable(self, tensor: Any) -> None:
        if not getattr(getattr(tensor, "flags", None), "writeable", True):
            raise ArgumentError("out is read-only: pass an array that may be written")

    def empty(self, like: Any, shape: tuple, code: int | None) -> Any:
        return self.numpy.empty(shape, like.dtype if code is None else self.dtype(code))

    def new(self, like: Any, shape: tuple, strides: tuple, raw: Any, code: int | None, stream: int) -> tuple:
        tensor = self.empty(like, shape, code)
        return tensor, self.raw(tensor, "out", stream)

    def dtype(self, code: int) -> Any:
        if code in (BF16, E4M3, E5M2):
            try:
                import ml_dtypes
            except ImportError:
                raise ArgumentTypeError(f"NumPy has no {NAMES[code]} of its own: install ml_dtypes") from None
            return self.numpy.dtype(getattr(ml_dtypes, NAMES[code]))
        return self.numpy.dtype(NAMES[code])

    def dense(self, tensor: Any) -> Any:
        return self.numpy.array(tensor, order="C")

    def copy(self, tensor: Any) -> Any:
        return self.numpy.array(tensor, order="C")

    def assign(self, tensor: Any, value: Any) -> None:
        tensor[...] = value

    def written(self, tensor: Any) -> None:
        pass

    def finish(self, device: int, stream: int) -> None:
        pass


class DLPack(_Untracked):
    """Anything with ``__dlpack__``. The producer orders the driver's default stream behind its own work, and since nobody
    says on which stream it goes on, the call waits for the GPU."""

    name = "DLPack"

    def stream(self, tensor: Any) -> int:
        return LEGACY_STREAM

    def raw(self, tensor: Any, argument: str, stream: int) -> Any:
        try:
            export, device = tensor.__dlpack__, tensor.__dlpack_device__()
        except AttributeError:
            raise ArgumentTypeError(
                f"{argument} is {type(tensor).__name__}: pass a torch, NumPy, CuPy or JAX array, "
                "or any object with __dlpack__"
            ) from None
        given = {} if int(device[0]) in (1, 3) else {"stream": stream}
        try:
            return _ggemm.Imported(export(max_version=(1, 0), **given))
        except TypeError:
            # From before DLPack 1.0.
            return _ggemm.Imported(export(**given))

    def check(self, *tensors: Any) -> None:
        pass

    def writable(self, tensor: Any) -> None:
        pass

    def empty(self, like: Any, shape: tuple, code: int | None) -> Any:
        raise ArgumentError(f"out is missing, and ggemm cannot make a {type(like).__name__}: pass out of shape {shape}")

    def new(self, like: Any, shape: tuple, strides: tuple, raw: Any, code: int | None, stream: int) -> tuple:
        tensor = self.empty(like, shape, code)
        return tensor, self.raw(tensor, "out", stream)

    def dense(self, tensor: Any) -> Any:
        raise ArgumentError(
            f"a {type(tensor).__name__} is neither dense nor of evenly spaced rows: make it contiguous first"
        )

    copy = dense

    def assign(self, tensor: Any, value: Any) -> None:
        raise ArgumentError(f"a {type(tensor).__name__} cannot be written: pass no out")

    def written(self, tensor: Any) -> None:
        pass

    def finish(self, device: int, stream: int) -> None:
        _ggemm.synchronize(device, stream)


class CuPy(DLPack):
    """CuPy, on its current stream."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy

    def stream(self, tensor: Any) -> int:
        with tensor.device:
            return self.cupy.cuda.get_current_stream().ptr or LEGACY_STREAM

    def empty(self, like: Any, shape: tuple, code: int | None) -> Any:
        with like.device:
            return self.cupy.empty(shape, like.dtype if code is None else NAMES[code])

    def dense(self, tensor: Any) -> Any:
        return self.cupy.ascontiguousarray(tensor)

    def copy(self, tensor: Any) -> Any:
        return self.cupy.array(tensor, order="C", copy=True)

    def assign(self, tensor: Any, value: Any) -> None:
        tensor[...] = value

    def finish(self, device: int, stream: int) -> None:
        pass


class Jax(DLPack):
    """JAX. Its arrays do not change, so there is no out of the caller's; a new one is made and filled before anybody
    else sees it. JAX names no stream: the call waits for the GPU."""

    rewrites = False

    def __init__(self, jax: Any) -> None:
        import jax.numpy

        self.jax = jax
        self.jnp = jax.numpy

    def raw(self, tensor: Any, argument: str, stream: int) -> Any:
        if argument != "out":
            return super().raw(tensor, argument, stream)
        # The new array, which nobody has seen yet: in DLPack 1.x it could be marked as read-only.
        given = {} if int(tensor.__dlpack_device__()[0]) == 1 else {"stream": stream}
        return _ggemm.Imported(tensor.__dlpack__(**given))

    def writable(self, tensor: Any) -> None:
        raise ArgumentError("out is a JAX array, which does not change: pass none, and use the result")

    def empty(self, like: Any, shape: tuple, code: int | None) -> Any:
        dtype = like.dtype if code is None else NAMES[code]
        with self.jax.default_device(next(iter(like.devices()))):
            return self.jnp.empty(shape, dtype).block_until_ready()

    def dense(self, tensor: Any) -> Any:
        return self.jnp.array(tensor, copy=True)


_found: dict[type, Any] = {}
_made: dict[str, Any] = {}


def of(tensor: Any) -> Any:
    """The framework of a tensor's type."""
    return _found.get(type(tensor)) or _find(tensor)


def _find(tensor: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor):
        name, make = "torch", lambda: Torch(torch)
    elif (numpy := sys.modules.get("numpy")) is not None and isinstance(tensor, numpy.ndarray):
        name, make = "numpy", lambda: NumPy(numpy)
    elif (cupy := sys.modules.get("cupy")) is not None and isinstance(tensor, cupy.ndarray):
        name, make = "cupy", lambda: CuPy(cupy)
    elif (jax := sys.modules.get("jax")) is not None and isinstance(tensor, jax.Array):
        name, make = "jax", lambda: Jax(jax)
    else:
        name, make = "dlpack", DLPack
    framework = _made.get(name)
    if framework is None:
        framework = _made[name] = make()
    _found[type(tensor)] = framework
    return framework
