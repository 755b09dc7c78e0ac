//! Which specs are legal on which target, and why not: the one statement of it.
//!
//! The macro, the catalogue and the runtime all ask here. A spec that passed is a [`ValidSpec`], and only that can be
//! built, so that emission cannot fail.

use std::fmt;

use crate::arch::Arch;
use crate::dtype::Dtype;
use crate::geometry::{self, MMA_K, MMA_M};
use crate::layout::CHUNK_BYTES;
use crate::spec::{CopyPath, KernelSpec, Major, Ragged, Schedule};

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
    ScheduleArch "schedule-arch" "The multistage schedule uses no instruction newer than sm_80's."
    Majors "majors" "Ragged rows read A along the reduction; a ragged reduction reads A and B along their other dimension, because tokens are rows."
    OperandType "operand-type" "mma.sync m16n8k16 multiplies bf16 or f16."
    AccumulatorType "accumulator-type" "Sums are kept in f32."
    TileK "tile-k" "A stage holds 32 or 64 elements of the reduction: two or four k16 steps, in rows of 64 or 128 bytes."
    WarpTile "warp-tile" "Every warp owns a multiple of 16 rows and of 16 columns of the tile."
    PanelSide "panel-side" "The side of a tile along which an operand is contiguous is a multiple of 64 elements, one 128-byte panel, unless it is the reduction."
    CopyShare "copy-share" "The threads of a CTA share each tile's 16-byte pieces evenly, whole rows at a time."
    Stages "stages" "cp.async rings hold 2 to 8 stages; plain loads alternate between 2."
    EvenK "even-k" "Only cp.async ragged rows have a variant without masks on the reduction; a ragged reduction ends anywhere."
    Threads "threads" "A CTA has 64 to 512 threads."
    SharedMemory "shared-memory" "All stages fit the shared memory that the target grants one block."
    Registers "registers" "The estimated registers of a thread stay within 255, and those of a CTA within the register file."
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
    match spec.schedule {
        Schedule::Multistage if spec.arch != Arch::Sm80 => {
            let message = format!("the multistage schedule needs sm_80 alone, the spec says {}", spec.arch);
            found.add(Rule::ScheduleArch, Field::Arch, message, Some(Arch::Sm80.to_string()));
        }
        Schedule::Multistage => {}
    }
    let a_major = if spec.ragged == Ragged::Rows { Major::K } else { Major::Mn };
    if spec.a_major != a_major {
        let (message, nearest) = match spec.ragged {
            Ragged::Rows => ("ragged rows read A along the reduction", "ak"),
            Ragged::Reduction => ("a ragged reduction reads A along m", "am"),
        };
        found.add(Rule::Majors, Field::AMajor, message.into(), Some(nearest.into()));
    }
    if spec.ragged == Ragged::Reduction && spec.b_major != Major::Mn {
        let message = "a ragged reduction reads B along n";
        found.add(Rule::Majors, Field::BMajor, message.into(), Some("bn".into()));
    }
    if !matches!(spec.operand, Dtype::Bf16 | Dtype::F16) {
        let message = format!("operands are {}", spec.operand);
        found.add(Rule::OperandType, Field::Operand, message, Some(Dtype::Bf16.to_string()));
    }
    if spec.accumulator != Dtype::F32 {
        let message = format!("the accumulator is {}", spec.accumulator);
        found.add(Rule::AccumulatorType, Field::Accumulator, message, Some(Dtype::F32.to_string()));
    }
    let stages = match spec.copy {
        CopyPath::Plain => 2..=2,
        CopyPath::CpAsync => 2..=8,
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

fn shape(spec: &KernelSpec, _target: Arch, found: &mut Findings) {
    let KernelSpec { tile, warps, .. } = *spec;
    if ![2 * MMA_K, 4 * MMA_K].contains(&tile.k) {
        let nearest = [32, 64].into_iter().min_by_key(|v: &u32| v.abs_diff(tile.k)).unwrap_or(64);
        found.add(Rule::TileK, Field::TileK, format!("tile k is {}", tile.k), Some(nearest.to_string()));
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
    let threads = warps.threads();
    if !(64..=512).contains(&threads) {
        let message = format!("{} x {} warps are {threads} threads", warps.m, warps.n);
        found.add(Rule::Threads, Field::Warps, message, None);
    }
}

/// Elements of a 128-byte panel of 16-bit operands.
const PANEL: u32 = 64;

fn resources(spec: &KernelSpec, target: Arch, found: &mut Findings) {
    let threads = spec.warps.threads();
    for (field, name, tile) in
        [(Field::TileM, "A", geometry::a_tile(spec)), (Field::TileN, "B", geometry::b_tile(spec))]
    {
        let (rows, cols) = tile.shape();
        let pieces_per_row = cols / (CHUNK_BYTES / tile.element_bytes);
        let whole_rows = threads.is_multiple_of(pieces_per_row) && rows.is_multiple_of(threads / pieces_per_row);
        if !whole_rows {
            let message = format!("{threads} threads cannot share {name}'s {rows} rows of {pieces_per_row} pieces");
            found.add(Rule::CopyShare, field, message, None);
        }
    }
    let limits = target.limits();
    let shared = geometry::shared_bytes(spec);
    if shared > limits.shared_per_block {
        let stages = limits.shared_per_block / geometry::stage_bytes(spec);
        let message =
            format!("{} stages take {shared} bytes, {target} grants {}", spec.stages, limits.shared_per_block);
        let nearest = (stages >= 2).then(|| stages.to_string());
        found.add(Rule::SharedMemory, Field::Stages, message, nearest);
    }
    let registers = geometry::register_estimate(spec);
    if registers > 255 || registers * threads > limits.registers_per_sm {
        let message = format!("about {registers} registers for each of {threads} threads");
        found.add(Rule::Registers, Field::Warps, message, None);
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
        let broken = [
            (Rule::Positive, KernelSpec { stages: 0, ..s }, Arch::Sm80),
            (Rule::Positive, KernelSpec { tile: Tile { n: 4096, ..s.tile }, ..s }, Arch::Sm80),
            (Rule::TargetExecutes, KernelSpec { arch: Arch::Sm90a, ..s }, Arch::Sm80),
            (Rule::ScheduleArch, KernelSpec { arch: Arch::Sm90a, ..s }, Arch::Sm90a),
            (Rule::Majors, KernelSpec { a_major: Major::Mn, ..s }, Arch::Sm80),
            (Rule::Majors, KernelSpec { b_major: Major::K, ..reduction }, Arch::Sm80),
            (Rule::OperandType, KernelSpec { operand: Dtype::F32, ..s }, Arch::Sm80),
            (Rule::AccumulatorType, KernelSpec { accumulator: Dtype::F16, ..s }, Arch::Sm80),
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
