//! Whole blocks: written, read back bit for bit, asked, damaged.

mod damage;
mod failures;
mod fixture;
mod golden;
mod index;
mod round_trip;
