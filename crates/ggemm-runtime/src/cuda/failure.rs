//! What a call of the driver returned when it did not succeed.

use std::fmt;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

/// A failed call of the driver.
///
/// Kernels run after their launch has returned, so that a kernel's fault comes back from a later call; `last_launched`
/// says which kernel that most likely was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The driver's function.
    pub call: &'static str,
    /// The `CUresult`.
    pub code: u32,
    /// The device, printed.
    pub device: String,
    /// The kernel that was launched last on the device, if any.
    pub last_launched: Option<&'static str>,
}

impl Failure {
    /// Whether a kernel faulted, after which the driver refuses every further call on this GPU in this process.
    pub fn is_fault(&self) -> bool {
        FAULTS.iter().any(|(code, _)| *code as u32 == self.code)
    }

    /// Whether the device had no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        self.code == CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32
    }
}

/// The results that leave a context unusable, by the driver's documentation of `CUresult`.
const FAULTS: [(CUresult, &str); 9] = [
    (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal address"),
    (CUresult::CUDA_ERROR_LAUNCH_TIMEOUT, "a time limit"),
    (CUresult::CUDA_ERROR_ASSERT, "a failed assertion"),
    (CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR, "a stack error"),
    (CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION, "an illegal instruction"),
    (CUresult::CUDA_ERROR_MISALIGNED_ADDRESS, "a misaligned address"),
    (CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE, "an invalid address space"),
    (CUresult::CUDA_ERROR_INVALID_PC, "an invalid program counter"),
    (CUresult::CUDA_ERROR_LAUNCH_FAILED, "an exception"),
];

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { call, code, device, last_launched } = self;
        let fault = FAULTS.iter().find(|(fault, _)| *fault as u32 == *code);
        match fault {
            Some((_, what)) => {
                write!(f, "a kernel on {device} met {what}, as {call} reported (CUresult {code})")?;
                match last_launched {
                    Some(name) => write!(f, "; ggemm last launched {name} there")?,
                    None => write!(f, "; ggemm has launched nothing there")?,
                }
                write!(
                    f,
                    ". The driver refuses all further calls on this GPU in this process: start another, or go on with \
                     Device::cpu(). compute-sanitizer shows the access"
                )
            }
            None => {
                write!(f, "{call} failed on {device} with CUresult {code} ({})", name(*code))?;
                match last_launched {
                    Some(name) => write!(f, "; ggemm last launched {name} there"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for Failure {}

/// The names of results that are no faults, as the driver's header has them; asking the driver itself could fail again.
fn name(code: u32) -> String {
    let known = [
        CUresult::CUDA_ERROR_INVALID_VALUE,
        CUresult::CUDA_ERROR_OUT_OF_MEMORY,
        CUresult::CUDA_ERROR_NOT_INITIALIZED,
        CUresult::CUDA_ERROR_DEINITIALIZED,
        CUresult::CUDA_ERROR_NO_DEVICE,
        CUresult::CUDA_ERROR_INVALID_DEVICE,
        CUresult::CUDA_ERROR_INVALID_IMAGE,
        CUresult::CUDA_ERROR_INVALID_CONTEXT,
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU,
        CUresult::CUDA_ERROR_ECC_UNCORRECTABLE,
        CUresult::CUDA_ERROR_INVALID_HANDLE,
        CUresult::CUDA_ERROR_NOT_FOUND,
        CUresult::CUDA_ERROR_NOT_READY,
        CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
        CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED,
        CUresult::CUDA_ERROR_NOT_PERMITTED,
        CUresult::CUDA_ERROR_NOT_SUPPORTED,
        CUresult::CUDA_ERROR_SYSTEM_NOT_READY,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
        CUresult::CUDA_ERROR_CAPTURED_EVENT,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
        CUresult::CUDA_ERROR_UNKNOWN,
    ];
    match known.into_iter().find(|result| *result as u32 == code) {
        Some(result) => format!("{result:?}"),
        None => "a result without a name here".to_owned(),
    }
}

/// Keeps the raw code: formatting a `DriverError` calls the driver, which may be the one missing.
pub(super) fn code(error: DriverError) -> u32 {
    error.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: CUresult) -> Failure {
        Failure { call: "cuStreamSynchronize", code: code as u32, device: "cuda:0".into(), last_launched: Some("k") }
    }

    #[test]
    fn a_fault_names_the_kernel_and_the_remedy() {
        let fault = failure(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        assert!(fault.is_fault() && !fault.is_out_of_memory());
        let text = fault.to_string();
        assert!(text.starts_with(
            "a kernel on cuda:0 met an illegal address, as cuStreamSynchronize reported (CUresult 700); \
             ggemm last launched k there. "
        ));
        assert!(text.contains("Device::cpu()"), "{text}");
    }

    #[test]
    fn other_failures_carry_the_name_of_the_result() {
        let refused = failure(CUresult::CUDA_ERROR_INVALID_VALUE);
        assert!(!refused.is_fault());
        assert_eq!(
            refused.to_string(),
            "cuStreamSynchronize failed on cuda:0 with CUresult 1 (CUDA_ERROR_INVALID_VALUE); \
             ggemm last launched k there"
        );
        assert!(failure(CUresult::CUDA_ERROR_OUT_OF_MEMORY).is_out_of_memory());
    }
}
