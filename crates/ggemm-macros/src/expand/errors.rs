//! Compile errors, collected so that one build shows them all.

use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// The errors of one invocation.
#[derive(Default)]
pub(super) struct Errors(Vec<Error>);

struct Error {
    span: Span,
    message: String,
}

impl Errors {
    /// Adds an error that the compiler shows at `span`.
    pub(super) fn at(&mut self, span: Span, message: impl Into<String>) {
        self.0.push(Error { span, message: message.into() });
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// `::core::compile_error! { "…" }` for each.
    pub(super) fn to_tokens(&self) -> TokenStream {
        self.0.iter().flat_map(Error::to_tokens).collect()
    }
}

impl Error {
    fn to_tokens(&self) -> Vec<TokenTree> {
        let mut message = Literal::string(&self.message);
        message.set_span(self.span);
        let punct = |c, spacing| {
            let mut punct = Punct::new(c, spacing);
            punct.set_span(self.span);
            TokenTree::Punct(punct)
        };
        let mut group = Group::new(Delimiter::Brace, TokenTree::Literal(message).into());
        group.set_span(self.span);
        vec![
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            TokenTree::Ident(Ident::new("core", self.span)),
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            TokenTree::Ident(Ident::new("compile_error", self.span)),
            punct('!', Spacing::Alone),
            TokenTree::Group(group),
        ]
    }
}
