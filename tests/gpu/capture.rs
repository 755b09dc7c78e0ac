//! CUDA graphs.

use ggemm::cuda::Stream;
use ggemm::random::Values;
use ggemm::{Buffer, Device, Error, Mode, Planner, Problem, Tail};

use crate::support::{OnGpu, Test, small};

pub(crate) const TESTS: &[Test] = &[
    ("a_replay_reads_the_sizes_of_its_own_time", changing_sizes),
    ("a_capture_refuses_what_it_cannot_hold", refusals),
    ("a_graph_keeps_its_buffers", keeps_buffers),
];

fn changing_sizes(device: &Device) {
    let planner = Planner::new(device.clone());
    for problem in [
        Problem::forward(4, 500, 136, 264).tail(Tail::Zero),
        Problem::grad_x(4, 500, 136, 264).tail(Tail::Zero),
        Problem::grad_w(4, 500, 136, 264).tail(Tail::Zero),
    ] {
        let mut case = OnGpu::new(device, &problem, &[100, 150, 0, 250], Values::SmallIntegers, 21);
        let plan = planner.plan(&problem).unwrap();
        let stream = Stream::new(device).unwrap();
        let mut graph = stream.capture(|stream| plan.run_on(stream, case.args())).unwrap();
        for sizes in [[100, 150, 0, 250], [0, 0, 500, 0], [1, 2, 3, 4], [0, 0, 0, 0], [250, 100, 50, 100]] {
            // What lies past the sizes must be no NaN here: a row may have been tail when the case was made.
            case.groups.copy_from_slice(&sizes).unwrap();
            graph.launch(&stream).unwrap();
            let groups = Buffer::from_slice(&Device::cpu(), &sizes).unwrap();
            let comparison = case.compare_for(&groups, Mode::Exact);
            assert!(comparison.pass(), "`{problem}` for {sizes:?}: {comparison}");
        }
    }
}

fn refusals(device: &Device) {
    let (plan, mut case) = small(device, 22);
    let stream = Stream::new(device).unwrap();
    let checked = Planner::new(device.clone()).checked(true).plan(&case.problem).unwrap();
    let error = stream.capture(|stream| checked.run_on(stream, case.args())).unwrap_err();
    assert_eq!(error, Error::CheckedInCapture);
    // The stream is as good as before.
    let mut graph = stream.capture(|stream| plan.run_on(stream, case.args())).unwrap();
    graph.launch(&stream).unwrap();
    case.check();
    // SAFETY: the stream outlives the wrap.
    let foreign = unsafe { Stream::from_raw(device, stream.raw()) }.unwrap();
    assert_eq!(foreign.capture(|_| Ok(())).unwrap_err(), Error::ForeignCapture);
}

fn keeps_buffers(device: &Device) {
    let (plan, mut case) = small(device, 23);
    let stream = Stream::new(device).unwrap();
    let mut graph = stream.capture(|stream| plan.run_on(stream, case.args())).unwrap();
    drop(case);
    let fill: Vec<Buffer> = (0..8).map(|_| Buffer::zeros(device, ggemm::ElementType::F32, 1 << 16).unwrap()).collect();
    for _ in 0..10 {
        graph.launch(&stream).unwrap();
    }
    stream.synchronize().unwrap();
    for buffer in fill {
        assert!(buffer.to_vec::<f32>().unwrap().iter().all(|value| *value == 0.0), "a graph wrote freed memory");
    }
}
