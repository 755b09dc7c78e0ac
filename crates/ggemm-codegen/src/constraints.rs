//! Which specs are legal on which target, and why not: the one statement of it.
//!
//! The macro, the catalogue and the runtime all ask here. A spec that passed is a [`ValidSpec`], and only that can be
//! built, so that emission cannot fail.

use std::fmt;

use crate::arch::Arch;
use crate::descriptor::WGMMA_MAX_N;
use crate::dtype::Dtype;
use crate::geometry::{self, MMA_M, WARPS_OF_WARPGROUP, mma_k};
use crate::layout::CHUNK_BYTES;
use crate::scaling::{SCALE_BLOCK, Scaling};
use crate::spec::{Accumulation, Cluster, CopyPath, KernelSpec, Major, Ragged, Schedule};

/// The field of a spec that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Field {
    Ragged,
    AMajor,
    BMajor,
    Operand,
    Accumulator,
    Output,
    Arch,
    TileM,
    TileN,
    TileK,
    Warps,
    Stages,
    Schedule,
    Copy,
    EvenK,
    Cluster,
    Dynamic,
    BOperand,
    Scaling,
    Accumulation,
    Swapped,
    Split,
    StreamK,
    DByThreads,
}

/// A rule that a spec breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}{}", rule.name(), Remedy(nearest))]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The field whose change would mend it.
    pub field: Field,
    /// What is wrong, with the values.
    pub message: String,
    /// The nearest legal value of the field, where one is known.
    pub nearest: Option<String>,
}

struct Remedy<'a>(&'a Option<String>);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "; nearest: {value}"),
            None => Ok(()),
        }
    }
}

macro_rules! rules {
    ($($variant:ident $name:literal $sentence:literal)*) => {
        /// A rule about specs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $sentence] $variant,)*
        }

        impl Rule {
            /// Every rule, in the order in which they are checked.
            pub const ALL: &[Rule] = &[$(Rule::$variant),*];

            /// The rule's name, as messages show it.
            pub const fn name(self) -> &'static str {
                match self { $(Rule::$variant => $name,)* }
            }

            /// The rule in a sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Rule::$variant => $sentence,)* }
            }
        }
    };
}

rules! {
    Positive "positive" "Tile sides, warps and stages are at least 1 and at most 1024."
    TargetExecutes "target-executes" "The target executes the instructions that the kernel uses."
    ScheduleArch "schedule-arch" "The multistage schedule uses no instruction newer than sm_80's, or than sm_89's for operands of e4m3 and e5m2; schedules with a copying role use sm_90a's own."
    CopySchedule "copy-schedule" "Every warp copies by itself in the multistage schedule, by cp.async or plain loads; a copying role copies by TMA or plain loads."
    Cluster "cluster" "Only TMA copies one tile for several CTAs; clusters are 2 or 4 CTAs along D's rows or along its columns."
    Majors "majors" "Ragged rows read A along the reduction; a ragged reduction reads A and B along their other dimension, because tokens are rows. fp8 tensor cores read both along the reduction."
    DynamicWalk "dynamic-walk" "A copying role takes tiles from a counter; the CTAs of a cluster, which must agree, and multistage kernels go by strides."
    Swapped "swapped" "Only ragged rows of 16-bit operands that TMA copies, outside clusters, have their operands swapped."
    Split "split" "The reduction of a tile of 16-bit operands is divided among 2 or 4 CTAs, outside other clusters, by TMA; sums are sent by pairs of parts of 32 columns."
    StreamK "stream-k" "The reductions of the last tiles are divided among all CTAs where TMA copies, outside clusters, with operands as they are, and of fp8 where rows are ragged."
    DByThreads "d-by-threads" "Threads write D where TMA copies operands of 16 bits, outside clusters, not swapped and not divided."
    OperandType "operand-type" "Tensor cores multiply bf16 or f16, both operands of one type, or e4m3 and e5m2, mixed or not, which TMA or cp.async copies; f32 as TF32 in the multistage schedule."
    Scaling "scaling" "Operands of e4m3 and e5m2 have scales, one for a row or one for a block; others have none."
    Accumulation "accumulation" "Sums of e4m3 and e5m2 products may be promoted, and are where each block has a scale; those of bf16 and f16 are f32 as they are."
    AccumulatorType "accumulator-type" "Sums are kept in f32."
    OutputType "output-type" "D is bf16, f16 or f32."
    TileK "tile-k" "A stage holds 32 or 64 elements of the reduction, or 64 or 128 of fp8, 16 or 32 of f32: two or four steps, in rows of 64 or 128 bytes; promoted sums are those of 128 elements, and wgmma's swizzle asks for 128 bytes."
    WarpTile "warp-tile" "Every warp owns a multiple of 16 rows and of 16 columns of the tile."
    WarpgroupTile "warpgroup-tile" "Whole warpgroups lie along the tile's rows, one in a pingpong and at most two together, or three where blocks have scales, each with 64 or 128 of them and all with at most 256, which one copy brings; a product is at most 256 columns wide. With swapped operands they lie along its columns."
    SwappedRows "swapped-rows" "A tile with swapped operands has at most 16, 32, 64, 128, 192 or 256 rows, so that its output divides into panels."
    PanelSide "panel-side" "The side of a tile along which an operand is contiguous is a multiple of 64 elements, one 128-byte panel, unless it is the reduction; so are the columns of a warpgroup's tile."
    ScaleBlock "scale-block" "Where blocks of 128 columns of B share a scale, a tile of the multistage family lies in one of them."
    CopyShare "copy-share" "The threads of a CTA share each tile's 16-byte pieces evenly, whole rows at a time; for plain loads 8 rows or a multiple, so that a thread's pieces all start at the same offset from 16 bytes."
    Stages "stages" "Rings hold 2 to 8 stages; plain loads without a role of their own alternate between 2."
    EvenK "even-k" "Only cp.async ragged rows have a variant without masks on the reduction; a ragged reduction ends anywhere."
    Threads "threads" "A CTA has 64 to 512 threads."
    SharedMemory "shared-memory" "All stages fit the shared memory that the target grants one block."
    Registers "registers" "The estimated registers of a thread stay within 255 (of one that multiplies beside a copying role, within its share), and those of a CTA within the register file."
}

