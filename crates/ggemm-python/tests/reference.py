"""The three products in float64, and how far a result may be off."""

import numpy as np

# Bits of precision of a result's significand, the hidden one included.
PRECISION = {"bfloat16": 8, "float16": 11, "float32": 24}


def runs(sizes, m):
    """The rows of each group; what does not fit into m is cut off, as kernels do it."""
    start = 0
    for size in sizes:
        end = min(start + max(int(size), 0), m)
        yield slice(start, end)
        start = end


def products(operation, a, b, sizes, kn=False, shared=False):
    """The result in float64, and the sums of the products' magnitudes with their length: what rounding scales with."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def compute(a, b):
        if operation == "grad_w":
            per_group = [a[rows].T @ b[rows] for rows in runs(sizes, len(a))]
            dw = np.stack(per_group) if per_group else np.zeros((0, a.shape[1], b.shape[1]))
            dw = dw.sum(0) if shared else dw
            return np.swapaxes(dw, -1, -2) if kn else dw
        w = np.swapaxes(b, -1, -2) if kn else b
        w = np.broadcast_to(w, (len(sizes), *w.shape)) if w.ndim == 2 else w
        right = np.swapaxes(w, -1, -2) if operation == "forward" else w
        out = np.zeros((len(a), right.shape[-1]))
        for group, rows in enumerate(runs(sizes, len(a))):
            out[rows] = a[rows] @ right[group]
        return out

    with np.errstate(invalid="ignore"):
        length = a.shape[1] if operation != "grad_w" else len(a)
        return compute(a, b), compute(np.abs(a), np.abs(b)), length


def assert_close(result, expected, magnitudes, length, dtype):
    """Half a unit in the last place, plus what float32 sums may lose."""
    result = np.asarray(result).astype(np.float64)
    assert result.shape == expected.shape
    half_unit = np.maximum(np.abs(expected), 2.0**-14) * 2.0 ** -PRECISION[dtype]
    allowed = half_unit * 1.001 + (length + 1) * 2.0**-24 * magnitudes
    off = np.abs(result - expected)
    assert np.all(off <= allowed), f"off by {np.max(off / np.maximum(allowed, 1e-300)):.3g} times what is allowed"
