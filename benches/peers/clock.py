"""Times on the GPU of callables that take turns, each for a block of launches.

A card at its limit of power clocks by what it ran in the last milliseconds: behind a cool launch a hot one looks up to 7 %
faster than it is. So a turn is a block of launches of one callable, of which the first warm the card up.
"""

from __future__ import annotations

import random
import statistics

import torch

# Long enough for the host to ask for what follows while the GPU is still busy.
FLUSH_BYTES = 512 << 20
# Milliseconds that a block takes before it counts, and those that count.
WARM_UP_MS, COUNTED_MS = 4.0, 24.0
# What a flush takes, about.
FLUSH_MS = 0.25
# Launches that count at least, for callables that take longer than a block.
FEWEST = 3


def take_turns(runs: dict, rounds: int) -> dict[str, list[float]]:
    """Microseconds of the GPU, for each round the median of a block. The order of blocks is drawn anew each round."""
    flush = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")
    spans = {name: FLUSH_MS + statistics.median(_block(run, flush, FEWEST)) / 1e3 for name, run in runs.items()}
    times, order = {name: [] for name in runs}, random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(runs), len(runs)):
            warm_up, counted = (max(FEWEST, round(span / spans[name])) for span in (WARM_UP_MS, COUNTED_MS))
            _block(runs[name], flush, warm_up)
            times[name].append(statistics.median(_block(runs[name], flush, counted)))
    return times


def _block(run, flush: torch.Tensor, launches: int) -> list[float]:
    """Microseconds of each of so many launches in a row, L2 flushed before each."""
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(launches)]
    for start, end in events:
        flush.zero_()
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) * 1e3 for start, end in events]


def median(times: list[float]) -> float:
    """The middle of a callable's rounds."""
    return statistics.median(times)
