//! 8 rows at a time, with AVX2.
//!
//! As with AVX-512, but registers hold 16 nodes. Lanes are rows; for a single row they are trees.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::super::columns::Block;
use super::super::layout::{Flat, Heap, LANES, Trees};
use super::super::masks::TOP;
use super::{Sink, masks};

/// Picks `table[i & 7]` or `table[i & 15]` in each lane, without a gather.
///
/// # Safety
/// `table` has `1 << BITS` values.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn pick<const BITS: u32>(table: *const f32, i: __m256i) -> __m256 {
    // SAFETY: the loads are of the table's 8 or 16 values.
    unsafe {
        let low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), i);
        if BITS == 3 {
            return low;
        }
        let high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.add(8)), i);
        // Bit 3 as the sign.
        _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(i)))
    }
}

/// Yes is all ones.
///
/// # Safety
/// Every column is one of the block's at `values`, every row one of its rows.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn ask(values: *const f32, shift: __m128i, row: __m256i, column: __m256i, threshold: __m256) -> __m256i {
    // The shift loses the missing bit.
    let at = _mm256_add_epi32(_mm256_sll_epi32(column, shift), row);
    // SAFETY: as the caller says.
    let x = unsafe { _mm256_i32gather_ps::<4>(values, at) };
    let yes = _mm256_cmp_ps::<_CMP_LE_OQ>(x, threshold);
    let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x);
    let missing = _mm256_and_ps(nan, _mm256_castsi256_ps(_mm256_srai_epi32::<31>(column)));
    _mm256_castps_si256(_mm256_or_ps(yes, missing))
}

/// One step of each of `U` vectors of walks; see the one of AVX-512.
///
/// # Safety
/// As [`heap`]; `first` is the first node of the level (0 for the levels above 8), with `1 << BITS` nodes behind it.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn step<const U: usize, const BITS: u32>(
    tree: Heap,
    first: usize,
    values: *const f32,
    shift: __m128i,
    row: &[__m256i; U],
    node: &mut [__m256i; U],
) {
    // SAFETY: nodes and columns are in range, as the caller says.
    unsafe {
        let thresholds = tree.thresholds.as_ptr().add(first);
        let columns = tree.columns.as_ptr().cast::<f32>().add(first);
        for u in 0..U {
            let (threshold, column) = if BITS == 0 {
                (_mm256_i32gather_ps::<4>(thresholds, node[u]), _mm256_i32gather_epi32::<4>(columns.cast(), node[u]))
            } else {
                (pick::<BITS>(thresholds, node[u]), _mm256_castps_si256(pick::<BITS>(columns, node[u])))
            };
            let yes = ask(values, shift, row[u], column, threshold);
            // Yes is -1.
            let no = _mm256_add_epi32(_mm256_add_epi32(node[u], node[u]), _mm256_set1_epi32(1));
            node[u] = _mm256_add_epi32(no, yes);
        }
    }
}

/// # Safety
/// As [`heap`], for the rows from `start`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn group<const U: usize>(tree: Heap, block: &Block, start: usize, sink: &mut Sink) {
    // SAFETY: level `l` begins at node `1 << l` and has as many nodes; nodes below 8 are within the first 8.
    unsafe {
        let values = block.values().as_ptr();
        let shift = _mm_cvtsi32_si128(block.shift() as i32);
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mut row = [lanes; U];
        for (u, row) in row.iter_mut().enumerate() {
            *row = _mm256_add_epi32(lanes, _mm256_set1_epi32((start + 8 * u) as i32));
        }
        let mut node = [_mm256_set1_epi32(1); U];
        let depth = tree.depth;
        if let Some(top) = tree.top {
            node = masks::narrow_ends::<U>(top, block, start);
            node.iter_mut().for_each(|node| *node = _mm256_add_epi32(*node, _mm256_set1_epi32(1 << TOP)));
        } else {
            for _ in 0..depth.min(3) {
                step::<U, 3>(tree, 0, values, shift, &row, &mut node);
            }
            if depth > 3 {
                step::<U, 3>(tree, 8, values, shift, &row, &mut node);
            }
        }
        if depth > 4 {
            step::<U, 4>(tree, 16, values, shift, &row, &mut node);
        }
        for _ in 5..depth {
            step::<U, 0>(tree, 0, values, shift, &row, &mut node);
        }
        let low = _mm256_set1_epi32(tree.thresholds.len() as i32 - 1);
        for (u, node) in node.iter().enumerate() {
            let slot = _mm256_and_si256(*node, low);
            leave(sink, start + 8 * u, slot);
        }
    }
}

