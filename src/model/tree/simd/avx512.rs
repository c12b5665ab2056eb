//! 16 rows at a time, with AVX-512F.
//!
//! The thresholds and columns of a heap's first levels are picked from registers, which hold 64 of them; those further down
//! are gathered, as are the rows' values. Lanes are rows; for a single row they are trees.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::super::columns::Block;
use super::super::layout::{Flat, Heap, LANES, Trees};
use super::super::masks::TOP;
use super::{Sink, masks};

/// Picks `table[i & 15]`, `[i & 31]`, `[i & 63]` in each lane, without a gather.
///
/// # Safety
/// `table` has `1 << BITS` values.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn pick<const BITS: u32>(table: *const f32, i: __m512i) -> __m512 {
    // SAFETY: the loads are of the table's 16, 32 or 64 values.
    unsafe {
        let part = |at: usize| _mm512_loadu_ps(table.add(16 * at));
        match BITS {
            4 => _mm512_permutexvar_ps(i, part(0)),
            5 => _mm512_permutex2var_ps(part(0), i, part(1)),
            _ => {
                let (low, high) = (_mm512_permutex2var_ps(part(0), i, part(1)), _mm512_permutex2var_ps(part(2), i, part(3)));
                _mm512_mask_mov_ps(low, _mm512_test_epi32_mask(i, _mm512_set1_epi32(32)), high)
            }
        }
    }
}

/// One step of each of `U` vectors of walks, at nodes whose `BITS` low bits count from `first`; 0 bits: gathers.
///
/// # Safety
/// As [`heap`]; `first` is the first node of the level (0 for the levels above 16), with `1 << BITS` nodes behind it.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn step<const U: usize, const BITS: u32, const MISSING: bool>(
    tree: Heap,
    first: usize,
    values: *const f32,
    shift: __m128i,
    row: &[__m512i; U],
    node: &mut [__m512i; U],
) {
    // SAFETY: nodes and columns are in range, as the caller says.
    unsafe {
        let thresholds = tree.thresholds.as_ptr().add(first);
        let columns = tree.columns.as_ptr().cast::<f32>().add(first);
        for u in 0..U {
            let (threshold, column) = if BITS == 0 {
                (_mm512_i32gather_ps::<4>(node[u], thresholds), _mm512_i32gather_epi32::<4>(node[u], columns.cast()))
            } else {
                (pick::<BITS>(thresholds, node[u]), _mm512_castps_si512(pick::<BITS>(columns, node[u])))
            };
            // The shift loses the missing bit.
            let at = _mm512_add_epi32(_mm512_sll_epi32(column, shift), row[u]);
            let x = _mm512_i32gather_ps::<4>(at, values);
            let mut yes = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, threshold);
            if MISSING {
                yes |=
                    _mm512_mask_cmplt_epi32_mask(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), column, _mm512_setzero_si512());
            }
            let twice = _mm512_add_epi32(node[u], node[u]);
            node[u] = _mm512_mask_add_epi32(twice, !yes, twice, _mm512_set1_epi32(1));
        }
    }
}

/// # Safety
/// As [`heap`], for the rows from `start`.
#[inline]
#[target_feature(enable = "avx512f,avx512cd")]
unsafe fn group<const U: usize, const MISSING: bool>(tree: Heap, block: &Block, start: usize, sink: &mut Sink) {
    // SAFETY: level `l` begins at node `1 << l` and has as many nodes; nodes below 16 are within the first 16.
    unsafe {
        let values = block.values().as_ptr();
        let shift = _mm_cvtsi32_si128(block.shift() as i32);
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let mut row = [lanes; U];
        for (u, row) in row.iter_mut().enumerate() {
            *row = _mm512_add_epi32(lanes, _mm512_set1_epi32((start + 16 * u) as i32));
        }
        let mut node = [_mm512_set1_epi32(1); U];
        let depth = tree.depth;
        if let Some(top) = tree.top {
            node = masks::wide_ends::<U>(top, block, start);
            node.iter_mut().for_each(|node| *node = _mm512_add_epi32(*node, _mm512_set1_epi32(1 << TOP)));
        } else {
            for _ in 0..depth.min(TOP) {
                step::<U, 4, MISSING>(tree, 0, values, shift, &row, &mut node);
            }
        }
        if depth > 4 {
            step::<U, 4, MISSING>(tree, 16, values, shift, &row, &mut node);
        }
        if depth > 5 {
            step::<U, 5, MISSING>(tree, 32, values, shift, &row, &mut node);
        }
        if depth > 6 {
            step::<U, 6, MISSING>(tree, 64, values, shift, &row, &mut node);
        }
        for _ in 7..depth {
            step::<U, 0, MISSING>(tree, 0, values, shift, &row, &mut node);
        }
        let low = _mm512_set1_epi32(tree.thresholds.len() as i32 - 1);
        match sink {
            Sink::Slots(slots) => {
                for (u, node) in node.iter().enumerate() {
                    let to = slots.as_mut_ptr().add(start + 16 * u);
                    _mm512_storeu_si512(to.cast(), _mm512_and_si512(*node, low));
                }
            }
            Sink::Add { values, sums } => {
                for (u, node) in node.iter().enumerate() {
                    let value = match tree.thresholds.len() {
                        16 => pick::<4>(values.as_ptr(), *node),
                        32 => pick::<5>(values.as_ptr(), *node),
                        64 => pick::<6>(values.as_ptr(), *node),
                        _ => _mm512_i32gather_ps::<4>(_mm512_and_si512(*node, low), values.as_ptr()),
                    };
                    let to = sums.as_mut_ptr().add(start + 16 * u);
                    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), value));
                }
            }
        }
    }
}

