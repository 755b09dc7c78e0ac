//! Between the caller's memory and the interpreter's, bit for bit.

use ggemm_codegen::interp::{Buffer, ElementKind, Memory};
use ggemm_codegen::kernels::realign::{RealignTask, Which};
use ggemm_codegen::launch;
use ggemm_codegen::{Contraction, Dtype, TensorShape};
use half::{bf16, f16};

use crate::args::Args;
use crate::buffer::{View, ViewMut};
use crate::element::Element;
use crate::element::with_element;
use crate::error::Error;
use crate::fp8::{e4m3, e5m2};
use crate::operand::Operand;

/// Elements as the interpreter's memory holds them: floats in their own format, integers sign-extended.
trait Bits: Element {
    fn into_bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

macro_rules! float_bits {
    ($($float:ty: $unsigned:ty;)*) => {
        $(impl Bits for $float {
            fn into_bits(self) -> u64 {
                u64::from(self.to_bits())
            }

            fn from_bits(bits: u64) -> Self {
                <$float>::from_bits(bits as $unsigned)
            }
        })*
    };
}

macro_rules! integer_bits {
    ($($integer:ty)*) => {
        $(impl Bits for $integer {
            fn into_bits(self) -> u64 {
                i64::from(self) as u64
            }

            fn from_bits(bits: u64) -> Self {
                bits as $integer
            }
        })*
    };
}

float_bits! {
    e4m3: u8;
    e5m2: u8;
    bf16: u16;
    f16: u16;
    f32: u32;
}
integer_bits! { i32 i64 }

/// Copies of what a launch works on. The arguments are those that the problem of `contraction` asks for.
pub(super) fn load(contraction: &Contraction, args: &Args<'_>) -> Result<Memory, Error> {
    let c = contraction;
    let (a, b) = if c.operands_exchanged { (&args.rhs, &args.lhs) } else { (&args.lhs, &args.rhs) };
    let scales = |operand: usize, given: &Operand<'_>| {
        let count = c.scales.map_or(0, |shapes| shapes[operand].elements());
        let bits = given.scales.as_ref().map_or(Ok(Vec::new()), |view| copy(view, count))?;
        Ok::<_, Error>(Buffer::from_bits(ElementKind::Float(Dtype::F32), bits))
    };
    let scales = [scales(0, a)?, scales(1, b)?];
    let (a, b) = (&a.elements, &b.elements);
    let tensor = |shape: &TensorShape, view: &View<'_>| {
        copy(view, shape.elements()).map(|bits| Buffer::from_bits(ElementKind::Float(shape.dtype), bits))
    };
    Ok(Memory {
        a: tensor(&c.a, a)?,
        b: tensor(&c.b, b)?,
        d: tensor(&c.d, &args.out.as_view())?,
        groups: Buffer::from_bits(ElementKind::Integer(c.group_index), copy(&args.groups, c.groups)?),
        scales,
        others: Vec::new(),
    })
}

/// The first `len` elements.
fn copy(view: &View<'_>, len: usize) -> Result<Vec<u64>, Error> {
    let mut bits = Vec::new();
    let bytes = len.saturating_mul(size_of::<u64>());
    let refused = |_| Error::OutOfMemory { device: view.device().to_string(), bytes };
    bits.try_reserve_exact(len).map_err(refused)?;
    with_element!(view.element_type(), T => {
        bits.extend(view.as_slice::<T>().unwrap_or_default().iter().take(len).map(|element| element.into_bits()));
    });
    Ok(bits)
}

/// What a launch that copies an operand works on: the operand, and its copy of NaN.
pub(super) fn of_copy(task: &RealignTask, memory: &Memory) -> Memory {
    let source = if task.which() == Which::A { &memory.a } else { &memory.b };
    let elements = task.copy_bytes() / task.copy().dtype.size_bytes() as usize;
    let copy = Buffer::poisoned(ElementKind::Float(task.copy().dtype), elements);
    let others = vec![(launch::Operand::Source, source.clone()), (launch::Operand::Elements(0), copy)];
    Memory::of(others, memory.groups.clone())
}

/// The copy that it left, as a product's operand.
pub(super) fn copied(pass: Memory) -> Buffer {
    let copy = pass.others.into_iter().find(|(operand, _)| *operand == launch::Operand::Elements(0));
    copy.map_or_else(|| Buffer::from_bits(ElementKind::Float(Dtype::F32), Vec::new()), |(_, copy)| copy)
}

/// Copies back the elements that the kernel wrote, and no other.
pub(super) fn store(d: &Buffer, out: ViewMut<'_>) {
    with_element!(out.element_type(), T => {
        let elements = out.into_mut_slice::<T>().unwrap_or_default();
        for (index, (element, bits)) in elements.iter_mut().zip(d.bits()).enumerate() {
            if d.was_written(index) {
                *element = <T as Bits>::from_bits(*bits);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_survives_the_way_there_and_back() {
        fn same<T: Bits>(value: T) {
            let back = <T as Bits>::from_bits(value.into_bits());
            assert_eq!(bytemuck::bytes_of(&back), bytemuck::bytes_of(&value));
        }
        same(bf16::from_bits(0xffc1));
        same(f16::from_bits(0x7e03));
        same(f32::from_bits(0xffc0_0001));
        same(-5_i32);
        same(i64::MIN);
        assert_eq!((-5_i32).into_bits(), (-5_i64) as u64);
    }

    #[test]
    fn what_was_not_written_stays() {
        let buffer = Buffer::from_bits(ElementKind::Integer(ggemm_codegen::IndexType::I32), vec![1, 2, 3]);
        let mut out = [7_i32; 4];
        store(&buffer, (&mut out).into());
        assert_eq!(out, [7; 4]);
    }
}
