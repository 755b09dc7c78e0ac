//! A forward pass captured in a CUDA graph: each replay reads the sizes that are in device memory by then.
//!
//! `cargo run --release --example 04_cuda_graph`

use ggemm::cuda::Stream;
use ggemm::{Args, Buffer, Device, ElementType, Planner, Problem, Tail, bf16};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = match Device::probe() {
        Ok(device) => device,
        Err(why) => {
            println!("graphs are a GPU's: {why}");
            return Ok(());
        }
    };
    let (groups, m, n, k) = (4, 512, 256, 128);
    let plan = Planner::new(device.clone()).plan(&Problem::forward(groups, m, n, k).tail(Tail::Zero))?;
    println!("{} on {}", plan.problem(), plan.variant());

    let x = Buffer::from_slice(&device, &vec![bf16::ONE; m * k])?;
    let w = Buffer::from_slice(&device, &vec![bf16::ONE; groups * n * k])?;
    let mut sizes = Buffer::zeros(&device, ElementType::I32, groups)?;
    let mut y = Buffer::zeros(&device, ElementType::Bf16, m * n)?;
    let stream = Stream::new(&device)?;
    let mut graph = stream.capture(|stream| plan.run_on(stream, Args::forward(&x, &w, &sizes, &mut y)))?;

    for step in [[128, 128, 128, 128], [0, 500, 0, 12], [1, 2, 3, 4]] {
        sizes.copy_from_slice(&step)?;
        graph.launch(&stream)?;
        let rows = y.to_vec::<bf16>()?.chunks(n).filter(|row| row[0] == bf16::from_f32(k as f32)).count();
        println!("sizes {step:?}: {rows} rows computed, the others are zero");
    }
    Ok(())
}
