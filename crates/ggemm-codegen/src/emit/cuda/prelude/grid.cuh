// ---- programmatic dependent launch, which came with sm_90 ----

// Waits until the grids that this one depends on have ended and what they wrote is visible.
__device__ __forceinline__ void await_grid() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the grids that depend on this one start.
__device__ __forceinline__ void launch_dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

