//! The contract of a kernel: all that the host reads to launch it, as data that is baked beside the cubin.

use serde::{Deserialize, Serialize};

use super::tensor_map::{TensorMap, TensorMapId, Unaddressable};
use crate::contraction::Contraction;
use crate::dtype::Dtype;
use crate::problem::TensorShape;

/// What the host must know to launch a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// The spec's name, which is also the kernel's symbol.
    pub name: String,
    /// Parameters in the order of the kernel's signature.
    pub params: Vec<Param>,
    /// Recipes of the tensor maps among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensor_maps: Vec<TensorMap>,
    /// Threads of a CTA.
    pub threads: u32,
    /// CTAs of a cluster; 1 where clusters play no part.
    pub cluster: u32,
    /// Dynamic shared memory of a CTA in bytes.
    pub shared_bytes: u32,
    /// How many CTAs to launch.
    pub grid: GridRule,
    /// Device memory in bytes that the launch needs beside its operands.
    pub workspace_bytes: u64,
    /// Device memory for sums of parts of tiles, and the words that say which are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_sums: Option<PartialSums>,
    /// The alignment in bytes that every row of A and B must have, and of D where it needs no other.
    pub alignment: u32,
    /// The alignment in bytes that every row of D must have, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d_alignment: Option<u32>,
    /// Registers of a thread, estimated.
    pub registers: u32,
    /// What one iteration of the main loop does.
    pub work: LoopWork,
    /// The launch may overlap the one before it (programmatic dependent launch): the kernel waits for that one's end
    /// before it touches memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dependent_launch: bool,
}

impl Contract {
    /// The alignments in bytes that every row of A and B, and every row of D, must have.
    pub fn alignments(&self) -> [u32; 2] {
        [self.alignment, self.d_alignment.unwrap_or(self.alignment)]
    }

    /// The tensor maps of the parameters, in their order, each with the tensor of `problem` that it is over.
    pub fn maps<'a>(&'a self, problem: &'a Contraction) -> impl Iterator<Item = MappedTensor<'a>> {
        self.params.iter().filter_map(|param| {
            let ParamType::TensorMap(id) = param.ty else { return None };
            let (tensor, is_stored) = match param.role {
                ParamRole::A => (&problem.a, false),
                ParamRole::B => (&problem.b, false),
                _ => (&problem.d, true),
            };
            Some(MappedTensor { map: self.tensor_maps.get(id.0 as usize)?, tensor, is_stored })
        })
    }
}

/// What each CTA of a launch takes of device memory, so that another adds its sums of a part of a tile's reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialSums {
    /// Bytes of the sums, a multiple of 16. The launch may find anything there.
    pub slot_bytes: u32,
    /// 32-bit words that the launch finds at 0 and leaves at 0.
    pub words: u32,
}

/// A tensor map and the tensor that it is over.
#[derive(Clone, Copy, Debug)]
pub struct MappedTensor<'a> {
    /// The map.
    pub map: &'a TensorMap,
    /// The tensor.
    pub tensor: &'a TensorShape,
    /// The kernel writes it.
    pub is_stored: bool,
}

impl MappedTensor<'_> {
    /// Why the map does not lead to the tensor.
    pub fn unaddressable(&self) -> Option<Unaddressable> {
        self.map.unaddressable(self.tensor, self.is_stored)
    }
}

/// How many CTAs a launch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GridRule {
    /// As many as are resident at once, each walking over tiles; never more than the largest number of tiles there
    /// can be.
    Persistent,
}

