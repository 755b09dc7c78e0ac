"""NumPy arrays on the host, against float64."""

import threading

import ml_dtypes
import numpy as np
import pytest
from reference import assert_close, products

import ggemm

BF16 = np.dtype(ml_dtypes.bfloat16)
F16 = np.dtype(np.float16)
F32 = np.dtype(np.float32)

RAGGED = [
    ([3, 0, 5, 1], 9, 16, 24),
    ([0, 0, 70, 0], 70, 33, 17),
    ([7], 7, 1, 1),
    ([2, 3], 12, 40, 8),  # a tail of seven rows
    ([0, 0], 5, 8, 8),
    ([0, 0, 0], 0, 8, 16),
    ([4, 4], 8, 8, 0),
    ([1] * 50, 50, 64, 128),
]


def random(shape, dtype, seed=0, scale=1.0):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * scale).astype(dtype)


def operands(operation, sizes, m, n, k, dtype, kn=False, shared=False):
    w = (k, n) if kn else (n, k)
    w = w if shared else (len(sizes), *w)
    shapes = {"forward": ((m, k), w), "grad_x": ((m, n), w), "grad_w": ((m, n), (m, k))}[operation]
    return random(shapes[0], dtype, 1), random(shapes[1], dtype, 2)


def options(operation, kn, shared=False):
    given = {"w_layout": "kn"} if kn else {}
    return given | ({"shared": True} if shared and operation == "grad_w" else {})


def check(operation, a, b, sizes, dtype, result, kn=False, shared=False):
    assert_close(result, *products(operation, a, b, sizes, kn, shared), dtype.name)


@pytest.mark.parametrize("operation", ["forward", "grad_x", "grad_w"])
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("shared", [False, True], ids=["per-expert", "shared"])
@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
@pytest.mark.parametrize("problem", RAGGED, ids=str)
def test_against_float64(operation, kn, shared, dtype, problem):
    sizes, m, n, k = problem
    a, b = operands(operation, sizes, m, n, k, dtype, kn, shared)
    call = getattr(ggemm, operation)
    for index in (np.int32, np.int64):
        for given in ({"sizes": np.array(sizes, index)}, {"ends": np.cumsum(sizes).astype(index)}):
            result = call(a, b, **given, **options(operation, kn, shared))
            assert result.dtype == dtype
            check(operation, a, b, sizes, dtype, result, kn, shared)


@pytest.mark.parametrize("operation", ["forward", "grad_x", "grad_w"])
@pytest.mark.parametrize("wanted", ["float32", F32, np.float16, "bfloat16", "bf16"], ids=str)
def test_the_outputs_dtype(operation, wanted):
    sizes = np.array([5, 0, 11], np.int32)
    a, b = operands(operation, sizes, 16, 24, 40, BF16)
    result = getattr(ggemm, operation)(a, b, sizes, out_dtype=wanted)
    name = {"bf16": "bfloat16"}.get(wanted, wanted) if isinstance(wanted, str) else np.dtype(wanted).name
    assert result.dtype.name == name
    check(operation, a, b, sizes, result.dtype, result)
    out = np.full_like(result, 7)
    assert getattr(ggemm, operation)(a, b, sizes, out=out) is out
    np.testing.assert_array_equal(out, result)


@pytest.mark.parametrize("operation", ["forward", "grad_x", "grad_w"])
@pytest.mark.parametrize("kn", [False, True])
def test_float32_is_multiplied_as_it_is_on_the_host(operation, kn):
    sizes = np.array([5, 0, 11], np.int32)
    a, b = operands(operation, sizes, 16, 24, 40, F32, kn=kn)
    layout = "kn" if kn else "nk"
    result = getattr(ggemm, operation)(a, b, sizes, w_layout=layout)
    assert result.dtype == F32
    exact, magnitudes, _ = products(operation, a, b, sizes, kn)
    # Far closer than TF32 comes.
    assert np.max(np.abs(result - exact) / np.maximum(magnitudes, 1e-30)) < 2.0**-18
    np.testing.assert_array_equal(getattr(ggemm, operation)(a, b, sizes, w_layout=layout, allow_tf32=True), result)
    plan = ggemm.plan(
        operation, groups=3, m=16, n=24, k=40, dtype="float32", w_layout=layout, allow_tf32=True, device="cpu"
    )
    assert "f32->f32" in plan.problem and "allow_tf32" in plan.problem
    np.testing.assert_array_equal(plan.run(a, b, sizes), result)


