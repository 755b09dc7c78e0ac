"""What a recipe computes, put together of `ggemm.quantize` and the three products."""

import ggemm


def by_hand(x, w, dy, sizes, kn, scaling, gradients):
    """A step of products that are each asked for, each operand quantized by a call of its own."""
    shared, layout = w.dim() == 2, "kn" if kn else "nk"
    of_w = {"scaling": scaling, "w_layout": layout}
    x8, x_scale = ggemm.quantize(x, "x", scaling=scaling)
    w8, w_scale = ggemm.quantize(w, "w", to_layout="nk", **of_w)
    y = ggemm.forward(x8, w8, sizes, x_scale=x_scale, w_scale=w_scale)
    dy8, dy_scale = ggemm.quantize(dy, "dy", "grad_x", scaling=scaling, dtype=gradients)
    w8, w_scale = ggemm.quantize(w, "w", "grad_x", to_layout="kn", **of_w)
    dx = ggemm.grad_x(dy8, w8, sizes, w_layout="kn", dy_scale=dy_scale, w_scale=w_scale)
    along = {"scaling": scaling, "shared": shared, "reduction_blocks": True}
    x8, x_scale = ggemm.quantize(x, "x", "grad_w", sizes, **along)
    dy8, dy_scale = ggemm.quantize(dy, "dy", "grad_w", sizes, dtype=gradients, **along)
    how = {"w_layout": layout, "shared": shared, "m": len(x), "dy_scale": dy_scale, "x_scale": x_scale}
    return y, dx, ggemm.grad_w(dy8, x8, sizes, **how)
