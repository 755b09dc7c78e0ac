// ---- proxies: ordinary stores to shared memory become visible to the copy engine and to wgmma ----
__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