/// A spec that its target can run; the only thing that can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValidSpec {
    spec: KernelSpec,
    target: Arch,
}

impl ValidSpec {
    /// Checks `spec` against every rule for `target`.
    ///
    /// # Errors
    /// All rules that the spec breaks, never an empty list.
    pub fn new(spec: KernelSpec, target: Arch) -> Result<Self, Vec<Violation>> {
        let violations = check(&spec, target);
        if violations.is_empty() { Ok(ValidSpec { spec, target }) } else { Err(violations) }
    }

    /// The spec.
    pub const fn spec(&self) -> &KernelSpec {
        &self.spec
    }

    /// The architecture it was checked for.
    pub const fn target(&self) -> Arch {
        self.target
    }
}

impl std::ops::Deref for ValidSpec {
    type Target = KernelSpec;

    fn deref(&self) -> &KernelSpec {
        &self.spec
    }
}

/// Every rule that `spec` breaks on `target`; empty for a legal one.
///
/// Later groups of rules presume the earlier ones, so a spec that breaks one group is not held against the next.
pub fn check(spec: &KernelSpec, target: Arch) -> Vec<Violation> {
    for group in [ranges, instructions, shape, resources] {
        let mut found = Findings(Vec::new());
        group(spec, target, &mut found);
        if !found.0.is_empty() {
            return found.0;
        }
    }
    Vec::new()
}

struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, rule: Rule, field: Field, message: String, nearest: Option<String>) {
        self.0.push(Violation { rule, field, message, nearest });
    }
}

fn ranges(spec: &KernelSpec, _target: Arch, found: &mut Findings) {
    for (field, name, value) in [
        (Field::TileM, "tile m", spec.tile.m),
        (Field::TileN, "tile n", spec.tile.n),
        (Field::TileK, "tile k", spec.tile.k),
        (Field::Warps, "warps m", spec.warps.m),
        (Field::Warps, "warps n", spec.warps.n),
        (Field::Stages, "stages", spec.stages),
    ] {
        if !(1..=1024).contains(&value) {
            let message = format!("{name} is {value}, outside 1 to 1024");
            found.add(Rule::Positive, field, message, Some(value.clamp(1, 1024).to_string()));
        }
    }
}