/// # Safety
/// The sink has 8 rows from `row`, and a value for each slot.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn leave(sink: &mut Sink, row: usize, slot: __m256i) {
    // SAFETY: as the caller says.
    unsafe {
        match sink {
            Sink::Slots(slots) => _mm256_storeu_si256(slots.as_mut_ptr().add(row).cast(), slot),
            Sink::Add { values, sums } => {
                let to = sums.as_mut_ptr().add(row);
                let value = _mm256_i32gather_ps::<4>(values.as_ptr(), slot);
                _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), value));
            }
        }
    }
}

/// # Safety
/// The processor has AVX2. `rows` is a multiple of 16, and the block and the sink have so many; the block has the
/// tree's columns; the sink's values, if any, are as many as the tree's slots.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn heap(tree: Heap, block: &Block, rows: usize, sink: &mut Sink) {
    let mut start = 0;
    while start < rows {
        // SAFETY: 32 or 16 rows are left.
        unsafe {
            if rows - start >= 32 {
                group::<4>(tree, block, start, sink);
                start += 32;
            } else {
                group::<2>(tree, block, start, sink);
                start += 16;
            }
        }
    }
}

/// # Safety
/// As [`heap`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn flat(tree: Flat, block: &Block, rows: usize, sink: &mut Sink) {
    const U: usize = 2;
    let values = block.values().as_ptr();
    let shift = _mm_cvtsi32_si128(block.shift() as i32);
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let first = _mm256_set1_epi32(tree.start as i32);
    for start in (0..rows).step_by(8 * U) {
        let mut slot = [first; U];
        for _ in 0..tree.depth {
            let mut still = _mm256_set1_epi32(-1);
            for (u, slot) in slot.iter_mut().enumerate() {
                let row = _mm256_add_epi32(lanes, _mm256_set1_epi32((start + 8 * u) as i32));
                // SAFETY: slot 0 exists, and from a slot the walk goes to a slot; columns are in range.
                let to = unsafe { flat_step(tree, values, shift, row, *slot) };
                still = _mm256_and_si256(still, _mm256_cmpeq_epi32(*slot, to));
                *slot = to;
            }
            if _mm256_movemask_epi8(still) == -1 {
                break;
            }
        }
        for (u, slot) in slot.iter().enumerate() {
            // SAFETY: the sink has 16 rows from `start`, and a value for each slot.
            unsafe { leave(sink, start + 8 * u, _mm256_sub_epi32(*slot, first)) };
        }
    }
}

/// Walks the first row down the heaps and the flat trees, 16 trees at a time; true: it did.
///
/// # Safety
/// The processor has AVX2, and the block has the trees' columns.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn row(trees: &Trees, block: &Block, slots: &mut [u32]) -> bool {
    // SAFETY: lists of lanes have whole vectors.
    unsafe {
        let lanes = trees.heaps().trees().len();
        (0..lanes).step_by(LANES).for_each(|at| row_heaps(trees, block, at, slots));
        let lanes = trees.flats().trees().len();
        (0..lanes).step_by(LANES).for_each(|at| row_flats(trees, block, at, slots));
    }
    true
}

