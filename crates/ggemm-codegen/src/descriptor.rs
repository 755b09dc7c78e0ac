//! Descriptors of `wgmma`'s operands in shared memory, derived from their layouts.
//!
//! A descriptor says where a tile's 8-row groups and panels lie (PTX ISA, "Matrix Descriptor Format" of
//! `wgmma.mma_async`). The swizzled panels of [`Layout`] are the canonical form, so that two strides are all there is.

use crate::layout::{Layout, Swizzle};

/// Rows of one product of a warpgroup.
pub const WGMMA_M: u32 = 64;
/// Bytes of the reduction that one product takes.
pub const WGMMA_K_BYTES: u32 = 32;
/// The widest product.
pub const WGMMA_MAX_N: u32 = 256;
/// Depth of one product of operands whose elements have so many bytes.
pub const fn wgmma_k(element_bytes: u32) -> u32 {
    WGMMA_K_BYTES / element_bytes
}

/// Rows after which a swizzled tile's pattern repeats.
const ATOM_ROWS: u32 = 8;

/// The parts of a descriptor that are the same for all products of a tile, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// Between panels; without meaning where a product never leaves a panel.
    pub leading: u32,
    /// Between groups of eight rows.
    pub stride: u32,
    /// From one step along the reduction to the next.
    pub step: u32,
    /// From one block of 64 along the side to the next.
    pub side_block: u32,
}

/// Why `wgmma` cannot read a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDescriptor {
    /// Panels are narrower than the 128-byte swizzle.
    #[error("its rows are {bytes} bytes, and the 128-byte swizzle needs 128")]
    NarrowPanels {
        /// Bytes of a panel's row.
        bytes: u32,
    },
    /// Elements are neither of 1 nor of 2 bytes.
    #[error("its elements are {bytes} bytes, and products of 8-bit and 16-bit operands are all there is")]
    Element {
        /// Bytes of an element.
        bytes: u32,
    },
    /// The rows of 8-bit operands are the reduction.
    #[error("its elements are 1 byte and lie across the reduction, along which products of 8-bit operands read")]
    Across,
    /// A K-major tile whose reduction takes more than a panel, or rows that are no groups of eight.
    #[error("a tile of {rows} x {cols} is not made of whole groups of eight rows in one panel")]
    Shape {
        /// Rows.
        rows: u32,
        /// Columns.
        cols: u32,
    },
}

/// The descriptor of a tile's operands; `mn_major`: its rows are the reduction.
///
/// # Errors
/// Why `wgmma` cannot read such a tile.
pub fn of(layout: &Layout, mn_major: bool) -> Result<Descriptor, NoDescriptor> {
    let (rows, cols) = layout.shape();
    let row_bytes = layout.rows.0.first().map_or(0, |d| d.stride);
    match (layout.element_bytes, mn_major) {
        (1, true) => return Err(NoDescriptor::Across),
        (1 | 2, _) => {}
        (bytes, _) => return Err(NoDescriptor::Element { bytes }),
    }
    let depth = wgmma_k(layout.element_bytes);
    if layout.swizzle != Swizzle::for_rows_of(128) || row_bytes != 128 {
        return Err(NoDescriptor::NarrowPanels { bytes: row_bytes });
    }
    let panels = layout.cols.0.get(1).map_or(1, |d| d.extent);
    let steps_fit = if mn_major { rows % depth == 0 } else { panels == 1 };
    if rows % ATOM_ROWS != 0 || !steps_fit {
        return Err(NoDescriptor::Shape { rows, cols });
    }
    let stride = ATOM_ROWS * row_bytes;
    Ok(if mn_major {
        let panel = layout.cols.0.get(1).map_or(0, |d| d.stride);
        Descriptor { leading: panel, stride, step: depth * row_bytes, side_block: panel }
    } else {
        Descriptor { leading: 16, stride, step: WGMMA_K_BYTES, side_block: WGMMA_M * row_bytes }
    })
}

