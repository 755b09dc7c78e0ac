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
        let (extents, strides) = self.numbers(shape);
        EncodedMap {
            extents: extents[..self.rank()].to_vec(),
            strides: strides[..self.rank()].to_vec(),
            counts: self.dims.iter().map(|d| d.count).collect(),
            element_bytes: self.dtype.size_bytes(),
        }
    }

    /// Why it does not lead to a tensor, which the kernel stores or only loads.
    pub(super) fn unaddressable(&self, shape: &TensorShape, is_stored: bool) -> Option<Unaddressable> {
        let ((extents, strides), rank) = (self.numbers(shape), self.rank());
        let stored = || unstorable(shape.cols as u64, self.dtype.size_bytes()).filter(|_| is_stored);
        unaddressable(&extents[..rank], &strides[..rank]).or_else(stored)
    }

    /// Extents and strides, without a place of their own: selection asks for them with every call.
    fn numbers(&self, shape: &TensorShape) -> ([u64; MOST_DIMS], [u64; MOST_DIMS]) {
        let (mut extents, mut strides) = ([1; MOST_DIMS], [0; MOST_DIMS]);
        for ((extent, stride), dim) in extents.iter_mut().zip(&mut strides).zip(&self.dims) {
            *extent = dim.extent.of(self.dtype, shape);
            *stride = dim.stride.of(self.dtype, shape);
        }
        (extents, strides)
    }
}

impl Extent {
    fn of(self, dtype: Dtype, shape: &TensorShape) -> u64 {
        let extent = match self {
            Extent::Cols => shape.cols as u64,
            Extent::Rows => shape.rows as u64,
            Extent::RowEnds => shape.rows as u64 + 1,
            // One matrix for all groups: any number leads to it.
            Extent::Groups if Stride::Group.of(dtype, shape) == 0 => UNBOUNDED,
            Extent::Groups => shape.groups as u64,
            Extent::Fixed(n) => n,
        };
        extent.max(1)
    }
}

