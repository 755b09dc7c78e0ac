//! What quantization costs on a GPU, in bytes read and written over time: `cargo bench --bench quantize`, or alone on a
//! machine without Rust (`cargo xtask bundle`).

use std::fmt;
use std::process::ExitCode;

use ggemm::cuda::{Event, Stream};
use ggemm::quantize::{CopyArgs, QuantizePlan, Quantized, Quantizer};
use ggemm::tune::median;
use ggemm::{Buffer, Device, Dtype, ElementType, Problem, Scaling};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One kernel on one source.
struct QuantizeRow {
    /// What is quantized.
    what: &'static str,
    kernel: String,
    microseconds: f64,
    /// Source, copies and scales, each once, over the time.
    gb_per_s: f64,
    /// Of the DRAM bandwidth that the cost model takes for the architecture.
    of_bandwidth: f64,
}

impl fmt::Display for QuantizeRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuantizeRow { what, kernel, microseconds, gb_per_s, of_bandwidth } = self;
        let percent = of_bandwidth * 100.0;
        write!(f, "quantize {what:<34} {microseconds:>8.1} us {gb_per_s:>7.0} GB/s {percent:>4.0}%  {kernel}")
    }
}

const ROUNDS: usize = 21;
/// Sources in turns, so that none of them is in L2 when its turn comes: 128 MiB each and more.
const SOURCES: usize = 3;
const GROUPS: usize = 16;
const M: usize = 16_384;
const N: usize = 4096;

fn main() -> ExitCode {
    let device = match Device::probe() {
        Ok(device) => device,
        // `cargo bench` runs everything there is.
        Err(why) => {
            eprintln!("nothing is timed: {why}");
            return ExitCode::SUCCESS;
        }
    };
    match measure(&device) {
        Ok(rows) => {
            rows.iter().for_each(|row| println!("{row}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tokens, with and without the copy that grad_w reads, and a weight, in blocks and by rows.
fn measure(device: &Device) -> Result<Vec<QuantizeRow>> {
    if !device.arch().is_some_and(|arch| arch.executes(ggemm::Arch::Sm89)) {
        return Ok(Vec::new());
    }
    let of = |problem: Problem, scaling| problem.operand(Dtype::E4m3).scaling(scaling);
    let tokens = |scaling| Quantizer::new(&of(Problem::forward(GROUPS, M, 128, N), scaling));
    let reduction = |scaling| Quantizer::new(&of(Problem::grad_w(GROUPS, M, 128, N), scaling).reduction_blocks(true));
    let weight = |layout| {
        Quantizer::new(&of(Problem::forward(GROUPS, 1, M / GROUPS, N), Scaling::Block).weight_layout(layout))
            .map(|q| q.weights_from(ggemm::WeightLayout::Nk))
    };
    let (nk, kn) = (weight(ggemm::WeightLayout::Nk)?, weight(ggemm::WeightLayout::Kn)?);
    let ty = ElementType::Bf16;
    let (block, row) = (Scaling::Block, Scaling::Row);
    let plans = [
        ("tokens, blocks", QuantizePlan::first(&tokens(block)?, device, ty)?),
        (
            "tokens, blocks, and for grad_w",
            QuantizePlan::first(&tokens(block)?, device, ty)?.and_second(&reduction(block)?)?,
        ),
        ("tokens for grad_w, blocks", QuantizePlan::second(&reduction(block)?, device, ty)?),
        ("weights, blocks, both layouts", QuantizePlan::second(&nk, device, ty)?.and_second(&kn)?),
        ("tokens, rows", QuantizePlan::first(&tokens(row)?, device, ty)?),
        ("tokens for grad_w, columns", QuantizePlan::second(&reduction(row)?, device, ty)?),
    ];
    let values: Vec<ggemm::bf16> =
        (0..M * N).map(|i| ggemm::bf16::from_f32(((i * 7919) % 2003) as f32 * 0.01 - 10.0)).collect();
    let source = |_| Buffer::from_slice(device, &values);
    let sources: Vec<Buffer> = (0..SOURCES).map(source).collect::<std::result::Result<_, _>>()?;
    plans.into_iter().map(|(what, plan)| time(device, what, &plan, &sources)).collect()
}

fn time(device: &Device, what: &'static str, plan: &QuantizePlan, sources: &[Buffer]) -> Result<QuantizeRow> {
    // Not all alike, and none a multiple of a block.
    let sizes: Vec<i32> = (0..GROUPS as i32).map(|g| (M / GROUPS) as i32 + if g % 2 == 0 { 37 } else { -37 }).collect();
    let groups = Buffer::from_slice(device, &sizes)?;
    let mut copies = plan.allocate()?;
    let stream = Stream::new(device)?;
    let mut run = |source: &Buffer| {
        let mut targets = copies.iter_mut();
        let Some(Quantized { elements, scales, .. }) = targets.next() else { return Ok(()) };
        let mut to = CopyArgs::new(elements, scales).groups(&groups);
        if let Some(second) = targets.next() {
            to = to.and(second);
        }
        plan.run_on(&stream, source, to)
    };
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let source = &sources[round % SOURCES];
        run(&sources[(round + 1) % SOURCES])?;
        let (start, end) = (Event::new(device)?, Event::new(device)?);
        start.record(&stream)?;
        run(source)?;
        end.record(&stream)?;
        times.push(end.elapsed_since(&start)?);
    }
    times.sort();
    let seconds = median(&times).as_secs_f64();
    let copied: usize = plan.copies().iter().map(|c| c.elements.elements() + 4 * c.scales.elements()).sum();
    let bytes = (2 * M * N + copied) as f64;
    let bandwidth = device.arch().map_or(f64::INFINITY, |arch| arch.limits().dram_bytes_per_s);
    Ok(QuantizeRow {
        what,
        kernel: plan.kernel(),
        microseconds: seconds * 1e6,
        gb_per_s: bytes / seconds / 1e9,
        of_bandwidth: bytes / seconds / bandwidth,
    })
}
