//! The work itself, a tile of 128 × 128 elements at a time: read in the source's order, written in the copy's.

use std::ops::Range;

use ggemm_codegen::{SCALE_BLOCK, ScaleShape, fp8};
use half::{bf16, f16};
use rayon::prelude::*;

use super::plane::{Part, Plane};
use crate::disjoint::DisjointRows;
use crate::element::Element;
use crate::fp8::{e4m3, e5m2};

/// A type that is quantized.
pub(super) trait Source: Element {
    /// Exact.
    fn wide(self) -> f32;
}

impl Source for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Source for f16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self.to_f32()
    }
}

impl Source for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
}

/// A type that is quantized to.
pub(super) trait Fp8: Element {
    /// The largest finite value.
    const LARGEST: f32;

    /// To nearest even, saturating.
    fn round(value: f32) -> Self;
}

impl Fp8 for e4m3 {
    const LARGEST: f32 = fp8::E4M3_MAX;

    #[inline(always)]
    fn round(value: f32) -> Self {
        e4m3::from_f32(value)
    }
}

impl Fp8 for e5m2 {
    const LARGEST: f32 = fp8::E5M2_MAX;

    #[inline(always)]
    fn round(value: f32) -> Self {
        e5m2::from_f32(value)
    }
}

/// The scales to be made.
pub(super) struct Target<'a> {
    pub(super) shape: ScaleShape,
    pub(super) scales: &'a mut [f32],
    /// Each block of the reduction has scales of its own.
    pub(super) per_block: bool,
    pub(super) powers_of_two: bool,
}

/// Side of a tile.
const SIDE: usize = SCALE_BLOCK;

/// Quantizes every part.
pub(super) fn quantize<S: Source, T: Fp8>(source: &[S], parts: &[Part], elements: &mut [T], target: Target<'_>) {
    let Target { shape, scales, per_block, powers_of_two } = target;
    let (elements, scales) = (DisjointRows::new(elements), DisjointRows::new(scales));
    let work = Work { source, elements, scales, shape, per_block, powers_of_two };
    let bands = |part: &Part| {
        let outer = part.outer;
        (0..outer).step_by(SIDE).map(move |first| first..outer.min(first + SIDE))
    };
    let tasks: Vec<(&Part, Range<usize>)> =
        parts.iter().flat_map(|part| bands(part).map(move |band| (part, band))).collect();
    tasks.into_par_iter().for_each(|(part, band)| work.quantize_band(part, &band));
}

/// What all tasks share. A task is a band of a part: up to 128 elements along the output, by all of the reduction.
struct Work<'a, S, T> {
    source: &'a [S],
    elements: DisjointRows<'a, T>,
    scales: DisjointRows<'a, f32>,
    shape: ScaleShape,
    per_block: bool,
    powers_of_two: bool,
}

impl<S: Source, T: Fp8> Work<'_, S, T> {
    fn quantize_band(&self, part: &Part, band: &Range<usize>) {
        let mut tile = vec![0.0; SIDE * SIDE];
        if !self.per_block {
            self.quantize_stretch(part, band, 0..part.length, part.first_block, &mut tile);
            return;
        }
        for (number, start) in (0..part.length).step_by(SIDE).enumerate() {
            let stretch = start..part.length.min(start + SIDE);
            self.quantize_stretch(part, band, stretch, part.first_block + number, &mut tile);
        }
    }

    /// A stretch of the reduction that shares scales, whose elements are read twice: a scale follows from all of them.
    fn quantize_stretch(
        &self,
        part: &Part,
        band: &Range<usize>,
        stretch: Range<usize>,
        block: usize,
        tile: &mut [f32],
    ) {
        let tiles = || stretch.clone().step_by(SIDE).map(|k| k..stretch.end.min(k + SIDE));
        let mut largest = [0.0_f32; SIDE];
        for k in tiles() {
            read(self.source, &part.from, band, &k, tile);
            for (largest, row) in largest.iter_mut().zip(tile.chunks(SIDE)).take(band.len()) {
                *largest = row[..k.len()].iter().fold(*largest, |most, value| most.max(finite(*value)));
            }
        }
        if self.shape.outer_block > 1 {
            let most = largest.iter().fold(0.0_f32, |most, value| most.max(*value));
            largest.fill(most);
        }
        let scales = largest.map(|amax| fp8::scale(amax, T::LARGEST, self.powers_of_two));
        for (i, scale) in band.clone().zip(scales).step_by(self.shape.outer_block) {
            let index = self.shape.index(part.group, i, block);
            // SAFETY: parts share no scale, and a band of a part is one task's: it begins at a multiple of the 1 or 128
            // elements that share one.
            unsafe { self.scales.get(index..index + 1) }.fill(scale);
        }
        let inverse = scales.map(|scale| 1.0 / scale);
        for k in tiles() {
            // The only tile is still there.
            if stretch.len() > SIDE {
                read(self.source, &part.from, band, &k, tile);
            }
            write(&self.elements, &part.to, band, &k, tile, &inverse);
        }
    }
}

/// Magnitudes that count for a scale.
#[inline(always)]
fn finite(value: f32) -> f32 {
    let magnitude = value.abs();
    if magnitude <= f32::MAX { magnitude } else { 0.0 }
}

/// Fills rows of `tile` by elements (i, k) of a band and a block.
fn read<S: Source>(source: &[S], from: &Plane, band: &Range<usize>, block: &Range<usize>, tile: &mut [f32]) {
    if from.along == 1 {
        for (i, row) in band.clone().zip(tile.chunks_mut(SIDE)) {
            let start = from.at(i, block.start);
            for (to, element) in row.iter_mut().zip(&source[start..start + block.len()]) {
                *to = element.wide();
            }
        }
        return;
    }
    for (column, k) in block.clone().enumerate() {
        let start = from.at(band.start, k);
        for (row, element) in tile.chunks_mut(SIDE).zip(&source[start..start + band.len()]) {
            row[column] = element.wide();
        }
    }
}

/// Rounds them to their place, in runs of neighbours.
fn write<T: Fp8>(
    elements: &DisjointRows<'_, T>,
    to: &Plane,
    band: &Range<usize>,
    block: &Range<usize>,
    tile: &[f32],
    inverse: &[f32; SIDE],
) {
    if to.along == 1 {
        for ((i, row), inverse) in band.clone().zip(tile.chunks(SIDE)).zip(inverse) {
            let start = to.at(i, block.start);
            // SAFETY: (i, k) of a part has a place of its own, since the problem's check saw to it that rows and groups
            // do not overlap, and groups' rows do not either; a band of a part is one task's.
            let out = unsafe { elements.get(start..start + block.len()) };
            for (out, value) in out.iter_mut().zip(row) {
                *out = T::round(value * inverse);
            }
        }
        return;
    }
    for (column, k) in block.clone().enumerate() {
        let start = to.at(band.start, k);
        // SAFETY: as above.
        let out = unsafe { elements.get(start..start + band.len()) };
        for ((out, row), inverse) in out.iter_mut().zip(tile.chunks(SIDE)).zip(inverse) {
            *out = T::round(row[column] * inverse);
        }
    }
}
