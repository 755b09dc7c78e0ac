"""Times on the GPU of callables that take turns."""

from __future__ import annotations

import torch

# Long enough for the host to ask for what follows while the GPU is still busy.
FLUSH_BYTES = 512 << 20


def take_turns(runs: dict, rounds: int) -> dict[str, list[float]]:
    """Microseconds of the GPU, one for each round."""
    flush = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")
    names, asked = list(runs), {name: [] for name in runs}
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            flush.zero_()
            start.record()
            runs[name]()
            end.record()
            # The first round warms up.
            if turn:
                asked[name].append((start, end))
    torch.cuda.synchronize()
    return {name: [start.elapsed_time(end) * 1e3 for start, end in events] for name, events in asked.items()}


def median(times: list[float]) -> float:
    return sorted(times)[len(times) // 2]
