//! The writer of CUDA C++.
//!
//! The text is a function of the kernel, to the byte. It includes nothing, so that NVRTC compiles it without a
//! toolkit; what it needs of PTX are the thin wrappers of the prelude. It is meant to be read.

mod addresses;
mod epilogue;
mod hopper;
mod partial_sums;
mod prelude;
mod quantize;
mod rows;
mod scalars;
mod scales;
mod staging;
mod statements;
mod writer;

use std::borrow::Cow;

use crate::ir::{Kernel, Op, ParamType, Quantize, StmtId};
use writer::Writer;

/// The text of a kernel.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The head, the prelude files in use (borrowed, so that variants can share them), and the kernel.
    pub parts: Vec<Cow<'static, str>>,
    /// For each statement in the order of the text, the first and the last of its lines in the whole text, counted
    /// from 1.
    pub lines: Vec<(StmtId, u32, u32)>,
}

impl Emitted {
    /// The whole text.
    pub fn text(&self) -> String {
        self.parts.concat()
    }
}

/// Writes a kernel.
pub fn emit(kernel: &Kernel) -> Emitted {
    let mut writer = Writer::new(kernel);
    write_kernel(&mut writer, kernel);
    let (text, lines) = writer.finish();

    let mut parts = vec![Cow::Owned(head(kernel))];
    parts.extend(prelude::used_by(kernel).into_iter().map(Cow::Borrowed));
    let before: usize = parts.iter().map(|p| p.matches('\n').count()).sum();
    let lines = lines.into_iter().map(|(id, first, last)| (id, first + before as u32, last + before as u32)).collect();
    parts.push(Cow::Owned(text));
    Emitted { parts, lines }
}

fn head(kernel: &Kernel) -> String {
    let c = &kernel.contract;
    format!(
        "// {}\n//\n// {}\n// {} threads a CTA, {} bytes of shared memory, rows aligned to {} bytes.\n// Written by ggemm {}. Needs no header; compile with nvcc or NVRTC, C++17.\n\n",
        c.name,
        kernel.body.summary,
        c.threads,
        c.shared_bytes,
        c.alignment,
        env!("CARGO_PKG_VERSION"),
    )
}

fn write_kernel(w: &mut Writer<'_>, kernel: &Kernel) {
    for tile in kernel.body.shared.iter().enumerate().filter(|(i, _)| is_addressed(kernel, *i)).map(|(_, t)| t) {
        addresses::write_piece_function(w, tile);
    }
    hopper::write_functions(w);
    let c = &kernel.contract;
    let cluster = if c.cluster > 1 { format!("__cluster_dims__({}, 1, 1) ", c.cluster) } else { String::new() };
    let bounds = format!("__launch_bounds__({}, {})", c.threads, kernel.body.resident);
    w.line(&format!("extern \"C\" __global__ void {cluster}{bounds}"));
    w.line(&format!("{}(", c.name));
    w.indent();
    for (i, p) in c.params.iter().enumerate() {
        let ty = match p.ty {
            ParamType::Input(t) => format!("const {t}* __restrict__ "),
            ParamType::Output(t) => format!("{t}* __restrict__ "),
            ParamType::Indices => "const void* __restrict__ ".to_owned(),
            ParamType::Bool => "const bool ".to_owned(),
            ParamType::I32 => "const int ".to_owned(),
            ParamType::I64 => "const int64 ".to_owned(),
            ParamType::TensorMap(_) => "const __grid_constant__ TensorMap ".to_owned(),
            ParamType::Words => "int* __restrict__ ".to_owned(),
        };
        let end = if i + 1 == c.params.len() { ")" } else { "," };
        w.line(&format!("{ty}{}{end}", p.name));
    }
    w.dedent();
    w.line("{");
    w.indent();
    statements::write_declarations(w);
    statements::write_block(w, &kernel.body.block);
    w.dedent();
    w.line("}");
}

/// Whether threads compute addresses in a shared tile.
fn is_addressed(kernel: &Kernel, tile: usize) -> bool {
    let mut found = false;
    kernel.body.for_each_stmt(|s| match &s.op {
        Op::CopyTile { to, .. }
        | Op::StoreStaging { to, .. }
        | Op::LoadMatrix { from: to, .. }
        | Op::StoreFragment { to, .. }
        | Op::Quantize(Quantize::TransposePatch { to, .. } | Quantize::StoreTransposed { from: to, .. }) => {
            found |= to.tile.0 as usize == tile;
        }
        _ => {}
    });
    found
}