impl Stride {
    fn of(self, dtype: Dtype, shape: &TensorShape) -> u64 {
        let bytes = u64::from(dtype.size_bytes());
        // What is never stepped over may be anything, but must be a multiple of 16.
        let between = |count: usize, stride: usize| match count {
            0 | 1 => 0,
            _ => (stride as u64).wrapping_mul(bytes),
        };
        match self {
            Stride::Element => bytes,
            Stride::Row => between(shape.rows, shape.row_stride),
            Stride::Group => between(shape.groups, shape.group_stride),
            Stride::RowComplement => RAGGED_STRIDE.wrapping_sub(between(shape.rows, shape.row_stride)),
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

    /// What of these numbers the copy engine cannot take.
    pub fn unaddressable(&self) -> Option<Unaddressable> {
        unaddressable(&self.extents, &self.strides)
    }

    /// Why stores would reach past the tensor.
    pub fn unstorable(&self) -> Option<Unaddressable> {
        unstorable(self.extents[0], self.element_bytes)
    }
}

/// What the copy engine cannot take (CUDA driver API, `cuTensorMapEncodeTiled`).
fn unaddressable(extents: &[u64], strides: &[u64]) -> Option<Unaddressable> {
    let strides = &strides[1..];
    let odd = strides.iter().find(|s| !s.is_multiple_of(16)).map(|bytes| Unaddressable::Alignment { bytes: *bytes });
    let far = strides.iter().find(|s| **s >= MOST_STRIDE).map(|bytes| Unaddressable::Stride { bytes: *bytes });
    // A group must end before the coordinate at which rows of a ragged map do.
    let ends = match extents {
        [_, RAGGED_EXTENT, ends, _] if *ends > RAGGED_EXTENT => {
            Some(Unaddressable::Extent { extent: ends - 1, most: RAGGED_EXTENT - 1 })
        }
        _ => None,
    };
    let long = extents.iter().find(|extent| **extent > MOST_EXTENT);
    let long = long.map(|extent| Unaddressable::Extent { extent: *extent, most: MOST_EXTENT });
    odd.or(far).or(ends).or(long)
}

/// Why stores would reach past a tensor with so many columns: loads see single elements, but a store writes 16 bytes of a
/// row or none (seen on an H100).
fn unstorable(cols: u64, element_bytes: u32) -> Option<Unaddressable> {
    let bytes = cols.saturating_mul(u64::from(element_bytes));
    (!bytes.is_multiple_of(16)).then_some(Unaddressable::Columns { bytes })
}

/// The most dimensions of a tensor map.
const MOST_DIMS: usize = 5;
/// Strides are below it, in bytes.
const MOST_STRIDE: u64 = 1 << 40;
/// The most coordinates of a dimension.
const MOST_EXTENT: u64 = 1 << 32;

/// Why no tensor map leads to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unaddressable {
    /// A stride that is no multiple of 16 bytes.
    #[error("a stride of {bytes} bytes is no multiple of 16")]
    Alignment {
        /// The stride.
        bytes: u64,
    },
    /// Rows that are stored and end within 16 bytes.
    #[error("a store writes 16 bytes or none, and its rows have {bytes}")]
    Columns {
        /// Bytes of a row.
        bytes: u64,
    },
    /// A stride that is too long; a ragged map takes row strides below 2³⁴ bytes.
    #[error("a stride of {bytes} bytes is longer than tensor maps take (2^40, for rows of groups 2^34)")]
    Stride {
        /// The stride.
        bytes: u64,
    },
    /// A dimension that is too long.
    #[error("a dimension of {extent} is longer than {most}")]
    Extent {
        /// The dimension.
        extent: u64,
        /// The most that is taken.
        most: u64,
    },
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
        assert_eq!(map.unaddressable(), None);
        let shared = TensorShape { group_stride: 0, groups: 1, ..shape };
        let map = TensorMap::matrix(Dtype::Bf16, 8, 64, true).encode(&shared);
        assert_eq!(map.element(&[19, 9, 70_000]), Some(9 * 24 + 19), "one matrix for all groups");
        let empty =
            TensorMap::matrix(Dtype::Bf16, 8, 64, true).encode(&TensorShape { cols: 0, row_stride: 0, ..shape });
        assert_eq!(empty.extents, [1, 10, 3], "no extent of 0");
    }

    #[test]
    fn what_no_map_leads_to() {
        let plain = |shape: &TensorShape| TensorMap::matrix(Dtype::Bf16, 8, 64, true).encode(shape).unaddressable();
        let ragged = |shape: &TensorShape| TensorMap::ragged(Dtype::Bf16, 8, 64).encode(shape).unaddressable();
        assert_eq!(plain(&tokens(4, 4, 9)), Some(Unaddressable::Alignment { bytes: 18 }));
        assert_eq!(plain(&tokens(1, 4, 9)), None, "a stride that is never stepped over");
        let stacked = TensorShape { groups: 2, group_stride: 9, ..tokens(1, 4, 8) };
        assert_eq!(plain(&stacked), Some(Unaddressable::Alignment { bytes: 18 }));
        assert_eq!(plain(&TensorShape { groups: 1, ..stacked }), None);
        assert_eq!(plain(&tokens(2, 4, 1 << 38)), None);
        assert_eq!(plain(&tokens(2, 4, 1 << 39)), Some(Unaddressable::Stride { bytes: 1 << 40 }));
        assert_eq!(ragged(&tokens(2, 4, (1 << 33) - 8)), None);
        assert!(matches!(ragged(&tokens(2, 4, (1 << 33) + 8)), Some(Unaddressable::Stride { .. })));
        assert_eq!(ragged(&tokens((1 << 30) - 1, 8, 8)), None);
        let long = Unaddressable::Extent { extent: 1 << 30, most: (1 << 30) - 1 };
        assert_eq!(ragged(&tokens(1 << 30, 8, 8)), Some(long));
        let stored = |cols| TensorMap::ragged(Dtype::Bf16, 8, 64).encode(&tokens(4, cols, 24)).unstorable();
        assert_eq!((stored(8), stored(9)), (None, Some(Unaddressable::Columns { bytes: 18 })));
    }
}
