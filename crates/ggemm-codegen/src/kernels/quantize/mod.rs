//! Quantization to fp8: scales of what shares one, and rounded copies, as the source lies and transposed.
//!
//! A CTA reads a block of up to 128 × 128 elements into registers, 8 × 8 a thread. A scale's largest magnitude is found
//! in the thread, then by shuffles among the lanes that share it, then among warps through shared memory. Every copy is
//! rounded from the same registers: as the block lies by stores of 8 bytes, transposed through shared memory by stores of
//! 16. Where scales belong to whole rows or columns, a CTA goes over all of their blocks for the magnitudes, and back
//! again to round. Blocks are long there, and few rows or columns wide ([`QuantizeSpec::shape`]): the last one is still in
//! registers, the one before it in shared memory, and seldom are there more, which are read again. Where there would be
//! ([`Division`]), a cluster of CTAs divides the blocks, and its CTAs tell each other their magnitudes.

mod jobs;
mod parameters;
mod scenario;
mod spec;
mod task;

pub use scenario::{Asked, QuantizeScenario};
pub use spec::{Copy, Division, Form, QuantizeNameError, QuantizeSpec};
pub use task::{CopyShape, Task};

use crate::dsl::{KernelBuilder, PatchShape, Patches, ScaleValues, SharedTiles};
use crate::dtype::Dtype;
use crate::ir::{Kernel, SharedBy};
use crate::scaling::Scaling;
use jobs::Job;
use parameters::Parameters;

/// The kernel of a spec.
///
/// # Panics
/// Never: a kernel that breaks the DSL's rules does so always, and a test builds them all.
pub fn build(spec: &QuantizeSpec) -> Kernel {
    let alignment = Dtype::F32.size_bytes();
    let built =
        KernelBuilder::build(&spec.to_string(), &summary(spec), 32 * spec.warps(), alignment, |k| write(k, spec));
    match built {
        Ok(kernel) => kernel,
        Err(defects) => {
            let list: Vec<String> = defects.iter().map(ToString::to_string).collect();
            panic!("{spec} is not a well-formed kernel: {}", list.join("; "))
        }
    }
}

/// What is made, in a line.
fn summary(spec: &QuantizeSpec) -> String {
    let form = spec.form();
    let of = match form.copy.by {
        SharedBy::Row if form.scaling == Scaling::Row => "row",
        SharedBy::Row => "1 x 128 elements",
        SharedBy::Column if form.scaling == Scaling::Row && form.ragged => "column of a group's rows",
        SharedBy::Column if form.scaling == Scaling::Row => "column",
        SharedBy::Column => "128 x 1 elements of a group",
        SharedBy::Block => "128 x 128 elements",
    };
    let way = |transposed| if transposed { "transposed" } else { "as they lie" };
    let second = match form.second {
        Some(second) if second.by != form.copy.by => {
            format!("; and {}, by scales of 128 x 1 elements of a group", way(second.transposed))
        }
        Some(second) => format!("; and {}", way(second.transposed)),
        None => String::new(),
    };
    let divided = match spec.division() {
        Some(Division { ctas, .. }) => format!(", which {ctas} CTAs divide"),
        None => String::new(),
    };
    let (source, format) = (spec.source(), spec.format());
    format!("{source} to {format}, {}, a scale for each {of}{divided}{second}", way(form.copy.transposed))
}

/// Scales, and the copies that are made with them.
struct Scales {
    values: ScaleValues,
    by: SharedBy,
    /// Through which warps that share values tell each other theirs.
    maxima: Option<SharedTiles>,
    /// The same of the CTAs of a cluster.
    told: Option<SharedTiles>,
    /// The copies' numbers.
    copies: Vec<(usize, Copy)>,
}

/// What a kernel works with.
struct Quantizer<'k, 's> {
    spec: &'s QuantizeSpec,
    p: Parameters<'k>,
    patches: Patches,
    scales: Vec<Scales>,
    transposed: Option<SharedTiles>,
    /// Where a long block is kept until its turn to be rounded comes.
    kept: Option<SharedTiles>,
}

fn write<'k>(k: &mut KernelBuilder<'k>, spec: &QuantizeSpec) {
    let p = Parameters::declare(k, spec);
    k.resident_ctas(spec.resident());
    k.clusters_of(spec.ctas());
    let patches = k.patches("patch", spec.source(), spec.shape());
    let kept = (spec.shape() != PatchShape::Square).then(|| k.kept_tile("kept", spec.source()));
    let transposes = spec.copies().any(|copy| copy.transposed);
    let transposed = transposes.then(|| k.transposed_tile("transposed", patches, spec.format()));
    let mut scales: Vec<Scales> = Vec::new();
    for (number, copy) in spec.copies().enumerate() {
        if let Some(known) = scales.iter_mut().find(|s| s.by == copy.by) {
            known.copies.push((number, copy));
            continue;
        }
        let name = if number == 0 { "scales_of_patch" } else { "second_scales_of_patch" };
        let values = k.scale_values(name, patches, copy.by);
        let is_shared_by_warps = copy.by != SharedBy::Row || spec.shape() == PatchShape::Wide;
        let maxima = is_shared_by_warps.then(|| match &transposed {
            // Between whole columns' magnitudes and their transpose warps meet.
            Some(transposed) if spec.reads_twice() => k.maxima_tile_in("maxima", values, transposed),
            _ => k.maxima_tile("maxima", values),
        });
        let told = (spec.ctas() > 1).then(|| k.told_tile("told", values));
        scales.push(Scales { values, by: copy.by, maxima, told, copies: vec![(number, copy)] });
    }
    k.comment(
        "What is above may overlap the end of the grid before this one, and the next grid's beginning this one's end.",
    );
    k.await_grid();
    k.launch_dependents();
    let quantizer = Quantizer { spec, p, patches, scales, transposed, kept };
    jobs::each(k, spec, &quantizer.p, |k, job| match spec.reads_twice() {
        false => quantizer.of_one_block(k, &job),
        true => quantizer.of_many_blocks(k, job),
    });
}

