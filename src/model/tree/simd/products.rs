//! The sums of a dense layer over a block of rows, with AVX-512F and AVX2: as many sums as there are registers, which the
//! compiler does not manage by itself.
//!
//! ```text
//! AVX-512F: up to 4 columns by 64 rows, each 4 loads of rows and 4 of weights serve 16 multiplications
//! AVX2:     up to 4 columns by 16 rows, each 2 loads of rows and 4 of weights serve 8 multiplications
//! ```

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Columns of a tile, for which weights lie side by side.
pub const TILE: usize = 4;

/// Writes `x` times `weights` to `sums`: `x` are columns of `R` rows (16 or 64), one for each of `weights`. False: this processor
/// has the instructions for neither, and nothing was done. The result is that of fused multiplications in the order of the
/// weights.
#[inline]
pub fn products<const R: usize, const N: usize>(weights: &[[f32; TILE]], x: &[f32], sums: &mut [[f32; R]; N]) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && (R == 16 || R == 64) {
            // SAFETY: the processor has AVX-512F; that was asked just now.
            unsafe { if R == 64 { wide::<R, N, 4>(weights, x, sums) } else { wide::<R, N, 1>(weights, x, sums) } };
            return true;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA; that was asked just now.
            unsafe { narrow(weights, x, sums) };
            return true;
        }
    }
    let _none_of = (weights, x, sums);
    false
}

/// `R` is `V` vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn wide<const R: usize, const N: usize, const V: usize>(weights: &[[f32; TILE]], x: &[f32], to: &mut [[f32; R]; N]) {
    let mut sums = [[_mm512_setzero_ps(); V]; N];
    for (weights, x) in weights.iter().zip(x.as_chunks::<R>().0) {
        let mut rows = [_mm512_setzero_ps(); V];
        for (row, x) in rows.iter_mut().zip(x.as_chunks::<16>().0) {
            // SAFETY: 16 values.
            *row = unsafe { _mm512_loadu_ps(x.as_ptr()) };
        }
        for (sums, weight) in sums.iter_mut().zip(weights) {
            let weight = _mm512_set1_ps(*weight);
            for (sum, x) in sums.iter_mut().zip(rows) {
                *sum = _mm512_fmadd_ps(x, weight, *sum);
            }
        }
    }
    for (to, sums) in to.iter_mut().zip(sums) {
        for (to, sum) in to.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
            // SAFETY: 16 values.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), sum) };
        }
    }
}

/// 16 rows after the other.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn narrow<const R: usize, const N: usize>(weights: &[[f32; TILE]], x: &[f32], to: &mut [[f32; R]; N]) {
    for part in 0..R / 16 {
        let mut sums = [[_mm256_setzero_ps(); 2]; N];
        for (weights, x) in weights.iter().zip(x.as_chunks::<R>().0) {
            let x = &x.as_chunks::<8>().0[2 * part..2 * part + 2];
            // SAFETY: 8 values each.
            let rows = unsafe { [_mm256_loadu_ps(x[0].as_ptr()), _mm256_loadu_ps(x[1].as_ptr())] };
            for (sums, weight) in sums.iter_mut().zip(weights) {
                let weight = _mm256_set1_ps(*weight);
                for (sum, x) in sums.iter_mut().zip(rows) {
                    *sum = _mm256_fmadd_ps(x, weight, *sum);
                }
            }
        }
        for (to, sums) in to.iter_mut().zip(sums) {
            for (to, sum) in to.as_chunks_mut::<8>().0[2 * part..].iter_mut().zip(sums) {
                // SAFETY: 8 values.
                unsafe { _mm256_storeu_ps(to.as_mut_ptr(), sum) };
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Bit by bit what `mul_add` gives, of 5 inputs.
    fn compare<const R: usize, const N: usize>(run: impl Fn(&[[f32; TILE]], &[f32], &mut [[f32; R]; N])) {
        let weights: Vec<[f32; TILE]> = (0..5u16).map(|i| [1, 2, 3, 4].map(|n| 1.0 / f32::from(i + 7 * n))).collect();
        let x: Vec<f32> = (0..5 * R).map(|i| (i as f32).sin() * 100.0).collect();
        let mut sums = [[f32::NAN; R]; N];
        run(&weights, &x, &mut sums);
        for (column, sums) in sums.iter().enumerate() {
            for (row, sum) in sums.iter().enumerate() {
                let terms = weights.iter().zip(x.chunks(R));
                let wanted = terms.fold(0f32, |sum, (w, x)| x[row].mul_add(w[column], sum));
                assert_eq!(sum.to_bits(), wanted.to_bits(), "column {column} of {N}, row {row} of {R}");
            }
        }
    }

    #[test]
    fn sums_are_those_of_fused_multiplications() {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: asked just now.
            unsafe {
                compare::<64, 4>(|w, x, to| wide::<64, 4, 4>(w, x, to));
                compare::<64, 1>(|w, x, to| wide::<64, 1, 4>(w, x, to));
                compare::<16, 3>(|w, x, to| wide::<16, 3, 1>(w, x, to));
            }
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: asked just now.
            unsafe {
                compare::<64, 4>(|w, x, to| narrow(w, x, to));
                compare::<16, 2>(|w, x, to| narrow(w, x, to));
            }
        }
    }
}
