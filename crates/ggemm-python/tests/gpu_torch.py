"""The torch layer on a GPU: `pytest tests/gpu_torch.py`. Results are held against a loop of torch.mm, to the bit."""

import threading
import time

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no GPU", allow_module_level=True)

import ggemm  # noqa: E402
import ggemm.torch as gt  # noqa: E402
from torch_loop import PROBLEMS, check_autograd, inputs, loop  # noqa: E402

DEVICE = "cuda"
LARGE = [
    ([300, 0, 1, 723, 512, 0, 0, 64], 1600, 512, 384),
    ([0, 0, 4000, 0], 4096, 768, 512),
    ([17] * 64, 1088, 256, 1024),
    ([129, 0, 258], 500, 1111, 1009),
]


@pytest.fixture(autouse=True)
def full_precision():
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.cuda.synchronize()


@pytest.mark.parametrize("problem", PROBLEMS + LARGE, ids=lambda p: f"G{len(p[0])}M{p[1]}N{p[2]}K{p[3]}")
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("by_ends", [False, True], ids=["sizes", "ends"])
def test_autograd(problem, kn, by_ends):
    check_autograd(DEVICE, problem, kn, by_ends, gt.grouped_mm)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_real_values(dtype):
    torch.manual_seed(1)
    x, w = torch.randn(1600, 512, device=DEVICE, dtype=dtype), torch.randn(8, 384, 512, device=DEVICE, dtype=dtype) / 22
    sizes = torch.tensor([300, 0, 1, 723, 512, 0, 0, 64], dtype=torch.int64, device=DEVICE)
    expected = loop(x.float(), w.float(), sizes)
    torch.testing.assert_close(ggemm.forward(x, w, sizes, out_dtype=torch.float32), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ggemm.forward(x, w, sizes).float(), expected, rtol=2.0**-8, atol=1e-3)


@pytest.mark.parametrize("k", [512, 509])
def test_float32_as_tf32(k):
    torch.manual_seed(2)
    x, w = torch.randn(1600, k, device=DEVICE), torch.randn(8, 384, k, device=DEVICE)
    sizes = torch.tensor([300, 0, 1, 723, 512, 0, 0, 64], dtype=torch.int64, device=DEVICE)
    with pytest.raises(ggemm.UnsupportedError, match="allow_tf32=True"):
        ggemm.forward(x, w, sizes)
    with pytest.raises(ggemm.UnsupportedError, match="allow_tf32=True"):
        gt.grouped_mm(x, w, sizes)
    expected, magnitudes = loop(x.double(), w.double(), sizes), loop(x.abs().double(), w.abs().double(), sizes)
    y = ggemm.forward(x, w, sizes, allow_tf32=True)
    assert ((y - expected).abs() <= magnitudes * 1.1 * 2.0**-10).all()
    torch.backends.cuda.matmul.allow_tf32 = True
    assert torch.equal(gt.grouped_mm(x, w, sizes), y)


def test_inputs_that_are_not_dense():
    x, w, sizes, dy = inputs(DEVICE, LARGE[0])
    expected = ggemm.forward(x, w, sizes)

    def forms(tensor):
        wide = torch.full((*tensor.shape[:-1], tensor.shape[-1] + 24), float("nan"), device=DEVICE, dtype=tensor.dtype)
        wide[..., : tensor.shape[-1]] = tensor
        yield wide[..., : tensor.shape[-1]]
        odd = torch.full((*tensor.shape[:-1], tensor.shape[-1] + 3), float("nan"), device=DEVICE, dtype=tensor.dtype)
        odd[..., 1:-2] = tensor
        yield odd[..., 1:-2]
        yield tensor.transpose(-2, -1).contiguous().transpose(-2, -1)

    for left in forms(x):
        for right in forms(w):
            assert torch.equal(ggemm.forward(left, right, sizes), expected)
    for out in forms(torch.zeros_like(expected)):
        ggemm.forward(x, w, sizes, out=out)
        assert torch.equal(out, expected)
    for dyl in forms(dy):
        assert torch.equal(ggemm.grad_w(dyl, x, sizes), ggemm.grad_w(dy, x, sizes))
    square = x[:, :384].contiguous()
    small = w[:, :384, :384].contiguous()
    result = ggemm.forward(square, small, sizes)
    ggemm.forward(square, small, sizes, out=square)
    assert torch.equal(square, result)


def test_accumulation():
    x, w, sizes, dy = inputs(DEVICE, LARGE[0])
    once = ggemm.grad_w(dy, x, sizes, out_dtype=torch.float32)
    out = torch.ones_like(once)
    ggemm.grad_w(dy, x, sizes, out=out, accumulate=True)
    assert torch.equal(out, once + 1)


SIZES = [[300, 0, 1, 723, 512, 0, 0, 64], [0] * 8, [1600, 0, 0, 0, 0, 0, 0, 0], [200] * 8, [0, 1, 2, 3, 4, 5, 6, 7]]


