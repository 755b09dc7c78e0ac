//! Stand-in for `ggemm_codegen::{catalogue, generate}` until they are written: the same interface, a temporary body.

use std::borrow::Cow;

use ggemm_codegen::{Arch, CopyPath, Dtype, KernelSpec, Major, Ragged, Schedule, Tile, ValidSpec, Warps};

pub(super) struct Generated {
    pub(super) name: String,
    pub(super) parts: Vec<Cow<'static, str>>,
    pub(super) contract: serde_json::Value,
}

pub(super) fn generate(spec: &ValidSpec) -> Generated {
    let name = spec.spec().to_string();
    let body = format!("extern \"C\" __global__ void {name}() {{}}\n");
    let parts = vec![Cow::Borrowed("// prelude: copies\n"), Cow::Borrowed("// prelude: products\n"), Cow::Owned(body)];
    Generated { name, parts, contract: serde_json::json!({ "threads": spec.warps.threads() }) }
}

pub(super) fn shipped() -> Vec<KernelSpec> {
    let mut specs = Vec::new();
    for (ragged, b_major) in [(Ragged::Rows, Major::K), (Ragged::Rows, Major::Mn), (Ragged::Reduction, Major::Mn)] {
        for operand in [Dtype::Bf16, Dtype::F16] {
            for output in [operand, Dtype::F32] {
                for (tile, warps, stages) in [
                    (Tile { m: 128, n: 256, k: 64 }, Warps { m: 2, n: 4 }, 3),
                    (Tile { m: 128, n: 128, k: 64 }, Warps { m: 2, n: 2 }, 3),
                    (Tile { m: 64, n: 128, k: 64 }, Warps { m: 2, n: 2 }, 4),
                    (Tile { m: 64, n: 64, k: 32 }, Warps { m: 2, n: 2 }, 2),
                ] {
                    for (copy, even_k) in
                        [(CopyPath::CpAsync, true), (CopyPath::CpAsync, false), (CopyPath::Plain, false)]
                    {
                        let even_k_fits = !even_k || ragged == Ragged::Rows;
                        let copy_fits = (copy == CopyPath::Plain) == (stages == 2);
                        if even_k_fits && copy_fits {
                            specs.push(KernelSpec {
                                ragged,
                                a_major: if ragged == Ragged::Rows { Major::K } else { Major::Mn },
                                b_major,
                                operand,
                                accumulator: Dtype::F32,
                                output,
                                arch: Arch::Sm80,
                                tile,
                                warps,
                                stages,
                                schedule: Schedule::Multistage,
                                copy,
                                even_k,
                            });
                        }
                    }
                }
            }
        }
    }
    specs
}
