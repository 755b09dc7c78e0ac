//! Memory that a product reads and writes: owned ([`Buffer`]) or the caller's own ([`View`], [`ViewMut`]).

use std::ops::Range;
#[cfg(feature = "cuda")]
use std::sync::Arc;

#[cfg(feature = "cuda")]
use crate::cuda::{DeviceMemory, DeviceSlice};
use crate::device::{Device, DeviceKind};
use crate::element::{Element, ElementType};
use crate::error::Error;
use crate::host::{HostSlice, HostSliceMut, HostVec};

/// Owned memory on a device: `len` elements of one type.
///
/// On a GPU whatever is asked of a buffer comes behind what was asked before, whichever stream or thread did it.
///
/// ```
/// use ggemm_runtime::{Buffer, Device};
/// let device = Device::cpu();
/// let mut sizes = Buffer::from_slice(&device, &[3_i32, 0, 5])?;
/// sizes.copy_from_slice(&[4, 4, 0])?;
/// assert_eq!(sizes.to_vec::<i32>()?, [4, 4, 0]);
/// # Ok::<(), ggemm_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Buffer {
    device: Device,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Host(HostVec),
    #[cfg(feature = "cuda")]
    Gpu {
        memory: Arc<DeviceMemory>,
        ty: ElementType,
        len: usize,
    },
}

impl Buffer {
    /// Memory on `device` that holds a copy of `elements`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and where the driver fails [`Error::Cuda`].
    pub fn from_slice<T: Element>(device: &Device, elements: &[T]) -> Result<Self, Error> {
        let mut buffer = Self::uninitialized(device, T::TYPE, elements.len())?;
        buffer.copy_from_slice(elements)?;
        Ok(buffer)
    }

    /// Memory on `device` that holds `len` zeros.
    ///
    /// # Errors
    /// As [`Buffer::from_slice`].
    pub fn zeros(device: &Device, ty: ElementType, len: usize) -> Result<Self, Error> {
        let storage = match device.kind() {
            DeviceKind::Cpu => Storage::Host(host_zeros(device, ty, len)?),
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda(_) => {
                let bytes = len.saturating_mul(ty.size_bytes());
                Storage::Gpu { memory: DeviceMemory::zeros(device.gpu()?, bytes)?, ty, len }
            }
            #[cfg(not(feature = "cuda"))]
            DeviceKind::Cuda(_) => return Err(Error::NoBackend { device: device.to_string() }),
        };
        Ok(Buffer { device: device.clone(), storage })
    }

    /// Memory whose elements are about to be written; on a GPU they are anything until then.
    fn uninitialized(device: &Device, ty: ElementType, len: usize) -> Result<Self, Error> {
        match device.kind() {
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda(_) => {
                let memory = DeviceMemory::new(device.gpu()?, len.saturating_mul(ty.size_bytes()))?;
                Ok(Buffer { device: device.clone(), storage: Storage::Gpu { memory, ty, len } })
            }
            _ => Self::zeros(device, ty, len),
        }
    }

    /// A copy on the same device.
    ///
    /// # Errors
    /// As [`Buffer::from_slice`].
    pub fn try_clone(&self) -> Result<Self, Error> {
        let storage = match &self.storage {
            Storage::Host(elements) => {
                let mut copy = host_zeros(&self.device, self.element_type(), self.len())?;
                copy.as_mut_slice().copy_from(&elements.as_slice());
                Storage::Host(copy)
            }
            #[cfg(feature = "cuda")]
            Storage::Gpu { memory, ty, len } => Storage::Gpu { memory: memory.duplicate()?, ty: *ty, len: *len },
        };
        Ok(Buffer { device: self.device.clone(), storage })
    }