/// # Safety
/// The processor has AVX-512F and AVX-512CD. `rows` is a multiple of 16, and the block and the sink have so many; the block has the
/// tree's columns; the sink's values, if any, are as many as the tree's slots.
#[target_feature(enable = "avx512f,avx512cd")]
pub(super) unsafe fn heap(tree: Heap, block: &Block, rows: usize, sink: &mut Sink) {
    let mut start = 0;
    while start < rows {
        // SAFETY: 64, 32 or 16 rows are left.
        unsafe {
            start += match (rows - start, tree.missing) {
                (64.., true) => {
                    group::<4, true>(tree, block, start, sink);
                    64
                }
                (64.., false) => {
                    group::<4, false>(tree, block, start, sink);
                    64
                }
                (32.., true) => {
                    group::<2, true>(tree, block, start, sink);
                    32
                }
                (32.., false) => {
                    group::<2, false>(tree, block, start, sink);
                    32
                }
                (_, true) => {
                    group::<1, true>(tree, block, start, sink);
                    16
                }
                (_, false) => {
                    group::<1, false>(tree, block, start, sink);
                    16
                }
            };
        }
    }
}

/// The next slot of 16 walks.
///
/// # Safety
/// The slots are the tree's, the rows and the tree's columns the block's at `values`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn flat_step(tree: Flat, values: *const f32, shift: __m128i, row: __m512i, slot: __m512i) -> __m512i {
    // SAFETY: as the caller says.
    unsafe {
        let threshold = _mm512_i32gather_ps::<4>(slot, tree.thresholds.as_ptr());
        let column = _mm512_i32gather_epi32::<4>(slot, tree.columns.as_ptr().cast());
        let next = _mm512_i32gather_epi32::<4>(slot, tree.next.as_ptr().cast());
        // The shift loses the missing bit.
        let at = _mm512_add_epi32(_mm512_sll_epi32(column, shift), row);
        let x = _mm512_i32gather_ps::<4>(at, values);
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        let missing = _mm512_mask_cmplt_epi32_mask(nan, column, _mm512_setzero_si512());
        let yes = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, threshold) | missing;
        _mm512_mask_add_epi32(next, !yes, next, _mm512_set1_epi32(1))
    }
}

/// # Safety
/// As [`flat`], for the rows from `start`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn flat_group<const U: usize>(tree: Flat, block: &Block, start: usize, sink: &mut Sink) {
    // SAFETY: slot 0 exists, and from a slot the walk goes to a slot; columns are in range.
    unsafe {
        let values = block.values().as_ptr();
        let shift = _mm_cvtsi32_si128(block.shift() as i32);
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let first = _mm512_set1_epi32(tree.start as i32);
        let mut slot = [first; U];
        for _ in 0..tree.depth {
            let mut moved = 0;
            for (u, slot) in slot.iter_mut().enumerate() {
                let row = _mm512_add_epi32(lanes, _mm512_set1_epi32((start + 16 * u) as i32));
                let to = flat_step(tree, values, shift, row, *slot);
                moved |= _mm512_cmpneq_epi32_mask(*slot, to);
                *slot = to;
            }
            if moved == 0 {
                break;
            }
        }
        for (u, slot) in slot.iter().enumerate() {
            let slot = &_mm512_sub_epi32(*slot, first);
            match sink {
                Sink::Slots(slots) => _mm512_storeu_si512(slots.as_mut_ptr().add(start + 16 * u).cast(), *slot),
                Sink::Add { values, sums } => {
                    let to = sums.as_mut_ptr().add(start + 16 * u);
                    let value = _mm512_i32gather_ps::<4>(*slot, values.as_ptr());
                    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), value));
                }
            }
        }
    }
}

/// # Safety
/// As [`heap`].
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn flat(tree: Flat, block: &Block, rows: usize, sink: &mut Sink) {
    let mut start = 0;
    while start < rows {
        // SAFETY: 64 or 16 rows are left.
        unsafe {
            if rows - start >= 64 {
                flat_group::<4>(tree, block, start, sink);
                start += 64;
            } else {
                flat_group::<1>(tree, block, start, sink);
                start += 16;
            }
        }
    }
}

