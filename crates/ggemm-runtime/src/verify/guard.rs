//! Tensors on a device with guards behind them, and whether the guards and the operands are as they were.

use crate::args::Args;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::element::Element;
use crate::error::Error;
use crate::random::Tensors;
use crate::real::Real;
use crate::transfer::with_element;

/// Elements of NaN behind every matrix: more than any tile's row, so that a store past the end lands in them.
const GUARD: usize = 4096;

/// A matrix in the host's memory, with a guard behind it.
pub(super) fn guarded<T: Real>(buffer: &Buffer) -> Result<Buffer, Error> {
    let mut elements = buffer.to_vec::<T>()?;
    elements.resize(elements.len().saturating_add(GUARD), T::from_f32(f32::NAN));
    Buffer::from_slice(&Device::cpu(), &elements)
}

/// The operands of a case on a device. The array of groups has none but its own elements: a plan takes no other.
pub(super) struct Operands {
    host: [Buffer; 3],
    device: [Buffer; 3],
}

/// What the operands are called in messages.
const NAMES: [&str; 3] = ["the first operand", "the second operand", "the groups"];

impl Operands {
    /// Copies them to `device`.
    pub(super) fn new(device: &Device, tensors: &Tensors) -> Result<Self, Error> {
        let host = [tensors.lhs.clone(), tensors.rhs.clone(), tensors.groups.clone()];
        let [lhs, rhs, groups] = &host;
        let device = [lhs.copy_to(device)?, rhs.copy_to(device)?, groups.copy_to(device)?];
        Ok(Operands { host, device })
    }

    /// The arguments of a run.
    pub(super) fn args<'a>(&'a self, tensors: &Tensors, out: &'a mut Buffer) -> Args<'a> {
        let [lhs, rhs, groups] = &self.device;
        Args::new(tensors.operation, lhs, rhs, groups, out)
    }

    /// The first operand that is not what it was, with the index of the first such element.
    pub(super) fn changed(&self) -> Result<Option<(&'static str, usize)>, Error> {
        for ((name, before), after) in NAMES.into_iter().zip(&self.host).zip(&self.device) {
            if let Some(index) = first_difference(before, &to_host(after)?)? {
                return Ok(Some((name, index)));
            }
        }
        Ok(None)
    }
}

/// The buffer in the host's memory; waits for the device.
pub(super) fn to_host(buffer: &Buffer) -> Result<Buffer, Error> {
    buffer.copy_to(&Device::cpu())
}

/// The first element whose bits differ.
pub(super) fn first_difference(a: &Buffer, b: &Buffer) -> Result<Option<usize>, Error> {
    if let (Some(a), Some(b)) = (a.as_bytes(), b.as_bytes())
        && a == b
    {
        return Ok(None);
    }
    with_element!(a.element_type(), T => differing::<T>(a, b))
}

fn differing<T: Element>(a: &Buffer, b: &Buffer) -> Result<Option<usize>, Error> {
    let (a, b) = (a.to_vec::<T>()?, b.to_vec::<T>()?);
    let same = |(a, b): (&T, &T)| bytemuck::bytes_of(a) == bytemuck::bytes_of(b);
    Ok(a.iter().zip(&b).position(|pair| !same(pair)))
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn bits_decide_not_values() {
        let of = |elements: &[f32]| Buffer::from_slice(&Device::cpu(), elements).unwrap();
        let difference = |a: &[f32], b: &[f32]| first_difference(&of(a), &of(b)).unwrap();
        assert_eq!(difference(&[1.0, f32::NAN], &[1.0, f32::NAN]), None);
        assert_eq!(difference(&[1.0, 0.0, 2.0], &[1.0, -0.0, 3.0]), Some(1));
    }

    #[test]
    fn a_guard_is_nan() {
        let buffer = Buffer::from_slice(&Device::cpu(), &[bf16::ONE]).unwrap();
        let elements = guarded::<bf16>(&buffer).unwrap().to_vec::<bf16>().unwrap();
        assert_eq!((elements.len(), elements[0]), (1 + GUARD, bf16::ONE));
        assert!(elements[1..].iter().all(|v| v.is_nan()));
    }
}
