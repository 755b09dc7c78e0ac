"""CuPy and JAX on a GPU: `pytest tests/gpu_dlpack.py`."""

import numpy as np
import pytest
from reference import products

import ggemm

SIZES = np.array([30, 0, 70, 12], np.int32)


def operands(dtype):
    rng = np.random.default_rng(4)
    return rng.integers(-2, 3, (120, 64)).astype(dtype), rng.integers(-2, 3, (4, 48, 64)).astype(dtype)


def test_cupy():
    cupy = pytest.importorskip("cupy")
    x, w = operands(np.float16)
    expected = products("forward", x, w, SIZES)[0]
    given = [cupy.asarray(array) for array in (x, w, SIZES)]
    y = ggemm.forward(*given)
    assert isinstance(y, cupy.ndarray) and y.dtype == np.float16
    np.testing.assert_array_equal(cupy.asnumpy(y), expected)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        late = cupy.zeros_like(given[0])
        late[...] = given[0]
        z = ggemm.forward(late, given[1], given[2], out_dtype="float32")
        stream.synchronize()
        np.testing.assert_array_equal(cupy.asnumpy(z), expected)
    out = cupy.zeros((120, 50), np.float16)
    ggemm.forward(given[0][:, ::-1], given[1][..., ::-1], given[2], out=out[:, 1:49])
    np.testing.assert_array_equal(cupy.asnumpy(out)[:, 1:49], expected)
    dw = ggemm.grad_w(y, given[0], given[2], out_dtype="float32")
    np.testing.assert_array_equal(cupy.asnumpy(dw), products("grad_w", expected, x, SIZES)[0])


@pytest.mark.parametrize("place", ["cpu", "gpu"])
def test_jax(place):
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    device = jax.devices(place)[0]
    x, w = operands(np.float32)
    expected = products("forward", x, w, SIZES)[0]
    with jax.default_device(device):
        given = jnp.asarray(x, jnp.bfloat16), jnp.asarray(w, jnp.bfloat16), jnp.asarray(SIZES)
        y = ggemm.forward(*given)
        assert isinstance(y, jax.Array) and y.dtype == jnp.bfloat16 and y.device == device
        np.testing.assert_array_equal(np.asarray(y, np.float64), expected.astype(jnp.bfloat16).astype(np.float64))
        z = ggemm.forward(given[0] + 0, given[1], given[2], out_dtype="float32") * 2
        np.testing.assert_array_equal(np.asarray(z, np.float64), expected * 2)
        with pytest.raises(ggemm.ArgumentError, match="does not change"):
            ggemm.forward(*given, out=y)
