//! Evaluation: fragments next to the data, then the coordinator's merge.

pub mod annotations;
pub mod error;
pub mod text;
pub mod value;
