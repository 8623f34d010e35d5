//! ferula-gateway
fn main() {}
