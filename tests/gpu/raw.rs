//! The entries for other frameworks' memory.

use ggemm::cuda::RawArgs;
use ggemm::{Args, Buffer, Device, ElementType, Error, Planner, Problem, View, ViewMut};

use crate::support::{Test, small};

pub(crate) const TESTS: &[Test] = &[
    ("addresses_run_like_buffers", addresses),
    ("tensors_without_elements_may_be_nowhere", nowhere),
    ("foreign_views_are_checked", views),
];

fn addresses(device: &Device) {
    let (plan, case) = small(device, 41);
    let args = RawArgs {
        lhs: case.lhs.view().address(),
        rhs: case.rhs.view().address(),
        groups: case.groups.view().address(),
        out: case.out.view().address(),
        scales: [0; 2],
    };
    let stream = device.stream().unwrap();
    // SAFETY: the buffers live until the check has read the output, and are ordered by the device's own stream.
    unsafe { plan.run_raw(&stream, args) }.unwrap();
    stream.synchronize().unwrap();
    case.check();
    let on_cpu = Planner::new(Device::cpu()).plan(&case.problem).unwrap();
    // SAFETY: refused before any address is used.
    let error = unsafe { on_cpu.run_raw(&stream, args) }.unwrap_err();
    assert!(matches!(error, Error::NotAGpu { .. }), "{error}");
}

/// Other frameworks give an empty tensor the address 0.
fn nowhere(device: &Device) {
    let stream = device.stream().unwrap();
    let groups = Buffer::from_slice(device, &[0_i32; 2]).unwrap();
    let (n, k) = (16, 24);
    let weights = Buffer::from_slice(device, &vec![1.0_f32; 2 * n * k]).unwrap();
    let planner = Planner::new(device.clone());
    let plan = planner.plan(&Problem::grad_w(2, 0, n, k).output(ggemm::Dtype::F32)).unwrap();
    let groups_at = groups.view().address();
    let args = RawArgs { lhs: 0, rhs: 0, scales: [0; 2], groups: groups_at, out: weights.view().address() };
    // SAFETY: the buffers live until the stream is done; the others have no elements.
    unsafe { plan.run_raw(&stream, args) }.unwrap();
    let plan = planner.plan(&Problem::forward(2, 0, n, k)).unwrap();
    let args = RawArgs { lhs: 0, rhs: weights.view().address(), scales: [0; 2], groups: groups_at, out: 0 };
    // SAFETY: as above.
    unsafe { plan.run_raw(&stream, args) }.unwrap();
    stream.synchronize().unwrap();
    let host = weights.to_device(&Device::cpu()).unwrap();
    assert!(host.as_slice::<f32>().unwrap().iter().all(|w| *w == 0.0), "no rows: zeros");
}

fn views(device: &Device) {
    let (plan, case) = small(device, 42);
    let of = |view: View<'_>| {
        let (ty, address, len) = (view.element_type(), view.address(), view.len());
        // SAFETY: the buffer outlives the view, and the device's own stream orders both.
        unsafe { View::from_device(device, ty, address, len) }.unwrap()
    };
    let out = case.out.view();
    // SAFETY: as above, and nobody else uses the output.
    let to = || unsafe { ViewMut::from_device(device, out.element_type(), out.address(), out.len()) }.unwrap();
    let [x, w, groups] = [&case.lhs, &case.rhs, &case.groups].map(|buffer| of(buffer.view()));
    plan.run(Args::forward(x.clone(), w.clone(), groups.clone(), to())).unwrap();
    device.synchronize().unwrap();
    case.check();
    let error = plan.run(Args::forward(x.range(1..8).unwrap(), w, groups, to())).unwrap_err();
    assert!(matches!(error, Error::ArgumentLength { argument: "x", .. }), "{error}");
    // SAFETY: refused.
    let odd = unsafe { View::from_device(device, ElementType::Bf16, out.address() + 1, 4) };
    assert!(matches!(odd.unwrap_err(), Error::Bytes { offset: 1, .. }));
    // SAFETY: refused.
    let nowhere = unsafe { View::from_device(&Device::cpu(), ElementType::Bf16, 0, 4) };
    assert!(matches!(nowhere.unwrap_err(), Error::NotAGpu { .. }));
}
