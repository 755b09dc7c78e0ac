//! Quantization on the GPU, held against the CPU's to the bit.

use ggemm::cuda::Stream;
use ggemm::quantize::{CopyArgs, QuantizePlan, Quantized, Quantizer};
use ggemm::verify::{Extent, Ground, QuantizeCase};
use ggemm::{Buffer, Device, Dtype, ElementType, Error, Problem, Scaling, bf16, catalogue, f16};
use rayon::prelude::*;

use crate::support::Test;

pub(crate) const TESTS: &[Test] = &[
    ("every_16_bit_value_is_quantized_as_on_the_cpu", every_value),
    ("every_kernel_that_quantizes_leaves_the_bits_of_the_cpu", every_kernel),
    ("a_replay_quantizes_the_groups_of_its_own_time", changing_groups),
    ("a_quantizer_refuses_what_it_cannot_make", refusals),
];

/// Whether this GPU converts to fp8.
fn converts(device: &Device) -> bool {
    let converts = device.arch().is_some_and(|arch| arch.executes(ggemm::Arch::Sm89));
    if !converts {
        eprintln!("{device} has no conversion to fp8");
    }
    converts
}

fn same(made: &Quantized, expected: &Quantized, what: &str) {
    let host = |buffer: &Buffer| buffer.to_device(&Device::cpu()).unwrap();
    for (name, made, expected) in
        [("scales", &made.scales, &expected.scales), ("elements", &made.elements, &expected.elements)]
    {
        let (made, expected) = (host(made), host(expected));
        let (made, expected) = (made.as_bytes().unwrap(), expected.as_bytes().unwrap());
        let wrong = made.iter().zip(expected).position(|(a, b)| a != b);
        let found = wrong.map(|at| (at, made[at], expected[at]));
        assert_eq!((made.len(), found), (expected.len(), None), "{what}: byte of the {name}, found, expected");
    }
}

/// All values of 16 bits, in the order of their bits and with very different ones beside each other, rows of both.
fn every_value(device: &Device) {
    if !converts(device) {
        return;
    }
    let ordered: Vec<u16> = (0..=u16::MAX).collect();
    let mixed: Vec<u16> = ordered.iter().map(|bits| bits.wrapping_mul(40_503)).collect();
    for (bits, order) in [(&ordered, "in order"), (&mixed, "mixed")] {
        for format in [Dtype::E4m3, Dtype::E5m2] {
            for (scaling, powers_of_two) in [(Scaling::Block, false), (Scaling::Block, true), (Scaling::Row, false)] {
                let problem = Problem::forward(1, 512, 1, 128).operand(format).scaling(scaling);
                let quantizer = Quantizer::new(&problem).unwrap().powers_of_two(powers_of_two);
                let check = |source: &Buffer, ty: &str| {
                    let made = quantizer.first(&source.to_device(device).unwrap()).unwrap();
                    let expected = quantizer.first(source).unwrap();
                    same(&made, &expected, &format!("{ty} {order} to {format}, {scaling}, {powers_of_two}"));
                };
                let host = Device::cpu();
                let of_bf16: Vec<bf16> = bits.iter().map(|b| bf16::from_bits(*b)).collect();
                let of_f16: Vec<f16> = bits.iter().map(|b| f16::from_bits(*b)).collect();
                check(&Buffer::from_slice(&host, &of_bf16).unwrap(), "bf16");
                check(&Buffer::from_slice(&host, &of_f16).unwrap(), "f16");
            }
        }
    }
}

fn every_kernel(device: &Device) {
    if !converts(device) {
        return;
    }
    let ground = Ground::Device(device.clone());
    // Side by side: most of the time is the compiler's.
    catalogue::QUANTIZERS.kernels.par_iter().for_each(|kernel| {
        let spec = kernel.quantize_spec().unwrap();
        if !device.arch().is_some_and(|arch| arch.executes(spec.arch())) {
            return;
        }
        for (seed, extent) in [(1, Extent::Tiles), (2, Extent::Hundreds), (3, Extent::Hundreds)] {
            let case = QuantizeCase::random(&spec, seed, extent);
            case.check(&ground).unwrap_or_else(|failure| panic!("{failure}"));
        }
    });
}

/// Both copies of one read, in a graph: groups are read when it is launched.
fn changing_groups(device: &Device) {
    if !converts(device) {
        return;
    }
    const M: usize = 700;
    let problem = |p: Problem| p.operand(Dtype::E4m3).scaling(Scaling::Block).tail(ggemm::Tail::Zero);
    let forward = problem(Problem::forward(4, M, 64, 256));
    let grad_w = problem(Problem::grad_w(4, M, 64, 256)).reduction_blocks(true);
    let values: Vec<bf16> = (0..M * 256).map(|i| bf16::from_f32((i as f32 * 0.37).sin() * (i % 977) as f32)).collect();
    let host = Buffer::from_slice(&Device::cpu(), &values).unwrap();
    let source = host.to_device(device).unwrap();
    let tokens = Quantizer::new(&forward).unwrap();
    let plan = QuantizePlan::first(&tokens, device, ElementType::Bf16)
        .and_then(|plan| plan.and_second(&Quantizer::new(&grad_w).unwrap()))
        .unwrap();
    let [mut straight, mut reduction]: [Quantized; 2] = plan.allocate().unwrap().try_into().unwrap();
    let mut groups = Buffer::from_slice(device, &[0_i32; 4]).unwrap();
    let stream = Stream::new(device).unwrap();
    let run =
        |stream: &Stream| plan.run_on(stream, &source, CopyArgs::of(&mut straight).and(&mut reduction).groups(&groups));
    let mut graph = stream.capture(run).unwrap();
    for sizes in [[100, 150, 0, 250], [0, 0, 700, 0], [1, 2, 3, 4], [0, 0, 0, 0], [129, 128, 127, 300]] {
        groups.copy_from_slice(&sizes).unwrap();
        reduction.elements.set_zero().unwrap();
        reduction.scales.set_zero().unwrap();
        graph.launch(&stream).unwrap();
        same(&straight, &tokens.first(&host).unwrap(), &format!("tokens, {sizes:?}"));
        let expected = Quantizer::new(&grad_w).unwrap().groups(&sizes).unwrap().second(&host).unwrap();
        same(&reduction, &expected, &format!("reduction, {sizes:?}"));
    }
}

fn refusals(device: &Device) {
    if !converts(device) {
        return;
    }
    let problem = Problem::grad_w(2, 64, 32, 48).operand(Dtype::E4m3).scaling(Scaling::Row);
    let quantizer = Quantizer::new(&problem).unwrap();
    let dy = Buffer::zeros(device, ElementType::Bf16, 64 * 32).unwrap();
    assert!(matches!(quantizer.first(&dy), Err(Error::MissingGroups { .. })));
    let on_host = quantizer.clone().groups(&[32_i32, 32]).unwrap();
    assert!(matches!(on_host.first(&dy), Err(Error::ArgumentDevice { argument: "groups", .. })));
    let plan = QuantizePlan::first(&quantizer, device, ElementType::Bf16).unwrap();
    let wide = Buffer::zeros(device, ElementType::F32, 64 * 32).unwrap();
    let mut copy = plan.allocate().unwrap().pop().unwrap();
    let error = plan.run(&wide, CopyArgs::of(&mut copy)).unwrap_err();
    assert!(matches!(error, Error::ArgumentType { argument: "dy", .. }), "{error}");
    let again = Quantizer::new(&problem).unwrap();
    assert!(matches!(plan.and_second(&again), Err(Error::NotTogether { .. })));
}
