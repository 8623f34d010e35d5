//! Functions that take no range vector: elementwise, labels, time, order, classic histograms.

pub mod texts;
