//! ggemm-codegen
