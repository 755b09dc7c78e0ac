"""fp8 from torch on a GPU: `pytest tests/gpu_fp8.py`. Results are held against a loop of products in float32."""

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no GPU", allow_module_level=True)
if torch.cuda.get_device_capability() != (9, 0):
    pytest.skip("fp8 kernels are for sm_90a", allow_module_level=True)

import ggemm  # noqa: E402
from torch_by_hand import by_hand  # noqa: E402

SIZES, M, N, K = [130, 0, 1, 257, 128], 520, 256, 384
STARTS = [sum(SIZES[:g]) for g in range(len(SIZES))]
TOTAL = sum(SIZES)
OPERANDS = {"forward": ("x", "w"), "grad_x": ("dy", "w"), "grad_w": ("dy", "x")}
CASES = [("block", False), ("row", False), ("row", True)]


@pytest.fixture(scope="module")
def layer():
    torch.manual_seed(3)
    of = lambda *shape: torch.randn(shape, dtype=torch.bfloat16)  # noqa: E731
    return {"x": of(M, K), "dy": of(M, N), "w": of(len(SIZES), N, K)}


def quantized(layer, operation, which, scaling):
    """An operand and its scales on the GPU, as tensor cores read it."""
    sizes = torch.tensor(SIZES, dtype=torch.int32)
    how = {}
    if which == "w":
        how["to_layout"] = "kn" if operation == "grad_x" else "nk"
    if operation == "grad_w":
        how.update(sizes=sizes, reduction_blocks=True)
    return [t.cuda() for t in ggemm.quantize(layer[which], which, operation, scaling=scaling, **how)]


def expected(layer, operation):
    x, dy, w = (layer[name].float() for name in ("x", "dy", "w"))
    rows = [slice(start, start + size) for start, size in zip(STARTS, SIZES)]
    if operation == "forward":
        return torch.cat([x[r] @ w[g].T for g, r in enumerate(rows)])
    if operation == "grad_x":
        return torch.cat([dy[r] @ w[g] for g, r in enumerate(rows)])
    return torch.stack([dy[r].T @ x[r] for r in rows])


@pytest.mark.parametrize("operation", list(OPERANDS))
@pytest.mark.parametrize("scaling, fast", CASES)
def test_products_of_quantized_operands(layer, operation, scaling, fast):
    (a, a_scale), (b, b_scale) = (quantized(layer, operation, which, scaling) for which in OPERANDS[operation])
    sizes = torch.tensor(SIZES, dtype=torch.int32, device="cuda")
    first, second = OPERANDS[operation]
    call = {f"{first}_scale": a_scale, f"{second}_scale": b_scale, "fast_accumulation": fast}
    if operation == "grad_x":
        call["w_layout"] = "kn"
    if operation == "grad_w":
        call.update(m=M, out_dtype=torch.float32)
    result = getattr(ggemm, operation)(a, b, sizes, **call)
    result = result if operation == "grad_w" else result[:TOTAL]
    right = expected(layer, operation)
    # Elements of e4m3 are off by up to 2^-4; independent errors of two operands in a sum make about 2^-5 of its norm.
    error = (result.float().cpu() - right).norm() / right.norm()
    assert error < 0.06
    again = getattr(ggemm, operation)(a, b, sizes, **call)
    assert torch.equal(again if operation == "grad_w" else again[:TOTAL], result)


def test_gradients_are_added(layer):
    (a, a_scale), (b, b_scale) = (quantized(layer, "grad_w", which, "block") for which in ("dy", "x"))
    sizes = torch.tensor(SIZES, dtype=torch.int32, device="cuda")
    once = ggemm.grad_w(a, b, sizes, dy_scale=a_scale, x_scale=b_scale, m=M, out_dtype=torch.float32)
    out = torch.ones_like(once)
    ggemm.grad_w(a, b, sizes, dy_scale=a_scale, x_scale=b_scale, m=M, out=out, accumulate=True)
    assert torch.equal(out, once + 1)


def test_what_no_kernel_multiplies_is_told_the_remedy(layer):
    x, x_scale = quantized(layer, "forward", "x", "block")
    w, w_scale = (t.cuda() for t in ggemm.quantize(layer["w"], "w", "forward", to_layout="kn"))
    sizes = torch.tensor(SIZES, dtype=torch.int32, device="cuda")
    with pytest.raises(ggemm.UnsupportedError, match=r"\[G, N, K\] copy of the weights"):
        ggemm.forward(x, w, sizes, w_layout="kn", x_scale=x_scale, w_scale=w_scale)


def kept_of(layer, **how):
    w = layer["w"].cuda().requires_grad_()
    return w, ggemm.QuantizedWeights(w, **how)