    /// A copy of all elements. On a GPU it waits for what was asked of the buffer before.
    ///
    /// # Errors
    /// [`Error::ElementType`] where the buffer does not hold `T`. On a GPU [`Error::Cuda`]: among others a fault of a
    /// kernel that wrote it.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, Error> {
        self.view().to_vec()
    }

    /// Overwrites all elements. On a GPU it waits for what was asked of the buffer before.
    ///
    /// # Errors
    /// [`Error::ElementType`] where the buffer does not hold `T`, [`Error::CopyLength`] where the lengths differ; the
    /// buffer is then as it was. On a GPU [`Error::Cuda`].
    pub fn copy_from_slice<T: Element>(&mut self, elements: &[T]) -> Result<(), Error> {
        let (held, len) = (self.element_type(), self.len());
        if len != elements.len() {
            return Err(Error::CopyLength { held: len, given: elements.len() });
        }
        let other = Error::ElementType { held, asked: T::TYPE };
        match &mut self.storage {
            Storage::Host(own) => {
                T::of_mut(own.as_mut_slice()).ok_or(other)?.copy_from_slice(elements);
                Ok(())
            }
            #[cfg(feature = "cuda")]
            Storage::Gpu { memory, .. } if held == T::TYPE => memory.write(elements),
            #[cfg(feature = "cuda")]
            Storage::Gpu { .. } => Err(other),
        }
    }

    /// Zeroes all elements. A GPU is asked for it on the device's own stream, and this returns at once.
    ///
    /// # Errors
    /// On a GPU [`Error::Cuda`].
    pub fn set_zero(&mut self) -> Result<(), Error> {
        match &mut self.storage {
            Storage::Host(elements) => elements.as_mut_slice().set_zero(),
            #[cfg(feature = "cuda")]
            Storage::Gpu { memory, .. } => return memory.set_zero(),
        }
        Ok(())
    }

    /// The elements themselves, where they lie in the host's memory and are of type `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        match &self.storage {
            Storage::Host(elements) => T::of(&elements.as_slice()),
            #[cfg(feature = "cuda")]
            Storage::Gpu { .. } => None,
        }
    }

    /// The elements themselves, to be written, where they lie in the host's memory and are of type `T`.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        match &mut self.storage {
            Storage::Host(elements) => T::of_mut(elements.as_mut_slice()),
            #[cfg(feature = "cuda")]
            Storage::Gpu { .. } => None,
        }
    }

    /// Where the memory is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements' type.
    pub fn element_type(&self) -> ElementType {
        match &self.storage {
            Storage::Host(elements) => elements.as_slice().element_type(),
            #[cfg(feature = "cuda")]
            Storage::Gpu { ty, .. } => *ty,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.storage {
            Storage::Host(elements) => elements.as_slice().len(),
            #[cfg(feature = "cuda")]
            Storage::Gpu { len, .. } => *len,
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory, borrowed.
    pub fn view(&self) -> View<'_> {
        let memory = match &self.storage {
            Storage::Host(elements) => Memory::Host(elements.as_slice()),
            #[cfg(feature = "cuda")]
            Storage::Gpu { memory, ty, len } => Memory::Gpu(whole(memory, *ty, *len)),
        };
        View { device: self.device.clone(), memory }
    }

    /// The memory, mutably borrowed.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let memory = match &mut self.storage {
            Storage::Host(elements) => MemoryMut::Host(elements.as_mut_slice()),
            #[cfg(feature = "cuda")]
            Storage::Gpu { memory, ty, len } => MemoryMut::Gpu(whole(memory, *ty, *len)),
        };
        ViewMut { device: self.device.clone(), memory }
    }
}

fn host_zeros(device: &Device, ty: ElementType, len: usize) -> Result<HostVec, Error> {
    let bytes = len.saturating_mul(ty.size_bytes());
    HostVec::zeros(ty, len).ok_or_else(|| Error::OutOfMemory { device: device.to_string(), bytes })
}

#[cfg(feature = "cuda")]
fn whole(memory: &Arc<DeviceMemory>, ty: ElementType, len: usize) -> DeviceSlice<'_> {
    DeviceSlice { address: memory.address(), ty, len, owner: Some(memory) }
}

/// Borrowed memory to read: a [`Buffer`]'s, a slice of the caller's, which the CPU reads in place, or another
/// framework's memory of a GPU.
#[derive(Clone, Debug)]
pub struct View<'a> {
    device: Device,
    memory: Memory<'a>,
}

