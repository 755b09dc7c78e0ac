//! Buffers of any element type: their bytes, and copies of them on another device.

use crate::buffer::Buffer;
use crate::device::Device;
use crate::element::with_element;
use crate::error::Error;

impl Buffer {
    /// A copy of the buffer on `device`, whatever its elements are: by way of the host where that is another device.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and what the device reports.
    pub fn to_device(&self, device: &Device) -> Result<Buffer, Error> {
        if self.device() == device {
            return self.try_clone();
        }
        with_element!(self.element_type(), T => match self.as_slice::<T>() {
            Some(elements) => Buffer::from_slice(device, elements),
            None => Buffer::from_slice(device, &self.to_vec::<T>()?),
        })
    }

    /// The bytes of all elements, where they lie in the host's memory.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        with_element!(self.element_type(), T => self.as_slice::<T>().map(bytemuck::cast_slice))
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::element::Element;

    #[test]
    fn copies_hold_the_same_bytes() {
        fn same<T: Element>(elements: &[T]) {
            let buffer = Buffer::from_slice(&Device::cpu(), elements).unwrap();
            assert_eq!(buffer.to_device(&Device::cpu()).unwrap().as_bytes(), Some(bytemuck::cast_slice(elements)));
        }
        same(&[bf16::NAN, bf16::ONE]);
        same(&[f16::MAX]);
        same(&[-0.0_f32]);
        same(&[-5_i32, 7]);
        same(&[i64::MIN]);
    }
}
