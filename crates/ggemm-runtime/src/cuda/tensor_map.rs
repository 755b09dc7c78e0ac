//! Tensor maps: what the copy engine of sm_90a and later reads of a tensor, encoded once for a plan.

use std::ffi::c_void;
use std::ptr;

use cudarc::driver::sys;
use ggemm_codegen::ir::TensorMap as Recipe;
use ggemm_codegen::{Dtype, TensorShape};

use super::failure::Failure;
use super::gpu::Gpu;

/// A tensor map over a tensor at no address yet; a kernel takes it by value.
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorMap(sys::CUtensorMap);

impl TensorMap {
    /// Encodes the recipe for a tensor, which selection has found to be addressable.
    pub(super) fn encode(gpu: &Gpu, recipe: &Recipe, shape: &TensorShape) -> Result<Self, Failure> {
        use sys::CUtensorMapDataType as Type;
        let numbers = recipe.encode(shape);
        let dtype = match recipe.dtype {
            Dtype::Bf16 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            Dtype::F16 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            Dtype::F32 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
            // Bits are copied as they are; elements outside are zeros of any type.
            other if other.size_bytes() == 1 => Type::CU_TENSOR_MAP_DATA_TYPE_UINT8,
            _ => Type::CU_TENSOR_MAP_DATA_TYPE_UINT16,
        };
        let swizzle = match recipe.swizzle_bytes {
            128 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
            64 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_64B,
            32 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_32B,
            _ => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
        };
        let steps = vec![1_u32; numbers.counts.len()];
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let _current = gpu.enter()?;
        // SAFETY: the arrays hold one entry a dimension (strides: one for each but the innermost) and live through the
        // call, which only writes the map; the address is read by no one.
        let encoded = unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                dtype,
                numbers.counts.len() as u32,
                ptr::null_mut(),
                numbers.extents.as_ptr(),
                numbers.strides[1..].as_ptr(),
                numbers.counts.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzle,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        gpu.check("cuTensorMapEncodeTiled", encoded.result())?;
        Ok(TensorMap(map))
    }

    /// Leads it to the tensor at `address`, a multiple of 16. The GPU's context is current.
    ///
    /// A tensor without elements may be nowhere, of which the driver takes no map: nothing is loaded by it, and it stays
    /// as it was encoded.
    pub(super) fn set_address(&mut self, gpu: &Gpu, address: u64) -> Result<(), Failure> {
        if address == 0 {
            return Ok(());
        }
        // SAFETY: the map is one that the driver encoded; the call writes it alone.
        let replaced = unsafe { sys::cuTensorMapReplaceAddress(&raw mut self.0, address as *mut c_void) };
        gpu.check("cuTensorMapReplaceAddress", replaced.result())
    }

    /// Where a launch finds it.
    pub(super) fn place(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }
}
