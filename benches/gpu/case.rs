//! Layers of known models, and their tensors on the GPU.

use ggemm::random::{Rng, Spread};
use ggemm::{Args, Buffer, Device, ElementType, Error, Operation, Problem, bf16};
use serde::Deserialize;

use crate::Result;

/// One layer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) groups: usize,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// Rows of each group; drawn where there are none.
    #[serde(default)]
    sizes: Vec<i32>,
    /// How they are drawn: 1 / (i + 1)^0.6 unless the case says otherwise.
    #[serde(default)]
    spread: Option<String>,
    #[serde(default = "all")]
    pub(crate) operations: Vec<Operation>,
}

fn all() -> Vec<Operation> {
    Operation::ALL.to_vec()
}

#[derive(Deserialize)]
struct Suite {
    cases: Vec<Case>,
}

impl Case {
    /// The suite, with sizes.
    pub(crate) fn suite() -> Result<Vec<Self>> {
        let mut suite: Suite = serde_json::from_str(include_str!("suite.json"))?;
        for case in &mut suite.cases {
            let spread: Spread = case.spread.as_deref().unwrap_or("zipf").parse()?;
            if case.sizes.is_empty() {
                let seed = case.name.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(131).wrapping_add(byte.into()));
                let sizes = spread.sizes(case.groups, case.m, &mut Rng::new(seed));
                case.sizes = sizes.into_iter().map(i32::try_from).collect::<std::result::Result<_, _>>()?;
            }
        }
        Ok(suite.cases)
    }

    pub(crate) fn problem(&self, operation: Operation) -> Problem {
        Problem::new(operation, self.groups, self.m, self.n, self.k)
    }

    /// Useful floating-point operations of any of the three operations.
    pub(crate) fn operations_done(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    /// Bytes that any of the three operations must at least move: groups without rows have no weights to read, but
    /// grad_w writes their zeros.
    pub(crate) fn bytes_moved(&self, operation: Operation) -> f64 {
        let live = match operation {
            Operation::GradW => self.groups,
            _ => self.sizes.iter().filter(|size| **size > 0).count(),
        };
        let elements = self.m as f64 * (self.n + self.k) as f64 + live as f64 * (self.n * self.k) as f64;
        2.0 * elements
    }
}

/// Several sets of one case's tensors, so that no run finds the last one's inputs in a cache.
pub(crate) struct Tensors {
    sets: Vec<Set>,
    groups: Buffer,
    host: Host,
}

/// x [M, K], dy [M, N] and w [G, N, K] on the GPU, and an output as large as the largest.
struct Set {
    x: Buffer,
    dy: Buffer,
    w: Buffer,
}

/// The first set in the host's memory.
struct Host {
    x: Vec<bf16>,
    dy: Vec<bf16>,
    w: Vec<bf16>,
    sizes: Vec<i32>,
    n: usize,
    k: usize,
}

/// Sets beyond the first are made while they stay below this many bytes.
const MOST_BYTES: usize = 3 << 30;

impl Tensors {
    pub(crate) fn new(device: &Device, case: &Case) -> Result<Self> {
        let mut rng = Rng::new(case.m as u64);
        // Long enough that no row repeats within a tile, and of a length that no row's divides.
        let block: Vec<bf16> = (0..(1 << 20) + 7).map(|_| bf16::from_f32(rng.normal())).collect();
        let lengths = [case.m * case.k, case.m * case.n, case.groups * case.n * case.k];
        let [x, dy, w] = lengths.map(|len| repeat(&block, len));
        let bytes = 2 * lengths.iter().sum::<usize>();
        let mut sets = Vec::new();
        for _ in 0..(MOST_BYTES / bytes.max(1)).clamp(1, 4) {
            let to = |elements: &[bf16]| Buffer::from_slice(device, elements);
            sets.push(Set { x: to(&x)?, dy: to(&dy)?, w: to(&w)? });
        }
        let groups = Buffer::from_slice(device, &case.sizes)?;
        Ok(Tensors { sets, groups, host: Host { x, dy, w, sizes: case.sizes.clone(), n: case.n, k: case.k } })
    }

