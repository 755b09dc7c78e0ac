//! From a spec to all that is baked of it.

use std::borrow::Cow;

use crate::constraints::ValidSpec;
use crate::emit::cuda;
use crate::ir::{Contract, Kernel};
use crate::kernels::{self, QuantizeSpec, RealignSpec};

/// One variant, ready to be baked: its text and its contract.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The spec's name, and the kernel's symbol.
    pub name: String,
    /// The CUDA text in parts: the prelude files it uses, shared to the byte between variants, then its own.
    pub parts: Vec<Cow<'static, str>>,
    /// What the host needs to launch it.
    pub contract: Contract,
}

impl Generated {
    /// The whole CUDA text.
    pub fn source(&self) -> String {
        self.parts.concat()
    }
}

/// Builds and writes the kernel of a spec.
pub fn generate(spec: &ValidSpec) -> Generated {
    of(kernels::build(spec))
}

/// Builds and writes a kernel that quantizes.
pub fn generate_quantizer(spec: &QuantizeSpec) -> Generated {
    of(kernels::quantize::build(spec))
}

/// Builds and writes a kernel that copies to aligned rows.
pub fn generate_realigner(spec: &RealignSpec) -> Generated {
    of(kernels::realign::build(spec))
}

fn of(kernel: Kernel) -> Generated {
    let text = cuda::emit(&kernel);
    Generated { name: kernel.contract.name.clone(), parts: text.parts, contract: kernel.contract }
}
