//! Work compiled for the machine at hand.

pub mod widest;
