"""The torch layer on the host: autograd, compiled and not, against a loop of torch.mm."""

import pytest

torch = pytest.importorskip("torch")

import ggemm  # noqa: E402
import ggemm.torch as gt  # noqa: E402
from torch_loop import PROBLEMS, check_autograd, inputs, loop  # noqa: E402

DEVICE = "cpu"


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("by_ends", [False, True], ids=["sizes", "ends"])
def test_autograd(problem, kn, by_ends):
    check_autograd(DEVICE, problem, kn, by_ends, gt.grouped_mm)


@pytest.mark.parametrize("problem", PROBLEMS[:3], ids=str)
def test_the_registered_operators(problem):
    def through_operators(x, w, sizes=None, *, ends=None, w_layout="nk"):
        groups = sizes if ends is None else ends
        return torch.ops.ggemm.forward(x, w, groups, ends is not None, w_layout == "kn")

    check_autograd(DEVICE, problem, False, False, through_operators)


def test_the_operators_pass_torchs_own_checks():
    x, w, sizes, dy = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))
    checks = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    x, w, dy = (tensor.detach().requires_grad_() for tensor in (x, w, dy))
    tolerances = {"rtol": 2e-2, "atol": 2e-2}
    torch.library.opcheck(torch.ops.ggemm.forward.default, (x, w, sizes, False, False), test_utils=checks, **tolerances)
    torch.library.opcheck(torch.ops.ggemm.grad_x.default, (dy, w, sizes, False, False), test_utils=checks, **tolerances)
    args = (dy, x, sizes, False, False, False)
    torch.library.opcheck(torch.ops.ggemm.grad_w.default, args, test_utils=checks, **tolerances)


def test_requires_grad_on_one_side_only():
    x, w, sizes, dy = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))
    for which in (0, 1):
        pair = [x.detach(), w.detach()]
        pair[which].requires_grad_()
        y = gt.grouped_mm(*pair, sizes)
        y.backward(dy)
        assert pair[which].grad is not None and pair[1 - which].grad is None
    assert not gt.grouped_mm(x.detach(), w.detach(), sizes).requires_grad
    with torch.no_grad():
        assert not gt.grouped_mm(x.requires_grad_(), w, sizes).requires_grad


def test_an_expanded_gradient_and_a_buffer_used_twice():
    x, w, sizes, _ = inputs(DEVICE, ([3, 0, 5], 8, 16, 16))
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    gt.grouped_mm(gt.grouped_mm(x, w, sizes), w, sizes).sum().backward()
    mine = x.grad, w.grad
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    loop(loop(x, w, sizes), w, sizes).sum().backward()
    for ours, theirs in zip(mine, (x.grad, w.grad)):
        torch.testing.assert_close(ours, theirs, rtol=4e-2, atol=4e-1)


def test_derivatives_of_derivatives():
    x, w, sizes, _ = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))

    def penalty(product):
        a, b = x.detach().requires_grad_(), w.detach().requires_grad_()
        (slope,) = torch.autograd.grad(product(a, b, sizes).square().sum(), a, create_graph=True)
        slope.float().square().sum().backward()
        return a.grad, b.grad

    for ours, theirs in zip(penalty(gt.grouped_mm), penalty(loop)):
        torch.testing.assert_close(ours, theirs, rtol=6e-2, atol=theirs.abs().max().item() * 2e-2)


def test_a_transposed_weight_is_read_as_it_lies():
    x, w, sizes, dy = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))
    leaf = w.detach().transpose(-2, -1).contiguous().requires_grad_()
    y = gt.grouped_mm(x.detach(), leaf.transpose(-2, -1), sizes)
    y.backward(dy)
    assert leaf.grad.is_contiguous()
    torch.testing.assert_close(y, gt.grouped_mm(x, w, sizes), rtol=0, atol=0)


