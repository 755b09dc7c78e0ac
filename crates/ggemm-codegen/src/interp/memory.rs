//! Device memory: the operands of one launch, with bounds and with every write counted.

use half::{bf16, f16};

use crate::contraction::Contraction;
use crate::dtype::Dtype;
use crate::fp8;
use crate::launch::Operand;
use crate::problem::IndexType;

/// The type of a buffer's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementKind {
    /// A float.
    Float(Dtype),
    /// An integer.
    Integer(IndexType),
}

/// An operand in device memory.
#[derive(Clone, Debug)]
pub struct Buffer {
    kind: ElementKind,
    /// Elements as bits: floats in their own format, integers sign-extended.
    bits: Vec<u64>,
    written: Vec<bool>,
    /// How many of them the kernel wrote.
    writes: usize,
}

impl Buffer {
    /// `len` elements: floats are NaN, integers 0.
    pub fn poisoned(kind: ElementKind, len: usize) -> Self {
        let poison = match kind {
            ElementKind::Float(dtype) => encode(dtype, f32::NAN),
            ElementKind::Integer(_) => 0,
        };
        Buffer { kind, bits: vec![poison; len], written: vec![false; len], writes: 0 }
    }

    /// Elements given as bits: floats in their own format, integers sign-extended. None counts as written.
    pub fn from_bits(kind: ElementKind, bits: Vec<u64>) -> Self {
        Buffer { kind, written: vec![false; bits.len()], bits, writes: 0 }
    }

    /// The elements as bits, as [`Buffer::from_bits`] takes them.
    pub fn bits(&self) -> &[u64] {
        &self.bits
    }

    /// The type of the elements.
    pub fn kind(&self) -> ElementKind {
        self.kind
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Sets every element to `value` of its index, rounded to the element type.
    pub fn fill(&mut self, value: impl Fn(usize) -> f32) {
        for i in 0..self.len() {
            self.set(i, value(i));
        }
    }

    /// Sets one element, rounded to the element type; this is the host's write and is not counted.
    pub fn set(&mut self, index: usize, value: f32) {
        if let (ElementKind::Float(dtype), Some(bits)) = (self.kind, self.bits.get_mut(index)) {
            *bits = encode(dtype, value);
        }
    }

    /// Sets the first integers; those that do not fit an i32 buffer wrap.
    pub fn set_integers(&mut self, values: &[i64]) {
        for (bits, value) in self.bits.iter_mut().zip(values) {
            *bits = match self.kind {
                ElementKind::Integer(IndexType::I32) => (*value as i32) as i64 as u64,
                _ => *value as u64,
            };
        }
    }

    /// One element as f32; NaN where there is none.
    pub fn get(&self, index: usize) -> f32 {
        match (self.kind, self.bits.get(index)) {
            (ElementKind::Float(dtype), Some(bits)) => decode(dtype, *bits),
            _ => f32::NAN,
        }
    }

    /// Whether the kernel wrote an element.
    pub fn was_written(&self, index: usize) -> bool {
        self.written.get(index).copied().unwrap_or(false)
    }

    /// How many elements the kernel wrote.
    pub fn written(&self) -> usize {
        self.writes
    }

    pub(super) fn bits_at(&self, index: i64) -> Option<u64> {
        self.bits.get(usize::try_from(index).ok()?).copied()
    }

    /// Rounds and writes an element; `None` if there is no such element, else whether it had been written before.
    pub(super) fn write(&mut self, index: i64, value: f32) -> Option<bool> {
        let bits = match self.kind {
            ElementKind::Float(dtype) => encode(dtype, value),
            ElementKind::Integer(_) => *self.bits.get(usize::try_from(index).ok()?)?,
        };
        self.write_bits(index, bits)
    }

    /// The same of an element's bits.
    pub(super) fn write_bits(&mut self, index: i64, bits: u64) -> Option<bool> {
        let index = usize::try_from(index).ok().filter(|i| *i < self.bits.len())?;
        self.bits[index] = bits;
        let before = std::mem::replace(&mut self.written[index], true);
        self.writes += usize::from(!before);
        Some(before)
    }
}

/// A float's bits, rounded to nearest even.
pub(super) fn encode(dtype: Dtype, value: f32) -> u64 {
    match dtype {
        Dtype::E4m3 => u64::from(fp8::e4m3_from_f32(value)),
        Dtype::E5m2 => u64::from(fp8::e5m2_from_f32(value)),
        Dtype::Bf16 => u64::from(bf16::from_f32(value).to_bits()),
        Dtype::F16 => u64::from(f16::from_f32(value).to_bits()),
        Dtype::F32 => u64::from(value.to_bits()),
    }
}

pub(super) fn decode(dtype: Dtype, bits: u64) -> f32 {
    match dtype {
        Dtype::E4m3 => fp8::e4m3_to_f32(bits as u8),
        Dtype::E5m2 => fp8::e5m2_to_f32(bits as u8),
        Dtype::Bf16 => bf16::from_bits(bits as u16).to_f32(),
        Dtype::F16 => f16::from_bits(bits as u16).to_f32(),
        Dtype::F32 => f32::from_bits(bits as u32),
    }
}

/// The operands of one launch.
#[derive(Clone, Debug)]
pub struct Memory {
    /// A.
    pub a: Buffer,
    /// B.
    pub b: Buffer,
    /// D.
    pub d: Buffer,
    /// Sizes or ends.
    pub groups: Buffer,
    /// The scales of A and of B; empty for operands that have none.
    pub scales: [Buffer; 2],
    /// What launches that compute no product have.
    pub others: Vec<(Operand, Buffer)>,
}

impl Memory {
    /// Buffers that hold exactly what `problem` spans, poisoned.
    pub fn for_problem(problem: &Contraction) -> Self {
        let float = |t: &crate::problem::TensorShape| Buffer::poisoned(ElementKind::Float(t.dtype), t.elements());
        Memory {
            a: float(&problem.a),
            b: float(&problem.b),
            d: float(&problem.d),
            groups: Buffer::poisoned(ElementKind::Integer(problem.group_index), problem.groups),
            scales: [0, 1].map(|operand| {
                let count = problem.scales.map_or(0, |s| s[operand].elements());
                Buffer::poisoned(ElementKind::Float(Dtype::F32), count)
            }),
            others: Vec::new(),
        }
    }

