//! The entries for other frameworks' memory.

use ggemm::cuda::RawArgs;
use ggemm::{Args, Device, ElementType, Error, Planner, View, ViewMut};

use crate::support::{Test, small};

pub(crate) const TESTS: &[Test] = &[("addresses_run_like_buffers", addresses), ("foreign_views_are_checked", views)];

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
