//! Amazon Web Services: signing, keys, and `ec2_sd_configs`.

mod credentials;
pub(super) mod ec2;
mod sign;
mod xml;

pub use sign::{Keys, Signing, sign};
