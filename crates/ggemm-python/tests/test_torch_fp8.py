"""Training recipes in fp8, on the host and on a Hopper GPU where there is one, against a loop of products in float32."""

import pytest

torch = pytest.importorskip("torch")

import ggemm  # noqa: E402
import ggemm.torch as gt  # noqa: E402
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
