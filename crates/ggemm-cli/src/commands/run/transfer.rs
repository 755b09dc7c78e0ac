//! Between the host's memory, where values are made and compared, and the device that computes.

use std::ops::Deref;

use ggemm_runtime::{Buffer, Device, Error};

/// A buffer where it is wanted: the one that was there, or a copy.
pub(super) enum Located<'a> {
    There(&'a Buffer),
    Copied(Buffer),
}

impl Deref for Located<'_> {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        match self {
            Located::There(buffer) => buffer,
            Located::Copied(buffer) => buffer,
        }
    }
}

/// The buffer on `device`: itself where it lies there, else a copy.
pub(super) fn to_device<'a>(device: &Device, buffer: &'a Buffer) -> Result<Located<'a>, Error> {
    if buffer.device() == device { Ok(Located::There(buffer)) } else { buffer.to_device(device).map(Located::Copied) }
}

/// The buffer in the host's memory.
pub(super) fn to_host(buffer: &Buffer) -> Result<Located<'_>, Error> {
    to_device(&Device::cpu(), buffer)
}

/// The bytes of a buffer in the host's memory.
pub(super) fn bytes(buffer: &Buffer) -> &[u8] {
    buffer.as_bytes().unwrap_or_default()
}
