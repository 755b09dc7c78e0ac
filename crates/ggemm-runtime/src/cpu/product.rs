//! The product of two f32 panels.

/// A matrix in a slice, with strides in elements.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl Matrix<'_> {
    fn fits(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride < self.data.len()
    }
}

/// sums = a · b, or sums += a · b; the rows of `sums` are `stride` apart.
pub(super) fn multiply(sums: &mut [f32], stride: usize, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    let (rows, cols, depth) = (a.rows, b.cols, a.cols);
    let d = Matrix { data: sums, rows, cols, row_stride: stride, col_stride: 1 };
    // Panels are made to fit; a mistake here would be one in memory safety.
    assert!(a.fits() && b.fits() && d.fits() && b.rows == depth && cols <= stride);
    let step = |stride: usize| stride as isize;
    // SAFETY: every element that the strides address lies within its slice, as asserted; `sums` is borrowed mutably, so
    // it overlaps neither operand; all are initialized.
    unsafe {
        gemm::gemm::<f32>(
            rows,
            cols,
            depth,
            sums.as_mut_ptr(),
            1,
            step(stride),
            add,
            a.data.as_ptr(),
            step(a.col_stride),
            step(a.row_stride),
            b.data.as_ptr(),
            step(b.col_stride),
            step(b.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
