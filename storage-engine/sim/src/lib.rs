//! The simulator that tries to lose data: the real shard, log and replay on a disk that fails, against an oracle of what was acknowledged.
//!
//! One seed is one life story: [`run`] draws a profile, lets a client write to a shard through several crashes and restarts, checks
//! after each of them and at many points between, and ends with a liveness phase in which nothing fails and everything must work.
//! It panics with what is wrong. Same seed, same story, step by step.
//!
//! Not here: the simulated disk and executor (`storage_engine::{io, runtime::simulator}`), the command line (`xtask`).

pub mod damage;
pub mod enumerate;
pub mod exemplars;
pub mod faults;
pub mod life;
pub mod model;
pub mod mutants;
pub mod profile;
pub mod random;
pub mod read;
pub mod runs;
pub mod seeds;
pub mod tell;
pub mod wal_sweep;
pub mod workload;

pub use life::{Report, run};
