"""The same product as a loop of torch.mm, which autograd knows, and the comparison with it."""

import torch

# Sizes, M, N, K: ragged, skewed, partly empty, with a tail, of odd extents, of no rows.
PROBLEMS = [
    ([3, 0, 5], 8, 16, 24),
    ([0, 0, 64, 0], 64, 32, 48),
    ([5, 1, 0, 7], 20, 33, 17),
    ([1] * 20, 20, 24, 8),
    ([0, 0], 0, 16, 8),
    ([0, 0], 6, 16, 8),
]


def inputs(device, problem, kn=False, dtype=torch.bfloat16, seed=3):
    sizes, m, n, k = problem
    made = torch.Generator(device=device).manual_seed(seed)

    def random(*shape):
        # Small integers: float32 sums of their products are exact in any order, so that results must agree to the bit.
        return torch.randint(-2, 3, shape, generator=made, device=device).to(dtype)

    x, w = random(m, k), random(len(sizes), *((k, n) if kn else (n, k)))
    return x, w, torch.tensor(sizes, dtype=torch.int32, device=device), random(m, n)


def loop(x, w, sizes):
    """w is [G, N, K]. The host reads the sizes."""
    pieces, start = [], 0
    for group, size in enumerate(sizes.tolist()):
        pieces.append(torch.mm(x[start : start + size], w[group].t()))
        start += size
    pieces.append(x.new_zeros(x.shape[0] - start, w.shape[1]))
    return torch.cat(pieces)


def check_autograd(device, problem, kn, by_ends, product):
    """A step through `product` against the loop in float32 of the same values, rounded once."""
    x, w, sizes, dy = inputs(device, problem, kn)
    x.requires_grad_(), w.requires_grad_()
    groups = {"ends": torch.cumsum(sizes, 0, dtype=torch.int32)} if by_ends else {"sizes": sizes}
    y = product(x, w, **groups, w_layout="kn" if kn else "nk")
    y.backward(dy)
    a, b = x.detach().float().requires_grad_(), w.detach().float().requires_grad_()
    expected = loop(a, b.transpose(-2, -1) if kn else b, sizes)
    expected.backward(dy.float())
    for ours, theirs in ((y, expected), (x.grad, a.grad), (w.grad, b.grad)):
        assert ours.dtype == x.dtype and ours.shape == theirs.shape
        assert torch.equal(ours, theirs.to(ours.dtype))
