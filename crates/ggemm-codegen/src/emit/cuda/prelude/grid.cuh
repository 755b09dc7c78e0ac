// ---- programmatic dependent launch ----

// Waits until the grids that this one depends on have ended and what they wrote is visible.
__device__ __forceinline__ void await_grid() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

// Lets the grids that depend on this one start.
__device__ __forceinline__ void launch_dependents() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

