//! ggemm
