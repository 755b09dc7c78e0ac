//! Several streams and threads.

use std::thread;

use ggemm::cuda::{Event, Stream};
use ggemm::random::Values;
use ggemm::{Args, Buffer, Device, ElementType, Error, Planner, Problem, bf16};

use crate::support::{OnGpu, Test, bytes, small};

pub(crate) const TESTS: &[Test] = &[
    ("a_buffer_is_ordered_across_streams", chain),
    ("a_launch_that_begins_early_waits_for_the_one_before", overlapping),
    ("threads_share_a_plan_and_its_inputs", threads),
    ("threads_share_the_memory_for_copies", copies),
    ("a_foreign_stream_is_ordered_with_buffers", foreign),
    ("events_time_and_order", events),
    ("another_gpu_is_refused_by_number", numbers),
];

/// y = x, then z = y, ... on a new stream each: any step that does not wait for the one before shows.
fn chain(device: &Device) {
    let n = 2048;
    let problem = Problem::forward(1, 4096, n, n);
    let plan = Planner::new(device.clone()).plan(&problem).unwrap();
    let mut identity = vec![bf16::ZERO; n * n];
    for i in 0..n {
        identity[i * n + i] = bf16::ONE;
    }
    let w = Buffer::from_slice(device, &identity).unwrap();
    let sizes = Buffer::from_slice(device, &[4096_i32]).unwrap();
    let streams: Vec<Stream> = (0..4).map(|_| Stream::new(device).unwrap()).collect();
    let mut a = Buffer::zeros(device, ElementType::Bf16, 4096 * n).unwrap();
    let mut b = Buffer::zeros(device, ElementType::Bf16, 4096 * n).unwrap();
    for round in 1..=5 {
        let value = bf16::from_f32(round as f32);
        a.copy_from_slice(&vec![value; 4096 * n]).unwrap();
        for step in 0..8 {
            let stream = &streams[step % streams.len()];
            plan.run_on(stream, Args::forward(&a, &w, &sizes, &mut b)).unwrap();
            std::mem::swap(&mut a, &mut b);
        }
        assert!(a.to_vec::<bf16>().unwrap().iter().all(|held| *held == value), "round {round}");
    }
}

/// y = x with its columns turned by one, then z = y turned ...: short launches on one stream, of which each may begin while
/// the one before it ends, by every variant that can, as they come and as a graph. One that read too early would leave
/// columns behind.
fn overlapping(device: &Device) {
    const STEPS: usize = 200;
    let (m, n) = (700, 256);
    let problem = Problem::forward(3, m, n, n);
    let planner = Planner::new(device.clone());
    let turned: Vec<bf16> =
        (0..3 * n * n).map(|i| if i / n % n == (i % n + 1) % n { bf16::ONE } else { bf16::ZERO }).collect();
    let w = Buffer::from_slice(device, &turned).unwrap();
    let sizes = Buffer::from_slice(device, &[300_i32, 1, 399]).unwrap();
    let x: Vec<bf16> = (0..m * n).map(|i| bf16::from_f32(((i * 7 + i / n * 13) % 251) as f32)).collect();
    let expected: Vec<bf16> = (0..m * n).map(|i| x[i / n * n + (i % n + n - STEPS % n) % n]).collect();
    let stream = Stream::new(device).unwrap();
    let explanation = planner.explain(&problem, device.arch().unwrap()).unwrap();
    let candidates = explanation.candidates();
    assert!(!candidates.is_empty());
    for candidate in candidates {
        let name = candidate.variant.name();
        let plan = planner.clone().pin(name.parse().unwrap()).plan(&problem).unwrap();
        let mut a = Buffer::from_slice(device, &x).unwrap();
        let mut b = Buffer::zeros(device, ElementType::Bf16, m * n).unwrap();
        let mut chain = |stream: &Stream| {
            for _ in 0..STEPS / 2 {
                plan.run_on(stream, Args::forward(&a, &w, &sizes, &mut b))?;
                plan.run_on(stream, Args::forward(&b, &w, &sizes, &mut a))?;
            }
            Ok(())
        };
        let mut graph = stream.capture(&mut chain).unwrap();
        chain(&stream).unwrap();
        assert!(a.to_vec::<bf16>().unwrap() == expected, "{name}");
        a.copy_from_slice(&x).unwrap();
        graph.launch(&stream).unwrap();
        assert!(a.to_vec::<bf16>().unwrap() == expected, "{name}, as a graph");
    }
}

