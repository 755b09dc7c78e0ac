//! Layouts as values: where the elements of a shared tile lie, and which elements each thread holds in registers.
//!
//! Everything that needs an address evaluates the same value: ldmatrix rows, cp.async destinations, resource counts,
//! bank conflicts, and whoever executes the IR. A swizzle is therefore right everywhere or wrong everywhere.

use serde::{Deserialize, Serialize};

/// Bytes of a shared-memory transaction unit: `cp.async`, `ldmatrix` rows and swizzles move 16 bytes.
pub const CHUNK_BYTES: u32 = 16;

/// Bytes after which the 128-byte swizzle repeats: tiles that it is applied to by address start at multiples of it.
pub const SWIZZLE_ATOM_BYTES: u32 = 1024;

/// One dimension of a layout: a mixed-radix index, fastest digit first, each digit with its extent and byte stride.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Axis(pub Vec<Digit>);

/// One digit of an [`Axis`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digit {
    /// Values of the digit.
    pub extent: u32,
    /// Bytes between neighbouring values.
    pub stride: u32,
}

impl Axis {
    /// Indices of the axis.
    pub fn extent(&self) -> u32 {
        self.0.iter().map(|d| d.extent).product()
    }

    /// Bytes from index 0 to `index`, before the swizzle.
    pub fn offset(&self, mut index: u32) -> u32 {
        let mut offset = 0;
        for d in &self.0 {
            offset += index % d.extent * d.stride;
            index /= d.extent;
        }
        offset
    }
}

/// An exclusive-or of address bits: bits [base + shift, base + shift + bits) are added into [base, base + bits).
///
/// `{bits: 3, base: 4, shift: 3}` is the 128-byte swizzle of the copy engine and of wgmma, 2 bits the 64-byte one, 1
/// bit the 32-byte one, 0 bits none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Swizzle {
    /// Bits exchanged.
    pub bits: u32,
    /// The lowest bit that changes.
    pub base: u32,
    /// How far above the deciding bits lie.
    pub shift: u32,
}

impl Swizzle {
    /// The swizzle for panels whose rows are `row_bytes` long: 32, 64 or 128.
    pub const fn for_rows_of(row_bytes: u32) -> Swizzle {
        let bits = match row_bytes {
            32 => 1,
            64 => 2,
            128 => 3,
            _ => 0,
        };
        Swizzle { bits, base: 4, shift: 3 }
    }

    /// The byte offset after the swizzle.
    pub const fn apply(self, offset: u32) -> u32 {
        let mask = (1 << self.bits) - 1;
        offset ^ (((offset >> (self.base + self.shift)) & mask) << self.base)
    }
}

/// Where the elements of a two-dimensional shared tile lie, in bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// The dimension that is not contiguous in global memory.
    pub rows: Axis,
    /// The dimension that is.
    pub cols: Axis,
    /// Applied to the sum of both.
    pub swizzle: Swizzle,
    /// Bytes of an element.
    pub element_bytes: u32,
}

impl Layout {
    /// A tile of `rows` × `cols` elements in panels: columns are cut into panels of at most 128 bytes, each panel
    /// stores its rows one after another, and 16-byte chunks are swizzled by the row.
    ///
    /// This is the canonical form of the copy engine and of wgmma descriptors (K-major and MN-major alike), and it
    /// makes both 16-byte stores of rows and ldmatrix free of bank conflicts.
    pub fn swizzled_panels(rows: u32, cols: u32, element_bytes: u32) -> Layout {
        let panel = cols.min(128 / element_bytes);
        let row_bytes = panel * element_bytes;
        Layout {
            rows: Axis(vec![Digit { extent: rows, stride: row_bytes }]),
            cols: Axis(vec![
                Digit { extent: panel, stride: element_bytes },
                Digit { extent: cols.div_ceil(panel), stride: rows * row_bytes },
            ]),
            swizzle: Swizzle::for_rows_of(row_bytes),
            element_bytes,
        }
    }

    /// The same panels for elements of 4 bytes that threads read one by one, four rows of eight neighbours at a time: pieces
    /// are swizzled by two, so that the four rows' lie in different banks.
    pub fn word_panels(rows: u32, cols: u32) -> Layout {
        let panels = Layout::swizzled_panels(rows, cols, 4);
        Layout { swizzle: Swizzle { bits: 2, base: 5, shift: 2 }, ..panels }
    }

    /// A tile of `rows` × `cols` elements, row after row or column after column.
    pub fn dense(rows: u32, cols: u32, by_columns: bool, element_bytes: u32) -> Layout {
        let (of_row, of_col) = if by_columns { (1, rows) } else { (cols, 1) };
        Layout {
            rows: Axis(vec![Digit { extent: rows, stride: of_row * element_bytes }]),
            cols: Axis(vec![Digit { extent: cols, stride: of_col * element_bytes }]),
            swizzle: Swizzle::for_rows_of(0),
            element_bytes,
        }
    }

    /// Byte offset of an element.
    pub fn offset(&self, row: u32, col: u32) -> u32 {
        self.swizzle.apply(self.rows.offset(row) + self.cols.offset(col))
    }

    /// Rows after which the swizzle repeats: so many rows further on, every element lies a constant number of bytes
    /// further on.
    pub fn row_period(&self) -> u32 {
        let row_bytes = self.rows.0.first().map_or(1, |d| d.stride).max(1);
        ((1 << (self.swizzle.base + self.swizzle.shift + self.swizzle.bits)) / row_bytes).max(1)
    }

    /// Rows and columns.
    pub fn shape(&self) -> (u32, u32) {
        (self.rows.extent(), self.cols.extent())
    }

