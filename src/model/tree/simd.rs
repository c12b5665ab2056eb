//! Walks with vector instructions: AVX-512, AVX2 and NEON, chosen when the program runs.
//!
//! ```text
//! lanes = rows:  node of each row ─► threshold and column (from registers near the root, then gathered) ─► the row's value
//!                (gathered) ─► compare ─► next node        4 vectors of rows at a time, one tree after the other
//! ```
//!
//! Every kernel gives the slots of [`scalar`], bit for bit, and adds leaves in the order of the trees.
//! All `unsafe` of this module rests on what [`super::layout`] promises: every column is less than
//! `Trees::columns`, a walk never leaves the arrays, and a heap has 16 slots or more, a power of two. The safe functions here
//! check what belongs to the call: that the block has the columns, and the buffers the rows, rounded up to whole vectors.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod masks;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
pub mod products;
mod widest;

use super::columns::Block;
use super::layout::{Tree, Trees};
use super::scalar;

pub use widest::{Vectorized, vectorized};

/// The instructions that kernels use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simd {
    /// None that not every processor has.
    Scalar,
    /// x86-64 with AVX2: 8 rows per vector.
    Avx2,
    /// x86-64 with AVX-512F and AVX-512CD: 16 rows per vector.
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
            if std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512cd") {
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
    #[cfg(target_arch = "x86_64")]
    match (simd, trees.masks(index)) {
        // SAFETY: the processor has AVX-512F and AVX-512CD: a forest is only compiled for what `Simd::available` says. The
        // block has the trees' columns and `vectors` rows; the sink has `vectors` rows and the tree's slots.
        (Simd::Avx512, Some(tree)) => return unsafe { masks::wide(tree, block, vectors, &mut sink) },
        // SAFETY: as above, with AVX2.
        (Simd::Avx2, Some(tree)) => return unsafe { masks::narrow(tree, block, vectors, &mut sink) },
        _ => {}
    }
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
        // SAFETY: every ARM64 has NEON; the rest as above.
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        (Simd::Neon, Tree::Heap(tree)) => unsafe { neon::heap(tree, block, vectors, &mut sink) },
        // SAFETY: as above.
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        (Simd::Neon, Tree::Flat(tree)) => unsafe { neon::flat(tree, block, vectors, &mut sink) },
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
    simd != Simd::Scalar && !matches!(tree, Tree::General(_))
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
