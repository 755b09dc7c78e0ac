//! The driver's context of one GPU, and making it current.

use cudarc::driver::{result, sys};

use super::failure::code;

/// A GPU's primary context: the one that CUDA's runtime, and so every framework, uses. It is kept for the life of the
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context(sys::CUcontext);

// SAFETY: a context is a handle that the driver lets any thread make current.
unsafe impl Send for Context {}
// SAFETY: as above; the driver locks it.
unsafe impl Sync for Context {}

/// While it lives, the context is current on this thread; after it, the one is that was before.
#[must_use]
pub(super) struct Current {
    pushed: bool,
}

impl Context {
    /// Retains the primary context of a device. The driver must have been initialized.
    pub(super) fn primary(ordinal: usize) -> Result<(Self, sys::CUdevice), (&'static str, u32)> {
        let failed = |call| move |error| (call, code(error));
        let ordinal =
            i32::try_from(ordinal).map_err(|_| ("cuDeviceGet", sys::CUresult::CUDA_ERROR_INVALID_DEVICE as u32))?;
        let device = result::device::get(ordinal).map_err(failed("cuDeviceGet"))?;
        // SAFETY: `device` is what `cuDeviceGet` returned.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed("cuDevicePrimaryCtxRetain"))?;
        Ok((Context(context), device))
    }

    /// Makes the context current on this thread, so that frameworks that rely on their own find it again afterwards.
    pub(super) fn enter(self) -> Result<Current, (&'static str, u32)> {
        let before = result::ctx::get_current().map_err(|e| ("cuCtxGetCurrent", code(e)))?;
        if before == Some(self.0) {
            return Ok(Current { pushed: false });
        }
        // SAFETY: the context was retained and is never released.
        unsafe { sys::cuCtxPushCurrent_v2(self.0) }.result().map_err(|e| ("cuCtxPushCurrent", code(e)))?;
        Ok(Current { pushed: true })
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if self.pushed {
            let mut popped = std::ptr::null_mut();
            // SAFETY: what is popped was pushed by `enter` on this thread: `Current` cannot leave it. A failure leaves
            // our context current, which only costs the next caller a push of its own.
            _ = unsafe { sys::cuCtxPopCurrent_v2(&raw mut popped) };
        }
    }
}
