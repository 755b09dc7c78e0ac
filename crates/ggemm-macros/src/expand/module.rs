//! The module that takes the place of an invocation.
//!
//! Long texts become literals without being parsed again: an editor expands at every keystroke.

use std::borrow::Cow;
use std::collections::HashMap;

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};

use super::invocation::Invocation;
use super::table::Tuned;

/// A kernel, made.
pub(super) struct Kernel {
    pub(super) name: String,
    /// The text in parts.
    pub(super) source: Vec<Cow<'static, str>>,
    /// The contract as JSON.
    pub(super) contract: String,
    pub(super) cubins: Vec<Cubin>,
}

/// Machine code of a kernel.
pub(super) struct Cubin {
    /// The target's name.
    pub(super) target: &'static str,
    /// Compressed with gzip.
    pub(super) gzip: Vec<u8>,
}

/// Writes the module. It has everything as constants. Cargo rebuilds when one of the environment's `variables` changes,
/// or the table.
pub(super) fn write(
    invocation: &Invocation,
    kernels: &[Kernel],
    tuned: Option<&Tuned>,
    variables: &[&str],
) -> TokenStream {
    let Invocation { library, head, name, .. } = invocation;
    let baked = quote! { #library::baked };
    let shared = SharedParts::of(kernels);
    let shared_parts = shared.constants();
    let kernels_doc = document(name, kernels);
    let set_name = Literal::string(&name.to_string());
    let entries = kernels.iter().map(|kernel| {
        let name = Literal::string(&kernel.name);
        let parts = kernel.source.iter().map(|part| shared.expression(part));
        let contract = Literal::string(&kernel.contract);
        let cubins = kernel.cubins.iter().map(|cubin| {
            let (target, gzip) = (Literal::string(cubin.target), Literal::byte_string(&cubin.gzip));
            quote! { #baked::BakedCubin::new(#target, #gzip) }
        });
        quote! { #baked::BakedKernel::new(#name, &[#(#parts),*], #contract, &[#(#cubins),*]) }
    });
    let watched = tuned.map(|tuned| {
        let path = Literal::string(&tuned.path.to_string_lossy());
        quote! { const _: &[::core::primitive::u8] = ::core::include_bytes!(#path); }
    });
    let set = match tuned {
        None => quote! { #baked::KernelSet::new(#set_name, &[#(#entries),*]) },
        Some(tuned) => {
            let lines = Literal::string(&tuned.lines);
            quote! { #baked::KernelSet::tuned(#set_name, &[#(#entries),*], #lines) }
        }
    };
    quote! {
        #head #name {
            #(const _: ::core::option::Option<&::core::primitive::str> = ::core::option_env!(#variables);)*
            #watched
            #shared_parts
            #[doc = #kernels_doc]
            pub static KERNELS: #baked::KernelSet = #set;
        }
    }
}

fn document(module: &Ident, kernels: &[Kernel]) -> String {
    let mut text = format!(" The kernels of `{module}`:\n");
    for kernel in kernels {
        text += &format!(" - `{}`\n", kernel.name);
    }
    text
}

/// Parts that several kernels have, in the order in which they first appear.
struct SharedParts<'a> {
    parts: Vec<&'a str>,
    index: HashMap<&'a str, usize>,
}

impl<'a> SharedParts<'a> {
    fn of(kernels: &'a [Kernel]) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let parts = || kernels.iter().flat_map(|kernel| kernel.source.iter().map(AsRef::as_ref));
        for part in parts() {
            *counts.entry(part).or_default() += 1;
        }
        let mut shared = SharedParts { parts: Vec::new(), index: HashMap::new() };
        for part in parts() {
            if counts.remove(part).is_some_and(|count| count > 1) {
                shared.index.insert(part, shared.parts.len());
                shared.parts.push(part);
            }
        }
        shared
    }

    fn constants(&self) -> TokenStream {
        let constants = self.parts.iter().enumerate().map(|(index, part)| {
            let (name, text) = (constant(index), Literal::string(part));
            quote! { const #name: &::core::primitive::str = #text; }
        });
        constants.collect()
    }

    fn expression(&self, part: &str) -> TokenStream {
        match self.index.get(part) {
            Some(index) => {
                let name = constant(*index);
                quote! { #name }
            }
            None => {
                let text = Literal::string(part);
                quote! { #text }
            }
        }
    }
}

fn constant(index: usize) -> Ident {
    format_ident!("PART_{index}", span = Span::call_site())
}
