"""Whether a torch tensor was written since somebody looked.

torch counts writes in a tensor's version, which views and ``detach()`` share. Three things it does not count are looked at
too: steps of optimizers, whose fused forms write without counting; another storage behind the same tensor, as after
``module.to(...)`` or ``w.data = ...``; and another shape, type or place.
"""

from __future__ import annotations

from typing import Any

_steps = 0
_is_counting = False


def _count_steps() -> None:
    global _is_counting
    if _is_counting:
        return
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def count(*_: Any) -> None:
        global _steps
        _steps += 1

    register_optimizer_step_post_hook(count)
    _is_counting = True


def version(tensor: Any) -> int | None:
    """How often torch counted a write; None of an inference tensor, whose writes it does not count."""
    return None if tensor.is_inference() else tensor._version


class Mark:
    """What a tensor is now. It keeps nothing of the tensor alive."""

    __slots__ = ("place", "steps", "storage", "version")

    def __init__(self, tensor: Any) -> None:
        from torch.multiprocessing.reductions import StorageWeakRef

        _count_steps()
        self.version = version(tensor)
        self.steps = _steps
        self.place = _place(tensor)
        # While this is held no other storage has the address, though its memory may be freed.
        self.storage = StorageWeakRef(tensor.untyped_storage())

    def is_same(self, tensor: Any) -> bool:
        """Whether torch knows of nothing that was done to the tensor."""
        return (
            self.version is not None
            and self.version == version(tensor)
            and self.place == _place(tensor)
            and self.storage.cdata == tensor.untyped_storage()._cdata
        )

    def is_current(self, tensor: Any) -> bool:
        """The same, and no optimizer has stepped, of whatever parameters."""
        return self.steps == _steps and self.is_same(tensor)


def _place(tensor: Any) -> tuple:
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.device
