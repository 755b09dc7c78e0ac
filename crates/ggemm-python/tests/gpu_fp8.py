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
