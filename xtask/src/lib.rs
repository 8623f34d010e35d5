//! The project's own chores. `tidy`: rules of the house that a machine can check, run by `cargo test` too. `simulate`: the simulator's
//! long runs.

pub mod simulate;
pub mod tidy;