def test_small_integers_are_exact():
    rng = np.random.default_rng(5)
    x, w = rng.integers(-4, 5, (300, 64)).astype(BF16), rng.integers(-4, 5, (7, 48, 64)).astype(BF16)
    sizes = np.array([100, 0, 50, 1, 149, 0, 0], np.int32)
    y = ggemm.forward(x, w, sizes, out_dtype="float32")
    np.testing.assert_array_equal(y, products("forward", x, w, sizes)[0])


def test_accumulation():
    sizes = np.array([5, 0, 11], np.int64)
    dy, x = operands("grad_w", sizes, 16, 24, 40, BF16)
    once = ggemm.grad_w(dy, x, sizes, out_dtype="float32")
    before = random(once.shape, F32, 9)
    out = before.copy()
    ggemm.grad_w(dy, x, sizes, out=out, accumulate=True)
    np.testing.assert_allclose(out, before + once, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(out[1], before[1])
    with pytest.raises(ggemm.ArgumentError, match="out is missing"):
        ggemm.grad_w(dy, x, sizes, accumulate=True)
    with pytest.raises(ggemm.ArgumentError, match="only grad_w into f32 accumulates"):
        ggemm.grad_w(dy, x, sizes, out=out.astype(BF16), accumulate=True)


def test_tails():
    x, w = operands("forward", [2, 3], 9, 16, 24, BF16)
    sizes = np.array([2, 3], np.int32)
    out = np.full((9, 16), 7, BF16)
    ggemm.forward(x, w, sizes, out=out, tail="untouched")
    assert np.all(out[5:] == 7)
    check("forward", x[:5], w, sizes, BF16, out[:5])
    ggemm.forward(x, w, sizes, out=out)
    assert np.all(out[5:] == 0)
    with pytest.raises(ggemm.ArgumentError, match="no tail was declared"):
        ggemm.forward(x, w, sizes, tail="none")
    with pytest.raises(ggemm.ArgumentError, match='tail is "keep", expected "zero"'):
        ggemm.forward(x, w, sizes, tail="keep")


@pytest.mark.parametrize("operation", ["forward", "grad_x", "grad_w"])
def test_arrays_that_are_not_dense(operation):
    sizes = np.array([5, 0, 11], np.int32)
    a, b = operands(operation, sizes, 16, 24, 40, BF16)
    expected = getattr(ggemm, operation)(a, b, sizes)

    def forms(array):
        wide = np.full((*array.shape[:-1], array.shape[-1] + 5), np.nan, BF16)
        wide[..., : array.shape[-1]] = array
        yield wide[..., : array.shape[-1]]  # rows apart
        yield np.swapaxes(np.ascontiguousarray(np.swapaxes(array, -1, -2)), -1, -2)  # columns are contiguous
        yield np.repeat(array, 2, axis=-1)[..., ::2]  # every second element
        yield array[::-1].copy()[::-1]  # negative strides
        record = np.zeros(array.shape, [("a", "u1"), ("b", array.dtype)])  # strides between elements
        record["b"] = array
        yield record["b"]

    strided_sizes = np.repeat(sizes, 3)[::3]
    for left in forms(a):
        for right in forms(b):
            np.testing.assert_array_equal(getattr(ggemm, operation)(left, right, strided_sizes), expected)
    for out in forms(np.zeros_like(expected)):
        ggemm.__dict__[operation](a, b, sizes, out=out)
        np.testing.assert_array_equal(out, expected)


def test_a_weight_that_is_expanded():
    x, w = operands("forward", [4, 4], 8, 16, 24, BF16, shared=True)
    sizes = np.array([4, 4], np.int32)
    expanded = np.broadcast_to(w, (2, *w.shape))
    np.testing.assert_array_equal(ggemm.forward(x, expanded, sizes), ggemm.forward(x, w, sizes))


def test_what_lies_beside_the_output_is_left_alone():
    x, w = operands("forward", [4, 4], 8, 16, 24, BF16)
    wide = np.full((8, 20), 3, BF16)
    ggemm.forward(x, w, np.array([4, 4], np.int32), out=wide[:, 2:18])
    assert np.all(wide[:, :2] == 3) and np.all(wide[:, 18:] == 3)


def test_an_output_that_overlaps_an_input():
    sizes = np.array([3, 5], np.int32)
    x, w = operands("forward", sizes, 8, 24, 24, BF16)
    expected = ggemm.forward(x, w, sizes)
    ggemm.forward(x, w, sizes, out=x)
    np.testing.assert_array_equal(x, expected)
    both = np.concatenate([random((8, 24), BF16, 1), np.zeros((8, 24), BF16)], axis=1)
    ggemm.forward(both[:, :24], w, sizes, out=both[:, 24:])
    np.testing.assert_array_equal(both[:, 24:], expected)


def test_nothing_outside_a_group_reaches_it():
    sizes = np.array([3, 4], np.int32)
    x, w = operands("forward", sizes, 10, 16, 24, BF16)
    clean = ggemm.forward(x, w, sizes)
    x[7:] = np.nan
    np.testing.assert_array_equal(ggemm.forward(x, w, sizes), clean)
    w[1] = np.inf
    np.testing.assert_array_equal(ggemm.forward(x, w, sizes)[:3], clean[:3])


F8 = np.ones(8, np.float32)

MISTAKES = [
    (lambda x, w, s: ggemm.forward(x, w), TypeError, "exactly one of sizes and ends .* neither"),
    (lambda x, w, s: ggemm.forward(x, w, s, ends=s), TypeError, "exactly one of sizes and ends .* both"),
    (lambda x, w, s: ggemm.forward(x[:, :20], w, s), ValueError, r"x has shape \[8, 20\].*\[M, K=24\].*w_layout"),
    (lambda x, w, s: ggemm.forward(x, w, s, w_layout="kn"), ValueError, r"x has shape.*K=16"),
    (lambda x, w, s: ggemm.forward(x, w, s, w_layout="nn"), ValueError, 'w_layout is "nn", expected "nk" or "kn"'),
    (lambda x, w, s: ggemm.forward(x[0], w, s), ValueError, "x has 1 dimensions, 2 are needed"),
    (lambda x, w, s: ggemm.forward(x, w[0, 0], s), ValueError, "w has 1 dimensions, 3 are needed"),
    (lambda x, w, s: ggemm.forward(x, w, s[:1]), ValueError, r"has shape \[1\].*\[2\]: give one size"),
    (lambda x, w, s: ggemm.forward(x, w, s[None]), ValueError, r"sizes \(or ends\) has 2 dimensions"),
    (lambda x, w, s: ggemm.forward(x, w, s.astype(np.float32)), TypeError, "holds f32.*int32 or int64"),
    (lambda x, w, s: ggemm.forward(x, w, s.astype(np.uint8)), TypeError, "sizes holds .*uint8"),
    (lambda x, w, s: ggemm.forward(x, w, [4, 4]), TypeError, "sizes is list, beside NumPy arrays"),
    (lambda x, w, s: ggemm.forward(x.astype(F32), w, s), TypeError, "w holds bf16, f32 as the first operand"),
    (lambda x, w, s: ggemm.forward(x, w.astype(F16), s), TypeError, "w holds f16, bf16 as the first operand"),
    (lambda x, w, s: ggemm.forward(x, w, s, out=np.zeros((8, 17), BF16)), ValueError, r"out has shape \[8, 17\].*\[8, 16\]"),
    (lambda x, w, s: ggemm.forward(x, w, s, out=np.zeros((8, 16), np.int32)), TypeError, "y holds i32"),
    (lambda x, w, s: ggemm.forward(x, w, s, out=np.zeros((8, 16), BF16), out_dtype="f32"), TypeError, "out_dtype"),
    (lambda x, w, s: ggemm.forward(x, w, s, out=read_only((8, 16))), ValueError, "out is read-only"),
    (lambda x, w, s: ggemm.forward(x, w, s, out_dtype="float64"), TypeError, "out_dtype holds float64"),
    (lambda x, w, s: ggemm.forward(x, w, s, allow_tf32=True), ValueError, "allow_tf32 is set for operands of bf16"),
    (lambda x, w, s: ggemm.forward(x, w, s, x_scale=1), TypeError, "x_scale is given and w_scale is not"),
    (lambda x, w, s: ggemm.forward(x, w, s, x_scale=F8, w_scale=F8), ValueError, "x holds bf16, which has no scales"),
    (lambda x, w, s: ggemm.forward(x, w, s - 5), ValueError, "size of group 0 is -1"),
    (lambda x, w, s: ggemm.forward(x, w, s + 5), ValueError, "past M = 8"),
    (lambda x, w, s: ggemm.forward(x, w, ends=s[::-1] - [0, 1]), ValueError, "end of group 1 is 3, before 4"),
    (lambda x, w, s: ggemm.forward(3, w, s), TypeError, "x is int"),
    (lambda x, w, s: ggemm.grad_w(x[:4], x, s), ValueError, r"x has shape \[8, 24\].*one row a token"),
    (lambda x, w, s: ggemm.plan("backward", groups=1, m=1, n=1, k=1), ValueError, 'operation is "backward"'),
    (lambda x, w, s: ggemm.plan("forward", groups=0, m=1, n=1, k=1), ValueError, "G"),
    (lambda x, w, s: ggemm.plan("forward", groups=1, m=1, n=1, k=1, device="tpu"), ValueError, 'device is "tpu"'),
]


def read_only(shape):
    array = np.zeros(shape, BF16)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m[2] if isinstance(m, tuple) else None)
