//! Memory that a product reads and writes: owned ([`Buffer`]) or the caller's own ([`View`], [`ViewMut`]).

use std::ops::Range;

use crate::device::Device;
use crate::element::{Element, ElementType};
use crate::error::Error;
use crate::host::{HostSlice, HostSliceMut, HostVec};

/// Owned memory on a device: `len` elements of one type.
///
/// ```
/// use ggemm_runtime::{Buffer, Device};
/// let device = Device::cpu();
/// let mut sizes = Buffer::from_slice(&device, &[3_i32, 0, 5])?;
/// sizes.copy_from_slice(&[4, 4, 0])?;
/// assert_eq!(sizes.to_vec::<i32>()?, [4, 4, 0]);
/// # Ok::<(), ggemm_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Buffer {
    device: Device,
    storage: HostVec,
}

impl Buffer {
    /// Memory on `device` that holds a copy of `elements`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and [`Error::NoBackend`] for a device that this build cannot reach.
    pub fn from_slice<T: Element>(device: &Device, elements: &[T]) -> Result<Self, Error> {
        let mut buffer = Self::zeros(device, T::TYPE, elements.len())?;
        buffer.copy_from_slice(elements)?;
        Ok(buffer)
    }

    /// Memory on `device` that holds `len` zeros.
    ///
    /// # Errors
    /// As [`Buffer::from_slice`].
    pub fn zeros(device: &Device, ty: ElementType, len: usize) -> Result<Self, Error> {
        crate::check::reachable(device)?;
        let storage = HostVec::zeros(ty, len).ok_or_else(|| {
            let bytes = len.saturating_mul(ty.size_bytes());
            Error::OutOfMemory { device: device.to_string(), bytes }
        })?;
        Ok(Buffer { device: device.clone(), storage })
    }

    /// A copy of all elements.
    ///
    /// # Errors
    /// [`Error::ElementType`] where the buffer does not hold `T`.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, Error> {
        match T::of(&self.storage.as_slice()) {
            Some(elements) => Ok(elements.to_vec()),
            None => Err(Error::ElementType { held: self.element_type(), asked: T::TYPE }),
        }
    }

    /// Overwrites all elements.
    ///
    /// # Errors
    /// [`Error::ElementType`] where the buffer does not hold `T`, [`Error::CopyLength`] where the lengths differ; the
    /// buffer is then as it was.
    pub fn copy_from_slice<T: Element>(&mut self, elements: &[T]) -> Result<(), Error> {
        let (held, len) = (self.element_type(), self.len());
        if len != elements.len() {
            return Err(Error::CopyLength { held: len, given: elements.len() });
        }
        let Some(own) = T::of_mut(self.storage.as_mut_slice()) else {
            return Err(Error::ElementType { held, asked: T::TYPE });
        };
        own.copy_from_slice(elements);
        Ok(())
    }

    /// The elements themselves, where they lie in the host's memory and are of type `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::of(&self.storage.as_slice())
    }

    /// The elements themselves, to be written, where they lie in the host's memory and are of type `T`.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        T::of_mut(self.storage.as_mut_slice())
    }

    /// Where the memory is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements' type.
    pub fn element_type(&self) -> ElementType {
        self.storage.as_slice().element_type()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.storage.as_slice().len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory, borrowed.
    pub fn view(&self) -> View<'_> {
        View { device: self.device.clone(), memory: self.storage.as_slice() }
    }

    /// The memory, mutably borrowed.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut { device: self.device.clone(), memory: self.storage.as_mut_slice() }
    }
}

/// Borrowed memory to read: a [`Buffer`]'s, or a slice of the caller's, which the CPU reads in place.
#[derive(Clone, Debug)]
pub struct View<'a> {
    device: Device,
    memory: HostSlice<'a>,
}

impl<'a> View<'a> {
    /// Bytes in the host's memory that hold elements of type `ty`, such as a mapped file.
    ///
    /// # Errors
    /// [`Error::Bytes`] where they are no whole number of elements or do not start at a multiple of an element's size.
    pub fn from_bytes(ty: ElementType, bytes: &'a [u8]) -> Result<Self, Error> {
        let refused = Error::bytes(ty, bytes);
        HostSlice::from_bytes(ty, bytes).map(|memory| View { device: Device::cpu(), memory }).ok_or(refused)
    }

    /// Some of the elements.
    ///
    /// # Errors
    /// [`Error::Range`] where there are none such.
    pub fn range(&self, elements: Range<usize>) -> Result<Self, Error> {
        let Range { start, end } = within(elements, self.len())?;
        Ok(View { device: self.device.clone(), memory: self.memory.range(start, end) })
    }

    /// Where the memory is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements' type.
    pub fn element_type(&self) -> ElementType {
        self.memory.element_type()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest power of two, at most 256, of bytes that divides the address.
    pub fn alignment(&self) -> usize {
        alignment(self.memory.bytes())
    }

    /// The elements themselves, where they lie in the host's memory and are of type `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
        T::of(&self.memory)
    }
}

/// Borrowed memory to write: a [`Buffer`]'s, or a slice of the caller's, which the CPU writes in place.
#[derive(Debug)]
pub struct ViewMut<'a> {
    device: Device,
    memory: HostSliceMut<'a>,
}

