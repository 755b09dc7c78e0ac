//! What a mistake in `kernels!` looks like to its author: the text of each error, and the token that it is shown at.
//!
//! `TRYBUILD=overwrite cargo test --test compile_fail` writes the pinned texts anew.

#[test]
fn mistakes_are_shown_where_they_were_made() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