fn instructions(spec: &KernelSpec, target: Arch, found: &mut Findings) {
    if !target.executes(spec.arch) {
        let message = format!("the kernel needs {}, which {target} does not execute", spec.arch);
        found.add(Rule::TargetExecutes, Field::Arch, message, None);
    }
    let specialized = spec.schedule.is_warp_specialized();
    let is_fp8 = spec.operand.is_fp8();
    let arch = match specialized {
        true => Arch::Sm90a,
        false if is_fp8 => Arch::Sm89,
        false => Arch::Sm80,
    };
    if spec.arch != arch {
        let message = format!("the {:?} schedule is {arch}'s, the spec says {}", spec.schedule, spec.arch);
        found.add(Rule::ScheduleArch, Field::Arch, message, Some(arch.to_string()));
    }
    let wrong = if specialized { CopyPath::CpAsync } else { CopyPath::Tma };
    if spec.copy == wrong {
        let message = format!("the {:?} schedule with {:?} copies", spec.schedule, spec.copy);
        let nearest = if specialized { "tma" } else { "cpasync" };
        found.add(Rule::CopySchedule, Field::Copy, message, Some(nearest.into()));
    }
    let Cluster { m, n } = spec.cluster;
    let in_a_line = m.min(n) == 1 && [1, 2, 4].contains(&m.max(n));
    if !in_a_line || (spec.cluster != Cluster::NONE && spec.copy != CopyPath::Tma) {
        let message = format!("a cluster of {m} x {n} with {:?} copies", spec.copy);
        let nearest = if spec.copy != CopyPath::Tma { "1x1" } else { if m > n { "2x1" } else { "1x2" } };
        found.add(Rule::Cluster, Field::Cluster, message, Some(nearest.into()));
    }
    let whole = spec.split == 1;
    let may_split = spec.copy == CopyPath::Tma && spec.cluster == Cluster::NONE && !is_fp8;
    let can_split = may_split && [2, 4].contains(&spec.split);
    if !whole && !can_split {
        let KernelSpec { split, operand, copy, .. } = spec;
        let message = format!("a split by {split} of {operand} with {copy:?} copies in clusters of {m} x {n}");
        let nearest = if may_split { "2" } else { "1" };
        found.add(Rule::Split, Field::Split, message, Some(nearest.into()));
    }
    if spec.dynamic && (!specialized || spec.cluster != Cluster::NONE || !whole) {
        let ctas = spec.cluster_ctas();
        let message = format!("the {:?} schedule in clusters of {ctas} CTAs takes tiles from a counter", spec.schedule);
        found.add(Rule::DynamicWalk, Field::Dynamic, message, Some("false".into()));
    }
    let can_swap =
        spec.ragged == Ragged::Rows && spec.copy == CopyPath::Tma && spec.cluster == Cluster::NONE && !is_fp8;
    if spec.swapped && !can_swap {
        let message = format!(
            "{:?} of {} with {:?} copies in clusters of {m} x {n} are swapped",
            spec.ragged, spec.operand, spec.copy
        );
        found.add(Rule::Swapped, Field::Swapped, message, Some("false".into()));
    }
    let by_itself = spec.copy == CopyPath::Tma && spec.cluster_ctas() == 1 && !spec.swapped;
    let can_stream = specialized && by_itself && (spec.ragged == Ragged::Rows || !is_fp8);
    if spec.stream_k && !can_stream {
        let KernelSpec { ragged, operand, copy, swapped, .. } = spec;
        let ctas = spec.cluster_ctas();
        let message = format!(
            "stream-K of {ragged:?} of {operand} with {copy:?} copies in clusters of {ctas} CTAs, operands swapped: {swapped}"
        );
        found.add(Rule::StreamK, Field::StreamK, message, Some("false".into()));
    }
    let whole_tiles = spec.cluster_ctas() == 1 && !spec.stream_k;
    let can_write = spec.copy == CopyPath::Tma && whole_tiles && !spec.swapped && !is_fp8;
    if spec.d_by_threads && !can_write {
        let KernelSpec { operand, copy, stream_k, .. } = spec;
        let ctas = spec.cluster_ctas();
        let message = format!(
            "threads write D beside {copy:?} copies of {operand} in clusters of {ctas} CTAs, stream-K: {stream_k}"
        );
        found.add(Rule::DByThreads, Field::DByThreads, message, Some("false".into()));
    }
    operand_types(spec, found);
    let a_major = if spec.ragged == Ragged::Rows || is_fp8 { Major::K } else { Major::Mn };
    if spec.a_major != a_major {
        let (message, nearest) = match spec.ragged {
            Ragged::Rows => ("ragged rows read A along the reduction", "ak"),
            Ragged::Reduction if is_fp8 => ("fp8 tensor cores read A along the reduction", "ak"),
            Ragged::Reduction => ("a ragged reduction reads A along m", "am"),
        };
        found.add(Rule::Majors, Field::AMajor, message.into(), Some(nearest.into()));
    }
    if is_fp8 && spec.b_major != Major::K {
        let message = "fp8 tensor cores read B along the reduction";
        found.add(Rule::Majors, Field::BMajor, message.into(), Some("bk".into()));
    } else if !is_fp8 && spec.ragged == Ragged::Reduction && spec.b_major != Major::Mn {
        let message = "a ragged reduction reads B along n";
        found.add(Rule::Majors, Field::BMajor, message.into(), Some("bn".into()));
    }
    if spec.accumulator != Dtype::F32 {
        let message = format!("the accumulator is {}", spec.accumulator);
        found.add(Rule::AccumulatorType, Field::Accumulator, message, Some(Dtype::F32.to_string()));
    }
    if !Dtype::OUTPUTS.contains(&spec.output) {
        let message = format!("D is {}", spec.output);
        found.add(Rule::OutputType, Field::Output, message, Some(Dtype::Bf16.to_string()));
    }
    let stages = match spec.copy {
        CopyPath::Plain if !specialized => 2..=2,
        CopyPath::Plain | CopyPath::CpAsync | CopyPath::Tma => 2..=8,
    };
    if !stages.contains(&spec.stages) {
        let nearest = spec.stages.clamp(*stages.start(), *stages.end());
        let message = format!("{} stages of {:?} copies", spec.stages, spec.copy);
        found.add(Rule::Stages, Field::Stages, message, Some(nearest.to_string()));
    }
    if spec.even_k && (spec.ragged == Ragged::Reduction || spec.copy != CopyPath::CpAsync) {
        let message = format!("even_k is set for {:?} with {:?} copies", spec.ragged, spec.copy);
        found.add(Rule::EvenK, Field::EvenK, message, Some("false".into()));
    }
}