def test_mistakes_are_named(mistake):
    call, kind, text = mistake
    x, w = operands("forward", [4, 4], 8, 16, 24, BF16)
    with pytest.raises(kind, match=text) as caught:
        call(x, w, np.array([4, 4], np.int32))
    assert isinstance(caught.value, ggemm.Error)


def test_plans():
    plan = ggemm.plan("forward", groups=2, m=8, n=16, k=24, device="cpu")
    assert (plan.variant, plan.reason, plan.device) == ("cpu", "asked for", "cpu")
    assert plan.problem == "forward bf16->bf16 G=2 M=8 N=16 K=24 w=[G,N,K] sizes:i32 tail=zero"
    x, w = operands("forward", [4, 4], 8, 16, 24, BF16)
    sizes = np.array([4, 4], np.int32)
    np.testing.assert_array_equal(plan.run(x, w, sizes), ggemm.forward(x, w, sizes))
    with pytest.raises(ggemm.ArgumentError, match="the plan is for `forward"):
        plan.run(x[:7], w, sizes)
    accumulating = ggemm.plan(
        "grad_w", groups=2, m=8, n=16, k=24, out_dtype="f32", accumulate=True, ends=True, index_dtype="int64", device="cpu"
    )
    dy, x = operands("grad_w", [4, 4], 8, 16, 24, BF16)
    out = np.ones((2, 16, 24), F32)
    accumulating.run(dy, x, np.array([4, 8]), out)
    np.testing.assert_allclose(out, ggemm.grad_w(dy, x, sizes, out_dtype="f32") + 1, rtol=1e-5, atol=1e-5)
    with pytest.raises(ggemm.ArgumentError, match="remove the pin"):
        variant = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync"
        ggemm.plan("forward", groups=2, m=8, n=16, k=24, device="cpu", variant=variant)
    with pytest.raises(ggemm.ArgumentError, match="variant is"):
        ggemm.plan("forward", groups=2, m=8, n=16, k=24, device="cpu", variant="fast")


