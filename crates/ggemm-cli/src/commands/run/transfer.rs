//! Between the host's memory, where values are made and compared, and the device that computes.

use std::borrow::Cow;

use ggemm_runtime::{Buffer, Device, DeviceKind, Error};

/// The buffer on `device`: itself where it lies there, else a copy.
pub(super) fn to_device<'a>(device: &Device, host: &'a Buffer) -> Result<Cow<'a, Buffer>, Error> {
    if host.device() == device { Ok(Cow::Borrowed(host)) } else { copy(device, host).map(Cow::Owned) }
}

/// A copy of the buffer on `device`.
pub(super) fn copy(device: &Device, buffer: &Buffer) -> Result<Buffer, Error> {
    if buffer.device() == device {
        return Ok(buffer.clone());
    }
    buffer.to_device(device)
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
    buffer.as_bytes().unwrap_or_default()
}
