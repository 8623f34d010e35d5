//! ferula-bench-harness
fn main() {}
