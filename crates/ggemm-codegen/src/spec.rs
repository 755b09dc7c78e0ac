//! [`KernelSpec`]: one variant of a kernel, as a plain value with a one-line name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::dtype::Dtype;
use crate::scaling::Scaling;

/// The dimension that the groups divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ragged {
    /// The rows of A and D (forward and grad_x).
    Rows,
    /// The reduction, that is the rows of A and of B in memory (grad_w).
    Reduction,
}

/// The dimension along which an operand is contiguous in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Major {
    /// The reduction.
    K,
    /// The operand's other dimension: M for A, N for B.
    Mn,
}

/// The block of D that one CTA computes at a time, and the depth of the reduction of one pipeline stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tile {
    /// Rows of D.
    pub m: u32,
    /// Columns of D.
    pub n: u32,
    /// Elements of the reduction.
    pub k: u32,
}

/// How the warps of a CTA share its tile: `m` × `n` equal blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Warps {
    /// Warps along the tile's rows; those of a warpgroup lie along them, unless operands are swapped.
    pub m: u32,
    /// Warps along the tile's columns; those of a warpgroup lie along them where operands are swapped.
    pub n: u32,
}

impl Warps {
    /// Warps of a CTA.
    pub const fn count(self) -> u32 {
        self.m.saturating_mul(self.n)
    }

    /// Threads of a CTA.
    pub const fn threads(self) -> u32 {
        self.count().saturating_mul(32)
    }
}

/// CTAs that form a cluster: `m` × `n` neighbouring tiles of D. Those whose tiles have the same rows share A's tile, those
/// whose tiles have the same columns share B's; each loads a part of it for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cluster {
    /// CTAs along D's rows.
    pub m: u32,
    /// CTAs along D's columns.
    pub n: u32,
}

impl Cluster {
    /// Every CTA is by itself.
    pub const NONE: Cluster = Cluster { m: 1, n: 1 };

    /// CTAs of a cluster.
    pub const fn ctas(self) -> u32 {
        self.m.saturating_mul(self.n)
    }
}

/// How the roles of a CTA are scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// Every warp copies and multiplies; copies run ahead by `stages - 1` blocks of the reduction.
    Multistage,
    /// One warp copies, warpgroups multiply and share each tile's rows.
    Cooperative,
    /// One warp copies, two warpgroups multiply in turns, each a tile of its own: one writes out while the other
    /// multiplies.
    Pingpong,
}

impl Schedule {
    /// Whether copies are a role of their own.
    pub const fn is_warp_specialized(self) -> bool {
        !matches!(self, Schedule::Multistage)
    }
}

/// Where the sums of a long reduction are kept.
///
/// The accumulator of fp8 tensor cores keeps fewer bits than an f32 has: what is added to a large sum loses its low ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accumulation {
    /// All of it in the tensor cores' accumulator. That of 16-bit operands is an f32.
    #[default]
    Fast,
    /// Of 128 elements at a time, whose sums are then added in f32.
    Promoted,
}

/// How tiles travel from global to shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CopyPath {
    /// Through registers, in the aligned 16-byte pieces that hold the elements: any stride, any alignment.
    Plain,
    /// `cp.async`, 16 bytes at a time: pointers and strides that are multiples of 16 bytes.
    CpAsync,
    /// The tensor memory accelerator, a tile at a time: pointers and strides that are multiples of 16 bytes.
    Tma,
}

impl CopyPath {
    /// The alignment in bytes that every row of an operand of this type must have.
    pub const fn required_alignment(self, operand: Dtype) -> u32 {
        match self {
            // Elements themselves are aligned.
            CopyPath::Plain => operand.size_bytes(),
            CopyPath::CpAsync | CopyPath::Tma => 16,
        }
    }
}