def test_the_drop_in():
    x, w, sizes, dy = inputs(DEVICE, ([3, 0, 5], 10, 16, 24), kn=True)
    offs = torch.cumsum(sizes, 0, dtype=torch.int32)
    expected = loop(x, w.transpose(-2, -1), sizes)
    torch.testing.assert_close(gt.grouped_mm_like_torch(x, w, offs), expected, rtol=2e-2, atol=2e-2)
    by_view = w.transpose(-2, -1).contiguous().transpose(-2, -1)
    torch.testing.assert_close(gt.grouped_mm_like_torch(x, by_view, offs), expected, rtol=2e-2, atol=2e-2)
    dw = gt.grouped_mm_like_torch(dy.t(), x, offs)
    torch.testing.assert_close(dw, ggemm.grad_w(dy, x.detach(), ends=offs), rtol=0, atol=0)
    with pytest.raises(ggemm.ArgumentError, match="offs is None"):
        gt.grouped_mm_like_torch(x, w)
    with pytest.raises(ggemm.ArgumentError, match="bias"):
        gt.grouped_mm_like_torch(x, w, offs, bias=dy)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled(dynamic):
    compiled = torch.compile(gt.grouped_mm, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for problem in (([3, 0, 5], 8, 16, 24), ([6, 1, 5], 14, 16, 24)):
        check_autograd(DEVICE, problem, False, False, compiled)


def test_the_module():
    layer = gt.GroupedLinear(3, 24, 16)
    x, _, sizes, _ = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))
    torch.testing.assert_close(layer(x, sizes), loop(x, layer.weight, sizes), rtol=2e-2, atol=2e-2)
    layer(x, ends=torch.cumsum(sizes, 0, dtype=torch.int32)).sum().backward()
    assert torch.count_nonzero(layer.weight.grad[1]) == 0 and torch.count_nonzero(layer.weight.grad[0])
    assert "groups=3, in_features=24, out_features=16" in repr(layer)
    again = gt.GroupedLinear(3, 24, 16)
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again(x, sizes), layer(x, sizes), rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        single = gt.GroupedLinear(3, 24, 16, dtype=torch.float32)
        assert single(x.float(), sizes).dtype == torch.bfloat16


def test_what_autograd_would_miss_is_refused():
    x, w, sizes, _ = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))
    with pytest.raises(ggemm.ArgumentError, match="call ggemm.torch.grouped_mm"):
        ggemm.forward(x.detach(), w.detach().requires_grad_(), sizes)
    with torch.no_grad():
        ggemm.forward(x, w, sizes)
    out = torch.empty(8, 16, dtype=torch.bfloat16)
    version = out._version
    ggemm.forward(x.detach(), w.detach(), sizes, out=out)
    assert out._version > version


def test_mistakes_are_named():
    x, w, sizes, _ = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))
    x, w = x.detach(), w.detach()
    with pytest.raises(TypeError, match="exactly one of sizes and ends"):
        gt.grouped_mm(x, w)
    with pytest.raises(ValueError, match="w_layout"):
        gt.grouped_mm(x, w, sizes, w_layout="n")
    with pytest.raises(TypeError, match="sizes is list, beside torch tensors"):
        ggemm.forward(x, w, [3, 0, 5])
    with pytest.raises(TypeError, match="float64"):
        gt.grouped_mm(x.double(), w, sizes)
    with pytest.raises(ValueError, match="meta"):
        ggemm.forward(x.to("meta"), w.to("meta"), sizes.to("meta"))


def test_transforms():
    x, w, sizes, _ = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))
    x, w = x.detach(), w.detach()
    slope = torch.func.grad(lambda x: gt.grouped_mm(x, w, sizes).float().sum())(x)
    a = x.clone().requires_grad_()
    gt.grouped_mm(a, w, sizes).float().sum().backward()
    torch.testing.assert_close(slope, a.grad, rtol=0, atol=0)


def test_checkpointing():
    from torch.utils.checkpoint import checkpoint

    x, w, sizes, dy = inputs(DEVICE, ([3, 0, 5], 8, 16, 24))
    a, b = (x.detach().requires_grad_() for _ in range(2))
    gt.grouped_mm(a, w, sizes).backward(dy)
    checkpoint(gt.grouped_mm, b, w, sizes, use_reentrant=False).backward(dy)
    torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0)
