"""Tuning: which variants are fastest here, kept for every later plan on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import _frameworks, _ggemm
from ._errors import ArgumentError
from ._plan import _device


def tune(
    layers: Iterable[Mapping[str, Any]] | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    tokens: int | Sequence[int] | None = None,
    expert_parallel: int = 1,
    dtype: Any = "bfloat16",
    out_dtype: Any = None,
    w_layout: str = "nk",
    device: str | int | None = None,
    table: str | os.PathLike[str] | None = None,
    within: float = 2.0,
    again: bool = False,
) -> list[_ggemm.Tuned]:
    """Times the kernel variants for some layers on a GPU, verifies the winners, and keeps them in a table by which every
    later plan on this machine chooses. What is done stays done: it can be stopped at any moment and goes on from there.

    Args:
        layers: dicts with ``name``, ``groups``, ``m``, ``n`` and ``k``, and where wanted ``sizes`` (the rows of each
            group), ``spread`` ("balanced", "zipf", "one-hot" or "ragged") and ``operations``.
        model: a model's ``config.json``; its two layers of experts are tuned for each of ``tokens``.
        tokens: tokens of a batch on each GPU.
        expert_parallel: GPUs that share the model's experts.
        dtype, out_dtype, w_layout: as in `ggemm.plan`, for all layers.
        device: "cuda", "cuda:N" or N; default: what `ggemm.probe` finds.
        table: the table's file; default: what ``GGEMM_TABLE`` names, else the user's.
        within: variants are timed whose predicted time is within this factor of the least.
        again: tunes what the table has already.

    Returns:
        What was found for each problem: ``label``, ``problem``, ``variant``, ``microseconds`` and ``known``.
    """
    if layers is None and model is None:
        raise ArgumentError("there is nothing to tune: pass layers, or model and tokens")
    if (model is None) != (tokens is None):
        raise ArgumentError("model and tokens belong together: pass both, or neither")
    suite = None if layers is None else json.dumps({"cases": [dict(layer) for layer in layers]})
    config = None
    if model is not None:
        batches = [tokens] if isinstance(tokens, int) else list(tokens)
        config = (os.fspath(model), batches, expert_parallel)
    types = (
        _frameworks.dtype_code(dtype, "dtype"),
        None if out_dtype is None else _frameworks.dtype_code(out_dtype, "out_dtype"),
    )
    where = None if table is None else os.fspath(table)
    return _ggemm.tune(suite, config, types, w_layout, _device(device), where, within, again)