/// One variant of a kernel.
///
/// `Display` writes its one-line name and `FromStr` reads it back. The name is the kernel's symbol, the snapshot's file
/// name and the first part of the compile cache's key:
///
/// ```
/// use ggemm_codegen::KernelSpec;
/// let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x256x64_w2x4_s3_multistage_cpasync_evenk";
/// let spec: KernelSpec = name.parse()?;
/// assert_eq!((spec.tile.m, spec.stages, spec.even_k), (128, 3, true));
/// assert_eq!(spec.to_string(), name);
/// # Ok::<(), ggemm_codegen::SpecNameError>(())
/// ```
///
/// A spec is any combination of values; [`ValidSpec`](crate::constraints::ValidSpec) is one that can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KernelSpec {
    /// The dimension that the groups divide.
    pub ragged: Ragged,
    /// How A lies in memory.
    pub a_major: Major,
    /// How B lies in memory.
    pub b_major: Major,
    /// Type of A.
    pub operand: Dtype,
    /// Type of B: A's, unless they are e4m3 and e5m2.
    pub b_operand: Dtype,
    /// Type of the running sums.
    pub accumulator: Dtype,
    /// Type of D.
    pub output: Dtype,
    /// The oldest architecture whose instructions the kernel uses.
    pub arch: Arch,
    /// Block of D and depth of a stage.
    pub tile: Tile,
    /// How the warps that multiply share the tile.
    pub warps: Warps,
    /// Buffers of the ring between copies and products.
    pub stages: u32,
    /// How roles are scheduled.
    pub schedule: Schedule,
    /// How tiles are copied in.
    pub copy: CopyPath,
    /// The reduction is a multiple of `tile.k`, so that its last block needs no masks. Never for a ragged reduction.
    pub even_k: bool,
    /// How CTAs form clusters.
    pub cluster: Cluster,
    /// CTAs take tiles from one counter, so that whoever is early does more; else each visits every so manieth.
    pub dynamic: bool,
    /// Which elements of fp8 operands share a scale.
    pub scaling: Scaling,
    /// Where sums are kept.
    pub accumulation: Accumulation,
    /// Products have D's columns where they otherwise have its rows. Products come in any multiple of 8 of what is then
    /// D's rows, so that a tile has no more of them than exist: `tile.m` is the most, and those of a group are dealt out
    /// evenly. Warps lie along the columns.
    pub swapped: bool,
    /// CTAs of a cluster that divide each tile's reduction among them; the first adds their sums up, in the order of their
    /// ranks, and writes them out. 1: none do.
    pub split: u32,
    /// Where the last tiles are too few for all CTAs, their reductions are divided among them, in whole parts of each:
    /// stream-K, for the remainder alone. Who has the last part of a tile adds up the sums of those before.
    pub stream_k: bool,
    /// Threads write D, whose rows may start anywhere, where TMA copies operands; else TMA writes it as well. Other copies
    /// always leave it to threads.
    pub d_by_threads: bool,
}

impl KernelSpec {
    /// The types of A and B.
    pub const fn operands(&self) -> [Dtype; 2] {
        [self.operand, self.b_operand]
    }

    /// CTAs of a cluster, whether they have neighbouring tiles or parts of one.
    pub const fn cluster_ctas(&self) -> u32 {
        self.cluster.ctas().saturating_mul(self.split)
    }

    /// The alignment in bytes that every row of A and B must have, and that every row of D must have.
    pub const fn required_alignment(&self) -> [u32; 2] {
        let operands = self.copy.required_alignment(self.operand);
        let is_narrower = self.output.size_bytes() < self.operand.size_bytes();
        let any = self.d_by_threads || matches!(self.copy, CopyPath::Plain) && is_narrower;
        [operands, if any { self.output.size_bytes() } else { operands }]
    }
}

const PREFIX: &str = "ggemm";

