"""Quantization on a GPU: `pytest tests/gpu_quantize.py`. Held against the host's, to the bit."""

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9):
    pytest.skip("torch sees no GPU that converts to fp8", allow_module_level=True)

import ggemm  # noqa: E402

SIZES = [129, 0, 3, 128, 20]
M, N, K = 285, 140, 144
OPERANDS = [("x", "forward"), ("w", "forward"), ("dy", "grad_x"), ("w", "grad_x"), ("dy", "grad_w"), ("x", "grad_w")]


def source(argument, dtype):
    torch.manual_seed(3)
    shape = {"x": (M, K), "dy": (M, N), "w": (len(SIZES), N, K)}[argument]
    tensor = torch.randn(shape, dtype=torch.float32) * torch.exp2(torch.randint(-9, 9, (shape[-1],)).float())
    tensor.view(-1)[::1013] = float("inf")
    tensor.view(-1)[::1511] = float("nan")
    return tensor.to(dtype)


def bits(elements, scales):
    return elements.cpu().view(torch.uint8), scales.cpu().view(torch.int32)


@pytest.mark.parametrize("scaling", ["block", "row"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("argument, operation", OPERANDS)
@pytest.mark.parametrize("fp8", ["float8_e4m3fn", "float8_e5m2"])
def test_bits_are_the_hosts(argument, operation, dtype, scaling, fp8):
    tensor, sizes = source(argument, dtype), torch.tensor(SIZES, dtype=torch.int32)
    grad_w = operation == "grad_w"
    for more in [{"reduction_blocks": True}, {}] if grad_w else [{}, {"to_layout": "kn"}] if argument == "w" else [{}]:
        kwargs = dict(scaling=scaling, dtype=fp8, **more)
        host = bits(*ggemm.quantize(tensor, argument, operation, sizes if grad_w else None, **kwargs))
        gpu = bits(*ggemm.quantize(tensor.cuda(), argument, operation, sizes.cuda() if grad_w else None, **kwargs))
        for made, expected in zip(gpu, host):
            assert made.shape == expected.shape
            # What is of no group is anything on the GPU, and 0 on the host.
            ours = expected != 0 if grad_w else torch.ones_like(expected, dtype=torch.bool)
            assert torch.equal(made[ours], expected[ours]), (argument, operation, more)


@pytest.mark.parametrize("argument, operation", [("x", "forward"), ("dy", "grad_x")])
@pytest.mark.parametrize("scaling", ["block", "row"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("fp8", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("shared", [False, True], ids=["experts", "shared"])
def test_both_copies_are_those_of_two_calls_and_the_hosts(argument, operation, scaling, dtype, fp8, shared):
    tensor, sizes = source(argument, dtype), torch.tensor(SIZES, dtype=torch.int32)
    for powers_of_two, by_ends in ((False, False), (True, True)):
        groups = torch.cumsum(sizes, 0) if by_ends else sizes
        how = {"scaling": scaling, "dtype": fp8, "shared": shared, "powers_of_two": powers_of_two}

        def rows(groups):
            return {"ends" if by_ends else "sizes": groups}

        host = ggemm.quantize_both(tensor, argument, **rows(groups), **how)
        both = ggemm.quantize_both(tensor.cuda(), argument, **rows(groups.cuda()), **how)
        first = ggemm.quantize(tensor.cuda(), argument, operation, **how)
        second = ggemm.quantize(tensor.cuda(), argument, "grad_w", **rows(groups.cuda()), reduction_blocks=True, **how)
        for number, copies in enumerate(zip(both, (first, second), host, strict=True)):
            for ours, alone, expected in zip(*(bits(*copy) for copy in copies), strict=True):
                assert ours.shape == alone.shape == expected.shape
                # What is of no group is anything on the GPU, and 0 on the host; all rows are tokens.
                held = expected != 0 if number == 1 else torch.ones_like(expected, dtype=torch.bool)
                assert torch.equal(ours[held], expected[held]), (number, powers_of_two)
                assert torch.equal(alone[held], expected[held]), (number, powers_of_two)


@pytest.mark.parametrize("sizes", [[0] * 5, [285, 0, 0, 0, 0], [0, 0, 0, 0, 285], [57] * 5], ids=str)
def test_both_copies_of_any_sizes(sizes):
    tensor, sizes = source("x", torch.bfloat16), torch.tensor(sizes, dtype=torch.int64)
    host, gpu = (ggemm.quantize_both(tensor.to(d), "x", sizes.to(d)) for d in ("cpu", "cuda"))
    for number, (mine, theirs) in enumerate(zip(gpu, host, strict=True)):
        for ours, expected in zip(bits(*mine), bits(*theirs), strict=True):
            held = expected != 0 if number == 1 else torch.ones_like(expected, dtype=torch.bool)
            assert torch.equal(ours[held], expected[held])


def test_both_copies_of_a_view():
    """A transposed tensor is copied densely once."""
    tensor, sizes = source("x", torch.bfloat16).cuda(), torch.tensor(SIZES, dtype=torch.int32, device="cuda")
    dense = ggemm.quantize_both(tensor, "x", sizes)
    turned = ggemm.quantize_both(tensor.t().contiguous().t(), "x", sizes)
    assert torch.equal(dense[0][0].view(torch.uint8), turned[0][0].view(torch.uint8))
    assert torch.equal(dense[0][1], turned[0][1])


def test_the_current_stream_orders_it():
    x = torch.randn(8192, 4096, dtype=torch.bfloat16, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        late = x * 2
        elements, scales = ggemm.quantize(late, "x")
        again = elements.float() * scales.repeat_interleave(128, 1)
    stream.synchronize()
    torch.testing.assert_close(again, late.float(), rtol=2.0**-3, atol=2.0**-7)


def test_devices_must_agree():
    x, sizes = torch.zeros(8, 16, dtype=torch.bfloat16, device="cuda"), torch.tensor([4, 4], dtype=torch.int32)
    with pytest.raises(ValueError, match="lies on"):
        ggemm.quantize(x, "x", "grad_w", sizes)
    with pytest.raises(ValueError, match="lies on"):
        ggemm.quantize_both(x, "x", sizes)
    with pytest.raises(ValueError, match="no groups were given: give their sizes or ends"):
        ggemm.quantize(x, "x", "grad_w")


# What one CTA holds of a row or a column, and what clusters of them do, is followed by what they do not.
@pytest.mark.parametrize("rows, cols", [(9, 6160), (17, 8208), (9, 16_400), (3, 32_784), (9, 8201)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_long_rows_have_the_bits_of_the_hosts(rows, cols, dtype):
    torch.manual_seed(rows)
    x = (torch.randn(rows, cols) * torch.exp2(torch.randint(-9, 9, (cols,)).float())).to(dtype)
    host = bits(*ggemm.quantize(x, "x", "forward", scaling="row"))
    gpu = bits(*ggemm.quantize(x.cuda(), "x", "forward", scaling="row"))
    assert all(torch.equal(made, expected) for made, expected in zip(gpu, host))


@pytest.mark.parametrize("sizes", [[1100, 0, 3000], [2049, 2048, 1], [4097, 9000, 3, 0]], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("cols", [144, 67])
def test_long_columns_have_the_bits_of_the_hosts(sizes, dtype, cols):
    torch.manual_seed(cols)
    rows = sum(sizes) + 5
    x = (torch.randn(rows, cols) * torch.exp2(torch.randint(-9, 9, (rows, 1)).float())).to(dtype)
    sizes = torch.tensor(sizes, dtype=torch.int32)
    how = dict(scaling="row", reduction_blocks=True)
    host = bits(*ggemm.quantize(x, "x", "grad_w", sizes, **how))
    gpu = bits(*ggemm.quantize(x.cuda(), "x", "grad_w", sizes.cuda(), **how))
    for made, expected in zip(gpu, host):
        # What is of no group is anything on the GPU, and 0 on the host.
        assert torch.equal(made[expected != 0], expected[expected != 0])


def test_weights_of_long_columns_have_the_bits_of_the_hosts():
    torch.manual_seed(5)
    w = torch.randn(2, 5000, 144).to(torch.bfloat16)
    how = dict(scaling="row", to_layout="kn")
    host = bits(*ggemm.quantize(w, "w", "grad_x", **how))
    gpu = bits(*ggemm.quantize(w.cuda(), "w", "grad_x", **how))
    assert all(torch.equal(made, expected) for made, expected in zip(gpu, host))
