"""fp8 from torch on a GPU: `pytest tests/gpu_fp8.py`. Results are held against a loop of products in float32."""

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no GPU", allow_module_level=True)
if torch.cuda.get_device_capability() != (9, 0):
    pytest.skip("fp8 kernels are for sm_90a", allow_module_level=True)

import ggemm  # noqa: E402

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
