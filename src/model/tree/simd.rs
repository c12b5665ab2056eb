//! Walks with vector instructions: AVX-512, AVX2 and NEON, chosen when the program runs.
//!
//! ```text
//! lanes = rows:  node of each row ─► threshold and column (from registers near the root, then gathered) ─► the row's value
//!                (gathered) ─► compare ─► next node        4 vectors of rows at a time, one tree after the other
//! ```
//!
//! Every kernel gives the slots of [`scalar`], bit for bit, and adds leaves in the order of the trees.
//! All `unsafe` of this module rests on what [`super::layout`] promises: a node's column is less than `most()`, a walk
//! never leaves the arrays, and a heap has 16 slots or more, a power of two. The safe functions at the top check what
//! belongs to the call: that the block has the columns, and the buffers the rows, rounded up to whole vectors.

#![allow(unsafe_code)]

use super::columns::Block;
use super::layout::{Flat, Heap, LANES, Tree, Trees};
use super::scalar;

/// The instructions that kernels use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simd {
    /// None that not every processor has.
    Scalar,
    /// x86-64 with AVX2: 8 rows per vector.
    Avx2,
    /// x86-64 with AVX-512F: 16 rows per vector.
    Avx512,
    /// ARM64: 4 rows per vector.
    Neon,
}

/// Buffers have room for rows in multiples of this.
pub(super) const ROWS: usize = 16;

impl Simd {
    /// The best that this processor has.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if std::is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        if cfg!(all(target_arch = "aarch64", target_endian = "little")) { Self::Neon } else { Self::Scalar }
    }

    /// All that this processor has, the plain one first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        match Self::best() {
            Self::Avx512 => vec![Self::Scalar, Self::Avx2, Self::Avx512],
            best => [Self::Scalar, best].into_iter().take(1 + usize::from(best != Self::Scalar)).collect(),
        }
    }
}

/// What a kernel leaves of each row.
#[derive(Debug)]
pub(super) enum Sink<'a> {
    /// The slot.
    Slots(&'a mut [u32]),
    /// The value of its slot, added.
    Add {
        /// By slot.
        values: &'a [f32],
        /// By row.
        sums: &'a mut [f32],
    },
}

/// Walks the block's first `rows` rows down a tree.
///
/// # Panics
/// If the sink is shorter than the rows in whole vectors, or the block is not the ensemble's.
pub(super) fn walk(simd: Simd, trees: &Trees, index: usize, block: &Block, rows: usize, mut sink: Sink) {
    let vectors = rows.next_multiple_of(ROWS);
    let room = match &sink {
        Sink::Slots(to) => to.len(),
        Sink::Add { values, sums } => sums.len() * usize::from(values.len() >= trees.slots(index)),
    };
    assert!(vectors <= room && vectors <= 1 << block.shift() && fits(trees, block), "not its buffers");
    match (simd, trees.tree(index)) {
        // SAFETY: the processor has AVX-512F: a forest is only compiled for what `Simd::available` says. The block has the
        // trees' columns and `vectors` rows; the sink has `vectors` rows and the tree's slots.
        #[cfg(target_arch = "x86_64")]
        (Simd::Avx512, Tree::Heap(tree)) => unsafe { avx512::heap(tree, block, vectors, &mut sink) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Simd::Avx512, Tree::Flat(tree)) => unsafe { avx512::flat(tree, block, vectors, &mut sink) },
        // SAFETY: as above, with AVX2.
        #[cfg(target_arch = "x86_64")]
        (Simd::Avx2, Tree::Heap(tree)) => unsafe { avx2::heap(tree, block, vectors, &mut sink) },
        // SAFETY: as above, with AVX2.
        #[cfg(target_arch = "x86_64")]
        (Simd::Avx2, Tree::Flat(tree)) => unsafe { avx2::flat(tree, block, vectors, &mut sink) },
        (_, tree) => match sink {
            Sink::Slots(slots) => scalar::walk(tree, block, &mut slots[..rows]),
            Sink::Add { .. } => unreachable!("see `adds`"),
        },
    }
}

/// Whether a block has the trees' columns, and kernels can count its values.
fn fits(trees: &Trees, block: &Block) -> bool {
    trees.columns() <= block.columns() && block.shift() >= 1 && block.values().len() <= i32::MAX as usize
}

/// Whether there is a kernel that adds values for this tree; the others only give slots.
pub(super) fn adds(simd: Simd, tree: Tree) -> bool {
    matches!(simd, Simd::Avx2 | Simd::Avx512) && !matches!(tree, Tree::General(_))
}

