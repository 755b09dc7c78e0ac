"""Kept fp8 copies in torch: as good as copies made by every call, made once for as many calls as there are, and never of what a
weight was before. Whatever torch's public interface does to a weight is done here to one."""

import copy
import gc
import pickle
import threading
import weakref

import pytest

torch = pytest.importorskip("torch")

import ggemm  # noqa: E402
import ggemm.torch as gt  # noqa: E402
from ggemm import _ggemm  # noqa: E402

ON_HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)
DEVICES = ["cpu", "cuda"] if ON_HOPPER else ["cpu"]
RECIPES = {"fp8_block": "block", "fp8_row": "row"}
SIZES, M, N, K = [13, 0, 30], 47, 48, 160


@pytest.fixture
def makings(monkeypatch):
    """How often a weight was quantized to be kept."""
    made, native = [], _ggemm.quantize_both

    def counted(kinds, *arguments):
        if of_a_weight(kinds):
            made.append(arguments[0])
        return native(kinds, *arguments)

    monkeypatch.setattr(_ggemm, "quantize_both", counted)
    return made


def of_a_weight(kinds):
    """Whether two copies, as the native part is asked for them, are those of a weight and not of tokens."""
    return all((operation, which) in ((0, 1), (1, 1)) for operation, which, *_ in kinds)


def tensors(device="cpu", kn=False, shared=False, seed=1):
    made = torch.Generator(device).manual_seed(seed)
    of = lambda *shape: torch.randn(*shape, generator=made, device=device).bfloat16()  # noqa: E731
    matrix = (K, N) if kn else (N, K)
    w = torch.nn.Parameter(of(*matrix) if shared else of(len(SIZES), *matrix))
    return of(M, K), w, of(M, N), torch.tensor(SIZES, dtype=torch.int32, device=device)


def step(product, x, w, dy):
    x = x.detach().requires_grad_()
    w.grad = None
    y = product(x)
    y.backward(dy)
    return y.detach(), x.grad, w.grad


def layer_of(w, recipe="fp8_block", keep_copies=True):
    layer = gt.GroupedLinear(len(SIZES), K, N, recipe=recipe, keep_copies=keep_copies, dtype=w.dtype)
    layer.weight = w
    return layer


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("shared", [False, True], ids=["experts", "shared"])
@pytest.mark.parametrize("follow", [False, True])
def test_a_step_is_that_of_copies_made_by_each_call(device, recipe, kn, shared, follow):
    x, w, dy, sizes = tensors(device, kn, shared)
    layout = "kn" if kn else "nk"
    kept = ggemm.QuantizedWeights(w, scaling=RECIPES[recipe], w_layout=layout, follow=follow)
    for gradients in ("float8_e5m2", "float8_e4m3fn"):
        ours = step(lambda x: gt.grouped_mm(x, kept, sizes, recipe=recipe, gradients=gradients), x, w, dy)
        theirs = step(
            lambda x: gt.grouped_mm(x, w, sizes, w_layout=layout, recipe=recipe, gradients=gradients), x, w, dy
        )
        assert same(ours, theirs)


def test_ends_and_autocast():
    x, w, dy, sizes = tensors()
    kept, ends = ggemm.QuantizedWeights(w), torch.cumsum(sizes, 0, dtype=torch.int32)
    ours = step(lambda x: gt.grouped_mm(x, kept, ends=ends), x, w, dy)
    assert same(ours, step(lambda x: gt.grouped_mm(x, w, ends=ends, recipe="fp8_block"), x, w, dy))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gt.grouped_mm(x.float(), kept, ends=ends), ours[0])


def test_one_making_for_many_batches_and_evaluations(makings):
    x, w, dy, sizes = tensors()
    layer = layer_of(w)
    for _ in range(4):
        layer(x, sizes).backward(dy)
    with torch.no_grad():
        layer(x, sizes)
    with torch.inference_mode():
        layer(x, sizes)
    assert len(makings) == 1


def stepped(w, kind, **how):
    w.grad = torch.ones_like(w)
    kind([w], lr=0.5, **how).step()
    w.grad = None


def write_at_the_same_address(w):
    """Storages that come and go where one was."""
    address = w.data_ptr()
    for _ in range(100):
        w.data = torch.empty(0, dtype=w.dtype)
        w.data = torch.full(tensors()[1].shape, 2.0, dtype=w.dtype)
        if w.data_ptr() == address:
            break


