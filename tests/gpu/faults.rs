//! What the device reports.

use ggemm::cuda::RawArgs;
use ggemm::{Args, Device, Error, Planner, Problem, bf16};

use crate::support::{Test, child, small};

pub(crate) const TESTS: &[Test] = &[("a_fault_is_typed_and_names_the_variant", is_typed)];

/// In a process of its own: after a fault the driver refuses everything there.
pub(crate) fn fault(device: &Device) {
    let (plan, case) = small(device, 61);
    let stream = device.stream().unwrap();
    let nowhere = RawArgs {
        lhs: 1 << 20,
        rhs: case.rhs.view().address(),
        groups: case.groups.view().address(),
        out: case.out.view().address(),
        scales: [0; 2],
    };
    // SAFETY: not what is asked for: the address is of nothing, and the GPU's memory protection notices. The process has
    // nothing on the device that it needs afterwards.
    unsafe { plan.run_raw(&stream, nowhere) }.unwrap();
    let error = stream.synchronize().unwrap_err();
    let Error::Cuda(failure) = &error else { panic!("{error}") };
    assert!(failure.is_fault(), "{error}");
    assert_eq!(failure.last_launched, Some(plan.variant().name()));
    assert!(error.to_string().contains(plan.variant().name()), "{error}");
    // Later calls fail alike, nothing panics, drops included, and the CPU computes.
    assert!(matches!(case.out.to_vec::<bf16>().unwrap_err(), Error::Cuda(_)));
    drop(case);
    let (x, w) = ([bf16::ONE; 24], [bf16::ONE; 128]);
    let mut y = [bf16::ZERO; 24];
    let plan = Planner::new(Device::cpu()).plan(&Problem::forward(2, 3, 8, 8)).unwrap();
    plan.run(Args::forward(&x, &w, &[2_i32, 1], &mut y)).unwrap();
    assert_eq!(y.map(bf16::to_f32), [8.0; 24]);
}

fn is_typed(_: &Device) {
    let output = child("fault", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