    /// An output of the operation that holds NaN.
    pub(crate) fn output(&self, device: &Device, operation: Operation) -> Result<Buffer> {
        let Host { x, dy, w, .. } = &self.host;
        let len = match operation {
            Operation::Forward => dy.len(),
            Operation::GradX => x.len(),
            Operation::GradW => w.len(),
        };
        Ok(Buffer::from_slice(device, &vec![bf16::NAN; len])?)
    }

    /// The arguments of the run of this number.
    pub(crate) fn args<'a>(&'a self, operation: Operation, run: usize, out: &'a mut Buffer) -> Args<'a> {
        let Set { x, dy, w } = &self.sets[run % self.sets.len()];
        match operation {
            Operation::Forward => Args::forward(x, w, &self.groups, out),
            Operation::GradX => Args::grad_x(dy, w, &self.groups, out),
            Operation::GradW => Args::grad_w(dy, x, &self.groups, out),
        }
    }

    /// Holds samples of an output against sums in f64.
    pub(crate) fn check(&self, operation: Operation, out: &Buffer) -> Result<()> {
        let out = out.to_vec::<bf16>()?;
        if let Some(index) = out.iter().position(|element| element.is_nan()) {
            return Err(format!("{operation}: element {index} was not written").into());
        }
        let mut rng = Rng::new(out.len() as u64);
        for _ in 0..200 {
            let index = rng.below(out.len());
            let (exact, magnitude, terms) = self.host.sum(operation, index);
            let found = f64::from(out[index].to_f32());
            // Half a unit in the last place of a bf16, and the error of sums in f32.
            let bound = exact.abs() / 256.0 + terms as f64 * magnitude * 2_f64.powi(-24) + 1e-30;
            if (found - exact).abs() > bound {
                return Err(format!("{operation}: element {index} is {found}, not {exact}").into());
            }
        }
        Ok(())
    }
}

impl Host {
    /// An element of the output, the sum of its products' magnitudes, and their number.
    fn sum(&self, operation: Operation, index: usize) -> (f64, f64, usize) {
        let &Host { n, k, .. } = self;
        let products: Vec<f64> = match operation {
            Operation::Forward => {
                let (row, col) = (index / n, index % n);
                let weight = self.group_of(row) * n * k + col * k;
                (0..k).map(|i| product(self.x[row * k + i], self.w[weight + i])).collect()
            }
            Operation::GradX => {
                let (row, col) = (index / k, index % k);
                let weight = self.group_of(row) * n * k + col;
                (0..n).map(|i| product(self.dy[row * n + i], self.w[weight + i * k])).collect()
            }
            Operation::GradW => {
                let (group, row, col) = (index / (n * k), index / k % n, index % k);
                let start: usize = self.sizes[..group].iter().map(|size| *size as usize).sum();
                let rows = start..start + self.sizes[group] as usize;
                rows.map(|r| product(self.dy[r * n + row], self.x[r * k + col])).collect()
            }
        };
        let magnitude = products.iter().map(|product| product.abs()).sum();
        (products.iter().sum(), magnitude, products.len())
    }

    fn group_of(&self, row: usize) -> usize {
        let mut end = 0;
        self.sizes
            .iter()
            .position(|size| {
                end += *size as usize;
                row < end
            })
            .unwrap_or_default()
    }
}

fn product(a: bf16, b: bf16) -> f64 {
    f64::from(a.to_f32()) * f64::from(b.to_f32())
}

fn repeat(block: &[bf16], len: usize) -> Vec<bf16> {
    let mut elements = Vec::with_capacity(len);
    while elements.len() < len {
        elements.extend_from_slice(&block[..block.len().min(len - elements.len())]);
    }
    elements
}

/// Memory of the size of any L2 cache, to be overwritten between runs.
pub(crate) struct Flush(Buffer);

impl Flush {
    pub(crate) fn new(device: &Device) -> std::result::Result<Self, Error> {
        Ok(Flush(Buffer::zeros(device, ElementType::F32, 64 << 20)?))
    }

    pub(crate) fn flush(&mut self) -> std::result::Result<(), Error> {
        self.0.set_zero()
    }
}