#[derive(Clone, Debug)]
enum Memory<'a> {
    Host(HostSlice<'a>),
    #[cfg(feature = "cuda")]
    Gpu(DeviceSlice<'a>),
}

impl<'a> View<'a> {
    /// Bytes in the host's memory that hold elements of type `ty`, such as a mapped file.
    ///
    /// # Errors
    /// [`Error::Bytes`] where they are no whole number of elements or do not start at a multiple of an element's size.
    pub fn from_bytes(ty: ElementType, bytes: &'a [u8]) -> Result<Self, Error> {
        let refused = Error::bytes(ty, bytes);
        HostSlice::from_bytes(ty, bytes).map(View::on_host).ok_or(refused)
    }

    /// `len` elements in a GPU's memory at `address`.
    ///
    /// # Errors
    /// [`Error::NotAGpu`] for the CPU, [`Error::Bytes`] for an address that is no multiple of an element's size.
    ///
    /// # Safety
    /// The elements are in memory that the GPU can read, and stay there until the work that reads them is done, which is
    /// after the call that asks for it has returned. What else uses them is ordered by the caller.
    #[cfg(feature = "cuda")]
    pub unsafe fn from_device(device: &Device, ty: ElementType, address: u64, len: usize) -> Result<Self, Error> {
        Ok(View { device: device.clone(), memory: Memory::Gpu(foreign(device, ty, address, len)?) })
    }

    fn on_host(slice: HostSlice<'a>) -> Self {
        View { device: Device::cpu(), memory: Memory::Host(slice) }
    }

    /// Some of the elements.
    ///
    /// # Errors
    /// [`Error::Range`] where there are none such.
    pub fn range(&self, elements: Range<usize>) -> Result<Self, Error> {
        let Range { start, end } = within(elements, self.len())?;
        let memory = match &self.memory {
            Memory::Host(slice) => Memory::Host(slice.range(start, end)),
            #[cfg(feature = "cuda")]
            Memory::Gpu(slice) => Memory::Gpu(slice.range(start, end)),
        };
        Ok(View { device: self.device.clone(), memory })
    }

    /// Where the memory is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements' type.
    pub fn element_type(&self) -> ElementType {
        match &self.memory {
            Memory::Host(slice) => slice.element_type(),
            #[cfg(feature = "cuda")]
            Memory::Gpu(slice) => slice.ty,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.memory {
            Memory::Host(slice) => slice.len(),
            #[cfg(feature = "cuda")]
            Memory::Gpu(slice) => slice.len,
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of the first element, on its device.
    pub fn address(&self) -> u64 {
        match &self.memory {
            Memory::Host(slice) => slice.bytes().as_ptr().addr() as u64,
            #[cfg(feature = "cuda")]
            Memory::Gpu(slice) => slice.address,
        }
    }

    /// The largest power of two, at most 256, of bytes that divides the address.
    pub fn alignment(&self) -> usize {
        1 << (self.address() | 256).trailing_zeros()
    }

    /// The elements themselves, where they lie in the host's memory and are of type `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
        match &self.memory {
            Memory::Host(slice) => T::of(slice),
            #[cfg(feature = "cuda")]
            Memory::Gpu(_) => None,
        }
    }

    /// A copy of the elements. On a GPU it waits for what was asked of a buffer before, or, of another framework's
    /// memory, for what was asked of the device's own stream.
    ///
    /// # Errors
    /// As [`Buffer::to_vec`].
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, Error> {
        let other = Error::ElementType { held: self.element_type(), asked: T::TYPE };
        match &self.memory {
            Memory::Host(slice) => T::of(slice).map(<[T]>::to_vec).ok_or(other),
            #[cfg(feature = "cuda")]
            Memory::Gpu(slice) if slice.ty == T::TYPE => slice.to_host(self.device.gpu()?.own_stream()?),
            #[cfg(feature = "cuda")]
            Memory::Gpu(_) => Err(other),
        }
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn device_slice(&self) -> Option<DeviceSlice<'a>> {
        match self.memory {
            Memory::Host(_) => None,
            Memory::Gpu(slice) => Some(slice),
        }
    }
}

/// Borrowed memory to write: a [`Buffer`]'s, a slice of the caller's, which the CPU writes in place, or another
/// framework's memory of a GPU.
#[derive(Debug)]
pub struct ViewMut<'a> {
    device: Device,
    memory: MemoryMut<'a>,
}

#[derive(Debug)]
enum MemoryMut<'a> {
    Host(HostSliceMut<'a>),
    #[cfg(feature = "cuda")]
    Gpu(DeviceSlice<'a>),
}

impl<'a> ViewMut<'a> {
    /// Bytes in the host's memory that are to hold elements of type `ty`.
    ///
    /// # Errors
    /// As [`View::from_bytes`].
    pub fn from_bytes(ty: ElementType, bytes: &'a mut [u8]) -> Result<Self, Error> {
        let refused = Error::bytes(ty, bytes);
        HostSliceMut::from_bytes(ty, bytes).map(ViewMut::on_host).ok_or(refused)
    }

    /// `len` elements in a GPU's memory at `address`, to be written.
    ///
    /// # Errors
    /// As [`View::from_device`].
    ///
    /// # Safety
    /// As [`View::from_device`], of memory that the GPU can write and that nothing else uses meanwhile.
    #[cfg(feature = "cuda")]
    pub unsafe fn from_device(device: &Device, ty: ElementType, address: u64, len: usize) -> Result<Self, Error> {
        Ok(ViewMut { device: device.clone(), memory: MemoryMut::Gpu(foreign(device, ty, address, len)?) })
    }

    fn on_host(slice: HostSliceMut<'a>) -> Self {
        ViewMut { device: Device::cpu(), memory: MemoryMut::Host(slice) }
    }

    /// Some of the elements.
    ///
    /// # Errors
    /// [`Error::Range`] where there are none such.
    pub fn range(self, elements: Range<usize>) -> Result<Self, Error> {
        let Range { start, end } = within(elements, self.len())?;
        let memory = match self.memory {
            MemoryMut::Host(slice) => MemoryMut::Host(slice.range(start, end)),
            #[cfg(feature = "cuda")]
            MemoryMut::Gpu(slice) => MemoryMut::Gpu(slice.range(start, end)),
        };
        Ok(ViewMut { device: self.device, memory })
    }

    /// The same memory, to be read.
    pub fn as_view(&self) -> View<'_> {
        let memory = match &self.memory {
            MemoryMut::Host(slice) => Memory::Host(slice.as_slice()),
            #[cfg(feature = "cuda")]
            MemoryMut::Gpu(slice) => Memory::Gpu(*slice),
        };
        View { device: self.device.clone(), memory }
    }

    /// Where the memory is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements' type.
    pub fn element_type(&self) -> ElementType {
        self.as_view().element_type()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.as_view().len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of the first element, on its device.
    pub fn address(&self) -> u64 {
        self.as_view().address()
    }

    /// The largest power of two, at most 256, of bytes that divides the address.
    pub fn alignment(&self) -> usize {
        self.as_view().alignment()
    }

    /// The elements themselves, where they lie in the host's memory and are of type `T`.
    pub fn into_mut_slice<T: Element>(self) -> Option<&'a mut [T]> {
        match self.memory {
            MemoryMut::Host(slice) => T::of_mut(slice),
            #[cfg(feature = "cuda")]
            MemoryMut::Gpu(_) => None,
        }
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn device_slice(&self) -> Option<DeviceSlice<'a>> {
        match self.memory {
            MemoryMut::Host(_) => None,
            MemoryMut::Gpu(slice) => Some(slice),
        }
    }
}

fn within(elements: Range<usize>, len: usize) -> Result<Range<usize>, Error> {
    let Range { start, end } = elements;
    if start <= end && end <= len { Ok(start..end) } else { Err(Error::Range { start, end, len }) }
}

/// Memory of a GPU that is not ggemm's.
#[cfg(feature = "cuda")]
fn foreign<'a>(device: &Device, ty: ElementType, address: u64, len: usize) -> Result<DeviceSlice<'a>, Error> {
    if device.kind() == DeviceKind::Cpu {
        return Err(Error::NotAGpu { device: device.to_string() });
    }
    let size = ty.size_bytes();
    let offset = (address % size as u64) as usize;
    if offset != 0 {
        return Err(Error::Bytes { ty, bytes: len.saturating_mul(size), offset, size });
    }
    Ok(DeviceSlice { address, ty, len, owner: None })
}

impl<'a, T: Element> From<&'a [T]> for View<'a> {
    fn from(elements: &'a [T]) -> Self {
        View::on_host(T::share(elements))
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
        ViewMut::on_host(T::lend(elements))
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