impl Descriptor {
    /// The bits beside the address: strides in units of 16 bytes, and the 128-byte swizzle.
    pub const fn bits(self) -> u64 {
        const fn field(bytes: u32) -> u64 {
            (bytes as u64 & 0x3_ffff) >> 4
        }
        field(self.leading) << 16 | field(self.stride) << 32 | 1 << 62
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Emitted text adds to a descriptor's lower half (`wgmma_advance`): nothing may be carried out of the address, which has 14
    /// bits for units of 16 bytes.
    #[test]
    fn no_address_of_shared_memory_is_carried_out_of_its_field() {
        let last = crate::Arch::Sm90a.limits().shared_per_block - 1;
        assert_eq!(last >> 4 >> 14, 0);
    }

    /// Reads every operand element the way the hardware does, from the canonical layouts of the PTX ISA ("Strides"
    /// and "Canonical layouts" of wgmma's shared-memory layout), and finds it where the layout put it.
    #[test]
    fn descriptors_lead_to_the_layouts_elements() {
        for (side, depth) in [(64, 64), (128, 64), (256, 64), (8, 64), (64, 32), (192, 128)] {
            for mn_major in [false, true] {
                let layout = if mn_major {
                    Layout::swizzled_panels(depth, side, 2)
                } else {
                    Layout::swizzled_panels(side, depth, 2)
                };
                let Ok(d) = of(&layout, mn_major) else {
                    assert!(side < 64 || depth != 64, "{side}x{depth}");
                    continue;
                };
                for (s, k) in (0..side).flat_map(|s| (0..depth).map(move |k| (s, k))) {
                    let (step, within) = (k / wgmma_k(2), k % wgmma_k(2));
                    let start = step * d.step;
                    let linear = if mn_major {
                        start + s % 64 * 2 + s / 64 * d.leading + within % 8 * 128 + within / 8 * d.stride
                    } else {
                        start + within * 2 + s % 8 * 128 + s / 8 * d.stride
                    };
                    let read = Swizzle::for_rows_of(128).apply(linear);
                    let stored = if mn_major { layout.offset(k, s) } else { layout.offset(s, k) };
                    assert_eq!(read, stored, "side {s}, k {k}, mn_major {mn_major}, {side}x{depth}");
                }
            }
        }
    }

    /// The same for 8-bit operands, whose k32 steps lie along the rows.
    #[test]
    fn eight_bit_operands_lie_along_the_reduction() {
        for side in [8, 64, 256] {
            let layout = Layout::swizzled_panels(side, 128, 1);
            let d = of(&layout, false).unwrap();
            assert_eq!((d.step, d.stride, d.side_block), (32, 1024, 64 * 128));
            for (s, k) in (0..side).flat_map(|s| (0..128).map(move |k| (s, k))) {
                let (step, within) = (k / wgmma_k(1), k % wgmma_k(1));
                let linear = step * d.step + within + s % 8 * 128 + s / 8 * d.stride;
                assert_eq!(Swizzle::for_rows_of(128).apply(linear), layout.offset(s, k), "side {s}, k {k}");
            }
        }
        assert_eq!(of(&Layout::swizzled_panels(128, 64, 1), true), Err(NoDescriptor::Across));
        assert!(of(&Layout::swizzled_panels(64, 64, 1), false).is_err(), "64-byte rows");
    }

    /// As hopper's kernels have them: K-major 1,024 bytes between groups, MN-major a panel of BK · 128 bytes.
    #[test]
    fn known_strides() {
        let k_major = of(&Layout::swizzled_panels(128, 64, 2), false).unwrap();
        assert_eq!((k_major.stride, k_major.step, k_major.side_block), (1024, 32, 64 * 128));
        let mn_major = of(&Layout::swizzled_panels(64, 256, 2), true).unwrap();
        assert_eq!((mn_major.leading, mn_major.stride, mn_major.step), (64 * 128, 1024, 2048));
        assert_eq!(k_major.bits() >> 62, 1);
        assert_eq!(k_major.bits() >> 32 & 0x3fff, 64);
        assert!(of(&Layout::swizzled_panels(64, 32, 2), false).is_err(), "64-byte rows");
        assert!(of(&Layout::swizzled_panels(64, 128, 2), false).is_err(), "the reduction leaves its panel");
    }
}