/// Which operands are multiplied, how they are scaled, and where their sums are kept.
fn operand_types(spec: &KernelSpec, found: &mut Findings) {
    let [a, b] = spec.operands();
    let specialized = spec.schedule.is_warp_specialized();
    let multiplied = |dtype: Dtype| match dtype {
        Dtype::Bf16 | Dtype::F16 => true,
        Dtype::E4m3 | Dtype::E5m2 => spec.copy != CopyPath::Plain,
        Dtype::F32 => !specialized,
    };
    if !multiplied(a) {
        let message = format!("A is {a} in the {:?} schedule with {:?} copies", spec.schedule, spec.copy);
        found.add(Rule::OperandType, Field::Operand, message, Some(Dtype::Bf16.to_string()));
        return;
    }
    if a != b && !(a.is_fp8() && b.is_fp8()) {
        let message = format!("A is {a} and B is {b}");
        found.add(Rule::OperandType, Field::BOperand, message, Some(a.to_string()));
        return;
    }
    if a.is_fp8() != (spec.scaling != Scaling::None) {
        let message = format!("scales of operands of {a} are {}", spec.scaling);
        let nearest = if a.is_fp8() { Scaling::Row } else { Scaling::None };
        found.add(Rule::Scaling, Field::Scaling, message, Some(nearest.to_string()));
        return;
    }
    let right = match spec.scaling {
        Scaling::None => spec.accumulation == Accumulation::Fast,
        Scaling::Row => true,
        Scaling::Block => spec.accumulation == Accumulation::Promoted,
    };
    if !right {
        let message = format!("{:?} accumulation of {a} with scales: {}", spec.accumulation, spec.scaling);
        let nearest = if a.is_fp8() { "promoted" } else { "fast" };
        found.add(Rule::Accumulation, Field::Accumulation, message, Some(nearest.into()));
    }
}

fn shape(spec: &KernelSpec, target: Arch, found: &mut Findings) {
    if spec.schedule.is_warp_specialized() {
        return warpgroup_shape(spec, target, found);
    }
    let KernelSpec { tile, warps, .. } = *spec;
    let step = mma_k(spec.operand.size_bytes());
    // Sums are promoted once for each stage.
    let depths: &[u32] = if spec.accumulation == Accumulation::Promoted { &[4] } else { &[2, 4] };
    let depths = depths.iter().map(|steps| steps * step);
    if !depths.clone().any(|depth| depth == tile.k) {
        let nearest = depths.min_by_key(|depth| depth.abs_diff(tile.k)).unwrap_or(4 * step);
        let message = format!("tile k is {} of {}", tile.k, spec.operand);
        found.add(Rule::TileK, Field::TileK, message, Some(nearest.to_string()));
    }
    let sides =
        [(Field::TileM, "m", spec.a_major, tile.m, warps.m), (Field::TileN, "n", spec.b_major, tile.n, warps.n)];
    for (field, name, major, side, count) in sides {
        let step = MMA_M * count;
        if !side.is_multiple_of(step) {
            let message = format!("tile {name} is {side}, no multiple of 16 for each of its {count} warps");
            found.add(Rule::WarpTile, field, message, Some(nearest_multiple(side, step).to_string()));
        } else if major == Major::Mn && !side.is_multiple_of(PANEL) {
            let message = format!("tile {name} is {side}, and its operand is contiguous along {name}");
            found.add(Rule::PanelSide, field, message, Some(nearest_multiple(side, PANEL).to_string()));
        }
    }
    if !geometry::has_whole_scale_blocks(spec) {
        let message = format!("tile n is {}, no part of a block that divides it", tile.n);
        found.add(Rule::ScaleBlock, Field::TileN, message, Some(SCALE_BLOCK.to_string()));
    }
    let threads = warps.threads();
    if !(64..=512).contains(&threads) {
        let message = format!("{} x {} warps are {threads} threads", warps.m, warps.n);
        found.add(Rule::Threads, Field::Warps, message, None);
    }
}

