//! Device memory: what the requests of warps touch, where the statement makes it known.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::Site;
use crate::dtype::Dtype;
use crate::geometry::{MMA_N, columns_stored_together};
use crate::ir::{
    AddSaved, AwaitWord, Builtin, ExprId, ExprKind, Fragment, FragmentId, Kernel, Op, ParamId, ParamType, Rows,
    SaveSums, Stmt, VarId,
};
use crate::layout::{CHUNK_BYTES, ThreadValueMap};

/// Bytes that device memory and L2 move together.
const SECTOR_BYTES: u32 = 32;

/// A statement by which threads read or write device memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceAccess {
    /// The statement.
    #[serde(flatten)]
    pub site: Site,
    /// The parameter.
    pub operand: String,
    /// Which way.
    pub direction: Direction,
    /// The instruction.
    pub instruction: &'static str,
    /// Bytes that one request of a warp is about.
    pub bytes: u32,
    /// Contiguous stretches that they lie in: rows.
    pub runs: u32,
    /// Sectors of 32 bytes that the request touches, where rows start at one.
    pub sectors: u32,
    /// The part of those sectors that the request is about, from 0 to 1: 1 is coalesced.
    pub coalescing: f64,
}

/// Which way an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It writes, and where the launch says so adds to what it reads.
    WriteOrAdd,
    /// It adds atomically.
    Atomic,
}

impl Direction {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Read => "read",
            Direction::Write => "write",
            Direction::WriteOrAdd => "write or add",
            Direction::Atomic => "atomic",
        }
    }
}

pub(super) fn accesses(kernel: &Kernel, sites: &[(Site, &Stmt)]) -> Vec<DeviceAccess> {
    let name = |pointer: ParamId| kernel.contract.params[pointer.0 as usize].name.clone();
    let fragment = |id: FragmentId| &kernel.body.fragments[id.0 as usize];
    let lets = Lets::of(kernel);
    let mut found = Vec::new();
    for (site, stmt) in sites {
        let (pointer, direction, instruction, request) = match &stmt.op {
            Op::CopyTile { from, to, map } => {
                let element = kernel.body.shared[to.tile.0 as usize].layout.element_bytes;
                (from.pointer, Direction::Read, "cp.async 16", first_pieces(map, element, CHUNK_BYTES))
            }
            Op::LoadStaging { to, .. } => {
                let Some(pointer) = staged_from(sites, *to) else { continue };
                let element = fragment(*to).dtype.size_bytes();
                let request = first_pieces(&fragment(*to).map, element, CHUNK_BYTES);
                (pointer, Direction::Read, "ld.global 16 (unaligned: twice)", request)
            }
            Op::StoreTile { from, to, accumulate, paired } => {
                let ParamType::Output(dtype) = kernel.contract.params[to.pointer.0 as usize].ty else { continue };
                let direction = if accumulate.is_some() { Direction::WriteOrAdd } else { Direction::Write };
                let (instruction, request) = stored(fragment(*from), dtype, *paired);
                (to.pointer, direction, instruction, request)
            }
            Op::Rows(Rows::StorePanel { to, accumulate, .. }) => {
                let direction = if accumulate.is_some() { Direction::WriteOrAdd } else { Direction::Write };
                let row = (0..32).map(|lane| Touch { row: 0, byte: 4 * lane, width: 4 }).collect();
                (to.pointer, direction, "st.global 4 (at a row's ends: 2)", row)
            }
            Op::LoadIndex { pointer, index, .. } => {
                (*pointer, Direction::Read, "ld.global 4 (of i64: 8)", lets.entries(*index))
            }
            Op::LoadScales(load) => {
                let dense = kernel.body.exprs.as_constant(load.stride) == Some(1);
                let (instruction, request) = scales(&fragment(load.to).map, dense);
                (load.pointer, Direction::Read, instruction, request)
            }
            Op::SaveSums(SaveSums { pointer, .. }) => (*pointer, Direction::Write, "st.global 4", sums_of_threads()),
            Op::AddSaved(AddSaved { pointer, .. }) => (*pointer, Direction::Read, "ld.global 4", sums_of_threads()),
            Op::AwaitWord(AwaitWord { pointer, .. }) => {
                let word = Touch { row: 0, byte: 0, width: 4 };
                (*pointer, Direction::Read, "ld.acquire 4", vec![word])
            }
            Op::CopyScales(copy) => {
                let dense = kernel.body.exprs.as_constant(copy.stride) == Some(1);
                let lanes = kernel.body.shared[copy.to.tile.0 as usize].layout.shape().0.min(32);
                let (instruction, width) = if dense { ("cp.async 4", 4) } else { ("cp.async 16 (unaligned: 4)", 16) };
                let request = (0..lanes).map(|place| one_scale(place, dense, width)).collect();
                (copy.pointer, Direction::Read, instruction, request)
            }
            Op::FetchAdd(add) => {
                let word = Touch { row: 0, byte: 0, width: 4 };
                (add.pointer, Direction::Atomic, "atom.global 4", vec![word])
            }
            _ => continue,
        };
        found.push(access(site, name(pointer), direction, instruction, &request));
    }
    found
}

