//! ggemm-compile