    /// Buffers of a launch that computes no product; `groups` is empty where there are none.
    pub fn of(others: Vec<(Operand, Buffer)>, groups: Buffer) -> Self {
        let none = || Buffer::poisoned(ElementKind::Float(Dtype::F32), 0);
        Memory { a: none(), b: none(), d: none(), groups, scales: [none(), none()], others }
    }

    /// The buffer of an operand; the workspace is the launch's own.
    pub fn operand(&self, operand: Operand) -> Option<&Buffer> {
        match operand {
            Operand::A => Some(&self.a),
            Operand::B => Some(&self.b),
            Operand::D => Some(&self.d),
            Operand::Groups => Some(&self.groups),
            Operand::AScales => Some(&self.scales[0]),
            Operand::BScales => Some(&self.scales[1]),
            Operand::Workspace | Operand::PartialSums | Operand::PartialSumsReady => None,
            other => self.others.iter().find(|(o, _)| *o == other).map(|(_, buffer)| buffer),
        }
    }

    pub(super) fn operand_mut(&mut self, operand: Operand) -> Option<&mut Buffer> {
        match operand {
            Operand::A => Some(&mut self.a),
            Operand::B => Some(&mut self.b),
            Operand::D => Some(&mut self.d),
            Operand::Groups => Some(&mut self.groups),
            Operand::AScales => Some(&mut self.scales[0]),
            Operand::BScales => Some(&mut self.scales[1]),
            Operand::Workspace | Operand::PartialSums | Operand::PartialSumsReady => None,
            other => self.others.iter_mut().find(|(o, _)| *o == other).map(|(_, buffer)| buffer),
        }
    }
}