/// What one iteration of a CTA's main loop does, read off the IR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopWork {
    /// Multiply-adds.
    pub multiply_adds: u64,
    /// Bytes copied from global to shared memory.
    pub global_bytes: u64,
    /// Bytes written to shared memory and read from it into registers.
    pub shared_bytes: u64,
}

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Its name in the text.
    pub name: String,
    /// Its type.
    pub ty: ParamType,
    /// What the host puts there.
    pub role: ParamRole,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParamType {
    /// A device pointer to elements that are only read.
    Input(Dtype),
    /// A device pointer to elements that are written.
    Output(Dtype),
    /// A device pointer to i32 or i64.
    Indices,
    /// One byte, 0 or 1.
    Bool,
    /// 32-bit signed.
    I32,
    /// 64-bit signed.
    I64,
    /// A tensor map over the operand that the role names, by value.
    TensorMap(TensorMapId),
    /// A device pointer to 32-bit words that the launch finds at 0.
    Words,
}

/// What the host puts into a parameter, in the words of the [`Contraction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParamRole {
    /// A's first element.
    A,
    /// B's first element.
    B,
    /// D's first element.
    D,
    /// The array of sizes or ends.
    Groups,
    /// Entries of that array.
    GroupCount,
    /// It holds ends, not sizes.
    GroupsAreEnds,
    /// Its entries are i64, not i32.
    GroupsAreI64,
    /// Rows of D.
    Rows,
    /// Columns of D.
    Cols,
    /// Length of the reduction.
    Reduction,
    /// Elements between rows of A.
    ARowStride,
    /// Elements between rows of B.
    BRowStride,
    /// Elements between groups of B; 0 for a shared one.
    BGroupStride,
    /// Elements between rows of D.
    DRowStride,
    /// Elements between groups of D.
    DGroupStride,
    /// A's first scale.
    AScales,
    /// B's first scale.
    BScales,
    /// Scales from one group of A to the next.
    AScaleGroupStride,
    /// Scales from one row of A to the next.
    AScaleOuterStride,
    /// Scales from one block of the reduction of A to the next.
    AScaleReductionStride,
    /// Scales from one group of B to the next; 0 for a shared one.
    BScaleGroupStride,
    /// Scales from one block of columns of B to the next.
    BScaleOuterStride,
    /// Scales from one block of the reduction of B to the next.
    BScaleReductionStride,
    /// Rows of D past the last group are zeroed.
    ZeroTail,
    /// Add to D.
    Accumulate,
    /// All groups' rows together are one group.
    MergeGroups,
    /// The workspace's first byte.
    Workspace,
    /// The first CTA's slot for sums of a part of a tile's reduction.
    PartialSums,
    /// The first CTA's words that say that such sums are there.
    PartialSumsReady,
    /// One of quantization's own.
    Quantize(QuantizeRole),
    /// One of a copy's whose rows are aligned.
    Realign(RealignRole),
}

/// What the host puts into a parameter of a kernel that copies to aligned rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RealignRole {
    /// The source's first element.
    Source,
    /// The copy's first element.
    Copy,
    /// Matrices of the source.
    Matrices,
    /// Each group has a matrix, which is not copied where the group has no rows.
    SkipEmpty,
    /// Elements between rows of the source.
    SourceRowStride,
    /// Elements between matrices of the source.
    SourceGroupStride,
    /// Elements between rows of the copy.
    CopyRowStride,
    /// Elements between matrices of the copy.
    CopyGroupStride,
}

/// What the host puts into a parameter of a kernel that quantizes. Copies are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuantizeRole {
    /// The source's first element.
    Source,
    /// Matrices of the source, one after another.
    Matrices,
    /// Scales are powers of two.
    PowersOfTwo,
    /// Rows of the source and of all copies start at multiples of 16 bytes, and their columns are a multiple of 16.
    Aligned,
    /// A copy's first element.
    Elements(u8),
    /// Elements between rows of a copy.
    RowStride(u8),
    /// Elements between matrices of a copy.
    GroupStride(u8),
    /// A copy's first scale.
    Scales(u8),
    /// Scales from one group's first to the next's.
    ScaleGroupStride(u8),
    /// Scales from one row, or block of rows, of the source to the next.
    ScaleRowStride(u8),
    /// Scales from one column, or block of columns, of the source to the next.
    ScaleColStride(u8),
}
