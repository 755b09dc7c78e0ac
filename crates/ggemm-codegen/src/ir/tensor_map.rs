//! Recipes of tensor maps: what the host encodes for the copy engine, as data of the contract, and where a box of
//! coordinates leads.
//!
//! A *ragged* map clips rows at the end of a group that only the device knows. Two dimensions of stride s and one of
//! 2³⁴ − s are laid over the rows; with the coordinates (2³⁰ − rows left, start + rows left, 2³⁰) their offsets cancel
//! modulo 2⁶⁴ to the row's own, and the bound of the first of them, 2³⁰, is met exactly where the group ends.

use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;
use crate::problem::TensorShape;

/// A tensor map's index in [`Contract::tensor_maps`](super::Contract::tensor_maps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorMapId(pub u32);

/// How the host encodes a tensor map for the operand that its parameter's role names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorMap {
    /// Type of an element.
    pub dtype: Dtype,
    /// Dimensions, the contiguous one first; at most five.
    pub dims: Vec<MapDim>,
    /// Bytes of a row of the swizzled box in shared memory: 128, 64, 32, or 0 where it is not swizzled.
    pub swizzle_bytes: u32,
}

/// A dimension of a tensor map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapDim {
    /// Coordinates below it exist.
    pub extent: Extent,
    /// Bytes between neighbours.
    pub stride: Stride,
    /// Elements of the box.
    pub count: u32,
}

/// How many coordinates of a dimension exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// The operand's columns.
    Cols,
    /// The operand's rows.
    Rows,
    /// One more than the operand's rows: where a group may end.
    RowEnds,
    /// The operand's matrices.
    Groups,
    /// A constant.
    Fixed(u64),
}

/// Bytes between neighbours of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stride {
    /// An element's.
    Element,
    /// A row's.
    Row,
    /// A matrix'.
    Group,
    /// [`RAGGED_STRIDE`] less a row's: it undoes what the other two ragged dimensions add.
    RowComplement,
}

/// The coordinate at which rows of a ragged map end.
pub const RAGGED_EXTENT: u64 = 1 << 30;
/// What the strides of the ragged dimensions add up to: [`RAGGED_EXTENT`] times it is 2⁶⁴, which is 0.
pub const RAGGED_STRIDE: u64 = 1 << 34;
/// More than any coordinate.
const UNBOUNDED: u64 = 0x7fff_0000;

/// A tensor map with the numbers of one operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedMap {
    /// Coordinates that exist, the contiguous dimension first.
    pub extents: Vec<u64>,
    /// Bytes between neighbours.
    pub strides: Vec<u64>,
    /// Elements of the box.
    pub counts: Vec<u32>,
    /// Bytes of an element.
    pub element_bytes: u32,
}

impl TensorMap {
    /// A matrix (or a stack of them, with `grouped`) in boxes of `rows` × `cols`.
    pub fn matrix(dtype: Dtype, rows: u32, cols: u32, grouped: bool) -> TensorMap {
        let mut dims = vec![
            MapDim { extent: Extent::Cols, stride: Stride::Element, count: cols },
            MapDim { extent: Extent::Rows, stride: Stride::Row, count: rows },
        ];
        if grouped {
            dims.push(MapDim { extent: Extent::Groups, stride: Stride::Group, count: 1 });
        }
        TensorMap { dtype, dims, swizzle_bytes: swizzle_of(dtype, cols) }
    }

    /// A matrix whose rows belong to groups, in boxes of `rows` × `cols` that are clipped where a group ends.
    pub fn ragged(dtype: Dtype, rows: u32, cols: u32) -> TensorMap {
        let dims = vec![
            MapDim { extent: Extent::Cols, stride: Stride::Element, count: cols },
            MapDim { extent: Extent::Fixed(RAGGED_EXTENT), stride: Stride::Row, count: rows },
            MapDim { extent: Extent::RowEnds, stride: Stride::Row, count: 1 },
            MapDim { extent: Extent::Fixed(UNBOUNDED), stride: Stride::RowComplement, count: 1 },
        ];
        TensorMap { dtype, dims, swizzle_bytes: swizzle_of(dtype, cols) }
    }

    /// Dimensions.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Bytes of a box: what a load of it counts on its barrier, clipped or not.
    pub fn box_bytes(&self) -> u32 {
        self.dims.iter().map(|d| d.count).product::<u32>() * self.dtype.size_bytes()
    }

