"""fp8 on the host: quantization against ml_dtypes, products against float64."""

import ml_dtypes
import numpy as np
import pytest
from reference import assert_close, products, runs

import ggemm

E4M3, E5M2 = np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2)
BF16 = np.dtype(ml_dtypes.bfloat16)
LARGEST = {E4M3: 448.0, E5M2: 57344.0}
OPERANDS = {"forward": ("x", "w"), "grad_x": ("dy", "w"), "grad_w": ("dy", "x")}
# Groups around a block of 128 rows, and a tail of three rows.
SIZES, M, N, K = [130, 0, 1, 128], 262, 140, 200


@pytest.mark.parametrize("dtype", [E4M3, E5M2], ids=str)
@pytest.mark.parametrize("source", [BF16, np.dtype(np.float16)], ids=str)
def test_every_value_is_rounded_as_ml_dtypes_rounds_it(source, dtype):
    values = np.arange(1 << 16, dtype=np.uint16).view(source)
    values = values[np.abs(values.astype(np.float32)) <= LARGEST[dtype]]
    # The format's largest beside each makes its scale 1.
    x = np.stack([values, np.full_like(values, LARGEST[dtype])], axis=1)
    elements, scales = ggemm.quantize(x, "x", scaling="row", dtype=dtype)
    assert elements.dtype == dtype and scales.dtype == np.float32
    np.testing.assert_array_equal(scales, 1)
    np.testing.assert_array_equal(elements.view(np.uint8), x.astype(np.float32).astype(dtype).view(np.uint8))


def test_what_has_no_scale_of_its_own():
    x = np.array([[0, -0.0], [np.inf, 2], [np.nan, 448], [-np.inf, np.inf]], np.float32)
    elements, scales = ggemm.quantize(x, "x", scaling="row")
    np.testing.assert_array_equal(scales, np.float32([1, 2 / 448, 1, 1]))
    np.testing.assert_array_equal(elements.astype(np.float32), [[0, 0], [448, 448], [np.nan, 448], [-448, 448]])
    _, powers = ggemm.quantize(x, "x", scaling="row", powers_of_two=True)
    np.testing.assert_array_equal(powers, [1, 2.0**-7, 1, 1])


def random(shape, seed):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(BF16)


def sources(operation, kn, shared):
    w = (K, N) if kn else (N, K)
    w = w if shared else (len(SIZES), *w)
    shapes = {"x": (M, K), "dy": (M, N), "w": w}
    return [random(shapes[name], seed) for seed, name in enumerate(OPERANDS[operation])]


def expand(scales, axis, length):
    return np.repeat(scales, 128, axis=axis).take(range(length), axis=axis)