fn threads(device: &Device) {
    let (plan, mut case) = small(device, 31);
    case.run(&plan);
    case.check();
    let expected = bytes(&case.out);
    let (plan, case, expected) = (&plan, &case, &expected);
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let stream = (number % 2 == 0).then(|| Stream::new(device).unwrap());
                let mut out = case.host.out.to_device(device).unwrap();
                for _ in 0..50 {
                    let args = Args::forward(&case.lhs, &case.rhs, &case.groups, &mut out);
                    match &stream {
                        Some(stream) => plan.run_on(stream, args).unwrap(),
                        None => plan.run(args).unwrap(),
                    }
                }
                assert!(&bytes(&out) == expected, "thread {number}");
                // Planning races too: each thread asks for variants that none has loaded.
                let problem = Problem::grad_w(3, 64 + number, 40, 24);
                let sizes = [20, 30, 14 + number];
                let mut own = OnGpu::new(device, &problem, &sizes, Values::SmallIntegers, 32);
                own.run(&Planner::new(device.clone()).plan(&problem).unwrap());
                own.check();
            });
        }
    });
}

/// Plans that copy operands first, which share memory for that: asked for by threads at one time, on streams of their own, on
/// one that all have, and as graphs.
fn copies(device: &Device) {
    let variant = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s4_pingpong_tma_dynamic_dthreads";
    if !device.arch().is_some_and(|arch| arch.executes(ggemm::Arch::Sm90a)) {
        return;
    }
    thread::scope(|scope| {
        for number in 0..12 {
            scope.spawn(move || {
                let problem = Problem::forward(3, 500, 255 + 16 * number, 1021);
                // Its copy engine addresses no row of these, so that both operands are copied.
                let plan = Planner::new(device.clone()).pin(variant.parse().unwrap()).plan(&problem).unwrap();
                let mut case = OnGpu::new(device, &problem, &[200, 0, 300], Values::SmallIntegers, number as u64);
                case.run(&plan);
                case.check();
                let expected = bytes(&case.out);
                let stream = (number % 3 > 0).then(|| Stream::new(device).unwrap());
                let mut graph = stream
                    .as_ref()
                    .filter(|_| number % 3 == 2)
                    .map(|stream| stream.capture(|stream| plan.run_on(stream, case.args())).unwrap());
                for round in 0..100 {
                    match (&stream, &mut graph) {
                        (Some(stream), Some(graph)) => graph.launch(stream).unwrap(),
                        (Some(stream), None) => case.run_on(&plan, stream),
                        (None, _) => case.run(&plan),
                    }
                    assert!(bytes(&case.out) == expected, "thread {number}, round {round}");
                }
            });
        }
    });
}

fn foreign(device: &Device) {
    let owner = Stream::new(device).unwrap();
    let (plan, mut case) = small(device, 33);
    {
        // SAFETY: `owner` outlives the wrap.
        let stream = unsafe { Stream::from_raw(device, owner.raw()) }.unwrap();
        for _ in 0..20 {
            case.run_on(&plan, &stream);
        }
    }
    drop(owner);
    case.check();
}

fn events(device: &Device) {
    let stream = Stream::new(device).unwrap();
    let (start, end) = (Event::new(device).unwrap(), Event::new(device).unwrap());
    let (plan, mut case) = small(device, 34);
    case.run_on(&plan, &stream);
    start.record(&stream).unwrap();
    for _ in 0..10 {
        case.run_on(&plan, &stream);
    }
    end.record(&stream).unwrap();
    let time = end.elapsed_since(&start).unwrap();
    assert!(time.as_nanos() > 5_000 && time.as_millis() < 100, "{time:?} for ten small launches");
    case.check();
    // SAFETY: `end` outlives the wrap.
    let wrapped = unsafe { Event::from_raw(device, end.raw()) }.unwrap();
    assert_eq!(wrapped.elapsed_since(&start).unwrap(), time);
    drop(wrapped);
    Stream::new(device).unwrap().wait(&end).unwrap();
    assert!(matches!(Event::new(&Device::cpu()).unwrap_err(), Error::NotAGpu { .. }));
}

fn numbers(_: &Device) {
    let error = Device::cuda(4096).unwrap_err().to_string();
    assert!(error.starts_with("there is no GPU 4096: the NVIDIA driver shows "), "{error}");
}
