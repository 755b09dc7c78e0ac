"""Grouped GEMMs for Mixture-of-Experts layers.

M rows (tokens) are sorted by group (expert); group g owns a run of rows, given by sizes or by ends.

=========  =======================  ==============  ==============================================
operation  inputs                   output          definition
=========  =======================  ==============  ==============================================
forward    x [M, K], w              y [M, N]        y[r] = x[r] @ w[g].T, g the group of row r
grad_x     dy [M, N], w             dx [M, K]       dx[r] = dy[r] @ w[g]
grad_w     dy [M, N], x [M, K]      dw like w       dw[g] = dy[rows of g].T @ x[rows of g]
=========  =======================  ==============  ==============================================

Operands of float8_e4m3fn and float8_e5m2 have scales, which `quantize` makes, and describes; `quantize_both` makes both
copies of x or dy that a step of training multiplies, and `QuantizedWeights` keep both of a weight from product to product.
GPUs from sm_89 on multiply them where every operand lies along its reduction.

Tensors are torch's, NumPy's, CuPy's or JAX', or of anything else with ``__dlpack__``. On a GPU a call asks for the work on
the caller's current stream and returns; sizes and ends are never read by the host. ``ggemm.torch`` has the function that
autograd, ``torch.compile`` and CUDA graphs know, and a module.
"""

from ._errors import ArgumentError, ArgumentTypeError, DeviceError, Error, UnsupportedError
from ._ggemm import Device, Tuned, __version__, probe
from ._plan import Plan, plan
from ._products import forward, grad_w, grad_x
from ._quantize import quantize, quantize_both
from ._tune import tune
from ._weights import QuantizedWeights

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "Device",
    "DeviceError",
    "Error",
    "Plan",
    "QuantizedWeights",
    "Tuned",
    "UnsupportedError",
    "__version__",
    "forward",
    "grad_w",
    "grad_x",
    "plan",
    "probe",
    "quantize",
    "quantize_both",
    "tune",
]
