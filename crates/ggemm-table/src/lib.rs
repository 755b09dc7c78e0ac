//! Tables of tuned variants: what was measured to be fastest, for which problem, on which machine.
//!
//! An [`Entry`] is one line of text with a checksum of its own. A [`Table`] is any set of lines: two tables are one when
//! they are concatenated, and of two entries for one problem on one machine the later counts. A [`Store`] is a table's
//! file, which many processes read and add to at once and any of which may be killed at any moment.
//!
//! A choice is looked up by a [`Key`], which is a problem as far as it decides what is fastest, and only among entries
//! of one [`Machine`]: another GPU, driver or version of ggemm is another machine.

#![forbid(unsafe_code)]

mod entry;
mod error;
mod key;
mod line;
mod location;
mod machine;
mod store;
mod table;

pub use entry::{Entry, Timing};
pub use error::TableError;
pub use key::{Distance, Key, Routing, UnknownRouting};
pub use location::TableLocation;
pub use machine::{Machine, fingerprint};
pub use store::{Claim, Store};
pub use table::{Found, Table};
