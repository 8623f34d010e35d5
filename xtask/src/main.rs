//! ferula-xtask
fn main() {}
