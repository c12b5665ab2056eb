//! What tree ensembles and other kernels share: work compiled for the machine at hand.

pub(super) mod simd;