def dequantized(operation, which, elements, scales, scaling, kn, shared):
    """What the elements stand for, by the table in ggemm.quantize's documentation."""
    values, scales = elements.astype(np.float64), scales.astype(np.float64)
    if operation == "grad_w":
        groups = [slice(0, sum(SIZES))] if shared else list(runs(SIZES, M))
        per_row = np.zeros_like(values)
        for g, rows in enumerate(groups):
            size = rows.stop - rows.start
            if scaling == "row":
                per_row[rows] = scales if shared else scales[g]
            else:
                first = rows.start // 128 + g
                per_row[rows] = expand(scales[first : first + -(-size // 128)], 0, size)
        return values * per_row
    if which == 0:
        return values * (scales[:, None] if scaling == "row" else expand(scales, 1, values.shape[1]))
    if scaling == "block":
        return values * expand(expand(scales, -1, values.shape[-1]), -2, values.shape[-2])
    # A scale for each row along the reduction: K of forward, N of grad_x.
    along_last = (operation == "forward") != kn
    return values * (scales[..., :, None] if along_last else scales[..., None, :])


@pytest.mark.parametrize("operation", ["forward", "grad_x", "grad_w"])
@pytest.mark.parametrize("scaling", ["row", "block"])
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("shared", [False, True], ids=["per-expert", "shared"])
def test_against_float64(operation, scaling, kn, shared):
    sizes = np.array(SIZES, np.int32)
    names = OPERANDS[operation]
    layout = "kn" if kn else "nk"
    made = [
        ggemm.quantize(
            source, name, operation, sizes, scaling=scaling, dtype=dtype, w_layout=layout, shared=shared
        )
        for source, name, dtype in zip(sources(operation, kn, shared), names, (E5M2, E4M3))
    ]
    (a, a_scale), (b, b_scale) = made
    given = {f"{names[0]}_scale": a_scale, f"{names[1]}_scale": b_scale}
    options = {"w_layout": layout} | ({"shared": shared} if operation == "grad_w" else {})
    result = getattr(ggemm, operation)(a, b, sizes, **given, **options)
    assert result.dtype == BF16
    exact = [
        dequantized(operation, which, *quantized, scaling, kn, shared) for which, quantized in enumerate(made)
    ]
    expected, magnitudes, length = products(operation, *exact, SIZES, kn, shared)
    assert_close(result, expected, magnitudes, length + 2, "bfloat16")
    single = getattr(ggemm, operation)(a, b, ends=np.cumsum(sizes), out_dtype="float32", **given, **options)
    assert_close(single, expected, magnitudes, length + 2, "float32")
    # A weight that is read the other way round, its scales in the order of its shape.
    if operation != "grad_w":
        turned = np.ascontiguousarray(np.swapaxes(b, -1, -2)).swapaxes(-1, -2)
        given[f"{names[1]}_scale"] = b_scale
        again = getattr(ggemm, operation)(a, turned, sizes, **given, **options)
        np.testing.assert_array_equal(again, result)
        if scaling == "block":
            given[f"{names[1]}_scale"] = np.ascontiguousarray(np.swapaxes(b_scale, -1, -2)).swapaxes(-1, -2)
        again = getattr(ggemm, operation)(a, turned, sizes, **given, **options)
        np.testing.assert_array_equal(again, result)


@pytest.mark.parametrize("scaling", ["row", "block"])
@pytest.mark.parametrize("shared", [False, True], ids=["per-expert", "shared"])
def test_copies_along_the_rows(scaling, shared):
    """The same elements and scales, laid out for tensor cores: the same result to the bit."""
    sizes = np.array(SIZES, np.int64)
    dy, x = sources("grad_w", False, shared)
    results = []
    for blocks in (False, True):
        made = [
            ggemm.quantize(t, name, "grad_w", sizes, scaling=scaling, shared=shared, reduction_blocks=blocks)
            for t, name in ((dy, "dy"), (x, "x"))
        ]
        (a, a_scale), (b, b_scale) = made
        along = 128 * (M // 128 + (1 if shared else len(SIZES)))
        assert a.shape == ((N, along) if blocks else (M, N)) and b.shape == ((K, along) if blocks else (M, K))
        options = {"dy_scale": a_scale, "x_scale": b_scale, "shared": shared} | ({"m": M} if blocks else {})
        results.append(ggemm.grad_w(a, b, sizes, out_dtype="float32", **options))
    np.testing.assert_array_equal(*results)
    out = np.ones_like(results[0])
    ggemm.grad_w(a, b, sizes, out=out, accumulate=True, dy_scale=a_scale, x_scale=b_scale, m=M)
    np.testing.assert_allclose(out, results[0] + 1, rtol=1e-5, atol=1e-5)


def test_arrays_that_are_not_dense():
    sizes = np.array(SIZES, np.int32)
    x, w = sources("forward", False, False)
    (a, a_scale), (b, b_scale) = ggemm.quantize(x, "x"), ggemm.quantize(w, "w")
    expected = ggemm.forward(a, b, sizes, x_scale=a_scale, w_scale=b_scale)
    spread = [np.repeat(array, 2, axis=-1)[..., ::2] for array in (a, b, a_scale, b_scale)]
    result = ggemm.forward(spread[0], spread[1], sizes, x_scale=spread[2], w_scale=spread[3])
    np.testing.assert_array_equal(result, expected)
    again, scales = ggemm.quantize(np.repeat(x, 2, axis=-1)[..., ::2], "x")
    np.testing.assert_array_equal(again.view(np.uint8), a.view(np.uint8))
    np.testing.assert_array_equal(scales, a_scale)
    # One weight expanded over the groups keeps a scale for each.
    one = np.broadcast_to(b[:1], b.shape)
    each = ggemm.forward(a, np.ascontiguousarray(one), sizes, x_scale=a_scale, w_scale=b_scale)
    np.testing.assert_array_equal(ggemm.forward(a, one, sizes, x_scale=a_scale, w_scale=b_scale), each)


@pytest.mark.parametrize("argument, operation", [("x", "forward"), ("dy", "grad_x")])
@pytest.mark.parametrize("scaling", ["row", "block"])
@pytest.mark.parametrize("shared", [False, True], ids=["per-expert", "shared"])
@pytest.mark.parametrize("by_ends", [False, True], ids=["sizes", "ends"])
@pytest.mark.parametrize("dtype, powers_of_two", [(E4M3, False), (E5M2, True)], ids=str)
def test_both_copies_are_those_of_two_calls(argument, operation, scaling, shared, by_ends, dtype, powers_of_two):
    tensor = random((M, K if argument == "x" else N), 7).astype(np.float32)
    tensor[::31, ::17] = np.inf
    rows = {"ends": np.cumsum(SIZES)} if by_ends else {"sizes": np.array(SIZES, np.int32)}
    how = {"scaling": scaling, "dtype": dtype, "powers_of_two": powers_of_two, "shared": shared}
    for given in (tensor, tensor.astype(BF16), np.repeat(tensor, 2, axis=-1)[..., ::2]):
        made = ggemm.quantize_both(given, argument, **rows, **how)
        first = ggemm.quantize(given, argument, operation, **how)
        second = ggemm.quantize(given, argument, "grad_w", **rows, reduction_blocks=True, **how)
        for mine, theirs in zip(made, (first, second), strict=True):
            for ours, expected in zip(mine, theirs, strict=True):
                assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
                assert ours.tobytes() == expected.tobytes()


def test_weights_are_transposed_for_grad_x():
    _, w = sources("grad_x", False, False)
    nk, _ = ggemm.quantize(w, "w", "grad_x", scaling="row")
    kn, scales = ggemm.quantize(w, "w", "grad_x", scaling="row", to_layout="kn")
    assert kn.shape == (len(SIZES), K, N) and scales.shape == (len(SIZES), K)
    np.testing.assert_array_equal(np.swapaxes(kn, -1, -2).view(np.uint8), nk.view(np.uint8))


def test_plans():
    x, w = sources("forward", False, False)
    sizes = np.array(SIZES, np.int32)
    (a, a_scale), (b, b_scale) = ggemm.quantize(x, "x", dtype=E5M2), ggemm.quantize(w, "w")
    extents = {"groups": len(SIZES), "m": M, "n": N, "k": K}
    plan = ggemm.plan("forward", **extents, dtype="e5m2", second_dtype="e4m3", scaling="block", device="cpu")
    assert plan.problem.startswith("forward e5m2*e4m3->bf16 G=4 M=262 N=140 K=200 w=[G,N,K] scales=block")
    result = plan.run(a, b, sizes, scales=(a_scale, b_scale))
    np.testing.assert_array_equal(result, ggemm.forward(a, b, sizes, x_scale=a_scale, w_scale=b_scale))
    fast = ggemm.plan("forward", **extents, dtype="e5m2", second_dtype="e4m3", scaling="block", fast_accumulation=True, device="cpu")
    assert fast.problem.startswith(plan.problem.split(" scales=block")[0]) and "fast_accumulation" in fast.problem
    np.testing.assert_array_equal(fast.run(a, b, sizes, scales=(a_scale, b_scale)), result)
    with pytest.raises(ggemm.ArgumentError, match="fast_accumulation is set for operands of bf16"):
        ggemm.forward(x, w, sizes, fast_accumulation=True)
    with pytest.raises(ggemm.ArgumentError, match="Problem::scaling is none"):
        ggemm.plan("forward", **extents, dtype="e4m3", device="cpu")


MISTAKES = [
    (lambda x, w, s, f: ggemm.forward(x, w, s), ValueError, "x holds e4m3 and has no scales: pass x_scale and w_scale"),
    (lambda x, w, s, f: ggemm.forward(x, w, s, w_scale=f((2, 16))), TypeError, "w_scale is given and x_scale is not"),
    (lambda x, w, s, f: ggemm.forward(x, w, s, x_scale=f((8, 2)), w_scale=f((2, 1, 2))), ValueError, r"x_scale has shape \[8, 2\].*\[8, 1\]"),
    (lambda x, w, s, f: ggemm.forward(x, w, s, x_scale=f(8), w_scale=f((2, 24))), ValueError, r"w_scale has shape \[2, 24\].*\[2, 16\]"),
    (lambda x, w, s, f: ggemm.forward(x, w, s, x_scale=f((1, 1, 8)), w_scale=f((2, 16))), ValueError, "x_scale has 3 dimensions, 1 "),
    (lambda x, w, s, f: ggemm.forward(x, w, s, x_scale=f(8).astype(BF16), w_scale=f((2, 16))), TypeError, "x_scale holds bf16, scales are f32"),
    (lambda x, w, s, f: ggemm.forward(x, w.astype(BF16), s, x_scale=f(8), w_scale=f((2, 16))), TypeError, "w holds bf16, fp8 as the first"),
    (lambda x, w, s, f: ggemm.forward(x, w, s, x_scale=f(8), w_scale=f((2, 16)), out_dtype="e4m3"), TypeError, "y holds e4m3, an output is"),
    (lambda x, w, s, f: ggemm.grad_w(x, x, s, dy_scale=f((2, 24)), x_scale=f((2, 24)), m=300), ValueError, r"dy has shape \[8, 24\], and m = 300 of 2 groups makes it \[…, 512\]"),
    (lambda x, w, s, f: ggemm.quantize(x, "x"), TypeError, "x holds e4m3: quantization starts from"),
    (lambda x, w, s, f: ggemm.quantize(f((8, 24)), "dy"), ValueError, 'argument is "dy", expected "x" or "w" of forward'),
    (lambda x, w, s, f: ggemm.quantize(f((8, 24)), "x", "backward"), ValueError, 'operation is "backward"'),
    (lambda x, w, s, f: ggemm.quantize(f((8, 24)), "x", dtype="bf16"), TypeError, "dtype is bf16, expected float8_e4m3fn or float8_e5m2: choose one"),
    (lambda x, w, s, f: ggemm.quantize(f((8, 24)), "x", scaling="tile"), ValueError, 'scaling is "tile"'),
    (lambda x, w, s, f: ggemm.quantize(f(8), "x"), ValueError, "x has 1 dimensions, 2 are needed"),
    (lambda x, w, s, f: ggemm.quantize(f((8, 24)), "x", "grad_w"), ValueError, "no groups were given"),
    (lambda x, w, s, f: ggemm.quantize(f((8, 24)), "x", "grad_w", s + 5), ValueError, "past M = 8"),
    (lambda x, w, s, f: ggemm.quantize_both(f((2, 16, 24)), "w", s), ValueError, r'argument is "w", expected "x" or "dy": QuantizedWeights\(w\)'),
    (lambda x, w, s, f: ggemm.quantize_both(f((8, 24)), "y", s), ValueError, 'argument is "y", expected "x" or "dy"'),
    (lambda x, w, s, f: ggemm.quantize_both(f((8, 24)), "x"), TypeError, "and neither was given"),
    (lambda x, w, s, f: ggemm.quantize_both(f((8, 24)), "x", s, ends=s), TypeError, "and both was given"),
    (lambda x, w, s, f: ggemm.quantize_both(f((8, 24)), "dy", s + 5), ValueError, "past M = 8"),
    (lambda x, w, s, f: ggemm.quantize_both(x, "x", s), TypeError, "x holds e4m3: quantization starts from"),
    (lambda x, w, s, f: ggemm.quantize_both(f((8, 24)), "x", s, scaling="tile"), ValueError, 'scaling is "tile"'),
    (lambda x, w, s, f: ggemm.quantize_both(f((8, 24)), "x", f(2)), TypeError, None),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m[2] if isinstance(m, tuple) else None)
def test_mistakes_are_named(mistake):
    call, kind, text = mistake
    x, w = np.ones((8, 24), E4M3), np.ones((2, 16, 24), E4M3)
    with pytest.raises(kind, match=text) as caught:
        call(x, w, np.array([4, 4], np.int32), lambda shape: np.ones(shape, np.float32))
    assert isinstance(caught.value, ggemm.Error)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    sizes = np.array(SIZES, np.int32)
    x, w = (t.astype(np.float32) for t in sources("forward", False, False))
    expected = ggemm.forward(
        *(ggemm.quantize(t, n)[0] for t, n in ((x, "x"), (w, "w"))),
        sizes,
        x_scale=ggemm.quantize(x, "x")[1],
        w_scale=ggemm.quantize(w, "w")[1],
    )
    (a, a_scale), (b, b_scale) = (ggemm.quantize(torch.from_numpy(t), n) for t, n in ((x, "x"), (w, "w")))
    assert a.dtype == torch.float8_e4m3fn
    result = ggemm.forward(a, b, torch.from_numpy(sizes), x_scale=a_scale, w_scale=b_scale)
    assert result.dtype == torch.bfloat16
    np.testing.assert_array_equal(result.float().numpy(), expected.astype(np.float32))