/// A sum of each lane, side by side.
fn sums_of_threads() -> Vec<Touch> {
    (0..32).map(|lane| Touch { row: 0, byte: 4 * lane, width: 4 }).collect()
}

/// The first scales that the lanes of a warp read; `dense`: those of neighbours are neighbours. A lane's columns come in
/// pairs.
fn scales(map: &ThreadValueMap, dense: bool) -> (&'static str, Vec<Touch>) {
    let pairs = dense && map.values[0].col == 1;
    let (instruction, width) = if pairs { ("ld.global 8 (unaligned: 4)", 8) } else { ("ld.global 4", 4) };
    let places = (0..32).map(|lane| map.coordinates(lane, 0)).map(|(row, col)| row + col);
    (instruction, places.map(|place| one_scale(place, dense, width)).collect())
}

fn one_scale(place: u32, dense: bool, width: u32) -> Touch {
    match dense {
        true => Touch { row: 0, byte: 4 * place, width },
        false => Touch { row: place, byte: 0, width },
    }
}

/// What a staging fragment is read from.
fn staged_from(sites: &[(Site, &Stmt)], id: FragmentId) -> Option<ParamId> {
    sites.iter().find_map(|(_, stmt)| match &stmt.op {
        Op::BeginStaging { fragment, from } if *fragment == id => Some(from.pointer),
        _ => None,
    })
}

/// What one lane touches.
#[derive(Clone, Copy, Debug)]
struct Touch {
    row: u32,
    /// From the row's start.
    byte: u32,
    width: u32,
}

fn access(
    site: &Site,
    operand: String,
    direction: Direction,
    instruction: &'static str,
    request: &[Touch],
) -> DeviceAccess {
    let bytes: BTreeSet<(u32, u32)> =
        request.iter().flat_map(|t| (t.byte..t.byte + t.width).map(move |byte| (t.row, byte))).collect();
    let sectors: BTreeSet<(u32, u32)> = bytes.iter().map(|(row, byte)| (*row, byte / SECTOR_BYTES)).collect();
    let rows: BTreeSet<u32> = request.iter().map(|t| t.row).collect();
    let (bytes, sectors) = (bytes.len() as u32, sectors.len() as u32);
    DeviceAccess {
        site: site.clone(),
        operand,
        direction,
        instruction,
        bytes,
        runs: rows.len() as u32,
        sectors,
        coalescing: f64::from(bytes) / f64::from((sectors * SECTOR_BYTES).max(1)),
    }
}

/// The first warp's first request for its pieces, of which each instruction moves `width` bytes.
fn first_pieces(map: &ThreadValueMap, element_bytes: u32, width: u32) -> Vec<Touch> {
    let lanes = (0..32).map(|lane| map.coordinates(lane, 0));
    lanes.map(|(row, col)| Touch { row, byte: col * element_bytes, width }).collect()
}

/// The first warp's first store of an accumulator.
fn stored(from: &Fragment, dtype: Dtype, paired: bool) -> (&'static str, Vec<Touch>) {
    let size = dtype.size_bytes();
    let together = if paired { columns_stored_together(&from.map, dtype) } else { 1 };
    let lanes = (0..32).map(|lane| {
        let (row, col) = from.map.coordinates(lane, 0);
        // The four lanes of a row exchange columns, so that each has all eight of a product.
        let col = if together == MMA_N { lane % 4 * MMA_N } else { col };
        Touch { row, byte: col * size, width: together * size }
    });
    let instruction = match together * size {
        2 => "st.global 2",
        4 => "st.global 4",
        8 => "st.global 8",
        _ => "st.global 16",
    };
    (instruction, lanes.collect())
}

/// The kernel's variables that never change, by what they are.
struct Lets<'k> {
    kernel: &'k Kernel,
    values: HashMap<VarId, ExprId>,
}

impl<'k> Lets<'k> {
    fn of(kernel: &'k Kernel) -> Self {
        let mut values = HashMap::new();
        kernel.body.for_each_stmt(|stmt| {
            if let Op::Let { var, value } = stmt.op
                && !kernel.body.vars[var.0 as usize].mutable
            {
                values.insert(var, value);
            }
        });
        Lets { kernel, values }
    }

    /// An expression for a lane, with 0 for all that is the same in a warp.
    fn of_lane(&self, id: ExprId, lane: i64) -> i64 {
        let leaf = |kind: &ExprKind| {
            Some(match kind {
                ExprKind::Builtin(Builtin::Lane) => lane,
                ExprKind::Var(var) => self.values.get(var).map_or(0, |value| self.of_lane(*value, lane)),
                _ => 0,
            })
        };
        self.kernel.body.exprs.evaluate(id, &leaf).unwrap_or(0)
    }

    /// What the lanes read of an array of i32.
    fn entries(&self, index: ExprId) -> Vec<Touch> {
        let touch = |lane| Touch { row: 0, byte: 4 * self.of_lane(index, lane) as u32, width: 4 };
        (0..32).map(touch).collect()
    }
}