impl<'a> ViewMut<'a> {
    /// Bytes in the host's memory that are to hold elements of type `ty`.
    ///
    /// # Errors
    /// As [`View::from_bytes`].
    pub fn from_bytes(ty: ElementType, bytes: &'a mut [u8]) -> Result<Self, Error> {
        let refused = Error::bytes(ty, bytes);
        HostSliceMut::from_bytes(ty, bytes).map(|memory| ViewMut { device: Device::cpu(), memory }).ok_or(refused)
    }

    /// Some of the elements.
    ///
    /// # Errors
    /// [`Error::Range`] where there are none such.
    pub fn range(self, elements: Range<usize>) -> Result<Self, Error> {
        let Range { start, end } = within(elements, self.len())?;
        Ok(ViewMut { device: self.device, memory: self.memory.range(start, end) })
    }

    /// The same memory, to be read.
    pub fn as_view(&self) -> View<'_> {
        View { device: self.device.clone(), memory: self.memory.as_slice() }
    }

    /// Where the memory is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements' type.
    pub fn element_type(&self) -> ElementType {
        self.memory.as_slice().element_type()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.memory.as_slice().len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest power of two, at most 256, of bytes that divides the address.
    pub fn alignment(&self) -> usize {
        alignment(self.memory.as_slice().bytes())
    }

    /// The elements themselves, where they lie in the host's memory and are of type `T`.
    pub fn into_mut_slice<T: Element>(self) -> Option<&'a mut [T]> {
        T::of_mut(self.memory)
    }
}

fn within(elements: Range<usize>, len: usize) -> Result<Range<usize>, Error> {
    let Range { start, end } = elements;
    if start <= end && end <= len { Ok(elements) } else { Err(Error::Range { start, end, len }) }
}

fn alignment(bytes: &[u8]) -> usize {
    1 << (bytes.as_ptr().addr() | 256).trailing_zeros()
}

impl<'a, T: Element> From<&'a [T]> for View<'a> {
    fn from(elements: &'a [T]) -> Self {
        View { device: Device::cpu(), memory: T::share(elements) }
    }
}

impl<'a, T: Element, const N: usize> From<&'a [T; N]> for View<'a> {
    fn from(elements: &'a [T; N]) -> Self {
        elements.as_slice().into()
    }
}

impl<'a, T: Element> From<&'a Vec<T>> for View<'a> {
    fn from(elements: &'a Vec<T>) -> Self {
        elements.as_slice().into()
    }
}

impl<'a> From<&'a Buffer> for View<'a> {
    fn from(buffer: &'a Buffer) -> Self {
        buffer.view()
    }
}

impl<'a, T: Element> From<&'a mut [T]> for ViewMut<'a> {
    fn from(elements: &'a mut [T]) -> Self {
        ViewMut { device: Device::cpu(), memory: T::lend(elements) }
    }
}

impl<'a, T: Element, const N: usize> From<&'a mut [T; N]> for ViewMut<'a> {
    fn from(elements: &'a mut [T; N]) -> Self {
        elements.as_mut_slice().into()
    }
}

impl<'a, T: Element> From<&'a mut Vec<T>> for ViewMut<'a> {
    fn from(elements: &'a mut Vec<T>) -> Self {
        elements.as_mut_slice().into()
    }
}

impl<'a> From<&'a mut Buffer> for ViewMut<'a> {
    fn from(buffer: &'a mut Buffer) -> Self {
        buffer.view_mut()
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn alignment_is_that_of_the_address() {
        let words = [0_u64; 64];
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let start = bytes.as_ptr().addr().next_multiple_of(256) - bytes.as_ptr().addr();
        for offset in [0_usize, 2, 4, 6, 8, 16, 48, 64] {
            let expected = if offset == 0 { 256 } else { 1 << offset.trailing_zeros() };
            let view = View::from_bytes(ElementType::Bf16, &bytes[start + offset..start + 128]).unwrap();
            assert_eq!((view.alignment(), view.len()), (expected, (128 - offset) / 2), "offset {offset}");
        }
    }

    #[test]
    fn bytes_and_elements_are_the_same_memory() {
        let mut values = [1.0_f32, 2.0];
        let view = ViewMut::from_bytes(ElementType::F32, bytemuck::cast_slice_mut(&mut values)).unwrap();
        view.into_mut_slice::<f32>().unwrap()[1] = 3.0;
        assert_eq!(values, [1.0, 3.0]);
        assert!(View::from_bytes(ElementType::I64, &bytemuck::cast_slice::<f32, u8>(&values)[1..]).is_err());
        assert!(View::from(&values).as_slice::<bf16>().is_none());
    }

    #[test]
    fn a_buffer_keeps_its_type() {
        let mut buffer = Buffer::zeros(&Device::cpu(), ElementType::Bf16, 3).unwrap();
        assert_eq!((buffer.len(), buffer.element_type()), (3, ElementType::Bf16));
        buffer.as_mut_slice::<bf16>().unwrap()[0] = bf16::ONE;
        assert!(buffer.as_mut_slice::<f32>().is_none() && !buffer.is_empty());
        assert_eq!(buffer.to_vec::<bf16>(), Ok(vec![bf16::ONE, bf16::ZERO, bf16::ZERO]));
    }
}