    /// The numbers for one operand. A dimension that is empty says 1, because the driver takes no 0: who has nothing to
    /// load from a tensor must not load from it.
    pub fn encode(&self, shape: &TensorShape) -> EncodedMap {
        let bytes = u64::from(self.dtype.size_bytes());
        let row = shape.row_stride as u64 * bytes;
        let extent = |e| match e {
            Extent::Cols => shape.cols as u64,
            Extent::Rows => shape.rows as u64,
            Extent::RowEnds => shape.rows as u64 + 1,
            // One matrix for all groups: any number leads to it.
            Extent::Groups if shape.group_stride == 0 => UNBOUNDED,
            Extent::Groups => shape.groups as u64,
            Extent::Fixed(n) => n,
        };
        let stride = |s| match s {
            Stride::Element => bytes,
            Stride::Row => row,
            Stride::Group => shape.group_stride as u64 * bytes,
            Stride::RowComplement => RAGGED_STRIDE.wrapping_sub(row),
        };
        EncodedMap {
            extents: self.dims.iter().map(|d| extent(d.extent).max(1)).collect(),
            strides: self.dims.iter().map(|d| stride(d.stride)).collect(),
            counts: self.dims.iter().map(|d| d.count).collect(),
            element_bytes: self.dtype.size_bytes(),
        }
    }
}

/// The swizzle of a box whose rows are so long, as [`Layout::swizzled_panels`](crate::layout::Layout::swizzled_panels)
/// has it.
fn swizzle_of(dtype: Dtype, cols: u32) -> u32 {
    match cols * dtype.size_bytes() {
        bytes @ (32 | 64 | 128) => bytes,
        _ => 0,
    }
}

impl EncodedMap {
    /// The element (counted from the operand's first) at these coordinates; `None` where a coordinate does not exist.
    pub fn element(&self, coordinates: &[i64]) -> Option<i64> {
        let mut offset = 0u64;
        for ((c, extent), stride) in coordinates.iter().zip(&self.extents).zip(&self.strides) {
            let c = u64::try_from(*c).ok().filter(|c| c < extent)?;
            offset = offset.wrapping_add(c.wrapping_mul(*stride));
        }
        Some((offset as i64).div_euclid(i64::from(self.element_bytes)))
    }

    /// The first stride that the copy engine cannot take: not a multiple of 16 bytes.
    pub fn misaligned_stride(&self) -> Option<u64> {
        self.strides.iter().skip(1).copied().find(|s| s % 16 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(rows: usize, cols: usize, row_stride: usize) -> TensorShape {
        TensorShape { name: "x", dtype: Dtype::Bf16, groups: 1, rows, cols, row_stride, group_stride: 0 }
    }

    /// The address cancels to the row's own, and the bound is the group's end, wherever the group lies.
    #[test]
    fn ragged_coordinates_lead_to_the_rows_of_the_group_and_no_further() {
        for stride in [64, 72, 4096] {
            let shape = tokens(70_000, 64, stride);
            let map = TensorMap::ragged(Dtype::Bf16, 128, 64).encode(&shape);
            for (start, rows) in [(0i64, 1i64), (5, 130), (69_000, 1000), (70_000, 0), (3, 0)] {
                for row in [0i64, 1, 64, 127, 128, 129, 200, 999, 1000] {
                    let at = [7, RAGGED_EXTENT as i64 - rows + row, start + rows, RAGGED_EXTENT as i64];
                    let expected = (row < rows).then(|| (start + row) * stride as i64 + 7);
                    assert_eq!(map.element(&at), expected, "start {start}, rows {rows}, row {row}, stride {stride}");
                }
            }
            let past = [0, RAGGED_EXTENT as i64 - 2, 70_001, RAGGED_EXTENT as i64];
            assert_eq!(map.element(&past), None, "a group that ends past the matrix");
        }
    }

    #[test]
    fn matrices_are_clipped_on_every_side() {
        let shape = TensorShape { groups: 3, group_stride: 1000, ..tokens(10, 20, 24) };
        let map = TensorMap::matrix(Dtype::Bf16, 8, 64, true).encode(&shape);
        assert_eq!(map.element(&[19, 9, 2]), Some(2000 + 9 * 24 + 19));
        for outside in [[20, 0, 0], [0, 10, 0], [0, 0, 3], [-1, 0, 0], [0, -1, 0]] {
            assert_eq!(map.element(&outside), None);
        }
        assert_eq!(map.misaligned_stride(), None);
        let shared = TensorShape { group_stride: 0, groups: 1, ..shape };
        let map = TensorMap::matrix(Dtype::Bf16, 8, 64, true).encode(&shared);
        assert_eq!(map.element(&[19, 9, 70_000]), Some(9 * 24 + 19), "one matrix for all groups");
        let empty =
            TensorMap::matrix(Dtype::Bf16, 8, 64, true).encode(&TensorShape { cols: 0, row_stride: 0, ..shape });
        assert_eq!(empty.extents, [1, 10, 3], "no extent of 0");
        assert_eq!(TensorMap::matrix(Dtype::Bf16, 8, 64, false).encode(&tokens(4, 4, 9)).misaligned_stride(), Some(18));
    }
}
