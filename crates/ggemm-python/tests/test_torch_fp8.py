"""Training recipes in fp8, on the host and on a Hopper GPU where there is one, against a loop of products in float32."""

import pytest

torch = pytest.importorskip("torch")

import ggemm  # noqa: E402
import ggemm.torch as gt  # noqa: E402
from ggemm import _ggemm  # noqa: E402
from torch_by_hand import by_hand  # noqa: E402
from torch_loop import loop  # noqa: E402

ON_HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)
DEVICES = ["cpu", "cuda"] if ON_HOPPER else ["cpu"]
RECIPES = ["fp8_block", "fp8_row"]
# Sizes, M, N, K: ragged, partly empty, with a tail.
PROBLEMS = [([130, 0, 1, 57], 200, 48, 160), ([0, 0], 0, 16, 32), ([40], 40, 144, 16)]


def step(product, x, w, dy):
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    y = product(x, w)
    y.backward(dy)
    return y.detach(), x.grad, w.grad


def check(device, problem, kn, by_ends, recipe, gradients, wrapped=lambda product: product):
    sizes, m, n, k = problem
    made = torch.Generator(device).manual_seed(5)
    random = lambda *shape: torch.randn(*shape, generator=made, device=device).to(torch.bfloat16)  # noqa: E731
    x, dy, w = random(m, k), random(m, n), random(len(sizes), *((k, n) if kn else (n, k)))
    groups = torch.tensor(sizes, dtype=torch.int32, device=device)
    how = {"ends": torch.cumsum(groups, 0, dtype=torch.int32)} if by_ends else {"sizes": groups}
    how |= {"w_layout": "kn" if kn else "nk", "recipe": recipe, "gradients": gradients}
    ours = step(wrapped(lambda x, w: gt.grouped_mm(x, w, **how)), x, w, dy)
    plain = lambda x, w: loop(x, w.transpose(-2, -1) if kn else w, groups)  # noqa: E731
    expected = step(plain, x.float(), w.float(), dy.float())
    for mine, theirs in zip(ours, expected):
        assert mine.dtype == torch.bfloat16 and mine.shape == theirs.shape
        error = (mine.float() - theirs).norm() / theirs.norm().clamp(min=1e-9)
        # e5m2 has two bits of fraction, e4m3 three; bfloat16 itself is far finer than either.
        assert error < 0.08 and (theirs.norm() == 0 or error > 1e-3), error


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step(device, problem, kn, recipe):
    check(device, problem, kn, False, recipe, "float8_e5m2")


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_e4m3_and_ends(device):
    check(device, PROBLEMS[0], False, True, "fp8_block", "float8_e4m3fn")


@pytest.mark.parametrize("device", DEVICES)
def test_compiled(device):
    compiled = lambda product: torch.compile(product, fullgraph=True, backend="aot_eager")  # noqa: E731
    check(device, PROBLEMS[0], False, False, "fp8_block", "float8_e5m2", compiled)


