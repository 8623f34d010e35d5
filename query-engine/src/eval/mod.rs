//! Evaluation: fragments next to the data, then the coordinator's merge.

pub(crate) mod aggregate;
pub mod annotations;
pub mod arithmetic;
pub mod budget;
pub(crate) mod coordinator;
pub mod error;
pub(crate) mod info;
pub(crate) mod matching;
pub mod memory;
pub(crate) mod ordering;
pub mod rows;
pub(crate) mod sets;
pub(crate) mod signature;
pub mod text;
pub mod value;
