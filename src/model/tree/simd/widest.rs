//! Work compiled for the widest vectors that the machine has, chosen when it runs.
//!
//! The build is for any x86-64. [`vectorized`] runs a [`Vectorized`] inside a function whose instructions may be AVX-512 or
//! AVX2; what is inlined into it is compiled for these.

/// Work that vector instructions make faster. Everything that `run` calls must be `#[inline(always)]`, else it is compiled
/// for the oldest machine.
pub trait Vectorized {
    /// What it gives.
    type Output;
    /// Does it; with `FMA` a multiplication and an addition are one instruction, rounded once.
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Runs `work` with the widest vectors there are.
#[inline]
pub fn vectorized<W: Vectorized>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("fma")
        {
            // SAFETY: the machine has all that the function is compiled for; that was asked just now.
            return unsafe { avx512(work) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { avx2(work) };
        }
    }
    // NEON is part of every aarch64, with its fused multiplications.
    if cfg!(target_arch = "aarch64") { work.run::<true>() } else { work.run::<false>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn avx512<W: Vectorized>(work: W) -> W::Output {
    work.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<W: Vectorized>(work: W) -> W::Output {
    work.run::<true>()
}
