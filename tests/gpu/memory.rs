//! Nothing outside the tensors is written, whatever the sizes say, and memory that runs out is an error.

use ggemm::random::{Rng, Values};
use ggemm::{Args, Buffer, Device, ElementType, Error, GroupForm, IndexType, Operation, Planner, Problem, Tail, bf16};

use crate::support::{OnGpu, Test, small};

pub(crate) const TESTS: &[Test] = &[
    ("sizes_far_outside_the_problem_corrupt_nothing", wild_sizes),
    ("checked_plans_name_the_group_and_write_nothing", checked),
    ("too_much_memory_is_an_error_and_leaves_the_device_usable", out_of_memory),
    ("tensors_at_odd_addresses_are_right", odd_addresses),
];

/// Elements before and after each tensor.
const MARGIN: usize = 4096;
/// What they hold.
const CANARY: bf16 = bf16::from_bits(0x7fc5);

/// A tensor of ones with canaries around it.
fn guarded(device: &Device, len: usize) -> Buffer {
    let mut elements = vec![CANARY; len + 2 * MARGIN];
    elements[MARGIN..MARGIN + len].fill(bf16::ONE);
    Buffer::from_slice(device, &elements).unwrap()
}

fn is_whole(buffer: &Buffer, len: usize) -> bool {
    let elements = buffer.to_vec::<bf16>().unwrap();
    let outside = elements[..MARGIN].iter().chain(&elements[MARGIN + len..]);
    elements.len() == len + 2 * MARGIN && outside.into_iter().all(|e| e.to_bits() == CANARY.to_bits())
}

fn wild_sizes(device: &Device) {
    let planner = Planner::new(device.clone());
    let mut rng = Rng::new(11);
    let wild = [i64::MIN, i64::MAX, i64::from(i32::MAX), i64::from(i32::MIN), -1, 0, 1, 7, 200, 1 << 40, 1 << 32];
    for operation in Operation::ALL {
        for round in 0..40 {
            let (groups, m, n, k) = (1 + rng.below(9), 1 + rng.below(200), 1 + rng.below(150), 1 + rng.below(150));
            let form = if rng.below(2) == 0 { GroupForm::Sizes } else { GroupForm::Ends };
            let tail = if rng.below(2) == 0 { Tail::Zero } else { Tail::Untouched };
            let problem = Problem::new(operation, groups, m, n, k).group_array(form, IndexType::I64).tail(tail);
            let values: Vec<i64> = (0..groups).map(|_| wild[rng.below(wild.len())]).collect();
            let array = Buffer::from_slice(device, &values).unwrap();
            let [lhs, rhs, out] = problem.tensors().map(|shape| shape.elements());
            let (a, b, mut d) = (guarded(device, lhs), guarded(device, rhs), guarded(device, out));
            let inner =
                |buffer: &Buffer, len: usize| buffer.view().range(MARGIN..MARGIN + len).unwrap().to_vec::<bf16>();
            let plan = planner.plan(&problem).unwrap();
            let at = MARGIN..MARGIN + out;
            plan.run(Args::new(
                operation,
                a.view().range(MARGIN..MARGIN + lhs).unwrap(),
                b.view().range(MARGIN..MARGIN + rhs).unwrap(),
                &array,
                d.view_mut().range(at).unwrap(),
            ))
            .unwrap();
            let case = format!("`{problem}`, round {round}: {values:?}");
            device.synchronize().unwrap_or_else(|error| panic!("{case}: {error}"));
            for (name, buffer, len) in [("lhs", &a, lhs), ("rhs", &b, rhs), ("out", &d, out)] {
                assert!(is_whole(buffer, len), "{case}: {name} has other neighbours");
            }
            for (name, buffer, len) in [("lhs", &a, lhs), ("rhs", &b, rhs)] {
                assert!(inner(buffer, len).unwrap().iter().all(|e| *e == bf16::ONE), "{case}: {name} was written");
            }
            // Products of ones: canaries, which are NaN, would show in any sum that they entered.
            assert!(inner(&d, out).unwrap().iter().all(|e| !e.is_nan()), "{case}: something outside was read");
        }
    }
}

fn checked(device: &Device) {
    let problem = Problem::forward(2, 4, 8, 8);
    let plan = Planner::new(device.clone()).checked(true).plan(&problem).unwrap();
    let x = Buffer::zeros(device, ElementType::Bf16, 32).unwrap();
    let w = Buffer::zeros(device, ElementType::Bf16, 128).unwrap();
    let mut y = Buffer::from_slice(device, &[bf16::NAN; 32]).unwrap();
    for (sizes, text) in [
        ([5, -1], "group 0 ends at row 5, past M = 4"),
        ([1, -3], "the size of group 1 is -3"),
        ([1, 2], "no tail was declared"),
    ] {
        let sizes = Buffer::from_slice(device, &sizes).unwrap();
        let error = plan.run(Args::forward(&x, &w, &sizes, &mut y)).unwrap_err();
        assert!(matches!(error, Error::Groups(_)) && error.to_string().contains(text), "{error}");
        assert!(y.to_vec::<bf16>().unwrap().iter().all(|e| e.is_nan()), "a failed call has written");
    }
    let sizes = Buffer::from_slice(device, &[1, 3]).unwrap();
    plan.run(Args::forward(&x, &w, &sizes, &mut y)).unwrap();
    assert!(y.to_vec::<bf16>().unwrap().iter().all(|e| *e == bf16::ZERO));
}

fn out_of_memory(device: &Device) {
    let error = Buffer::zeros(device, ElementType::F32, 1 << 44).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { bytes, .. } if bytes == 1 << 46), "{error}");
    let error = Buffer::zeros(device, ElementType::F32, usize::MAX).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    let (plan, mut case) = small(device, 12);
    case.run(&plan);
    case.check();
}

/// A tensor that starts at any element: the plan takes a variant that reads elements alone. A pinned one that cannot
/// says so.
fn odd_addresses(device: &Device) {
    let problem = Problem::forward(5, 300, 136, 72);
    let planner = Planner::new(device.clone());
    let plan = planner.plan(&problem).unwrap();
    let case = OnGpu::new(device, &problem, &[100, 0, 57, 143, 0], Values::SmallIntegers, 13);
    let shift = |buffer: &Buffer| {
        let mut elements = vec![bf16::NAN];
        elements.extend(buffer.to_vec::<bf16>().unwrap());
        Buffer::from_slice(device, &elements).unwrap()
    };
    let (x, w, mut y) = (shift(&case.lhs), shift(&case.rhs), shift(&case.out));
    let [lhs, rhs, out] = problem.tensors().map(|shape| shape.elements());
    let x = x.view().range(1..1 + lhs).unwrap();
    let w = w.view().range(1..1 + rhs).unwrap();
    plan.run(Args::forward(x.clone(), w.clone(), &case.groups, y.view_mut().range(1..1 + out).unwrap())).unwrap();
    let odd = y.to_vec::<bf16>().unwrap();
    let mut aligned = case;
    aligned.run(&plan);
    aligned.check();
    assert!(odd[0].is_nan() && odd[1..=out] == aligned.out.to_vec::<bf16>().unwrap()[..out]);
    assert!(!plan.variant().name().contains("plain"), "the preferred variant copies 16 bytes or more at a time");

    let pinned = planner.pin(plan.variant().name().parse().unwrap()).plan(&problem).unwrap();
    let error = pinned.run(Args::forward(x, w, &aligned.groups, &mut aligned.out)).unwrap_err();
    assert!(matches!(error, Error::AddressAlignment { argument: "x", needed: 16, .. }), "{error}");
}