impl fmt::Display for KernelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KernelSpec { tile, warps, .. } = self;
        let ragged = match self.ragged {
            Ragged::Rows => "rows",
            Ragged::Reduction => "reduction",
        };
        let major = |m: Major, mn: &'static str| if m == Major::K { "k" } else { mn };
        write!(f, "{PREFIX}_{ragged}_a{}_b{}", major(self.a_major, "m"), major(self.b_major, "n"))?;
        write!(f, "_{}", self.operand)?;
        if self.b_operand != self.operand {
            write!(f, "x{}", self.b_operand)?;
        }
        write!(f, "_{}_{}", self.accumulator, self.output)?;
        write!(f, "_{}", self.arch.name().replace('_', ""))?;
        write!(f, "_{}x{}x{}_w{}x{}_s{}", tile.m, tile.n, tile.k, warps.m, warps.n, self.stages)?;
        match self.schedule {
            Schedule::Multistage => write!(f, "_multistage")?,
            Schedule::Cooperative => write!(f, "_cooperative")?,
            Schedule::Pingpong => write!(f, "_pingpong")?,
        }
        match self.copy {
            CopyPath::Plain => write!(f, "_plain")?,
            CopyPath::CpAsync => write!(f, "_cpasync")?,
            CopyPath::Tma => write!(f, "_tma")?,
        }
        if self.even_k {
            write!(f, "_evenk")?;
        }
        if self.cluster != Cluster::NONE {
            write!(f, "_c{}x{}", self.cluster.m, self.cluster.n)?;
        }
        if self.dynamic {
            write!(f, "_dynamic")?;
        }
        if self.scaling != Scaling::None {
            write!(f, "_{}", self.scaling)?;
        }
        if self.accumulation == Accumulation::Promoted {
            write!(f, "_promoted")?;
        }
        if self.swapped {
            write!(f, "_swapped")?;
        }
        if self.split != 1 {
            write!(f, "_split{}", self.split)?;
        }
        if self.stream_k {
            write!(f, "_streamk")?;
        }
        if self.d_by_threads {
            write!(f, "_dthreads")?;
        }
        Ok(())
    }
}

/// Why a string is no spec name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a spec name: {found}, expected {expected} (as in ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk; `ggemm list` prints all that ship)"
)]
pub struct SpecNameError {
    /// The whole string.
    pub name: String,
    /// The part that does not fit.
    pub found: String,
    /// What would.
    pub expected: &'static str,
}

impl FromStr for KernelSpec {
    type Err = SpecNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let mut parts = Parts { name, rest: name.split('_') };
        parts.one_of("the prefix `ggemm`", &[(PREFIX, ())])?;
        let ragged = parts.one_of("rows or reduction", &[("rows", Ragged::Rows), ("reduction", Ragged::Reduction)])?;
        let a_major = parts.one_of("ak or am", &[("ak", Major::K), ("am", Major::Mn)])?;
        let b_major = parts.one_of("bk or bn", &[("bk", Major::K), ("bn", Major::Mn)])?;
        let [operand, b_operand] = parts.operands()?;
        let accumulator = parts.parse("the accumulator's type")?;
        let output = parts.parse("the output's type")?;
        let arch = parts.arch()?;
        let [m, n, k] = parts.numbers("a tile such as 128x256x64", "")?;
        let [warps_m, warps_n] = parts.numbers("warps such as w2x4", "w")?;
        let [stages] = parts.numbers("stages such as s3", "s")?;
        let schedules = [
            ("multistage", Schedule::Multistage),
            ("cooperative", Schedule::Cooperative),
            ("pingpong", Schedule::Pingpong),
        ];
        let schedule = parts.one_of("the schedule multistage, cooperative or pingpong", &schedules)?;
        let copies = [("plain", CopyPath::Plain), ("cpasync", CopyPath::CpAsync), ("tma", CopyPath::Tma)];
        let copy = parts.one_of("plain, cpasync or tma", &copies)?;
        let even_k = parts.skip("evenk");
        let cluster = match parts.peek() {
            Some("c1x1") => {
                let expected = "a cluster of at least 2, dynamic, scales, swapped, a split, streamk or the end";
                return Err(parts.error("c1x1", expected));
            }
            Some(part) if part.starts_with('c') => {
                let [m, n] = parts.numbers("a cluster such as c2x1", "c")?;
                Cluster { m, n }
            }
            _ => Cluster::NONE,
        };
        let dynamic = parts.skip("dynamic");
        let scaling = match parts.peek() {
            Some("row") => Scaling::Row,
            Some("block") => Scaling::Block,
            _ => Scaling::None,
        };
        if scaling != Scaling::None {
            parts.next();
        }
        let accumulation = if parts.skip("promoted") { Accumulation::Promoted } else { Accumulation::Fast };
        let swapped = parts.skip("swapped");
        let split = match parts.peek() {
            Some("split1") => return Err(parts.error("split1", "a split of at least 2 or the end")),
            Some(part) if part.starts_with("split") => {
                let [split] = parts.numbers("a split of the reduction such as split2", "split")?;
                split
            }
            _ => 1,
        };
        let stream_k = parts.skip("streamk");
        let d_by_threads = parts.skip("dthreads");
        if let Some(other) = parts.peek() {
            let expected = match (even_k, dynamic, scaling, accumulation) {
                _ if split != 1 || d_by_threads => "the end",
                _ if stream_k => "dthreads or the end",
                _ if swapped => "a split or the end",
                (.., Accumulation::Promoted) => "the end",
                (.., Scaling::Row | Scaling::Block, _) => "promoted or the end",
                (_, true, ..) => "row, block, swapped, streamk, dthreads or the end",
                (true, ..) => "the end",
                _ => "evenk, a cluster, dynamic, row, block, swapped, a split, streamk, dthreads or the end",
            };
            return Err(parts.error(other, expected));
        }
        Ok(KernelSpec {
            ragged,
            a_major,
            b_major,
            operand,
            b_operand,
            accumulator,
            output,
            arch,
            tile: Tile { m, n, k },
            warps: Warps { m: warps_m, n: warps_n },
            stages,
            schedule,
            copy,
            even_k,
            cluster,
            dynamic,
            scaling,
            accumulation,
            swapped,
            split,
            stream_k,
            d_by_threads,
        })
    }
}

