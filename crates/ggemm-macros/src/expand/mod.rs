//! From the tokens in `kernels! { … }` to the module that replaces them.
//!
//! [`expand`] is a function of the tokens, of ggemm's version and of the environment that it is handed. It works on
//! `proc_macro2`, so that tests and the benchmark call it too.

mod bake;
mod cubin;

mod errors;
mod fields;
mod invocation;
mod module;
mod parallel;
mod passes;
mod request;
mod select;
mod suggest;
mod table;
mod tile;

use std::ffi::OsString;

use proc_macro2::TokenStream;

use self::bake::Bake;
use self::errors::Errors;
use self::invocation::Invocation;

/// Replaces the invocation by a module of baked kernels, or by its errors and a module without kernels, so that uses of
/// the module are not reported on top.
pub(crate) fn expand(input: TokenStream, environment: &dyn Fn(&str) -> Option<OsString>) -> TokenStream {
    let mut errors = Errors::default();
    let Some(invocation) = Invocation::parse(input, &mut errors) else { return errors.to_tokens() };
    let bake = Bake::from_environment(environment, &mut errors);
    let request = request::read(&invocation, environment, &mut errors);
    let span = invocation.name.span();
    let kernels = match (&bake, &request) {
        (bake, Some(request)) => match request.passes() {
            Some(passes) => {
                let passes = passes::for_targets(passes, &request.targets);
                bake.as_ref().filter(|_| errors.count() == 0).and_then(|b| b.kernels(&passes, span, &mut errors))
            }
            None => {
                let variants = select::select(request, &mut errors);
                bake.as_ref().filter(|_| errors.count() == 0).and_then(|b| b.kernels(&variants, span, &mut errors))
            }
        },
        (_, None) => None,
    };
    let variables = bake.as_ref().map_or(&["GGEMM_BAKE"][..], Bake::variables);
    let mut tokens = errors.to_tokens();
    let tuned = request.as_ref().and_then(request::Request::tuned);
    tokens.extend(module::write(&invocation, &kernels.unwrap_or_default(), tuned, variables));
    tokens
}

#[cfg(test)]
mod tests;