WRITES = {
    "in place": lambda w: w.mul_(2),
    "copied": lambda w: w.copy_(torch.ones_like(w)),
    "an element": lambda w: w[2, 2].fill_(7),
    "a view": lambda w: w.view(-1)[3:].neg_(),
    "an alias": lambda w: w.detach().neg_(),
    "out": lambda w: torch.add(w, 1, out=w),
    "foreach": lambda w: torch._foreach_add_([w], 1.0),
    "init": lambda w: torch.nn.init.ones_(w),
    "index": lambda w: w.index_fill_(1, torch.tensor([0, 5]), 3.0),
    "set": lambda w: w.set_(torch.ones_like(w)),
    "data": lambda w: setattr(w, "data", torch.ones_like(w)),
    "data at the same address": write_at_the_same_address,
    "vector": lambda w: torch.nn.utils.vector_to_parameters(torch.ones(w.numel(), dtype=w.dtype), [w]),
    "swap": lambda w: torch.utils.swap_tensors(w, torch.nn.Parameter(torch.ones_like(w))),
    "told": lambda w: (w.data.mul_(2), torch.autograd.graph.increment_version(w)),
    "sgd": lambda w: stepped(w, torch.optim.SGD),
    "sgd, foreach": lambda w: stepped(w, torch.optim.SGD, foreach=True),
    "sgd, fused": lambda w: stepped(w, torch.optim.SGD, fused=True),
    "adam": lambda w: stepped(w, torch.optim.Adam),
    "adam, foreach": lambda w: stepped(w, torch.optim.Adam, foreach=True),
    "adam, fused": lambda w: stepped(w, torch.optim.Adam, fused=True),
    "adamw, fused": lambda w: stepped(w, torch.optim.AdamW, fused=True),
    "adagrad, fused": lambda w: stepped(w, torch.optim.Adagrad, fused=True),
}


@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_copies_follow_every_write(makings, how, mode):
    x, w, dy, sizes = tensors()
    layer = layer_of(w)
    before, weights = layer(x, sizes).detach(), w.detach().clone()
    if mode is torch.inference_mode and how in ("set", "data", "data at the same address", "vector", "swap"):
        pytest.skip("makes an inference tensor of a parameter")
    with mode():
        WRITES[how](w)
    after = layer(x, sizes)
    assert len(makings) == 2
    if torch.equal(w, weights):
        # torch 2.11's fused SGD leaves bfloat16 on the CPU as it is.
        assert how == "sgd, fused"
    else:
        assert not torch.equal(after, before)
    after.backward(dy)
    gradient = w.grad
    assert same([after.detach(), gradient], step(lambda x: layer_of(w, keep_copies=False)(x, sizes), x, w, dy)[::2])
    layer(x, sizes)
    assert len(makings) == 2


def test_copies_follow_a_module(makings):
    x, w, _, sizes = tensors()
    layer = layer_of(w)
    plain = lambda: layer_of(layer.weight, keep_copies=False)(x.to(layer.weight.dtype), sizes)  # noqa: E731
    ours = lambda: layer(x.to(layer.weight.dtype), sizes)  # noqa: E731
    assert torch.equal(ours(), plain())
    layer.load_state_dict({"weight": torch.randn_like(w)})
    assert torch.equal(ours(), plain())
    layer.float()
    assert torch.equal(ours(), plain()) and ours().dtype == torch.float32
    layer.weight = torch.nn.Parameter(torch.randn_like(w))
    assert torch.equal(ours(), plain())
    layer.reset_parameters()
    assert torch.equal(ours(), plain())
    assert len(makings) == 5 and list(layer.state_dict()) == ["weight"]


def test_two_views_of_one_storage_are_apart():
    x, w, _, sizes = tensors()
    both = torch.stack([w.detach(), w.detach() * 3])
    first, second = (ggemm.QuantizedWeights(view, follow=True) for view in both)
    for _ in range(2):
        for kept, view in zip((first, second), both):
            assert torch.equal(gt.grouped_mm(x, kept, sizes), gt.grouped_mm(x, view.clone(), sizes, recipe="fp8_block"))
        both[1].neg_()


def test_what_nobody_tells_of_is_what_the_documentation_names(makings):
    x, w, _, sizes = tensors()
    kept = ggemm.QuantizedWeights(w, follow=True)
    before = gt.grouped_mm(x, kept, sizes)
    w.data.mul_(2)
    assert torch.equal(gt.grouped_mm(x, kept, sizes), before) and kept.is_current()
    kept.update()
    assert torch.equal(gt.grouped_mm(x, kept, sizes), gt.grouped_mm(x, w, sizes, recipe="fp8_block"))
    assert len(makings) == 2


