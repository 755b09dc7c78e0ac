//! ggemm-runtime
