//! What a launch says beside its grid: clusters, and that it may overlap the launch before it.

use std::ptr;

use cudarc::driver::sys;

use super::stream::Stream;

/// CUDA 12.3, as `cuDriverGetVersion` counts: from it on a stream that is being captured takes overlapping launches too.
const OVERLAPS_IN_GRAPHS: i32 = 12_030;

/// Whether the driver takes launches that may overlap wherever it takes others.
pub(super) fn may_overlap_launches() -> bool {
    let mut version = 0;
    // SAFETY: the driver is loaded, since there is a context; every version has this symbol, and the integer is live.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    asked.is_ok() && version >= OVERLAPS_IN_GRAPHS
}

/// The attributes of a launch.
pub(super) struct Attributes {
    list: [sys::CUlaunchAttribute; 2],
    count: u32,
}

/// The attributes of a launch in clusters of `cluster` CTAs; `dependent`: it may begin while the launch before it ends.
pub(super) fn of(cluster: u32, dependent: bool) -> Attributes {
    use sys::CUlaunchAttributeID as Id;
    let attribute = |id, value| sys::CUlaunchAttribute { id, pad: [0; 4], value };
    let mut list = [attribute(Id::CU_LAUNCH_ATTRIBUTE_IGNORE, sys::CUlaunchAttributeValue { pad: [0; 64] }); 2];
    let mut count = 0;
    if cluster > 1 {
        let dimension = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x: cluster, y: 1, z: 1 };
        let value = sys::CUlaunchAttributeValue { clusterDim: dimension };
        list[count] = attribute(Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, value);
        count += 1;
    }
    if dependent {
        let value = sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 };
        list[count] = attribute(Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, value);
        count += 1;
    }
    Attributes { list, count: count as u32 }
}

/// A launch with these attributes, which it points to.
pub(super) fn config(
    grid: u32,
    threads: u32,
    shared_bytes: u32,
    stream: Option<&Stream>,
    attributes: &mut Attributes,
) -> sys::CUlaunchConfig {
    sys::CUlaunchConfig {
        gridDimX: grid,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: shared_bytes,
        hStream: stream.map_or(ptr::null_mut(), Stream::raw),
        attrs: attributes.list.as_mut_ptr(),
        numAttrs: attributes.count,
    }
}
