//! All splits of a tree asked of many rows at a time, with AVX-512F and AVX2; see [`Masks`].
//!
//! Each split is read once for 64 rows, whose values lie side by side: no gathers but for the leaves' values.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::super::columns::Block;
use super::super::masks::{Clause, Masks, WORD};
use super::{Sink, avx2, avx512};

/// # Safety
/// The processor has AVX-512F and AVX-512CD. `rows` is a multiple of 16, and the block and the sink have so many; the block
/// has the tree's columns; the sink's values, if any, are as many as the tree's slots.
#[target_feature(enable = "avx512f,avx512cd")]
pub(super) unsafe fn wide(tree: &Masks, block: &Block, rows: usize, sink: &mut Sink) {
    let mut start = 0;
    while start < rows {
        // SAFETY: 64 or 16 rows are left.
        unsafe {
            if rows - start >= 64 {
                wide_group::<4>(tree, block, start, sink);
                start += 64;
            } else {
                wide_group::<1>(tree, block, start, sink);
                start += 16;
            }
        }
    }
}

/// # Safety
/// As [`wide`], for `16 * U` rows from `start`.
#[inline]
#[target_feature(enable = "avx512f,avx512cd")]
unsafe fn wide_group<const U: usize>(tree: &Masks, block: &Block, start: usize, sink: &mut Sink) {
    // SAFETY: as the caller says.
    let slot = unsafe { wide_ends::<U>(tree, block, start) };
    let (first, size) = tree.ends();
    for (u, slot) in slot.into_iter().enumerate() {
        // SAFETY: the sink has the rows; bits are below `size`, and the tree has so many slots from `first`.
        unsafe {
            match sink {
                Sink::Slots(slots) => {
                    let to = slots.as_mut_ptr().add(start + 16 * u);
                    _mm512_storeu_si512(to.cast(), _mm512_add_epi32(slot, _mm512_set1_epi32(first as i32)));
                }
                Sink::Add { values, sums } => {
                    let values = values.as_ptr().add(first);
                    let value = match size {
                        16 => avx512::pick::<4>(values, slot),
                        32 => avx512::pick::<5>(values, slot),
                        64 => avx512::pick::<6>(values, slot),
                        _ => _mm512_i32gather_ps::<4>(slot, values),
                    };
                    let to = sums.as_mut_ptr().add(start + 16 * u);
                    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), value));
                }
            }
        }
    }
}

/// To which end each row comes: for `16 * U` rows from `start`; less than what `tree.ends()` says.
///
/// # Safety
/// As [`wide`].
#[inline]
#[target_feature(enable = "avx512f,avx512cd")]
pub(super) unsafe fn wide_ends<const U: usize>(tree: &Masks, block: &Block, start: usize) -> [__m512i; U] {
    let mut ends = [_mm512_setzero_si512(); U];
    // The first word that has a bit left is the last to be written.
    for (at, word) in tree.words().iter().enumerate().rev() {
        let mut bits = [_mm512_set1_epi32(word.ends as i32); U];
        // SAFETY: as the caller says.
        unsafe {
            wide_clauses::<U, _CMP_NLE_UQ>(&word.missing_no, block, start, &mut bits);
            wide_clauses::<U, _CMP_GT_OQ>(&word.missing_yes, block, start, &mut bits);
        }
        for (end, bits) in ends.iter_mut().zip(bits) {
            let lowest = _mm512_and_si512(bits, _mm512_sub_epi32(_mm512_setzero_si512(), bits));
            let last = _mm512_set1_epi32((at * WORD + WORD - 1) as i32);
            let here = _mm512_sub_epi32(last, _mm512_lzcnt_epi32(lowest));
            *end = _mm512_mask_mov_epi32(*end, _mm512_test_epi32_mask(bits, bits), here);
        }
    }
    ends
}

/// `NO` says no.
///
/// # Safety
/// As [`wide_group`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn wide_clauses<const U: usize, const NO: i32>(
    clauses: &[Clause],
    block: &Block,
    start: usize,
    bits: &mut [__m512i; U],
) {
    for clause in clauses {
        let (threshold, keep) = (_mm512_set1_ps(clause.threshold), _mm512_set1_epi32(clause.keep as i32));
        for (u, bits) in bits.iter_mut().enumerate() {
            // SAFETY: the block has the column and the rows.
            let x = unsafe { _mm512_loadu_ps(column(block, clause, start + 16 * u)) };
            *bits = _mm512_mask_and_epi32(*bits, _mm512_cmp_ps_mask::<NO>(x, threshold), *bits, keep);
        }
    }
}

