//! Writers: the tile IR as text.

pub mod cuda;
