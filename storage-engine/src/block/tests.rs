//! Whole blocks: written, read back bit for bit, asked, damaged.

mod damage;
mod fixture;
mod index;
mod round_trip;
