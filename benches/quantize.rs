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
    what: String,
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
/// Elements of a source, about.
const ELEMENTS: usize = 1 << 26;

/// A source: groups of about as many rows each, of so many columns.
#[derive(Clone, Copy)]
struct Shape {
    groups: usize,
    rows_of_group: usize,
    cols: usize,
}

impl Shape {
    const fn rows(self) -> usize {
        self.groups * self.rows_of_group
    }
}

/// Groups of 1024 rows of 4096.
const USUAL: Shape = Shape { groups: 16, rows_of_group: 1024, cols: 4096 };

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

/// Tokens, with and without the copy that grad_w reads, and a weight, in blocks and by rows; then longer rows and columns.
fn measure(device: &Device) -> Result<Vec<QuantizeRow>> {
    if !device.arch().is_some_and(|arch| arch.executes(ggemm::Arch::Sm89)) {
        return Ok(Vec::new());
    }
    let of = |problem: Problem, scaling| problem.operand(Dtype::E4m3).scaling(scaling);
    let tokens = |shape: Shape, scaling| {
        Quantizer::new(&of(Problem::forward(shape.groups, shape.rows(), 128, shape.cols), scaling))
    };
    let reduction = |shape: Shape, scaling| {
        let problem = Problem::grad_w(shape.groups, shape.rows(), 128, shape.cols);
        Quantizer::new(&of(problem, scaling).reduction_blocks(true))
    };
    let weight = |layout| {
        Quantizer::new(
            &of(Problem::forward(USUAL.groups, 1, USUAL.rows_of_group, USUAL.cols), Scaling::Block)
                .weight_layout(layout),
        )
        .map(|q| q.weights_from(ggemm::WeightLayout::Nk))
    };
    let (nk, kn) = (weight(ggemm::WeightLayout::Nk)?, weight(ggemm::WeightLayout::Kn)?);
    let ty = ElementType::Bf16;
    let (block, row) = (Scaling::Block, Scaling::Row);
    let by_rows = |shape: Shape| QuantizePlan::first(&tokens(shape, row)?, device, ty);
    let by_columns = |shape: Shape| QuantizePlan::second(&reduction(shape, row)?, device, ty);
    let in_blocks = tokens(USUAL, block)?;
    let for_grad_w = reduction(USUAL, block)?;
    let mut plans = vec![
        ("tokens, blocks".to_owned(), USUAL, QuantizePlan::first(&in_blocks, device, ty)?),
        (
            "tokens, blocks, and for grad_w".to_owned(),
            USUAL,
            QuantizePlan::first(&in_blocks, device, ty)?.and_second(&for_grad_w)?,
        ),
        ("tokens for grad_w, blocks".to_owned(), USUAL, QuantizePlan::second(&for_grad_w, device, ty)?),
        ("weights, blocks, both layouts".to_owned(), USUAL, QuantizePlan::second(&nk, device, ty)?.and_second(&kn)?),
        ("tokens, rows".to_owned(), USUAL, by_rows(USUAL)?),
        ("tokens for grad_w, columns".to_owned(), USUAL, by_columns(USUAL)?),
    ];
    for cols in [2048, 7168, 14_336, 28_672] {
        let shape = Shape { cols, rows_of_group: ELEMENTS / USUAL.groups / cols, ..USUAL };
        plans.push((format!("tokens, rows of {cols}"), shape, by_rows(shape)?));
    }
    for rows_of_group in [512, 2048, 4096, 8192] {
        let shape = Shape { rows_of_group, groups: ELEMENTS / USUAL.cols / rows_of_group, ..USUAL };
        plans.push((format!("tokens for grad_w, columns of {rows_of_group}"), shape, by_columns(shape)?));
    }
    plans.into_iter().map(|(what, shape, plan)| time(device, what, &plan, shape)).collect()
}

fn time(device: &Device, what: String, plan: &QuantizePlan, shape: Shape) -> Result<QuantizeRow> {
    let elements = shape.rows() * shape.cols;
    let values: Vec<ggemm::bf16> =
        (0..elements).map(|i| ggemm::bf16::from_f32(((i * 7919) % 2003) as f32 * 0.01 - 10.0)).collect();
    let source = |_| Buffer::from_slice(device, &values);
    let sources: Vec<Buffer> = (0..SOURCES).map(source).collect::<std::result::Result<_, _>>()?;
    // Not all alike, and none a multiple of a block.
    let mean = shape.rows_of_group as i32;
    let sizes: Vec<i32> = (0..shape.groups as i32).map(|g| mean + if g % 2 == 0 { 37 } else { -37 }).collect();
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
    let bytes = (2 * elements + copied) as f64;
    let bandwidth = device.arch().map_or(f64::INFINITY, |arch| arch.limits().dram_bytes_per_s);
    Ok(QuantizeRow {
        what,
        kernel: plan.kernel(),
        microseconds: seconds * 1e6,
        gb_per_s: bytes / seconds / 1e9,
        of_bandwidth: bytes / seconds / bandwidth,
    })
}