    /// Bytes of the whole tile.
    pub fn bytes(&self) -> u32 {
        let (rows, cols) = self.shape();
        rows * cols * self.element_bytes
    }
}

/// The largest number of accesses that meet in one of the 32 four-byte banks when `addresses` (of `width` bytes each)
/// are served together, over the phases the hardware splits them into: 1 is free of conflicts.
///
/// A phase serves 128 bytes: 8 addresses of 16 bytes, 32 of 4. Equal words in a phase are one access.
pub fn bank_conflicts(addresses: &[u32], width: u32) -> u32 {
    phases(addresses, width).max().unwrap_or(0)
}

/// How many transactions of the banks serve `addresses` (of `width` bytes each): as many in each phase as accesses meet
/// in one bank.
pub fn bank_transactions(addresses: &[u32], width: u32) -> u32 {
    phases(addresses, width).sum()
}

/// Accesses that meet in one bank, by phase.
fn phases(addresses: &[u32], width: u32) -> impl Iterator<Item = u32> {
    let per_phase = (128 / width.max(4)).max(1) as usize;
    addresses.chunks(per_phase).map(move |phase| {
        let mut words: Vec<u32> = phase.iter().flat_map(|a| (0..width.div_ceil(4)).map(move |w| a / 4 + w)).collect();
        words.sort_unstable();
        words.dedup();
        let mut banks = [0u32; 32];
        for w in words {
            banks[(w % 32) as usize] += 1;
        }
        banks.into_iter().max().unwrap_or(0)
    })
}

/// One digit of a thread's or of a value's index, with what it adds to the coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mode {
    /// Values of the digit.
    pub extent: u32,
    /// Rows between neighbouring values.
    pub row: u32,
    /// Columns between neighbouring values.
    pub col: u32,
}

/// Which element of a two-dimensional block each thread holds in each of its registers' elements.
///
/// Thread and value indices are mixed-radix numbers, fastest digit first; an element's coordinates are the sums of its
/// digits' strides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ThreadValueMap {
    /// Digits of the thread's index in its CTA.
    pub threads: Vec<Mode>,
    /// Digits of the element's index in its thread.
    pub values: Vec<Mode>,
}

impl ThreadValueMap {
    /// Threads that take part.
    pub fn thread_count(&self) -> u32 {
        self.threads.iter().map(|m| m.extent).product()
    }

    /// Elements of one thread.
    pub fn value_count(&self) -> u32 {
        self.values.iter().map(|m| m.extent).product()
    }

    /// (row, column) of one thread's element.
    pub fn coordinates(&self, thread: u32, value: u32) -> (u32, u32) {
        let (r0, c0) = decode(&self.threads, thread);
        let (r1, c1) = decode(&self.values, value);
        (r0 + r1, c0 + c1)
    }
}

fn decode(modes: &[Mode], mut index: u32) -> (u32, u32) {
    let (mut row, mut col) = (0, 0);
    for m in modes {
        row += index % m.extent * m.row;
        col += index % m.extent * m.col;
        index /= m.extent;
    }
    (row, col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swizzled_panels_are_a_permutation() {
        for (rows, cols) in [(16, 32), (128, 64), (64, 128), (32, 256), (8, 16)] {
            let layout = Layout::swizzled_panels(rows, cols, 2);
            let mut seen: Vec<u32> =
                (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))).map(|(r, c)| layout.offset(r, c)).collect();
            seen.sort_unstable();
            let expected: Vec<u32> = (0..rows * cols).map(|i| i * 2).collect();
            assert_eq!(seen, expected, "{rows}x{cols}");
        }
    }

    #[test]
    fn chunks_stay_whole() {
        let layout = Layout::swizzled_panels(64, 128, 2);
        for row in 0..64 {
            for chunk in 0..16 {
                let first = layout.offset(row, chunk * 8);
                assert_eq!(first % CHUNK_BYTES, 0);
                for i in 0..8 {
                    assert_eq!(layout.offset(row, chunk * 8 + i), first + 2 * i);
                }
            }
        }
    }

    #[test]
    fn the_swizzle_repeats_after_its_period() {
        for cols in [16, 32, 64, 128] {
            let layout = Layout::swizzled_panels(64, cols, 2);
            let period = layout.row_period();
            assert_eq!(period, 8);
            for (row, col) in (0..32).flat_map(|r| (0..cols).map(move |c| (r, c))) {
                let expected = layout.offset(row, col) + period * layout.rows.0[0].stride;
                assert_eq!(layout.offset(row + period, col), expected);
            }
        }
    }

    #[test]
    fn the_known_128_byte_swizzle() {
        let layout = Layout::swizzled_panels(128, 64, 2);
        assert_eq!(layout.swizzle, Swizzle { bits: 3, base: 4, shift: 3 });
        // Row 1 starts with its second chunk's place, row 8 is unswizzled again.
        assert_eq!(
            [layout.offset(0, 0), layout.offset(1, 0), layout.offset(2, 8), layout.offset(8, 0)],
            [0, 128 + 16, 256 + 48, 1024]
        );
    }

    #[test]
    fn conflicts_are_counted() {
        let unswizzled: Vec<u32> = (0..8).map(|row| row * 128).collect();
        assert_eq!(bank_conflicts(&unswizzled, 16), 8);
        let layout = Layout::swizzled_panels(8, 64, 2);
        let swizzled: Vec<u32> = (0..8).map(|row| layout.offset(row, 0)).collect();
        assert_eq!(bank_conflicts(&swizzled, 16), 1);
        assert_eq!([bank_transactions(&unswizzled, 16), bank_transactions(&swizzled, 16)], [8, 1]);
        assert_eq!(bank_conflicts(&[0; 32], 4), 1, "a broadcast is one access");
    }
}