def trained(product, layer, w):
    w.grad = None
    x = layer["x"].cuda().requires_grad_()
    y = product(x)
    y.backward(layer["dy"].cuda())
    return y.detach(), x.grad, w.grad


@pytest.mark.parametrize("scaling", ["block", "row"])
@pytest.mark.parametrize("layout", ["nk", "kn"])
@pytest.mark.parametrize("source", [torch.bfloat16, torch.float32])
def test_kept_copies_are_those_of_the_host(layer, scaling, layout, source):
    w = layer["w"].to(source)
    w = w if layout == "nk" else w.transpose(1, 2).contiguous()
    ours, theirs = (ggemm.QuantizedWeights(w.to(device), scaling=scaling, w_layout=layout) for device in ("cuda", "cpu"))
    for name in ("nk", "nk_scale", "kn", "kn_scale"):
        mine, yours = (getattr(kept, name).cpu() for kept in (ours, theirs))
        assert torch.equal(mine.view(torch.uint8), yours.view(torch.uint8)), name


@pytest.mark.parametrize("follow", [False, True])
def test_kept_copies_of_another_stream_are_waited_for(layer, follow):
    import ggemm.torch as gt

    sizes = torch.tensor(SIZES, dtype=torch.int32, device="cuda")
    w, kept = kept_of(layer, follow=follow)
    side = torch.cuda.Stream()
    for _ in range(5):
        with torch.no_grad():
            torch.cuda._sleep(20_000_000)
            w.neg_()
            kept.update()
        with torch.cuda.stream(side):
            y = gt.grouped_mm(layer["x"].cuda(), kept, sizes)
        torch.cuda.synchronize()
        assert torch.equal(y, gt.grouped_mm(layer["x"].cuda(), w, sizes, recipe="fp8_block"))


@pytest.mark.parametrize("how", ["follow", "update in the graph", "update before the replay"])
def test_replays_see_the_weight_as_it_is(layer, how):
    import ggemm.torch as gt

    sizes = torch.tensor(SIZES, dtype=torch.int32, device="cuda")
    w, kept = kept_of(layer, follow=how == "follow")
    w.requires_grad_(False)
    x = layer["x"].cuda()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        # Loads kernels.
        gt.grouped_mm(x, kept, sizes)
        gt.grouped_mm(x, w, sizes, recipe="fp8_block")
        kept.update()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        if how == "update in the graph":
            kept.update()
        y = gt.grouped_mm(x, kept, sizes)
    for _ in range(3):
        w.mul_(-2)
        if how == "update before the replay":
            kept.update()
        torch.cuda.synchronize()
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(y, gt.grouped_mm(x, w, sizes, recipe="fp8_block"))


@pytest.mark.parametrize("recipe", ["fp8_block", "fp8_row"])
def test_a_step_of_kept_copies(layer, recipe):
    import ggemm.torch as gt

    sizes = torch.tensor(SIZES, dtype=torch.int32, device="cuda")
    w, kept = kept_of(layer, scaling=recipe.removeprefix("fp8_"), follow=True)
    optimizer = torch.optim.Adam([w], lr=0.01, fused=True)
    for _ in range(2):
        theirs = trained(lambda x: gt.grouped_mm(x, w, sizes, recipe=recipe), layer, w)
        ours = trained(lambda x: gt.grouped_mm(x, kept, sizes), layer, w)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
        optimizer.step()


def of_layer(layer, kn=False, shared=False):
    """x, w, dy and sizes on the GPU."""
    w = layer["w"][0] if shared else layer["w"]
    w = w.transpose(-2, -1).contiguous() if kn else w
    sizes = torch.tensor(SIZES, dtype=torch.int32, device="cuda")
    return layer["x"].cuda(), w.cuda(), layer["dy"].cuda(), sizes


@pytest.mark.parametrize("recipe", ["fp8_block", "fp8_row"])
@pytest.mark.parametrize("gradients", ["float8_e5m2", "float8_e4m3fn"])
@pytest.mark.parametrize("kn", [False, True], ids=["nk", "kn"])
@pytest.mark.parametrize("shared", [False, True], ids=["experts", "shared"])
@pytest.mark.parametrize("kept", [False, True], ids=["plain", "kept"])
def test_a_step_is_that_of_products_by_hand(layer, recipe, gradients, kn, shared, kept):
    import ggemm.torch as gt

    x, w, dy, sizes = of_layer(layer, kn, shared)
    scaling, layout = recipe.removeprefix("fp8_"), "kn" if kn else "nk"
    expected = by_hand(x, w, dy, sizes, kn, scaling, gradients)
    for needs in ((True, True), (True, False), (False, True)):
        a, b = (t.detach().clone().requires_grad_(need) for t, need in zip((x, w), needs))
        weights = ggemm.QuantizedWeights(b, scaling=scaling, w_layout=layout) if kept else b
        y = gt.grouped_mm(a, weights, sizes, w_layout=layout, recipe=recipe, gradients=gradients)
        y.backward(dy)
        assert torch.equal(y, expected[0])
        for tensor, gradient, need in zip((a, b), expected[1:], needs):
            assert torch.equal(tensor.grad, gradient) if need else tensor.grad is None


