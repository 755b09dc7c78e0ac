//! The table of asynchrony: for everything a GPU does behind a thread's back, through which proxy it touches memory,
//! what it reads and writes, how its completion is learned, and in what pieces it lands.
//!
//! The rows follow the PTX ISA 9.0, "Memory Consistency Model" and "Asynchronous Operations". Whoever gives the IR a
//! meaning (the writer of CUDA text, an executor, an engine that plants faults) reads the same row.

/// The path by which memory is touched. Accesses through different proxies are ordered only by a proxy fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proxy {
    /// Ordinary loads and stores, ldmatrix, cp.async.
    Generic,
    /// Bulk copies and wgmma.
    Async,
}

/// A kind of memory or register file that an asynchronous operation touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Device memory.
    Global,
    /// The CTA's shared memory.
    Shared,
    /// Shared memory of every CTA named in a mask.
    ClusterShared,
    /// Accumulator registers, owned by the operation until waited for.
    Accumulator,
}

impl Asynchrony {
    /// Whether the operation reaches shared memory past the generic proxy, so that ordinary stores need a fence first.
    pub const fn needs_proxy_fence(&self) -> bool {
        matches!(self.proxy, Proxy::Async)
    }
}

/// How a thread learns that an operation is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Completion {
    /// `cp.async.wait_group`, for the groups its own thread committed; other threads need a barrier on top.
    CpAsyncGroup,
    /// `cp.async.mbarrier.arrive`: a thread's copies so far have landed, and count as its arrival at an mbarrier.
    MbarrierArrival,
    /// `wgmma.wait_group`, for the groups its own warpgroup committed.
    WgmmaGroup,
    /// Bytes counted on an mbarrier, whose phase flips when arrivals and bytes are complete.
    MbarrierBytes,
    /// `cp.async.bulk.wait_group.read`: the source may be reused; the writes may still be on their way.
    BulkGroupRead,
    /// `cp.async.bulk.wait_group`: the writes are visible.
    BulkGroupWrite,
    /// `barrier.cluster.wait`.
    ClusterBarrier,
    /// The phase of an mbarrier in another CTA of the cluster.
    RemoteMbarrier,
    /// The atomic's own order (relaxed, acquire, release) and scope (CTA, GPU).
    AtomicOrder,
    /// `griddepcontrol.wait`: the earlier grid has finished and its writes are visible.
    GridDependency,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asynchrony {
    /// The operation, in PTX's words.
    pub operation: &'static str,
    /// The path by which it touches memory.
    pub proxy: Proxy,
    /// What it reads, until completion.
    pub reads: &'static [Place],
    /// What it writes, at any moment until completion.
    pub writes: &'static [Place],
    /// How completion is learned; for bulk stores the end of reading comes apart from the end of writing.
    pub completion: &'static [Completion],
    /// Bytes that land together; 0 for registers and pure synchronization.
    pub granule_bytes: u32,
}

/// `cp.async`: each thread's 4, 8 or 16 bytes land at once, those past the source size as zeros.
pub const CP_ASYNC: Asynchrony = Asynchrony {
    operation: "cp.async",
    proxy: Proxy::Generic,
    reads: &[Place::Global],
    writes: &[Place::Shared],
    completion: &[Completion::CpAsyncGroup, Completion::MbarrierArrival],
    granule_bytes: 16,
};

/// `wgmma.mma_async`: reads its shared operands and owns its accumulator until waited for.
pub const WGMMA: Asynchrony = Asynchrony {
    operation: "wgmma.mma_async",
    proxy: Proxy::Async,
    reads: &[Place::Shared, Place::Accumulator],
    writes: &[Place::Accumulator],
    completion: &[Completion::WgmmaGroup],
    granule_bytes: 0,
};

/// `cp.async.bulk.tensor` from global to shared memory, of one CTA or of several by multicast.
pub const BULK_LOAD: Asynchrony = Asynchrony {
    operation: "cp.async.bulk.tensor.shared::cluster.global",
    proxy: Proxy::Async,
    reads: &[Place::Global],
    writes: &[Place::ClusterShared],
    completion: &[Completion::MbarrierBytes],
    granule_bytes: 16,
};

/// `cp.async.bulk.tensor` from shared to global memory.
pub const BULK_STORE: Asynchrony = Asynchrony {
    operation: "cp.async.bulk.tensor.global.shared::cta",
    proxy: Proxy::Async,
    reads: &[Place::Shared],
    writes: &[Place::Global],
    completion: &[Completion::BulkGroupRead, Completion::BulkGroupWrite],
    granule_bytes: 16,
};

/// `cp.reduce.async.bulk.tensor`: adds shared memory into global memory, each element atomically.
pub const BULK_REDUCE: Asynchrony = Asynchrony {
    operation: "cp.reduce.async.bulk.tensor.global.shared::cta",
    proxy: Proxy::Async,
    reads: &[Place::Shared, Place::Global],
    writes: &[Place::Global],
    completion: &[Completion::BulkGroupRead, Completion::BulkGroupWrite],
    granule_bytes: 4,
};

/// `mbarrier.arrive` on a barrier of another CTA of the cluster.
pub const REMOTE_ARRIVE: Asynchrony = Asynchrony {
    operation: "mbarrier.arrive.shared::cluster",
    proxy: Proxy::Generic,
    reads: &[],
    writes: &[Place::ClusterShared],
    completion: &[Completion::RemoteMbarrier],
    granule_bytes: 8,
};

/// `st.async`: registers to the shared memory of another CTA of the cluster, whose barrier counts the bytes.
pub const REMOTE_STORE: Asynchrony = Asynchrony {
    operation: "st.async.shared::cluster",
    proxy: Proxy::Generic,
    reads: &[],
    writes: &[Place::ClusterShared],
    completion: &[Completion::MbarrierBytes],
    granule_bytes: 16,
};

/// `barrier.cluster.arrive` and `.wait`.
pub const CLUSTER_BARRIER: Asynchrony = Asynchrony {
    operation: "barrier.cluster",
    proxy: Proxy::Generic,
    reads: &[],
    writes: &[],
    completion: &[Completion::ClusterBarrier],
    granule_bytes: 0,
};

/// `atom.global` and `red.global`: tile counters, split reductions.
pub const GLOBAL_ATOMIC: Asynchrony = Asynchrony {
    operation: "atom.global",
    proxy: Proxy::Generic,
    reads: &[Place::Global],
    writes: &[Place::Global],
    completion: &[Completion::AtomicOrder],
    granule_bytes: 4,
};

/// `griddepcontrol`: programmatic dependent launch.
pub const GRID_DEPENDENCY: Asynchrony = Asynchrony {
    operation: "griddepcontrol",
    proxy: Proxy::Generic,
    reads: &[],
    writes: &[],
    completion: &[Completion::GridDependency],
    granule_bytes: 0,
};

/// The whole table.
pub const TABLE: [Asynchrony; 10] = [
    CP_ASYNC,
    WGMMA,
    BULK_LOAD,
    BULK_STORE,
    BULK_REDUCE,
    REMOTE_ARRIVE,
    REMOTE_STORE,
    CLUSTER_BARRIER,
    GLOBAL_ATOMIC,
    GRID_DEPENDENCY,
];