/// # Safety
/// As [`row`], for 16 heaps from lane `at`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn row_heaps(trees: &Trees, block: &Block, at: usize, slots: &mut [u32]) {
    let (thresholds, columns) = trees.heap_nodes();
    let lanes = trees.heaps();
    let deepest = lanes.depths()[at..at + LANES].iter().max().copied().unwrap_or(0);
    let shift = _mm_cvtsi32_si128(block.shift() as i32);
    let (one, zero) = (_mm256_set1_epi32(1), _mm256_setzero_si256());
    let mut node = [one; 2];
    // SAFETY: the lists of lanes are as long as the caller says; a lane moves only `depth` times, within its heap.
    unsafe {
        let load = |list: &[u32], u: usize| _mm256_loadu_si256(list.as_ptr().add(at + 8 * u).cast());
        for level in 0..deepest {
            for (u, node) in node.iter_mut().enumerate() {
                let moves = _mm256_cmpgt_epi32(load(lanes.depths(), u), _mm256_set1_epi32(level as i32));
                // A lane that is done looks at its heap's node 0.
                let place = _mm256_add_epi32(load(lanes.starts(), u), _mm256_and_si256(*node, moves));
                let threshold = _mm256_i32gather_ps::<4>(thresholds.as_ptr(), place);
                let column = _mm256_i32gather_epi32::<4>(columns.as_ptr().cast(), place);
                let yes = ask(block.values().as_ptr(), shift, zero, column, threshold);
                let to = _mm256_add_epi32(_mm256_add_epi32(_mm256_add_epi32(*node, *node), one), yes);
                *node = _mm256_blendv_epi8(*node, to, moves);
            }
        }
        for (u, node) in node.iter().enumerate() {
            // The slots are the low bits: as many as the depth, but 4 at least, for a heap has 16 slots at least.
            let bits = _mm256_max_epi32(load(lanes.depths(), u), _mm256_set1_epi32(4));
            let low = _mm256_sub_epi32(_mm256_sllv_epi32(one, bits), one);
            put(_mm256_and_si256(*node, low), &lanes.trees()[at + 8 * u..], slots);
        }
    }
}

/// # Safety
/// As [`row`], for 16 flat trees from lane `at`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn row_flats(trees: &Trees, block: &Block, at: usize, slots: &mut [u32]) {
    let tree = trees.flat_nodes();
    let lanes = trees.flats();
    let deepest = lanes.depths()[at..at + LANES].iter().max().copied().unwrap_or(0);
    let shift = _mm_cvtsi32_si128(block.shift() as i32);
    // SAFETY: the lists of lanes are as long as the caller says; from a slot a walk goes to a slot.
    unsafe {
        let load = |u: usize| _mm256_loadu_si256(lanes.starts().as_ptr().add(at + 8 * u).cast());
        let mut slot = [load(0), load(1)];
        for _ in 0..deepest {
            let mut still = _mm256_set1_epi32(-1);
            for slot in &mut slot {
                let to = flat_step(tree, block.values().as_ptr(), shift, _mm256_setzero_si256(), *slot);
                still = _mm256_and_si256(still, _mm256_cmpeq_epi32(*slot, to));
                *slot = to;
            }
            if _mm256_movemask_epi8(still) == -1 {
                break;
            }
        }
        for (u, slot) in slot.iter().enumerate() {
            put(_mm256_sub_epi32(*slot, load(u)), &lanes.trees()[at + 8 * u..], slots);
        }
    }
}

/// The next slot of 8 walks.
///
/// # Safety
/// The slots are the tree's, the rows and the tree's columns the block's at `values`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn flat_step(tree: Flat, values: *const f32, shift: __m128i, row: __m256i, slot: __m256i) -> __m256i {
    // SAFETY: as the caller says.
    unsafe {
        let threshold = _mm256_i32gather_ps::<4>(tree.thresholds.as_ptr(), slot);
        let column = _mm256_i32gather_epi32::<4>(tree.columns.as_ptr().cast(), slot);
        let next = _mm256_i32gather_epi32::<4>(tree.next.as_ptr().cast(), slot);
        let yes = ask(values, shift, row, column, threshold);
        _mm256_add_epi32(_mm256_add_epi32(next, _mm256_set1_epi32(1)), yes)
    }
}

/// Stores slots by tree.
#[inline]
#[target_feature(enable = "avx2")]
fn put(slot: __m256i, trees: &[u32], slots: &mut [u32]) {
    let mut here = [0u32; 8];
    // SAFETY: the array has 8 values.
    unsafe { _mm256_storeu_si256(here.as_mut_ptr().cast(), slot) };
    here.iter().zip(trees).for_each(|(slot, tree)| slots[*tree as usize] = *slot);
}
