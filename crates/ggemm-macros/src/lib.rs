//! The `kernels!` macro of ggemm.
//!
//! Use it as `ggemm::kernels!` or `ggemm_runtime::kernels!`, where it is documented: that wrapper tells this macro what
//! the library is called.

mod expand;

/// What `kernels!` of ggemm expands to; takes `[path of the runtime] attributes visibility mod name { request }`.
#[proc_macro]
pub fn kernels(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(input.into(), &|name| std::env::var_os(name)).into()
}
