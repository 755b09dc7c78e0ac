//! Between the host's memory, where values are made and compared, and the device that computes.

use std::borrow::Cow;

use ggemm_runtime::{Buffer, Device, DeviceKind, Element, ElementType, Error, bf16, f16};

/// The buffer on `device`: itself where it lies there, else a copy.
pub(super) fn to_device<'a>(device: &Device, host: &'a Buffer) -> Result<Cow<'a, Buffer>, Error> {
    if host.device() == device { Ok(Cow::Borrowed(host)) } else { copy(device, host).map(Cow::Owned) }
}

/// A copy of the buffer on `device`.
pub(super) fn copy(device: &Device, buffer: &Buffer) -> Result<Buffer, Error> {
    if buffer.device() == device {
        return Ok(buffer.clone());
    }
    match buffer.element_type() {
        ElementType::F16 => copy_elements::<f16>(device, buffer),
        ElementType::F32 => copy_elements::<f32>(device, buffer),
        ElementType::I32 => copy_elements::<i32>(device, buffer),
        ElementType::I64 => copy_elements::<i64>(device, buffer),
        // A type that this version does not know is refused by the buffer itself.
        _ => copy_elements::<bf16>(device, buffer),
    }
}

fn copy_elements<T: Element>(device: &Device, buffer: &Buffer) -> Result<Buffer, Error> {
    match buffer.as_slice::<T>() {
        Some(elements) => Buffer::from_slice(device, elements),
        None => Buffer::from_slice(device, &buffer.to_vec::<T>()?),
    }
}

/// The buffer in the host's memory.
pub(super) fn to_host(buffer: &Buffer) -> Result<Cow<'_, Buffer>, Error> {
    match buffer.device().kind() {
        DeviceKind::Cpu => Ok(Cow::Borrowed(buffer)),
        _ => copy(&Device::cpu(), buffer).map(Cow::Owned),
    }
}

/// The bytes of a buffer in the host's memory.
pub(super) fn bytes(buffer: &Buffer) -> &[u8] {
    fn of<T: Element>(buffer: &Buffer) -> Option<&[u8]> {
        buffer.as_slice::<T>().map(bytemuck::cast_slice)
    }
    of::<bf16>(buffer)
        .or_else(|| of::<f16>(buffer))
        .or_else(|| of::<f32>(buffer))
        .or_else(|| of::<i32>(buffer))
        .or_else(|| of::<i64>(buffer))
        .unwrap_or_default()
}
