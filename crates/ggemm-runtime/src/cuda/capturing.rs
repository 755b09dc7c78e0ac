//! Which capture is under way on a stream, ours or another framework's.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys;

use super::failure::Failure;
use super::stream::Stream;

/// `cuStreamGetCaptureInfo` as CUDA 11.3 defines it. Later versions of it give other arguments, and bindings have only
/// the one of their own version: the driver is asked for this one by number.
type CaptureInfo = unsafe extern "C" fn(
    sys::CUstream,
    *mut sys::CUstreamCaptureStatus,
    *mut u64,
    *mut sys::CUgraph,
    *mut *const sys::CUgraphNode,
    *mut usize,
) -> sys::CUresult;

/// CUDA 11.3, as `cuDriverGetVersion` counts.
const DEFINED: c_int = 11_030;

/// The number of the capture that is under way on a stream, if one is: no other capture of the process has it.
pub(super) fn number(stream: &Stream) -> Result<Option<u64>, Failure> {
    if !stream.is_capturing()? {
        return Ok(None);
    }
    let gpu = stream.gpu();
    let _current = gpu.enter()?;
    let capture_info = gpu.check("cuGetProcAddress", capture_info())?;
    let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
    let mut number = 0;
    let (graph, nodes, count) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the stream is live, and so are the two places; what is null is not asked for.
    let asked = unsafe { capture_info(stream.raw(), &raw mut status, &raw mut number, graph, nodes, count) };
    gpu.check("cuStreamGetCaptureInfo", asked.result())?;
    Ok(Some(number))
}

fn capture_info() -> Result<CaptureInfo, DriverError> {
    static FOUND: OnceLock<Result<CaptureInfo, DriverError>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let mut address: *mut c_void = ptr::null_mut();
        let mut status = sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
        let name = c"cuStreamGetCaptureInfo".as_ptr();
        // SAFETY: the name ends in 0, and both places are live.
        unsafe { sys::cuGetProcAddress_v2(name, &raw mut address, DEFINED, 0, &raw mut status) }.result()?;
        if address.is_null() {
            return Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND));
        }
        // SAFETY: it is the function of this name as of this version, whose type that is.
        Ok(unsafe { std::mem::transmute::<*mut c_void, CaptureInfo>(address) })
    })
}