/// Walks the block's first row down all trees; `slots` are by tree.
///
/// # Panics
/// If there are not as many slots as trees, or the block is not the ensemble's.
pub(super) fn walk_row(simd: Simd, trees: &Trees, block: &Block, slots: &mut [u32]) {
    assert!(slots.len() == trees.len() && fits(trees, block), "not its buffers");
    let lanes = match simd {
        // SAFETY: the processor has AVX-512F, see `walk`; the block has the trees' columns.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { avx512::row(trees, block, slots) },
        // SAFETY: the processor has AVX2, see `walk`; the block has the trees' columns.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { avx2::row(trees, block, slots) },
        _ => false,
    };
    if !lanes || trees.any_general() {
        for (index, slot) in slots.iter_mut().enumerate() {
            let tree = trees.tree(index);
            if !lanes || matches!(tree, Tree::General(_)) {
                scalar::walk(tree, block, std::slice::from_mut(slot));
            }
        }
    }
}

/// 16 rows at a time.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Block, Flat, Heap, LANES, Sink, Trees};

    /// Picks `table[i & 15]`, `[i & 31]`, `[i & 63]` in each lane, without a gather.
    ///
    /// # Safety
    /// `table` has `1 << BITS` values.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn pick<const BITS: u32>(table: *const f32, i: __m512i) -> __m512 {
        // SAFETY: the loads are of the table's 16, 32 or 64 values.
        unsafe {
            let part = |at: usize| _mm512_loadu_ps(table.add(16 * at));
            match BITS {
                4 => _mm512_permutexvar_ps(i, part(0)),
                5 => _mm512_permutex2var_ps(part(0), i, part(1)),
                _ => {
                    let (low, high) =
                        (_mm512_permutex2var_ps(part(0), i, part(1)), _mm512_permutex2var_ps(part(2), i, part(3)));
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
                    yes |= _mm512_mask_cmplt_epi32_mask(
                        _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x),
                        column,
                        _mm512_setzero_si512(),
                    );
                }
                let twice = _mm512_add_epi32(node[u], node[u]);
                node[u] = _mm512_mask_add_epi32(twice, !yes, twice, _mm512_set1_epi32(1));
            }
        }
    }

    /// # Safety
    /// As [`heap`], for the rows from `start`.
    #[inline]
    #[target_feature(enable = "avx512f")]
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
            for _ in 0..depth.min(4) {
                step::<U, 4, MISSING>(tree, 0, values, shift, &row, &mut node);
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
    /// The processor has AVX-512F. `rows` is a multiple of 16, and the block and the sink have so many; the block has the
    /// tree's columns; the sink's values, if any, are as many as the tree's slots.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn heap(tree: Heap, block: &Block, rows: usize, sink: &mut Sink) {
        let mut start = 0;
        while start < rows {
            // SAFETY: 64, 32 or 16 rows are left.
            unsafe {
                start += match (rows - start, tree.missing) {
                    (64.., true) => { group::<4, true>(tree, block, start, sink); 64 }
                    (64.., false) => { group::<4, false>(tree, block, start, sink); 64 }
                    (32.., true) => { group::<2, true>(tree, block, start, sink); 32 }
                    (32.., false) => { group::<2, false>(tree, block, start, sink); 32 }
                    (_, true) => { group::<1, true>(tree, block, start, sink); 16 }
                    (_, false) => { group::<1, false>(tree, block, start, sink); 16 }
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
                at += if lanes - at >= 4 * LANES { row_heaps::<4>(trees, block, at, slots) } else { row_heaps::<1>(trees, block, at, slots) };
            }
        }
        let lanes = trees.flats().trees().len();
        let mut at = 0;
        while at < lanes {
            // SAFETY: 64 or 16 lanes are left.
            unsafe {
                at += if lanes - at >= 4 * LANES { row_flats::<4>(trees, block, at, slots) } else { row_flats::<1>(trees, block, at, slots) };
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
}

/// 8 rows at a time.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Block, Flat, Heap, LANES, Sink, Trees};

    /// Picks `table[i & 7]` or `table[i & 15]` in each lane, without a gather.
    ///
    /// # Safety
    /// `table` has `1 << BITS` values.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn pick<const BITS: u32>(table: *const f32, i: __m256i) -> __m256 {
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
            for _ in 0..depth.min(3) {
                step::<U, 3>(tree, 0, values, shift, &row, &mut node);
            }
            if depth > 3 {
                step::<U, 3>(tree, 8, values, shift, &row, &mut node);
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
}