/// # Safety
/// As [`wide`], with AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn narrow(tree: &Masks, block: &Block, rows: usize, sink: &mut Sink) {
    let mut start = 0;
    while start < rows {
        // SAFETY: 64 or 16 rows are left.
        unsafe {
            if rows - start >= 64 {
                narrow_group::<8>(tree, block, start, sink);
                start += 64;
            } else {
                narrow_group::<2>(tree, block, start, sink);
                start += 16;
            }
        }
    }
}

/// # Safety
/// As [`narrow`], for `8 * U` rows from `start`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn narrow_group<const U: usize>(tree: &Masks, block: &Block, start: usize, sink: &mut Sink) {
    // SAFETY: as the caller says.
    let slot = unsafe { narrow_ends::<U>(tree, block, start) };
    let (first, size) = tree.ends();
    for (u, slot) in slot.into_iter().enumerate() {
        // SAFETY: the sink has the rows; bits are below `size`, and the tree has so many slots from `first`.
        unsafe {
            match sink {
                Sink::Slots(slots) => {
                    let to = slots.as_mut_ptr().add(start + 8 * u);
                    _mm256_storeu_si256(to.cast(), _mm256_add_epi32(slot, _mm256_set1_epi32(first as i32)));
                }
                Sink::Add { values, sums } => {
                    let values = values.as_ptr().add(first);
                    let value =
                        if size == 16 { avx2::pick::<4>(values, slot) } else { _mm256_i32gather_ps::<4>(values, slot) };
                    let to = sums.as_mut_ptr().add(start + 8 * u);
                    _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), value));
                }
            }
        }
    }
}

/// To which end each row comes: for `8 * U` rows from `start`; less than what `tree.ends()` says.
///
/// # Safety
/// As [`narrow`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn narrow_ends<const U: usize>(tree: &Masks, block: &Block, start: usize) -> [__m256i; U] {
    let zero = _mm256_setzero_si256();
    let mut ends = [zero; U];
    for (at, word) in tree.words().iter().enumerate().rev() {
        let mut bits = [_mm256_set1_epi32(word.ends as i32); U];
        // SAFETY: as the caller says.
        unsafe {
            narrow_clauses::<U, _CMP_LE_OQ>(&word.missing_no, block, start, &mut bits);
            narrow_clauses::<U, _CMP_NGT_UQ>(&word.missing_yes, block, start, &mut bits);
        }
        for (end, bits) in ends.iter_mut().zip(bits) {
            // A single bit as a float has its place in the exponent, bit 31 with a minus sign.
            let lowest = _mm256_castps_si256(_mm256_cvtepi32_ps(_mm256_and_si256(bits, _mm256_sub_epi32(zero, bits))));
            let place = _mm256_and_si256(_mm256_srli_epi32::<23>(lowest), _mm256_set1_epi32(255));
            let here = _mm256_add_epi32(place, _mm256_set1_epi32((at * WORD) as i32 - 127));
            *end = _mm256_blendv_epi8(here, *end, _mm256_cmpeq_epi32(bits, zero));
        }
    }
    ends
}

/// `YES` says yes.
///
/// # Safety
/// As [`narrow_group`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn narrow_clauses<const U: usize, const YES: i32>(
    clauses: &[Clause],
    block: &Block,
    start: usize,
    bits: &mut [__m256i; U],
) {
    for clause in clauses {
        let threshold = _mm256_set1_ps(clause.threshold);
        let keep = _mm256_castsi256_ps(_mm256_set1_epi32(clause.keep as i32));
        for (u, bits) in bits.iter_mut().enumerate() {
            // SAFETY: the block has the column and the rows.
            let x = unsafe { _mm256_loadu_ps(column(block, clause, start + 8 * u)) };
            let left = _mm256_or_ps(_mm256_cmp_ps::<YES>(x, threshold), keep);
            *bits = _mm256_and_si256(*bits, _mm256_castps_si256(left));
        }
    }
}

/// Where a clause's values are, from a row on.
///
/// # Safety
/// The block has the column and the row.
#[inline(always)]
unsafe fn column(block: &Block, clause: &Clause, row: usize) -> *const f32 {
    // SAFETY: as the caller says.
    unsafe { block.values().as_ptr().add(((clause.column as usize) << block.shift()) + row) }
}