def test_a_graph_replays_with_the_sizes_of_its_own_time():
    x, w, sizes, dy = inputs(DEVICE, LARGE[0])
    x.requires_grad_(), w.requires_grad_()

    def step():
        x.grad = w.grad = None
        y = gt.grouped_mm(x, w, sizes)
        y.backward(dy)
        return y

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    x.grad = w.grad = None
    with torch.cuda.graph(graph):
        y = step()
    for now in SIZES:
        sizes.copy_(torch.tensor(now, dtype=torch.int32))
        graph.replay()
        a, b = x.detach().float().requires_grad_(), w.detach().float().requires_grad_()
        expected = loop(a, b, sizes)
        expected.backward(dy.float())
        for ours, theirs in ((y, expected), (x.grad, a.grad), (w.grad, b.grad)):
            assert torch.equal(ours, theirs.to(ours.dtype)), now


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled(mode, dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(gt.grouped_mm, fullgraph=True, dynamic=dynamic, mode=mode)
    for sizes in SIZES[:3]:
        check_autograd(DEVICE, (sizes, 1600, 512, 384), False, False, compiled)
    if dynamic:
        check_autograd(DEVICE, ([5, 0, 7], 20, 512, 384), False, False, compiled)


def test_a_compiled_layer_beside_other_operations():
    torch._dynamo.reset()
    up, down = gt.GroupedLinear(8, 384, 512, device=DEVICE), gt.GroupedLinear(8, 512, 384, device=DEVICE)
    x, _, sizes, _ = inputs(DEVICE, LARGE[0])

    def layer(x, sizes):
        return down(torch.nn.functional.silu(up(x, sizes)), sizes)

    plain = layer(x, sizes)
    plain.float().square().mean().backward()
    before = up.weight.grad.clone(), down.weight.grad.clone()
    up.weight.grad = down.weight.grad = None
    compiled = torch.compile(layer, fullgraph=True)(x, sizes)
    compiled.float().square().mean().backward()
    torch.testing.assert_close(compiled, plain, rtol=2e-2, atol=2e-2)
    for ours, theirs in zip((up.weight.grad, down.weight.grad), before):
        torch.testing.assert_close(ours, theirs, rtol=5e-2, atol=theirs.abs().max().item() * 2e-2)


def test_two_streams():
    """Each product waits for what its own stream was asked for before, and only that."""
    x, w, sizes, _ = inputs(DEVICE, LARGE[0])
    expected = ggemm.forward(x, w, sizes)
    streams = [torch.cuda.Stream() for _ in range(2)]
    torch.cuda.synchronize()
    for _ in range(10):
        results = []
        for stream in streams:
            with torch.cuda.stream(stream):
                late = torch.zeros_like(x)
                torch.cuda._sleep(2_000_000)
                late.copy_(x)
                results.append(ggemm.forward(late, w, sizes))
        for stream in streams:
            torch.cuda.current_stream().wait_stream(stream)
        assert all(torch.equal(result, expected) for result in results)


def test_two_threads():
    failures = []

    def work(number):
        try:
            with torch.cuda.stream(torch.cuda.Stream()):
                for turn in range(20):
                    sizes = [100 + number, 0, turn, 50]
                    check_autograd(DEVICE, (sizes, 300 + turn, 136, 264), False, False, gt.grouped_mm)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test_the_host_does_not_wait():
    x, w, sizes, _ = inputs(DEVICE, LARGE[0])
    for call in (lambda: ggemm.forward(x, w, sizes), lambda: gt.grouped_mm(x, w, sizes)):
        call()
        torch.cuda.synchronize()
        torch.cuda._sleep(1_000_000_000)
        start = time.perf_counter()
        call()
        asked = time.perf_counter() - start
        torch.cuda.synchronize()
        done = time.perf_counter() - start
        assert asked < 0.05 < done, (asked, done)


def test_the_drop_in_beside_torchs_own():
    sizes = [128, 0, 256, 64]
    x, w, sizes, dy = inputs(DEVICE, (sizes, 448, 512, 384), kn=True)
    offs = torch.cumsum(sizes, 0, dtype=torch.int32)
    expected = loop(x, w.transpose(-2, -1), sizes)
    assert torch.equal(gt.grouped_mm_like_torch(x, w, offs), expected)
    assert torch.equal(gt.grouped_mm_like_torch(x, w, offs), torch._grouped_mm(x, w, offs=offs))
    assert torch.equal(gt.grouped_mm_like_torch(dy.t(), x, offs), torch._grouped_mm(dy.t(), x, offs=offs))
    mine, theirs = w.detach().requires_grad_(), w.detach().clone().requires_grad_()
    gt.grouped_mm_like_torch(x, mine, offs).backward(dy)
    torch._grouped_mm(x, theirs, offs=offs).backward(dy)
    assert torch.equal(mine.grad, theirs.grad)


def test_memory_is_given_back():
    x, w, sizes, dy = inputs(DEVICE, LARGE[0])
    check_autograd(DEVICE, LARGE[0], False, False, gt.grouped_mm)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(20):
        check_autograd(DEVICE, LARGE[0], False, False, gt.grouped_mm)
    assert torch.cuda.memory_allocated() <= before


def test_plans_name_what_computes():
    plan = ggemm.plan("forward", groups=8, m=1600, n=512, k=384, device="cuda")
    assert plan.variant.startswith("ggemm_") and plan.reason and plan.device == "cuda:0"
    x, w, sizes, _ = inputs(DEVICE, LARGE[0])
    assert torch.equal(plan.run(x, w, sizes), ggemm.forward(x, w, sizes))
    checked = ggemm.plan("forward", groups=8, m=1600, n=512, k=384, device="cuda", checked=True)
    with pytest.raises(ggemm.ArgumentError, match="size of group 0 is -301"):
        checked.run(x, w, sizes.neg() - 1)


def test_tensors_on_two_devices_are_refused():
    x, w, sizes, _ = inputs(DEVICE, LARGE[0])
    with pytest.raises(ggemm.ArgumentError, match=r"sizes \(or ends\) lies on cpu, and x on cuda:0"):
        ggemm.forward(x, w, sizes.cpu())