/// The same for warpgroups, whose products and copies have shapes of their own.
fn warpgroup_shape(spec: &KernelSpec, _target: Arch, found: &mut Findings) {
    let KernelSpec { tile, warps, .. } = *spec;
    let depth = PANEL_BYTES / spec.operand.size_bytes();
    if tile.k != depth {
        let message = format!("tile k is {} of {}", tile.k, spec.operand);
        found.add(Rule::TileK, Field::TileK, message, Some(depth.to_string()));
    }
    // The side of D that warpgroups divide, and the other.
    let ((along, field, name), (count, across)) = match spec.swapped {
        false => ((tile.m, Field::TileM, "m"), (warps.m, warps.n)),
        true => ((tile.n, Field::TileN, "n"), (warps.n, warps.m)),
    };
    // Where it was tried elsewhere a third won nothing (docs/tuning.md).
    let most = match (spec.schedule, spec.scaling) {
        (Schedule::Pingpong, _) => 1,
        (_, Scaling::Block) => 3,
        _ => 2,
    };
    let (warpgroups, rows) = (count / WARPS_OF_WARPGROUP, WARPS_OF_WARPGROUP * MMA_M);
    if !count.is_multiple_of(WARPS_OF_WARPGROUP) || warpgroups > most || across != 1 {
        let message = format!("{} x {} warps share a tile of the {:?} schedule", warps.m, warps.n, spec.schedule);
        let nearest = if spec.swapped { "1x4" } else { "4x1" };
        found.add(Rule::WarpgroupTile, Field::Warps, message, Some(nearest.into()));
        return;
    }
    let of_each = rows * warpgroups;
    let widest = (2 * of_each).min(BOX_SIDE / of_each * of_each);
    if !along.is_multiple_of(of_each) || along > widest {
        let message =
            format!("tile {name} is {along}, not 64 or 128 for each of {warpgroups} warpgroups and at most {BOX_SIDE}");
        let nearest = nearest_multiple(along, of_each).min(widest);
        found.add(Rule::WarpgroupTile, field, message, Some(nearest.to_string()));
    }
    if found.0.is_empty() && spec.split > 1 && !geometry::parts(spec).is_multiple_of(geometry::PART_SLOTS) {
        let message = format!("{} parts of the sums of a tile", geometry::parts(spec));
        found.add(Rule::Split, Field::Split, message, Some("1".into()));
    }
    if spec.swapped {
        if !SWAPPED_ROWS.contains(&tile.m) {
            let nearest = SWAPPED_ROWS.into_iter().min_by_key(|rows| rows.abs_diff(tile.m)).unwrap_or(WGMMA_MAX_N);
            found.add(Rule::SwappedRows, Field::TileM, format!("tile m is {}", tile.m), Some(nearest.to_string()));
        }
        return;
    }
    if tile.n > WGMMA_MAX_N {
        let message = format!("tile n is {}, wider than a product", tile.n);
        found.add(Rule::WarpgroupTile, Field::TileN, message, Some(WGMMA_MAX_N.to_string()));
    }
    if !tile.n.is_multiple_of(PANEL) {
        let message = format!("tile n is {}, no multiple of a panel's {PANEL}", tile.n);
        found.add(Rule::PanelSide, Field::TileN, message, Some(nearest_multiple(tile.n, PANEL).to_string()));
    }
}

/// Elements along a side of what the copy engine brings at a time, at most.
const BOX_SIDE: u32 = 256;

/// Bytes of a row of a panel.
const PANEL_BYTES: u32 = 128;

/// The most rows that tiles with swapped operands may have.
const SWAPPED_ROWS: [u32; 6] = [16, 32, 64, 128, 192, 256];

/// Elements of a 128-byte panel of 16-bit operands.
const PANEL: u32 = 64;

fn resources(spec: &KernelSpec, target: Arch, found: &mut Findings) {
    let threads = geometry::threads(spec);
    if !spec.schedule.is_warp_specialized() {
        copy_shares(spec, found);
    }
    let limits = target.limits();
    let shared = geometry::shared_bytes(spec);
    if shared > limits.shared_per_block {
        let beside = shared - geometry::stage_bytes(spec) * spec.stages;
        let stages = limits.shared_per_block.saturating_sub(beside) / geometry::stage_bytes(spec);
        let message =
            format!("{} stages take {shared} bytes, {target} grants {}", spec.stages, limits.shared_per_block);
        let nearest = (stages >= 2).then(|| stages.to_string());
        found.add(Rule::SharedMemory, Field::Stages, message, nearest);
    }
    let registers = geometry::register_estimate(spec);
    let share = geometry::register_budget(spec).map_or(255, |b| b.consumer);
    if registers > share || (share == 255 && registers * threads > limits.registers_per_sm) {
        let message = format!("about {registers} registers for each of {threads} threads");
        found.add(Rule::Registers, Field::Warps, message, None);
    }
}

