//! Tensors on a device between guards, and whether the guards and the operands are as they were.

use std::ops::Range;

use crate::args::Args;
use crate::buffer::{Buffer, View, ViewMut};
use crate::device::Device;
use crate::element::{Element, ElementType, with_element};
use crate::error::Error;
use crate::operand::Operand;
use crate::random::Tensors;

/// Elements before and behind every tensor: a store that misses by a tile's row lands in them, and what lies between
/// them starts as aligned as the allocation does, unless it is to start somewhere else.
const GUARD: usize = 4096;

/// A copy of a tensor on a device, in the middle of a larger buffer.
pub(super) struct Guarded {
    name: &'static str,
    /// The whole buffer as it was, in the host's memory.
    before: Buffer,
    on_device: Buffer,
    /// Elements before the tensor's first.
    first: usize,
}

impl Guarded {
    /// Copies `tensor`, which lies in the host's memory. Floats are guarded by NaN, integers by what leads outside when
    /// it is read as a size or an end.
    pub(super) fn new(name: &'static str, device: &Device, tensor: &Buffer) -> Result<Self, Error> {
        Guarded::at(0, name, device, tensor)
    }

    /// The same so many elements further on.
    pub(super) fn at(offset: usize, name: &'static str, device: &Device, tensor: &Buffer) -> Result<Self, Error> {
        let (ty, first) = (tensor.element_type(), GUARD + offset);
        let before = with_element!(ty, T => surrounded::<T>(tensor, ty, first))?;
        Ok(Guarded { name, on_device: before.to_device(device)?, before, first })
    }

    fn inside(&self) -> Range<usize> {
        self.first..self.before.len() - GUARD
    }

    /// The tensor, to be read.
    pub(super) fn view(&self) -> Result<View<'_>, Error> {
        self.on_device.view().range(self.inside())
    }

    /// The tensor, to be written.
    pub(super) fn view_mut(&mut self) -> Result<ViewMut<'_>, Error> {
        let inside = self.inside();
        self.on_device.view_mut().range(inside)
    }

    /// The tensor after a run, in the host's memory; waits for the device.
    ///
    /// # Errors
    /// In the inner result the first element of a guard that was written, counted from the tensor's first.
    pub(super) fn read(&self) -> Result<Result<Buffer, Overwritten>, Error> {
        let after = self.on_device.to_device(&Device::cpu())?;
        let Range { start, end } = self.inside();
        for part in [0..start, end..self.before.len()] {
            if let Some(index) = first_difference(&self.before, &after, part)? {
                return Ok(Err(self.overwritten(index)));
            }
        }
        with_element!(after.element_type(), T => {
            let elements = after.as_slice::<T>().unwrap_or_default();
            Buffer::from_slice(&Device::cpu(), elements.get(start..end).unwrap_or_default()).map(Ok)
        })
    }

    /// The first element, of the tensor or its guards, that is not what it was.
    pub(super) fn changed(&self) -> Result<Option<Overwritten>, Error> {
        let after = self.on_device.to_device(&Device::cpu())?;
        Ok(first_difference(&self.before, &after, 0..self.before.len())?.map(|index| self.overwritten(index)))
    }

    fn overwritten(&self, index: usize) -> Overwritten {
        let inside = self.inside();
        Overwritten { tensor: self.name, element: index as i64 - inside.start as i64, elements: inside.len() }
    }
}

/// An element that nothing may write, and something did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwritten {
    /// The tensor in which, or beside which, it lies.
    pub tensor: &'static str,
    /// Counted from the tensor's first; negative before it.
    pub element: i64,
    /// Elements of the tensor: those past it are a guard's.
    pub elements: usize,
}

fn surrounded<T: Element>(tensor: &Buffer, ty: ElementType, before: usize) -> Result<Buffer, Error> {
    let guard = |elements| vec![guard_element::<T>(ty); elements];
    let elements = tensor.to_vec::<T>()?;
    Buffer::from_slice(&Device::cpu(), &[guard(before), elements, guard(GUARD)].concat())
}

/// NaN, or an integer far outside.
fn guard_element<T: Element>(ty: ElementType) -> T {
    let bits: u64 = match ty {
        ElementType::E4m3 | ElementType::E5m2 => 0x7f,
        ElementType::Bf16 => 0x7fff,
        ElementType::F16 => 0x7fff,
        ElementType::F32 => 0x7fff_ffff,
        ElementType::I32 => 0x7fff_fff0,
        ElementType::I64 => 0x7fff_ffff_ffff_fff0,
    };
    let bytes = bits.to_le_bytes();
    bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()])
}

/// The operands of a case on a device.
pub(super) struct Operands {
    read: [Guarded; 3],
    scales: Option<[Guarded; 2]>,
}