@pytest.mark.parametrize("recipe", ["fp8_block", "fp8_row"])
@pytest.mark.parametrize("kept", [False, True], ids=["plain", "kept"])
def test_a_graph_of_a_step_replays_with_the_sizes_of_its_own_time(layer, recipe, kept):
    import ggemm.torch as gt

    x, w, dy, sizes = of_layer(layer)
    x.requires_grad_(), w.requires_grad_()
    weights = ggemm.QuantizedWeights(w, scaling=recipe.removeprefix("fp8_")) if kept else w

    def step():
        x.grad = w.grad = None
        y = gt.grouped_mm(x, weights, sizes, recipe=recipe)
        y.backward(dy)
        return y.detach()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    x.grad = w.grad = None
    with torch.cuda.graph(graph):
        y = step()
    # Where replays leave them.
    dx, dw = x.grad, w.grad
    for now in (SIZES, [0] * 5, [M, 0, 0, 0, 0], [0, 0, 0, 0, M], [104] * 5):
        sizes.copy_(torch.tensor(now, dtype=torch.int32))
        graph.replay()
        torch.cuda.synchronize()
        expected = by_hand(x.detach(), w.detach(), dy, sizes, False, recipe.removeprefix("fp8_"), "float8_e5m2")
        assert all(torch.equal(ours, theirs) for ours, theirs in zip((y, dx, dw), expected, strict=True)), now


@pytest.mark.parametrize("recipe", ["fp8_block", "fp8_row"])
@pytest.mark.parametrize("how", ["saved on the host", "recomputed", "recomputed, reentrant"])
def test_what_becomes_of_saved_copies(layer, recipe, how):
    import ggemm.torch as gt
    from torch.utils.checkpoint import checkpoint

    x, w, dy, sizes = of_layer(layer)
    expected = by_hand(x, w, dy, sizes, False, recipe.removeprefix("fp8_"), "float8_e5m2")
    x.requires_grad_(), w.requires_grad_()
    product = lambda x, w: gt.grouped_mm(x, w, sizes, recipe=recipe)  # noqa: E731
    if how == "saved on the host":
        with torch.autograd.graph.save_on_cpu():
            y = product(x, w)
    else:
        y = checkpoint(product, x, w, use_reentrant=how == "recomputed, reentrant")
    y.backward(dy)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip((y, x.grad, w.grad), expected, strict=True))


def test_a_step_keeps_a_byte_of_each_element_of_x():
    import ggemm.torch as gt

    m, k, n, groups = 8192, 2048, 256, 4
    w = torch.randn(groups, n, k, dtype=torch.bfloat16, device="cuda").requires_grad_()
    sizes = torch.full((groups,), m // groups, dtype=torch.int32, device="cuda")

    def held():
        """Bytes that a product leaves allocated whose x nobody else holds."""
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        y = gt.grouped_mm(torch.randn(m, k, dtype=torch.bfloat16, device="cuda"), w, sizes, recipe="fp8_block")
        return torch.cuda.memory_allocated() - before - y.nbytes, y

    held()
    copy = 128 * (m // 128 + groups) * k
    scales = 4 * (m // 128 + groups) * k
    # torch's allocator hands out up to a mebibyte more than it was asked for.
    assert held()[0] <= copy + scales + (4 << 20) < 2 * m * k


@pytest.mark.parametrize("recipe", ["fp8_block", "fp8_row"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled(layer, recipe, dynamic):
    import ggemm.torch as gt

    torch._dynamo.reset()
    x, w, dy, sizes = of_layer(layer)
    expected = by_hand(x, w, dy, sizes, False, recipe.removeprefix("fp8_"), "float8_e5m2")
    x.requires_grad_(), w.requires_grad_()
    compiled = torch.compile(lambda x, w: gt.grouped_mm(x, w, sizes, recipe=recipe), fullgraph=True, dynamic=dynamic)
    y = compiled(x, w)
    y.backward(dy)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip((y, x.grad, w.grad), expected, strict=True))