fn copy_shares(spec: &KernelSpec, found: &mut Findings) {
    let threads = geometry::threads(spec);
    for (field, name, tile) in
        [(Field::TileM, "A", geometry::a_tile(spec)), (Field::TileN, "B", geometry::b_tile(spec))]
    {
        let (rows, cols) = tile.shape();
        // Plain loads go panel by panel.
        let together = if spec.copy == CopyPath::Plain { cols.min(128 / tile.element_bytes) } else { cols };
        let pieces_per_row = together / (CHUNK_BYTES / tile.element_bytes);
        let rows_at_once = threads / pieces_per_row;
        let whole_rows = threads.is_multiple_of(pieces_per_row) && rows.is_multiple_of(rows_at_once);
        let at_one_offset = spec.copy != CopyPath::Plain || rows_at_once.is_multiple_of(8);
        if !whole_rows || !at_one_offset {
            let message = format!("{threads} threads cannot share {name}'s {rows} rows of {pieces_per_row} pieces");
            found.add(Rule::CopyShare, field, message, None);
        }
    }
}

fn nearest_multiple(value: u32, step: u32) -> u32 {
    ((value + step / 2) / step * step).max(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Tile, Warps};

    fn legal() -> KernelSpec {
        "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk".parse().unwrap()
    }

    /// Each rule is broken alone, and reported under its own name.
    #[test]
    fn every_rule_can_be_broken() {
        let s = legal();
        assert_eq!(check(&s, Arch::Sm80), []);
        let reduction =
            KernelSpec { ragged: Ragged::Reduction, a_major: Major::Mn, b_major: Major::Mn, even_k: false, ..s };
        assert_eq!(check(&reduction, Arch::Sm80), []);
        let hopper: KernelSpec = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_64x256x64_w4x1_s5_pingpong_tma".parse().unwrap();
        assert_eq!(check(&hopper, Arch::Sm90a), []);
        let fp8 = "ggemm_rows_ak_bk_e5m2xe4m3_f32_bf16_sm90a_128x128x128_w8x1_s5_cooperative_tma_block_promoted";
        let fp8: KernelSpec = fp8.parse().unwrap();
        assert_eq!(check(&fp8, Arch::Sm90a), []);
        let portable = "ggemm_rows_ak_bk_e5m2xe4m3_f32_bf16_sm89_128x128x128_w2x4_s3_multistage_cpasync_block_promoted";
        let portable: KernelSpec = portable.parse().unwrap();
        assert_eq!(check(&portable, Arch::Sm89), []);
        let swapped = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_192x128x64_w1x4_s5_pingpong_tma_swapped".parse();
        let swapped: KernelSpec = swapped.unwrap();
        assert_eq!(check(&swapped, Arch::Sm90a), []);
        let three =
            "ggemm_reduction_ak_bk_e4m3_f32_f32_sm90a_192x128x128_w12x1_s4_cooperative_tma_dynamic_block_promoted";
        let three: KernelSpec = three.parse().unwrap();
        assert_eq!(check(&three, Arch::Sm90a), []);
        let in_rows = KernelSpec { scaling: Scaling::Row, ..three };
        let of_bf16 = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_192x192x64_w12x1_s3_cooperative_tma_dynamic";
        let of_bf16: KernelSpec = of_bf16.parse().unwrap();
        let four = KernelSpec { tile: Tile { m: 256, ..three.tile }, warps: Warps { m: 16, n: 1 }, stages: 2, ..three };
        let tile = |m, n, k| KernelSpec { tile: Tile { m, n, k }, ..hopper };
        let broken = [
            (Rule::WarpgroupTile, in_rows, Arch::Sm90a),
            (Rule::WarpgroupTile, of_bf16, Arch::Sm90a),
            (Rule::WarpgroupTile, four, Arch::Sm90a),
            (Rule::WarpgroupTile, KernelSpec { tile: Tile { m: 384, n: 64, k: 128 }, stages: 2, ..three }, Arch::Sm90a),
            (Rule::Registers, KernelSpec { tile: Tile { n: 192, ..three.tile }, stages: 2, ..three }, Arch::Sm90a),
            (Rule::ScheduleArch, KernelSpec { arch: Arch::Sm80, ..hopper }, Arch::Sm90a),
            (Rule::CopySchedule, KernelSpec { copy: CopyPath::CpAsync, ..hopper }, Arch::Sm90a),
            (Rule::CopySchedule, KernelSpec { copy: CopyPath::Tma, even_k: false, ..s }, Arch::Sm80),
            (Rule::Cluster, KernelSpec { cluster: Cluster { m: 1, n: 3 }, ..hopper }, Arch::Sm90a),
            (Rule::Cluster, KernelSpec { cluster: Cluster { m: 1, n: 2 }, ..s }, Arch::Sm80),
            (Rule::DynamicWalk, KernelSpec { dynamic: true, cluster: Cluster { m: 2, n: 1 }, ..hopper }, Arch::Sm90a),
            (Rule::DynamicWalk, KernelSpec { dynamic: true, ..s }, Arch::Sm80),
            (Rule::Swapped, KernelSpec { swapped: true, ..s }, Arch::Sm80),
            (Rule::Swapped, KernelSpec { cluster: Cluster { m: 1, n: 2 }, ..swapped }, Arch::Sm90a),
            (Rule::Swapped, KernelSpec { copy: CopyPath::Plain, ..swapped }, Arch::Sm90a),
            (Rule::WarpgroupTile, KernelSpec { warps: hopper.warps, ..swapped }, Arch::Sm90a),
            (Rule::WarpgroupTile, KernelSpec { tile: Tile { n: 192, ..swapped.tile }, ..swapped }, Arch::Sm90a),
            (Rule::SwappedRows, KernelSpec { tile: Tile { m: 96, ..swapped.tile }, ..swapped }, Arch::Sm90a),
            (Rule::Split, KernelSpec { split: 3, ..hopper }, Arch::Sm90a),
            (Rule::Split, KernelSpec { split: 2, cluster: Cluster { m: 1, n: 2 }, ..hopper }, Arch::Sm90a),
            (Rule::Split, KernelSpec { split: 2, ..s }, Arch::Sm80),
            (Rule::Split, KernelSpec { split: 2, tile: Tile { m: 32, n: 64, k: 64 }, ..swapped }, Arch::Sm90a),
            (Rule::Swapped, KernelSpec { swapped: true, warps: Warps { m: 1, n: 8 }, ..fp8 }, Arch::Sm90a),
            (Rule::DByThreads, KernelSpec { d_by_threads: true, copy: CopyPath::Plain, ..hopper }, Arch::Sm90a),
            (Rule::DByThreads, KernelSpec { d_by_threads: true, ..swapped }, Arch::Sm90a),
            (Rule::DByThreads, KernelSpec { d_by_threads: true, ..fp8 }, Arch::Sm90a),
            (Rule::Split, KernelSpec { split: 2, stages: 3, ..fp8 }, Arch::Sm90a),
            (Rule::DynamicWalk, KernelSpec { dynamic: true, split: 2, stages: 3, ..hopper }, Arch::Sm90a),
            (Rule::StreamK, KernelSpec { stream_k: true, ..s }, Arch::Sm80),
            (Rule::StreamK, KernelSpec { stream_k: true, ..swapped }, Arch::Sm90a),
            (Rule::StreamK, KernelSpec { stream_k: true, ragged: Ragged::Reduction, ..fp8 }, Arch::Sm90a),
            (Rule::StreamK, KernelSpec { stream_k: true, split: 2, stages: 3, ..hopper }, Arch::Sm90a),
            (Rule::StreamK, KernelSpec { stream_k: true, cluster: Cluster { m: 1, n: 2 }, ..hopper }, Arch::Sm90a),
            (Rule::EvenK, KernelSpec { even_k: true, ..hopper }, Arch::Sm90a),
            (Rule::TileK, tile(64, 256, 32), Arch::Sm90a),
            (Rule::TileK, KernelSpec { tile: Tile { k: 64, ..fp8.tile }, ..fp8 }, Arch::Sm90a),
            (Rule::OperandType, KernelSpec { copy: CopyPath::Plain, ..fp8 }, Arch::Sm90a),
            (Rule::OperandType, KernelSpec { b_operand: Dtype::F16, ..fp8 }, Arch::Sm90a),
            (Rule::OperandType, KernelSpec { b_operand: Dtype::F16, ..hopper }, Arch::Sm90a),
            (Rule::Scaling, KernelSpec { scaling: Scaling::None, ..fp8 }, Arch::Sm90a),
            (Rule::Scaling, KernelSpec { scaling: Scaling::Row, ..hopper }, Arch::Sm90a),
            (Rule::Accumulation, KernelSpec { accumulation: Accumulation::Fast, ..fp8 }, Arch::Sm90a),
            (Rule::Accumulation, KernelSpec { accumulation: Accumulation::Promoted, ..hopper }, Arch::Sm90a),
            (Rule::Majors, KernelSpec { b_major: Major::Mn, ..fp8 }, Arch::Sm90a),
            (Rule::Majors, KernelSpec { ragged: Ragged::Reduction, a_major: Major::Mn, ..fp8 }, Arch::Sm90a),
            (Rule::Registers, KernelSpec { tile: Tile { m: 256, n: 256, ..fp8.tile }, stages: 2, ..fp8 }, Arch::Sm90a),
            (Rule::WarpgroupTile, KernelSpec { warps: Warps { m: 8, n: 1 }, ..hopper }, Arch::Sm90a),
            (Rule::WarpgroupTile, KernelSpec { warps: Warps { m: 4, n: 2 }, ..hopper }, Arch::Sm90a),
            (Rule::WarpgroupTile, tile(96, 128, 64), Arch::Sm90a),
            (Rule::WarpgroupTile, tile(192, 64, 64), Arch::Sm90a),
            (Rule::WarpgroupTile, tile(64, 320, 64), Arch::Sm90a),
            (Rule::PanelSide, tile(64, 96, 64), Arch::Sm90a),
            (Rule::SharedMemory, KernelSpec { stages: 6, ..hopper }, Arch::Sm90a),
            (Rule::Registers, KernelSpec { stages: 3, ..tile(128, 256, 64) }, Arch::Sm90a),
            (Rule::Positive, KernelSpec { stages: 0, ..s }, Arch::Sm80),
            (Rule::Positive, KernelSpec { tile: Tile { n: 4096, ..s.tile }, ..s }, Arch::Sm80),
            (Rule::TargetExecutes, KernelSpec { arch: Arch::Sm90a, ..s }, Arch::Sm80),
            (Rule::ScheduleArch, KernelSpec { arch: Arch::Sm90a, ..s }, Arch::Sm90a),
            (Rule::Majors, KernelSpec { a_major: Major::Mn, ..s }, Arch::Sm80),
            (Rule::Majors, KernelSpec { b_major: Major::K, ..reduction }, Arch::Sm80),
            (Rule::OperandType, KernelSpec { operand: Dtype::F32, b_operand: Dtype::F32, ..hopper }, Arch::Sm90a),
            (Rule::OperandType, KernelSpec { copy: CopyPath::Plain, stages: 2, ..portable }, Arch::Sm89),
            (Rule::TargetExecutes, portable, Arch::Sm86),
            (Rule::ScheduleArch, KernelSpec { arch: Arch::Sm80, ..portable }, Arch::Sm89),
            (Rule::TileK, KernelSpec { tile: Tile { k: 64, ..portable.tile }, ..portable }, Arch::Sm89),
            (Rule::ScaleBlock, KernelSpec { tile: Tile { n: 256, ..portable.tile }, ..portable }, Arch::Sm89),
            (Rule::AccumulatorType, KernelSpec { accumulator: Dtype::F16, ..s }, Arch::Sm80),
            (Rule::OutputType, KernelSpec { output: Dtype::E5m2, ..s }, Arch::Sm80),
            (Rule::TileK, KernelSpec { tile: Tile { k: 48, ..s.tile }, ..s }, Arch::Sm80),
            (Rule::WarpTile, KernelSpec { tile: Tile { m: 144, ..s.tile }, ..s }, Arch::Sm80),
            (Rule::PanelSide, KernelSpec { b_major: Major::Mn, tile: Tile { n: 96, ..s.tile }, ..s }, Arch::Sm80),
            (
                Rule::CopyShare,
                KernelSpec { tile: Tile { m: 16, ..s.tile }, warps: Warps { m: 1, n: 8 }, ..s },
                Arch::Sm80,
            ),
            (Rule::Stages, KernelSpec { stages: 9, ..s }, Arch::Sm90a),
            (Rule::Stages, KernelSpec { stages: 3, copy: CopyPath::Plain, even_k: false, ..s }, Arch::Sm80),
            (Rule::EvenK, KernelSpec { even_k: true, ..reduction }, Arch::Sm80),
            (Rule::Threads, KernelSpec { warps: Warps { m: 1, n: 1 }, ..s }, Arch::Sm80),
            (Rule::SharedMemory, KernelSpec { stages: 6, ..s }, Arch::Sm80),
            (Rule::SharedMemory, s, Arch::Sm89),
            (Rule::Registers, KernelSpec { tile: Tile { n: 256, ..s.tile }, stages: 2, ..s }, Arch::Sm80),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for (rule, spec, target) in broken {
            let rules: Vec<Rule> = check(&spec, target).into_iter().map(|v| v.rule).collect();
            // What the target cannot execute, the schedule cannot use either.
            let alone = rules.len() == 1 || rule == Rule::TargetExecutes;
            assert!(rules.first() == Some(&rule) && alone, "{spec} on {target}: {rules:?} instead of {rule:?}");
            seen.insert(rule);
        }
        let missing: Vec<_> = Rule::ALL.iter().filter(|r| !seen.contains(r)).collect();
        assert!(missing.is_empty(), "no case breaks {missing:?}");
    }

    #[test]
    fn a_violation_names_rule_values_and_remedy() {
        let spec = KernelSpec { stages: 6, ..legal() };
        let text: Vec<String> = check(&spec, Arch::Sm80).iter().map(Violation::to_string).collect();
        assert_eq!(text, ["shared-memory: 6 stages take 196608 bytes, sm_80 grants 166912; nearest: 5"]);
    }
}