/// Walks the first row down the heaps and the flat trees, 64 or 16 trees at a time; true: it did.
///
/// # Safety
/// The processor has AVX-512F, and the block has the trees' columns.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn row(trees: &Trees, block: &Block, slots: &mut [u32]) -> bool {
    let lanes = trees.heaps().trees().len();
    let mut at = 0;
    while at < lanes {
        // SAFETY: 64 or 16 lanes are left.
        unsafe {
            at += if lanes - at >= 4 * LANES {
                row_heaps::<4>(trees, block, at, slots)
            } else {
                row_heaps::<1>(trees, block, at, slots)
            };
        }
    }
    let lanes = trees.flats().trees().len();
    let mut at = 0;
    while at < lanes {
        // SAFETY: 64 or 16 lanes are left.
        unsafe {
            at += if lanes - at >= 4 * LANES {
                row_flats::<4>(trees, block, at, slots)
            } else {
                row_flats::<1>(trees, block, at, slots)
            };
        }
    }
    true
}

/// # Safety
/// As [`row`], for `16 * U` heaps from lane `at`; returns how many.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn row_heaps<const U: usize>(trees: &Trees, block: &Block, at: usize, slots: &mut [u32]) -> usize {
    let (thresholds, columns) = trees.heap_nodes();
    let lanes = trees.heaps();
    let deepest = lanes.depths()[at..at + 16 * U].iter().max().copied().unwrap_or(0);
    let shift = _mm_cvtsi32_si128(block.shift() as i32);
    let one = _mm512_set1_epi32(1);
    let mut node = [one; U];
    // SAFETY: the lists of lanes are as long as the caller says; a lane moves only `depth` times, within its heap.
    unsafe {
        let load = |list: &[u32], u: usize| _mm512_loadu_si512(list.as_ptr().add(at + 16 * u).cast());
        for level in 0..deepest {
            for (u, node) in node.iter_mut().enumerate() {
                let moves = _mm512_cmpgt_epi32_mask(load(lanes.depths(), u), _mm512_set1_epi32(level as i32));
                let place = _mm512_add_epi32(load(lanes.starts(), u), *node);
                let threshold = _mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), moves, place, thresholds.as_ptr());
                let column = _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), moves, place, columns.as_ptr().cast());
                let x = _mm512_i32gather_ps::<4>(_mm512_sll_epi32(column, shift), block.values().as_ptr());
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
                let yes = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, threshold)
                    | _mm512_mask_cmplt_epi32_mask(nan, column, _mm512_setzero_si512());
                let twice = _mm512_mask_add_epi32(*node, moves, *node, *node);
                *node = _mm512_mask_add_epi32(twice, moves & !yes, twice, one);
            }
        }
        for (u, node) in node.iter().enumerate() {
            // The slots are the low bits: as many as the depth, but 4 at least, for a heap has 16 slots at least.
            let bits = _mm512_max_epi32(load(lanes.depths(), u), _mm512_set1_epi32(4));
            let low = _mm512_sub_epi32(_mm512_sllv_epi32(one, bits), one);
            put(_mm512_and_si512(*node, low), &lanes.trees()[at + 16 * u..], slots);
        }
    }
    16 * U
}

/// # Safety
/// As [`row`], for `16 * U` flat trees from lane `at`; returns how many.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn row_flats<const U: usize>(trees: &Trees, block: &Block, at: usize, slots: &mut [u32]) -> usize {
    let tree = trees.flat_nodes();
    let lanes = trees.flats();
    let deepest = lanes.depths()[at..at + 16 * U].iter().max().copied().unwrap_or(0);
    let shift = _mm_cvtsi32_si128(block.shift() as i32);
    // SAFETY: the lists of lanes are as long as the caller says; from a slot a walk goes to a slot.
    unsafe {
        let load = |u: usize| _mm512_loadu_si512(lanes.starts().as_ptr().add(at + 16 * u).cast());
        let mut slot = [_mm512_setzero_si512(); U];
        for (u, slot) in slot.iter_mut().enumerate() {
            *slot = load(u);
        }
        for _ in 0..deepest {
            let mut moved = 0;
            for slot in &mut slot {
                let to = flat_step(tree, block.values().as_ptr(), shift, _mm512_setzero_si512(), *slot);
                moved |= _mm512_cmpneq_epi32_mask(*slot, to);
                *slot = to;
            }
            if moved == 0 {
                break;
            }
        }
        for (u, slot) in slot.iter().enumerate() {
            put(_mm512_sub_epi32(*slot, load(u)), &lanes.trees()[at + 16 * u..], slots);
        }
    }
    16 * U
}

/// Stores slots by tree.
#[inline]
#[target_feature(enable = "avx512f")]
fn put(slot: __m512i, trees: &[u32], slots: &mut [u32]) {
    let mut here = [0u32; 16];
    // SAFETY: the array has 16 values.
    unsafe { _mm512_storeu_si512(here.as_mut_ptr().cast(), slot) };
    here.iter().zip(trees).for_each(|(slot, tree)| slots[*tree as usize] = *slot);
}
