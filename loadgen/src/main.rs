//! ferula-loadgen
fn main() {}