def test_an_inference_tensor_is_never_thought_unchanged(makings):
    x, _, _, sizes = tensors()
    with torch.inference_mode():
        w = torch.ones(len(SIZES), N, K).bfloat16()
        kept = ggemm.QuantizedWeights(w, follow=True)
        one = gt.grouped_mm(x, kept, sizes)
        w.mul_(2)
        assert torch.equal(gt.grouped_mm(x, kept, sizes), one * 2)
    assert len(makings) == 2


def test_copies_of_inference_mode_serve_training():
    x, w, dy, sizes = tensors()
    layer = layer_of(w)
    with torch.inference_mode():
        layer(x, sizes)
    ours = step(lambda x: layer(x, sizes), x, w, dy)
    assert same(ours, step(lambda x: gt.grouped_mm(x, w, sizes, recipe="fp8_block"), x, w, dy))


def test_copies_stay_in_place_and_the_callers_until_an_update():
    x, w, dy, sizes = tensors()
    kept = ggemm.QuantizedWeights(w)
    places = [t.data_ptr() for t in (kept.nk, kept.nk_scale, kept.kn, kept.kn_scale)]
    before = gt.grouped_mm(x, kept, sizes).detach()
    with torch.no_grad():
        w.neg_()
        assert torch.equal(gt.grouped_mm(x, kept, sizes), before) and not kept.is_current()
    # A gradient by w is that of w as it is.
    with pytest.raises(ggemm.ArgumentError, match=r"call update\(\)"):
        gt.grouped_mm(x, kept, sizes)
    kept.update()
    assert torch.equal(gt.grouped_mm(x, kept, sizes), -before)
    master = w.detach().float() * 2
    kept.update(master)
    step(lambda x: gt.grouped_mm(x, kept, sizes), x, w, dy)
    assert places == [t.data_ptr() for t in (kept.nk, kept.nk_scale, kept.kn, kept.kn_scale)]


@pytest.mark.parametrize("what", ["weight", "copies"])
def test_what_was_written_before_its_backward_raises(what):
    x, w, dy, sizes = tensors()
    kept = ggemm.QuantizedWeights(w)
    y = gt.grouped_mm(x.requires_grad_(), kept, sizes)
    if what == "weight":
        with torch.no_grad():
            w.add_(1)
    else:
        kept.update(w.detach() * 2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(dy)


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_uses_the_same_copies(makings, reentrant):
    from torch.utils.checkpoint import checkpoint

    x, w, dy, sizes = tensors()
    layer = layer_of(w)
    ours = step(lambda x: checkpoint(layer, x, sizes, use_reentrant=reentrant), x, w, dy)
    assert same(ours, step(lambda x: layer(x, sizes), x, w, dy)) and len(makings) == 1


def test_a_weight_that_needs_no_gradient_is_a_constant():
    x, w, dy, sizes = tensors()
    expected = step(lambda x: gt.grouped_mm(x, w, sizes, recipe="fp8_block"), x, w, dy)
    w.requires_grad_(False)
    kept = ggemm.QuantizedWeights(w)
    ours = step(lambda x: gt.grouped_mm(x, kept, sizes), x, w, dy)
    assert same(ours[:2], expected[:2]) and ours[2] is None
    # Nothing holds the weight any more.
    died = weakref.ref(w)
    kept.release()
    del w
    gc.collect()
    assert died() is None
    x.requires_grad_()
    gt.grouped_mm(x, kept, sizes).backward(dy)
    assert torch.equal(x.grad, expected[1])


def test_nothing_outlives_a_layer():
    x, w, _, sizes = tensors()
    layer = layer_of(w)
    layer(x, sizes)
    died = [weakref.ref(thing) for thing in (w, layer._kept, layer._kept.nk)]
    del layer, w
    gc.collect()
    assert [ref() for ref in died] == [None] * 3


def test_stand_ins_for_a_parameter_are_not_kept(makings):
    x, w, _, sizes = tensors()
    layer = layer_of(w)
    layer(x, sizes)
    other = torch.randn_like(w).detach()
    y = torch.func.functional_call(layer, {"weight": other}, (x, sizes))
    assert torch.equal(y, gt.grouped_mm(x, other, sizes, recipe="fp8_block"))
    assert len(makings) == 1 and layer._kept.source is w


def test_copied_and_stored_layers_follow_their_own_weight():
    x, w, _, sizes = tensors()
    layer = layer_of(w)
    y = layer(x, sizes)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x, sizes), y) and other._kept.source is other.weight
        with torch.no_grad():
            other.weight.neg_()
        assert torch.equal(other(x, sizes), -y) and torch.equal(layer(x, sizes), y)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("powers_of_two", [False, True])