def tensors(device, problem, kn=False, shared=False):
    sizes, m, n, k = problem
    made = torch.Generator(device).manual_seed(6)
    random = lambda *shape: torch.randn(*shape, generator=made, device=device).to(torch.bfloat16)  # noqa: E731
    matrix = (k, n) if kn else (n, k)
    w = random(*matrix) if shared else random(len(sizes), *matrix)
    return random(m, k), w, random(m, n), torch.tensor(sizes, dtype=torch.int32, device=device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("shared", [False, True], ids=["experts", "shared"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("gradients", ["float8_e5m2", "float8_e4m3fn"])
def test_a_step_is_that_of_products_by_hand(device, problem, kn, shared, recipe, gradients):
    x, w, dy, sizes = tensors(device, problem, kn, shared)
    how = {"w_layout": "kn" if kn else "nk", "recipe": recipe, "gradients": gradients}
    expected = by_hand(x, w, dy, sizes, kn, recipe.removeprefix("fp8_"), gradients)
    for rows in ({"sizes": sizes}, {"ends": torch.cumsum(sizes, 0, dtype=torch.int32)}):
        ours = step(lambda x, w: gt.grouped_mm(x, w, **rows, **how), x, w, dy)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(ours, expected, strict=True))
    # Where one gradient is asked for, it is the same.
    for needs in ((True, False), (False, True)):
        a, b = (t.detach().clone().requires_grad_(need) for t, need in zip((x, w), needs))
        y = gt.grouped_mm(a, b, sizes, **how)
        y.backward(dy)
        assert torch.equal(y, expected[0])
        assert all(t.grad is None or torch.equal(t.grad, g) for t, g in zip((a, b), expected[1:]))
        assert (a.grad is not None, b.grad is not None) == needs


@pytest.fixture
def passes(monkeypatch):
    """What was quantized, in turn: operation and operand of each copy that one pass made."""
    made = []
    names = (("x", "w"), ("dy", "w"), ("dy", "x"))

    def watch(name, kinds_of):
        native = getattr(_ggemm, name)

        def watched(kinds, *arguments):
            made.append([(("forward", "grad_x", "grad_w")[kind[0]], names[kind[0]][kind[1]]) for kind in kinds_of(kinds)])
            return native(kinds, *arguments)

        monkeypatch.setattr(_ggemm, name, watched)

    watch("quantize", lambda kind: [kind])
    watch("quantize_both", list)
    return made


FORWARD = {True: [[("forward", "x"), ("grad_w", "x")], [("forward", "w")]], False: [[("forward", "x")], [("forward", "w")]]}
BACKWARD = {
    (True, True): [[("grad_x", "dy"), ("grad_w", "dy")], [("grad_x", "w")]],
    (True, False): [[("grad_x", "dy")], [("grad_x", "w")]],
    (False, True): [[("grad_w", "dy")]],
}


@pytest.mark.parametrize("needs", BACKWARD, ids=str)
def test_x_and_dy_are_quantized_once(passes, needs):
    x, w, dy, sizes = tensors("cpu", PROBLEMS[0])
    y = gt.grouped_mm(x.requires_grad_(needs[0]), w.requires_grad_(needs[1]), sizes, recipe="fp8_block")
    assert passes == FORWARD[needs[1]]
    del passes[:]
    y.backward(dy)
    assert passes == BACKWARD[needs]
    del passes[:]
    with torch.no_grad():
        gt.grouped_mm(x, w, sizes, recipe="fp8_block")
    assert passes == FORWARD[False]


@pytest.mark.parametrize("kept", [False, True])
def test_x_copy_is_saved_and_not_x(kept):
    x, w, dy, sizes = tensors("cpu", PROBLEMS[0])
    w = w.requires_grad_()
    weights = ggemm.QuantizedWeights(w) if kept else w
    saved = []
    # What hooks give back is another tensor.
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t.detach().clone(), lambda t: t):
        y = gt.grouped_mm(x.requires_grad_(), weights, sizes, recipe="fp8_block")
    copy, scales = ggemm.quantize(x.detach(), "x", "grad_w", sizes, reduction_blocks=True)
    assert not any(t.dtype == x.dtype and t.shape == x.shape for t in saved)
    (mine,) = (t for t in saved if t.shape == copy.shape)
    assert torch.equal(mine.view(torch.uint8), copy.view(torch.uint8))
    assert any(torch.equal(t, scales) for t in saved if t.shape == scales.shape)
    expected = by_hand(x.detach(), w.detach(), dy, sizes, False, "block", "float8_e5m2")
    # The gradient is that of x as it was.
    with torch.no_grad():
        x.zero_()
    y.backward(dy)
    assert torch.equal(x.grad, expected[1]) and torch.equal(w.grad, expected[2])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation(device, reentrant):
    from torch.utils.checkpoint import checkpoint

    x, w, dy, sizes = tensors(device, PROBLEMS[0])
    product = lambda x, w: gt.grouped_mm(x, w, sizes, recipe="fp8_block")  # noqa: E731
    ours = step(lambda x, w: checkpoint(product, x, w, use_reentrant=reentrant), x, w, dy)
    assert all(torch.equal(a, b) for a, b in zip(ours, step(product, x, w, dy), strict=True))


@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("shared", [False, True], ids=["experts", "shared"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("needs", BACKWARD, ids=str)
def test_compiled_with_any_rows(kn, shared, recipe, needs):
    torch._dynamo.reset()
    how = {"w_layout": "kn" if kn else "nk", "recipe": recipe}
    product = lambda x, w, sizes: gt.grouped_mm(x, w, sizes, **how)  # noqa: E731
    compiled = torch.compile(product, fullgraph=True, dynamic=True, backend="aot_eager")
    for sizes in ([130, 0, 1, 57], [3, 200, 7, 0]):
        x, w, dy, groups = tensors("cpu", (sizes, sum(sizes) + 5, 48, 160), kn, shared)
        results = []
        for run in (compiled, product):
            a, b = (t.detach().clone().requires_grad_(need) for t, need in zip((x, w), needs))
            y = run(a, b, groups)
            y.backward(dy)
            results.append([t for t in (y.detach(), a.grad, b.grad) if t is not None])
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(*results, strict=True))


@pytest.mark.parametrize("scaling", ["block", "row"])
@pytest.mark.parametrize("shared", [False, True], ids=["experts", "shared"])
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
def test_what_tracers_are_told(scaling, shared, kn):
    """Shapes, strides and types of what each operator makes."""
    x, w, dy, sizes = tensors("cpu", PROBLEMS[0], kn, shared)
    weights = ggemm.QuantizedWeights(w, scaling=scaling, w_layout="kn" if kn else "nk")
    nk, kn8 = (weights.nk, weights.nk_scale), (weights.kn, weights.kn_scale)
    x8 = ggemm.quantize_both(x, "x", sizes, scaling=scaling, shared=shared)[1]
    how = (scaling, "float8_e5m2")
    calls = {
        "fp8_forward": (x, w, sizes, False, kn, *how, False),
        "fp8_forward_kept": (x, *nk, *kn8, sizes, False, *how),
        "fp8_forward_both": (x, w, sizes, False, kn, *how, False),
        "fp8_forward_both_kept": (x, w, *nk, *kn8, sizes, False, kn, *how),
        "fp8_grad_x": (dy, w, sizes, False, kn, *how, False),
        "fp8_grad_x_kept": (dy, *kn8, sizes, False, *how),
        "fp8_grad_w": (dy, *x8, sizes, False, kn, shared, *how),
        "fp8_grads": (dy, w, *x8, sizes, False, kn, *how, False),
        "fp8_grads_kept": (dy, *kn8, *x8, sizes, False, kn, *how),
    }
    for name, arguments in calls.items():
        operator = getattr(torch.ops.ggemm, name).default
        torch.library.opcheck(operator, arguments, test_utils="test_faketensor")


def test_an_operator_that_keeps_nothing_for_the_weight_says_so():
    x, w, _, sizes = tensors("cpu", PROBLEMS[0])
    with pytest.raises(ggemm.ArgumentError, match="fp8_forward_both"):
        torch.ops.ggemm.fp8_forward(x, w.requires_grad_(), sizes, False, False, "block", "float8_e5m2", False)


def test_one_weight_for_all_groups():
    x, w, dy = torch.randn(9, 32).bfloat16(), torch.randn(16, 32).bfloat16(), torch.randn(9, 16).bfloat16()
    sizes = torch.tensor([4, 5], dtype=torch.int32)
    _, dx, dw = step(lambda x, w: gt.grouped_mm(x, w, sizes, recipe="fp8_row"), x, w, dy)
    for mine, theirs in ((dx, dy.float() @ w.float()), (dw, dy.float().T @ x.float())):
        assert mine.shape == theirs.shape and (mine.float() - theirs).norm() / theirs.norm() < 0.08


def test_a_linear_layer():
    layer = gt.GroupedLinear(2, 32, 16, recipe="fp8_block")
    x = torch.randn(9, 32).bfloat16()
    layer(x, torch.tensor([4, 5], dtype=torch.int32)).float().square().sum().backward()
    assert layer.weight.grad.isfinite().all() and layer.weight.grad.any()


def test_what_is_no_recipe():
    x, w, sizes = torch.zeros(4, 16).bfloat16(), torch.zeros(1, 16, 16).bfloat16(), torch.tensor([4], dtype=torch.int32)
    with pytest.raises(ggemm.ArgumentError, match='recipe is "fp8"'):
        gt.grouped_mm(x, w, sizes, recipe="fp8")
    with pytest.raises(ggemm.ArgumentError, match='gradients is "half"'):
        gt.grouped_mm(x, w, sizes, recipe="fp8_row", gradients="half")
