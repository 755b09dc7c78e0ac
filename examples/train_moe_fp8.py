"""Trains a small Mixture-of-Experts layer on synthetic data, in bfloat16 and in fp8, and compares the losses.

    python examples/train_moe_fp8.py [--device cuda] [--steps 500]

Both runs see the same data from the same start. A teacher of the same shape makes the targets. The weights' fp8 copies are
kept for as long as the weights are: made once a step, for forward, backward and however many batches there are. Exit code 1
where the losses at the end, means over the last tenth of the steps, are more than 2 % apart.
"""

import argparse

import torch
import torch.nn.functional as F
from ggemm.torch import GroupedLinear

EXPERTS, WIDTH, HIDDEN, TOP, TOKENS = 8, 256, 512, 2, 1024


class Experts(torch.nn.Module):
    """Tokens go to the `TOP` experts that a fixed router scores highest; each is a gated product."""

    def __init__(self, recipe, device):
        super().__init__()
        how = {"recipe": recipe, "keep_copies": recipe is not None, "device": device}
        layer = lambda n, k: GroupedLinear(EXPERTS, k, n, **how)  # noqa: E731
        self.gate, self.up, self.down = layer(HIDDEN, WIDTH), layer(HIDDEN, WIDTH), layer(WIDTH, HIDDEN)
        self.register_buffer("router", torch.empty(WIDTH, EXPERTS, device=device))

    def forward(self, x):
        weights, experts = (x.float() @ self.router).softmax(-1).topk(TOP)
        order = experts.flatten().argsort(stable=True)
        sizes = torch.bincount(experts.flatten(), minlength=EXPERTS).int()
        rows = x[order // TOP]
        out = self.down(F.silu(self.gate(rows, sizes)) * self.up(rows, sizes), sizes)
        out = out * weights.flatten()[order, None].to(out.dtype)
        return torch.zeros_like(x).index_add_(0, order // TOP, out)


def train(recipe, teacher, steps, device):
    torch.manual_seed(1)
    student = Experts(recipe, device)
    student.router.copy_(teacher.router)
    # The weights that are optimized are float32; those that are multiplied are their bfloat16 copies.
    masters = [weight.detach().float().requires_grad_() for weight in student.parameters()]
    optimizer = torch.optim.Adam(masters, lr=2e-3)
    data, losses = torch.Generator(device=device).manual_seed(2), []
    for _ in range(steps):
        x = torch.randn(TOKENS, WIDTH, generator=data, device=device, dtype=torch.bfloat16)
        with torch.no_grad():
            target = teacher(x)
        loss = F.mse_loss(student(x).float(), target.float())
        loss.backward()
        for master, weight in zip(masters, student.parameters()):
            master.grad, weight.grad = weight.grad.float(), None
        optimizer.step()
        with torch.no_grad():
            for master, weight in zip(masters, student.parameters()):
                weight.copy_(master)
        losses.append(loss.detach())
    losses = torch.stack(losses)
    return losses[0].item(), losses[-max(1, steps // 10) :].mean().item()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--steps", type=int, default=500)
    options = options.parse_args()
    torch.manual_seed(0)
    teacher = Experts(None, options.device)
    torch.nn.init.normal_(teacher.router)
    for weight in teacher.parameters():
        torch.nn.init.normal_(weight, std=2 / weight.shape[-1] ** 0.5)
    ends = {}
    for recipe in (None, "fp8_block", "fp8_row"):
        first, ends[recipe] = train(recipe, teacher, options.steps, options.device)
        print(f"{recipe or 'bfloat16':10} loss {first:.5f} at first, {ends[recipe]:.5f} at the end", flush=True)
    apart = max(abs(ends[recipe] / ends[None] - 1) for recipe in ends)
    print(f"at most {apart:.2%} apart")
    raise SystemExit(apart > 0.02)


if __name__ == "__main__":
    main()