def test_more_problems_than_plans_are_kept():
    w = random((1, 4, 8), BF16)
    for m in range(1, 1100):
        assert ggemm.forward(np.ones((m, 8), BF16), w, np.array([m], np.int32)).shape == (m, 4)


def test_threads():
    sizes = np.array([100, 28], np.int32)
    x, w = operands("forward", sizes, 128, 64, 64, BF16)
    expected = ggemm.forward(x, w, sizes)
    failures = []

    def work():
        try:
            for _ in range(50):
                np.testing.assert_array_equal(ggemm.forward(x, w, sizes), expected)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


class Exported:
    """An array that only DLPack can look into."""

    def __init__(self, array, old=False):
        self.array, self.old, self.exports = array, old, 0

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **given):
        if self.old and "max_version" in given:
            raise TypeError("no such argument")
        self.exports += 1
        return self.array.__dlpack__(**given)


@pytest.mark.parametrize("old", [False, True], ids=["DLPack 1", "DLPack 0"])
def test_dlpack(old):
    sizes = np.array([5, 0, 11], np.int32)
    x, w = operands("forward", sizes, 16, 24, 40, F16)
    expected = ggemm.forward(x, w, sizes)
    out = np.zeros_like(expected)
    given = [Exported(array, old) for array in (x, w, sizes, out)]
    ggemm.forward(*given[:3], out=given[3])
    np.testing.assert_array_equal(out, expected)
    assert [array.exports for array in given] == [1] * 4
    with pytest.raises(ggemm.ArgumentError, match="out is missing"):
        ggemm.forward(*given[:3])
    with pytest.raises(ggemm.ArgumentTypeError, match="type code 2 of 64 bits"):
        ggemm.forward(Exported(x.astype(np.float64), old), *given[1:3], out=given[3])
    with pytest.raises(ggemm.ArgumentError, match="neither dense"):
        ggemm.forward(Exported(x[:, ::-1], old), *given[1:3], out=given[3])


def test_a_used_capsule_is_refused():
    capsule = np.zeros((2, 2), F16).__dlpack__()
    held = ggemm._ggemm.Imported(capsule)
    with pytest.raises(ggemm.ArgumentError, match="no fresh DLPack capsule"):
        ggemm._ggemm.Imported(capsule)
    del held


def test_the_probe():
    device = ggemm.probe()
    assert device.is_gpu == (device.kind != "cpu")
    assert device.is_gpu or device.why_not_gpu
    assert ggemm.__version__.count(".") == 2
    assert "ggemm.Device" in repr(device)