/// The parts of a name between underscores, read from the left.
struct Parts<'a> {
    name: &'a str,
    rest: std::str::Split<'a, char>,
}

impl<'a> Parts<'a> {
    fn error(&self, found: &str, expected: &'static str) -> SpecNameError {
        let found =
            if found.is_empty() { "it ends or has an empty part".to_owned() } else { format!("it has `{found}`") };
        SpecNameError { name: self.name.to_owned(), found, expected }
    }

    fn next(&mut self) -> &'a str {
        self.rest.next().unwrap_or_default()
    }

    /// The next part, which stays.
    fn peek(&self) -> Option<&'a str> {
        self.rest.clone().next()
    }

    /// Passes over the next part if it is this one.
    fn skip(&mut self, part: &str) -> bool {
        let found = self.peek() == Some(part);
        if found {
            self.rest.next();
        }
        found
    }

    fn one_of<T: Copy>(&mut self, expected: &'static str, choices: &[(&str, T)]) -> Result<T, SpecNameError> {
        let part = self.next();
        choices.iter().find(|(n, _)| *n == part).map(|(_, v)| *v).ok_or_else(|| self.error(part, expected))
    }

    fn parse<T: FromStr>(&mut self, expected: &'static str) -> Result<T, SpecNameError> {
        let part = self.next();
        part.parse().map_err(|_| self.error(part, expected))
    }

    /// The operands' types: one, or two with an `x` between them where they differ.
    fn operands(&mut self) -> Result<[Dtype; 2], SpecNameError> {
        let part = self.next();
        let of = |name: &str| name.parse::<Dtype>().ok();
        let both = match part.split_once('x') {
            None => of(part).map(|both| [both; 2]),
            Some((a, b)) => of(a).zip(of(b)).filter(|(a, b)| a != b).map(|(a, b)| [a, b]),
        };
        both.ok_or_else(|| self.error(part, "the operands' type"))
    }

    fn arch(&mut self) -> Result<Arch, SpecNameError> {
        let part = self.next();
        let found = Arch::ALL.into_iter().find(|a| a.name().replace('_', "") == part);
        found.ok_or_else(|| self.error(part, "an architecture such as sm80 or sm90a"))
    }

    /// `prefix` and then `L` numbers with an `x` between them, each written as `Display` writes it.
    fn numbers<const L: usize>(&mut self, expected: &'static str, prefix: &str) -> Result<[u32; L], SpecNameError> {
        let part = self.next();
        let numbers = part.strip_prefix(prefix).and_then(|s| {
            let mut numbers = [0; L];
            let mut pieces = s.split('x');
            for n in &mut numbers {
                let piece = pieces.next()?;
                *n = piece.parse().ok().filter(|v: &u32| v.to_string() == piece)?;
            }
            pieces.next().is_none().then_some(numbers)
        });
        numbers.ok_or_else(|| self.error(part, expected))
    }
}