def test_compiled(follow, powers_of_two, makings):
    x, w, dy, sizes = tensors()
    kept = ggemm.QuantizedWeights(w, follow=follow, powers_of_two=powers_of_two)
    product = lambda x: gt.grouped_mm(x, kept, sizes)  # noqa: E731
    compiled = torch.compile(product, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        ours = step(compiled, x, w, dy)
        assert same(ours, step(product, x, w, dy))
        with torch.no_grad():
            w.neg_()
        if not follow:
            kept.update()


def test_a_compiled_layer():
    x, w, dy, sizes = tensors()
    layer = layer_of(w)
    eager = step(lambda x: layer(x, sizes), x, w, dy)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert same(step(lambda x: compiled(x, sizes), x, w, dy), eager)
    with torch.no_grad():
        w.neg_()
    assert torch.equal(compiled(x, sizes), -eager[0])


def test_what_was_only_captured_is_not_thought_to_be_done(monkeypatch):
    x, w, _, sizes = tensors()
    kept = ggemm.QuantizedWeights(w, follow=True)
    elements, scales = ggemm.quantize(x, "x")
    product = lambda: ggemm.forward(elements, kept, sizes, x_scale=scales)  # noqa: E731
    y = product()
    with torch.no_grad():
        w.neg_()
    with monkeypatch.context() as capture:
        asked, native = [], _ggemm.quantize_both
        fake = lambda kinds, *rest: (asked.append(1) or 0) if of_a_weight(kinds) else native(kinds, *rest)  # noqa: E731
        capture.setattr(ggemm._frameworks.Torch, "is_capturing", lambda *_: True)
        capture.setattr(_ggemm, "quantize_both", fake)
        product()
        product()
        assert asked == [1, 1] and not kept.is_current()
        # With autograd each product has copies of its own.
        assert torch.equal(gt.grouped_mm(x, kept, sizes), gt.grouped_mm(x, w, sizes, recipe="fp8_block"))
        assert len(asked) == 2
    assert torch.equal(product(), -y)


def test_threads_make_one_copy(makings):
    x, w, _, sizes = tensors()
    layer = layer_of(w)
    layer(x, sizes)
    with torch.no_grad():
        w.neg_()
    expected = gt.grouped_mm(x, w, sizes, recipe="fp8_block").detach()
    results, start = [], threading.Barrier(8)

    def run():
        start.wait()
        results.append(layer(x, sizes).detach())

    threads = [threading.Thread(target=run) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(results) == 8 and all(torch.equal(y, expected) for y in results) and len(makings) == 2


def test_a_product_of_its_own_follows_too(makings):
    x, w, _, sizes = tensors()
    kept = ggemm.QuantizedWeights(w, follow=True)
    elements, scales = ggemm.quantize(x, "x")
    y = ggemm.forward(elements, kept, sizes, x_scale=scales)
    with torch.no_grad():
        w.neg_()
    assert torch.equal(ggemm.forward(elements, kept, sizes, x_scale=scales), -y) and len(makings) == 2


def test_what_is_refused():
    x, w, _, sizes = tensors()
    kept = ggemm.QuantizedWeights(w)
    with pytest.raises(ggemm.ArgumentError, match='copies of w have scaling "block"'):
        gt.grouped_mm(x, kept, sizes, recipe="fp8_row")
    with pytest.raises(ggemm.ArgumentError, match='recipe is "fp8"'):
        gt.grouped_mm(x, kept, sizes, recipe="fp8")
    with pytest.raises(ggemm.ArgumentError, match='gradients is "half"'):
        gt.grouped_mm(x, kept, sizes, gradients="half")
    with pytest.raises(ggemm.ArgumentError, match="without a recipe"):
        gt.GroupedLinear(2, 32, 16, keep_copies=True)
    with pytest.raises(ggemm.ArgumentError, match="w is on meta"):
        ggemm.QuantizedWeights(torch.zeros(2, 16, 16, device="meta", dtype=torch.bfloat16))