impl Operands {
    /// Copies them to `device`, the elements of either so many after where they are aligned.
    pub(super) fn new(device: &Device, tensors: &Tensors, offsets: [usize; 2]) -> Result<Self, Error> {
        let [lhs, rhs, _] = tensors.operation.tensor_names();
        let scales = match &tensors.scales {
            None => None,
            Some([of_lhs, of_rhs]) => Some([
                Guarded::new("the first operand's scales", device, of_lhs)?,
                Guarded::new("the second operand's scales", device, of_rhs)?,
            ]),
        };
        let read = [
            Guarded::at(offsets[0], lhs, device, &tensors.lhs)?,
            Guarded::at(offsets[1], rhs, device, &tensors.rhs)?,
            Guarded::new("groups", device, &tensors.groups)?,
        ];
        Ok(Operands { read, scales })
    }

    /// The arguments of a run.
    pub(super) fn args<'a>(&'a self, tensors: &Tensors, out: &'a mut Guarded) -> Result<Args<'a>, Error> {
        let [lhs, rhs, groups] = &self.read;
        let operands = match &self.scales {
            None => [lhs.view()?.into(), rhs.view()?.into()],
            Some([of_lhs, of_rhs]) => {
                [Operand::scaled(lhs.view()?, of_lhs.view()?), Operand::scaled(rhs.view()?, of_rhs.view()?)]
            }
        };
        let [lhs, rhs] = operands;
        Ok(Args::new(tensors.operation, lhs, rhs, groups.view()?, out.view_mut()?))
    }

    /// The first element of an operand, or of a guard beside one, that is not what it was.
    pub(super) fn changed(&self) -> Result<Option<Overwritten>, Error> {
        for operand in self.read.iter().chain(self.scales.iter().flatten()) {
            if let Some(overwritten) = operand.changed()? {
                return Ok(Some(overwritten));
            }
        }
        Ok(None)
    }
}

/// The first element of a range, in the host's memory, whose bits differ.
pub(super) fn first_difference(a: &Buffer, b: &Buffer, range: Range<usize>) -> Result<Option<usize>, Error> {
    with_element!(a.element_type(), T => {
        let (a, b) = (a.as_slice::<T>().unwrap_or_default(), b.as_slice::<T>().unwrap_or_default());
        let bytes = |elements: &'_ [T]| -> Vec<u8> {
            bytemuck::cast_slice(elements.get(range.clone()).unwrap_or_default()).to_vec()
        };
        let (a, b) = (bytes(a), bytes(b));
        let place = a.iter().zip(&b).position(|(a, b)| a != b);
        Ok(place.map(|byte| range.start + byte / size_of::<T>()))
    })
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn bits_decide_not_values() {
        let of = |elements: &[f32]| Buffer::from_slice(&Device::cpu(), elements).unwrap();
        let difference = |a: &[f32], b: &[f32]| first_difference(&of(a), &of(b), 0..a.len()).unwrap();
        assert_eq!(difference(&[1.0, f32::NAN], &[1.0, f32::NAN]), None);
        assert_eq!(difference(&[1.0, 0.0, 2.0], &[1.0, -0.0, 3.0]), Some(1));
    }

    #[test]
    fn guards_are_poison() {
        assert!(guard_element::<bf16>(ElementType::Bf16).is_nan() && guard_element::<f16>(ElementType::F16).is_nan());
        assert!(guard_element::<f32>(ElementType::F32).is_nan());
        assert!(guard_element::<i32>(ElementType::I32) > i32::MAX - 16);
        assert!(guard_element::<i64>(ElementType::I64) > i64::MAX - 16);
    }

    #[test]
    fn a_write_beside_a_tensor_is_noticed_on_either_side() {
        let tensor = Buffer::from_slice(&Device::cpu(), &[1.0_f32, 2.0]).unwrap();
        for (index, expected) in [(GUARD - 1, Some(-1)), (GUARD, None), (GUARD + 1, None), (GUARD + 2, Some(2))] {
            let mut guarded = Guarded::new("y", &Device::cpu(), &tensor).unwrap();
            assert_eq!(guarded.changed().unwrap(), None);
            guarded.on_device.as_mut_slice::<f32>().unwrap()[index] = 7.0;
            let element = expected.unwrap_or(index as i64 - GUARD as i64);
            assert_eq!(guarded.changed().unwrap(), Some(Overwritten { tensor: "y", element, elements: 2 }));
            match guarded.read().unwrap() {
                Ok(read) => assert!(expected.is_none() && read.as_slice::<f32>().unwrap().contains(&7.0)),
                Err(overwritten) => assert_eq!(Some(overwritten.element), expected),
            }
        }
    }
}
