"""`ggemm.QuantizedWeights` without torch: what they hold, where, and products of them."""

import copy
import pickle

import ggemm
import numpy as np
import pytest

ml_dtypes = pytest.importorskip("ml_dtypes")

SIZES = np.array([3, 0, 6], np.int32)
SHAPES = {(True, "nk"): (3, 144, 160), (True, "kn"): (3, 160, 144), (False, "nk"): (144, 160), (False, "kn"): (160, 144)}


def weight(per_expert=True, layout="nk", seed=3):
    made = np.random.default_rng(seed).standard_normal(SHAPES[per_expert, layout])
    return made.astype(ml_dtypes.bfloat16)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def is_fresh(kept, w):
    """Whether the copies are what `ggemm.quantize` makes of w."""
    how = {"scaling": kept.scaling, "w_layout": kept.w_layout, "powers_of_two": kept.powers_of_two}
    nk = ggemm.quantize(w, "w", "forward", to_layout="nk", **how)
    kn = ggemm.quantize(w, "w", "grad_x", to_layout="kn", **how)
    return all(same(a, b) for a, b in zip((kept.nk, kept.nk_scale, kept.kn, kept.kn_scale), (*nk, *kn)))


@pytest.mark.parametrize("scaling", ["block", "row"])
@pytest.mark.parametrize("layout", ["nk", "kn"])
@pytest.mark.parametrize("per_expert", [True, False], ids=["experts", "shared"])
@pytest.mark.parametrize("powers_of_two", [False, True])
def test_copies_are_those_of_quantize(scaling, layout, per_expert, powers_of_two):
    w = weight(per_expert, layout)
    kept = ggemm.QuantizedWeights(w, scaling=scaling, w_layout=layout, powers_of_two=powers_of_two)
    assert is_fresh(kept, w)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_quantized_may_have_another_type(dtype):
    w = weight().astype(dtype)
    assert is_fresh(ggemm.QuantizedWeights(w), w)


def test_an_update_writes_the_same_memory():
    w = weight()
    kept = ggemm.QuantizedWeights(w)
    before = [t.ctypes.data for t in (kept.nk, kept.nk_scale, kept.kn, kept.kn_scale)]
    w *= ml_dtypes.bfloat16(3)
    assert not is_fresh(kept, w)
    kept.update()
    assert is_fresh(kept, w)
    other = weight(seed=4).astype(np.float32)
    kept.update(other)
    assert is_fresh(kept, other) and kept.source is w
    assert before == [t.ctypes.data for t in (kept.nk, kept.nk_scale, kept.kn, kept.kn_scale)]


def test_weights_that_do_not_lie_densely():
    wide = weight()
    w = wide[:, ::2, 1:]
    assert is_fresh(ggemm.QuantizedWeights(w), np.ascontiguousarray(w))


@pytest.mark.parametrize("scaling", ["block", "row"])
def test_products_of_them_are_products_of_the_copies(scaling):
    w = weight()
    kept = ggemm.QuantizedWeights(w, scaling=scaling)
    for operation, argument, cols in (("forward", "x", 160), ("grad_x", "dy", 144)):
        tokens = np.random.default_rng(5).standard_normal((9, cols)).astype(ml_dtypes.bfloat16)
        elements, scales = ggemm.quantize(tokens, argument, operation, scaling=scaling)
        product, given = getattr(ggemm, operation), {f"{argument}_scale": scales}
        copies = kept.operand(operation)
        expected = product(elements, copies[0], SIZES, w_scale=copies[1], w_layout=copies[2], **given)
        assert same(product(elements, kept, SIZES, **given), expected)
        with pytest.raises(ggemm.ArgumentTypeError, match="copies have their own"):
            product(elements, kept, SIZES, w_scale=copies[1], **given)
        with pytest.raises(ggemm.ArgumentTypeError, match=f"{argument}_scale is not given: quantize {argument} as well"):
            product(elements, kept, SIZES)


def test_copies_of_copies_are_made_anew():
    w = weight()
    kept = ggemm.QuantizedWeights(w, scaling="row", powers_of_two=True)
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert other.source is not w and is_fresh(other, w) and other.powers_of_two and other.scaling == "row"


def test_without_a_source():
    w = weight()
    kept = ggemm.QuantizedWeights(w)
    kept.release()
    assert kept.source is None and kept.is_current() and is_fresh(kept, w)
    with pytest.raises(ggemm.ArgumentError, match="source was let go"):
        kept.update()
    with pytest.raises(ggemm.ArgumentError, match="not pickled"):
        copy.copy(kept)
    kept.update(weight(seed=6))
    assert is_fresh(kept, weight(seed=6))


def test_what_is_refused():
    w = weight()
    with pytest.raises(ggemm.ArgumentError, match='scaling is "tensor"'):
        ggemm.QuantizedWeights(w, scaling="tensor")
    with pytest.raises(ggemm.ArgumentError, match='w_layout is "mn"'):
        ggemm.QuantizedWeights(w, w_layout="mn")
    with pytest.raises(ggemm.ArgumentTypeError, match="only torch counts writes"):
        ggemm.QuantizedWeights(w, follow=True)
    with pytest.raises(ggemm.ArgumentError, match='operation is "grad_w"'):
        ggemm.QuantizedWeights(w).operand("grad_w")
    with pytest.raises(ggemm.ArgumentError, match="w has 1 dimensions"):
        ggemm.QuantizedWeights(w[0, 0])
    with pytest.raises(ggemm.ArgumentTypeError):
        ggemm.QuantizedWeights(np.zeros((2, 16, 16), np.int32))