impl<'k> Quantizer<'k, '_> {
    /// A block has all that its scales depend on.
    fn of_one_block(&self, k: &mut KernelBuilder<'k>, job: &Job<'k>) {
        k.load_patches(self.patches, &job.source(&self.p), self.p.aligned);
        for scales in &self.scales {
            let make = |k: &mut KernelBuilder<'k>| {
                k.zero_maxima(scales.values);
                k.fold_maxima(scales.values, self.patches);
                k.reduce_maxima(scales.values);
                self.finish(k, scales, job);
                for (number, copy) in &scales.copies {
                    self.copy(k, scales, job, *number, *copy);
                }
                if scales.maxima.is_some() && !scales.copies.iter().any(|(_, copy)| copy.transposed) {
                    k.comment("No warp may still read the maxima when the next block's are written.");
                    k.barrier();
                }
            };
            match job.is_tail {
                Some(is_tail) if scales.by == SharedBy::Column => {
                    k.comment("Rows past the last group are no reduction's.");
                    k.when(!is_tail, make);
                }
                _ => make(k),
            }
        }
    }

    /// Whole rows or columns: all of their blocks for the scales, from the last to the first, then all of them again.
    fn of_many_blocks(&self, k: &mut KernelBuilder<'k>, job: Job<'k>) {
        for scales in &self.scales {
            let blocks = job.blocks(k, self.spec, &self.p, scales.by);
            if scales.told.is_some() {
                k.comment("All CTAs of the cluster run, and have read what they were told before.");
                k.cluster_arrive();
            }
            k.zero_maxima(scales.values);
            k.for_("block_read", blocks, |k, number| {
                let number = k.let_("block_at_hand", blocks - 1 - number);
                let block = job.block(k, self.spec, scales.by, number);
                k.load_patches(self.patches, &block.source(&self.p), self.p.aligned);
                k.fold_maxima(scales.values, self.patches);
                k.comment("One value a lane takes fewer registers through the loop than one for each row or column.");
                k.reduce_maxima(scales.values);
                if let Some(kept) = &self.kept {
                    k.when(number.equals(1), |k| {
                        let kept = kept.only(k);
                        k.keep_patches(self.patches, &kept);
                    });
                }
            });
            self.finish(k, scales, &job);
            // A cluster has met since.
            if scales.maxima.is_some() && scales.told.is_none() {
                k.comment(match self.transposed {
                    Some(_) => "No warp may still read the maxima when the transpose is written over them.",
                    None => "No warp may still read the maxima when the next job's are written.",
                });
                k.barrier();
            }
            k.for_("block_rounded", blocks, |k, number| {
                let block = job.block(k, self.spec, scales.by, number);
                k.comment(match self.kept {
                    Some(_) => "The first block was read last, and still is in registers; the second was kept.",
                    None => "The first block was read last, and still is in registers.",
                });
                let read = |k: &mut KernelBuilder<'k>| {
                    k.load_patches(self.patches, &block.source(&self.p), self.p.aligned);
                };
                match &self.kept {
                    Some(kept) => k.when_else(
                        number.lt(2),
                        |k| {
                            k.when(number.equals(1), |k| {
                                let kept = kept.only(k);
                                k.restore_patches(self.patches, &kept);
                            });
                        },
                        read,
                    ),
                    None => k.when(!number.equals(0), read),
                }
                for (number, copy) in &scales.copies {
                    self.copy(k, scales, &block, *number, *copy);
                    if copy.transposed {
                        k.comment("No warp may still read the tile when the next block is written to it.");
                        k.barrier();
                    }
                }
            });
        }
    }

    /// Warps' largest magnitudes become scales, which are written, and then the scales' inverses.
    fn finish(&self, k: &mut KernelBuilder<'k>, scales: &Scales, job: &Job<'k>) {
        if let Some(maxima) = &scales.maxima {
            let maxima = maxima.only(k);
            k.share_maxima(scales.values, &maxima);
        }
        if let Some(told) = &scales.told {
            let told = told.only(k);
            k.share_maxima_in_cluster(scales.values, &told);
        }
        k.make_scales(scales.values, self.spec.format(), self.p.powers_of_two);
        let store = |k: &mut KernelBuilder<'k>| {
            for (number, _) in &scales.copies {
                let to = job.scales(&self.p, &self.p.copies[*number], scales.by, self.spec.form().scaling);
                k.store_scales(scales.values, &to);
            }
        };
        match job.rank {
            None => store(k),
            Some(rank) => k.when(rank.equals(0), store),
        }
        k.invert_scales(scales.values);
    }

    fn copy(&self, k: &mut KernelBuilder<'k>, scales: &Scales, job: &Job<'k>, number: usize, copy: Copy) {
        let to = job.elements(self.spec, &self.p, &self.p.copies[number], copy);
        match self.transposed.as_ref().filter(|_| copy.transposed) {
            None => k.store_patches(self.patches, scales.values, &to, self.p.aligned),
            Some(tile) => {
                let tile = tile.only(k);
                k.transpose_patches(self.patches, scales.values, &tile);
                k.barrier();
                k.store_transpose(&tile, &to, self.p.aligned);
            }
        }
    }
}
