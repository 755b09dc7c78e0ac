//! Which launches follow each other: what is captured, by us or another framework, follows only what else its graph has of
//! the stream.
//!
//! `cuStreamGetCaptureInfo` has other arguments in each major version of CUDA, and bindings have only that of their own: the
//! driver is asked for the one that is wanted by its number. Where launches overlap, it must be the one that tells what
//! edges say: the others are refused where an edge says anything.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys;

use super::failure::Failure;
use super::stream::Stream;

/// The function as CUDA 11.3 defines it.
type OfNodes = unsafe extern "C" fn(
    sys::CUstream,
    *mut sys::CUstreamCaptureStatus,
    *mut u64,
    *mut sys::CUgraph,
    *mut *const sys::CUgraphNode,
    *mut usize,
) -> sys::CUresult;

/// The function as CUDA 12.3 defines it.
type OfEdges = unsafe extern "C" fn(
    sys::CUstream,
    *mut sys::CUstreamCaptureStatus,
    *mut u64,
    *mut sys::CUgraph,
    *mut *const sys::CUgraphNode,
    *mut *const c_void,
    *mut usize,
) -> sys::CUresult;

/// Versions, as `cuDriverGetVersion` counts.
const NODES: c_int = 11_030;
const EDGES: c_int = 12_030;

/// The function of the driver at hand.
#[derive(Clone, Copy)]
enum CaptureInfo {
    OfNodes(OfNodes),
    OfEdges(OfEdges),
}

/// Launches that follow each other: those on a stream, or those that one capture records on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sequence {
    /// By the number that the driver gives the stream, which it gives no other.
    Stream(u64),
    /// By the capture's number, which no other has, and the stream's handle: while it captures no number is told of it.
    Captured(u64, usize),
}

impl Sequence {
    /// That of a launch on a stream.
    pub(super) fn of(stream: &Stream) -> Result<Self, Failure> {
        match number(stream)? {
            None => Ok(Sequence::Stream(stream.id()?)),
            Some(number) => Ok(Sequence::Captured(number, stream.raw() as usize)),
        }
    }

    /// Whether it goes into a graph.
    pub(super) fn is_captured(self) -> bool {
        matches!(self, Sequence::Captured(..))
    }
}

/// The number of the capture that is under way on a stream, if one is.
fn number(stream: &Stream) -> Result<Option<u64>, Failure> {
    if !stream.is_capturing()? {
        return Ok(None);
    }
    let gpu = stream.gpu();
    let _current = gpu.enter()?;
    let info = gpu.check("cuGetProcAddress", capture_info())?;
    let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
    let (mut number, mut graph, mut nodes, mut edges, mut count) = (0, ptr::null_mut(), ptr::null(), ptr::null(), 0);
    let (status, graph, count) = (&raw mut status, &raw mut graph, &raw mut count);
    let asked = match info {
        // SAFETY: the stream is live, and all are places that the call writes.
        CaptureInfo::OfNodes(ask) => unsafe {
            ask(stream.raw(), status, &raw mut number, graph, &raw mut nodes, count)
        },
        // SAFETY: as above.
        CaptureInfo::OfEdges(ask) => unsafe {
            ask(stream.raw(), status, &raw mut number, graph, &raw mut nodes, &raw mut edges, count)
        },
    };
    gpu.check("cuStreamGetCaptureInfo", asked.result())?;
    Ok(Some(number))
}

fn capture_info() -> Result<CaptureInfo, DriverError> {
    static FOUND: OnceLock<Result<CaptureInfo, DriverError>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let mut version = 0;
        // SAFETY: every version has this symbol, and the integer is live.
        unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
        if version >= EDGES {
            let address = function(EDGES)?;
            // SAFETY: it is the function of this name as of this version, whose type that is.
            return Ok(CaptureInfo::OfEdges(unsafe { std::mem::transmute::<*mut c_void, OfEdges>(address) }));
        }
        let address = function(NODES)?;
        // SAFETY: as above.
        Ok(CaptureInfo::OfNodes(unsafe { std::mem::transmute::<*mut c_void, OfNodes>(address) }))
    })
}

fn function(version: c_int) -> Result<*mut c_void, DriverError> {
    let mut address: *mut c_void = ptr::null_mut();
    let mut status = sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    let name = c"cuStreamGetCaptureInfo".as_ptr();
    // SAFETY: the name ends in 0, and both places are live.
    unsafe { sys::cuGetProcAddress_v2(name, &raw mut address, version, 0, &raw mut status) }.result()?;
    if address.is_null() { Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND)) } else { Ok(address) }
}
