//! 4 rows at a time, with NEON, which every ARM64 has.
//!
//! As with AVX-512, but a table lookup holds 16 nodes, and what is gathered there is read value by value here. A single row
//! is walked without vectors.

#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::super::columns::Block;
use super::super::layout::{Flat, Heap};
use super::Sink;

/// Vectors of rows at a time.
const U: usize = 4;

/// `table[i]` in each lane, value by value: NEON has no gather.
///
/// # Safety
/// `table` has a value for each lane's index.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn gather(table: *const f32, i: uint32x4_t) -> float32x4_t {
    let mut at = [0u32; 4];
    // SAFETY: the arrays have 4 values; the rest as the caller says.
    unsafe {
        vst1q_u32(at.as_mut_ptr(), i);
        let values = at.map(|at| *table.add(at as usize));
        vld1q_f32(values.as_ptr())
    }
}

/// Picks `table[i & 15]` in each lane from registers.
///
/// # Safety
/// `table` has 16 values.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn pick(table: *const f32, i: uint32x4_t) -> float32x4_t {
    // SAFETY: as the caller says.
    let bytes = unsafe { vld1q_u8_x4(table.cast()) };
    // Value 3 is bytes 12, 13, 14, 15.
    let low = vandq_u32(i, vdupq_n_u32(15));
    let at = vaddq_u32(vmulq_n_u32(low, 0x0404_0404), vdupq_n_u32(0x0302_0100));
    vreinterpretq_f32_u8(vqtbl4q_u8(bytes, vreinterpretq_u8_u32(at)))
}

/// Yes is all ones.
///
/// # Safety
/// Every column is one of the block's at `values`, every row one of its rows.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn ask(
    values: *const f32,
    shift: int32x4_t,
    row: uint32x4_t,
    column: uint32x4_t,
    threshold: float32x4_t,
) -> uint32x4_t {
    // The shift loses the missing bit.
    let at = vaddq_u32(vshlq_u32(column, shift), row);
    // SAFETY: as the caller says.
    let x = unsafe { gather(values, at) };
    let nan = vmvnq_u32(vceqq_f32(x, x));
    let missing = vreinterpretq_u32_s32(vshrq_n_s32::<31>(vreinterpretq_s32_u32(column)));
    vorrq_u32(vcleq_f32(x, threshold), vandq_u32(nan, missing))
}

/// The lanes' rows from `start`.
#[inline]
#[target_feature(enable = "neon")]
fn rows_from(start: usize) -> uint32x4_t {
    let lanes = [0, 1, 2, 3].map(|lane| start as u32 + lane);
    // SAFETY: the array has 4 values.
    unsafe { vld1q_u32(lanes.as_ptr()) }
}

/// # Safety
/// The sink has 4 rows from `row`, and a value for each slot.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn leave(sink: &mut Sink, row: usize, slot: uint32x4_t) {
    // SAFETY: as the caller says.
    unsafe {
        match sink {
            Sink::Slots(slots) => vst1q_u32(slots.as_mut_ptr().add(row), slot),
            Sink::Add { values, sums } => {
                let to = sums.as_mut_ptr().add(row);
                vst1q_f32(to, vaddq_f32(vld1q_f32(to), gather(values.as_ptr(), slot)));
            }
        }
    }
}

/// # Safety
/// `rows` is a multiple of 16, and the block and the sink have so many; the block has the tree's columns; the sink's
/// values, if any, are as many as the tree's slots.
#[target_feature(enable = "neon")]
pub(super) unsafe fn heap(tree: Heap, block: &Block, rows: usize, sink: &mut Sink) {
    let values = block.values().as_ptr();
    let shift = vdupq_n_s32(block.shift() as i32);
    let one = vdupq_n_u32(1);
    let low = vdupq_n_u32(tree.thresholds.len() as u32 - 1);
    for start in (0..rows).step_by(4 * U) {
        let mut node = [one; U];
        for level in 0..tree.depth {
            // Level 4 is nodes 16 to 31, the levels above are nodes below 16.
            let first = if level == 4 { 16 } else { 0 };
            for (u, node) in node.iter_mut().enumerate() {
                // SAFETY: a heap of 5 levels or more has 32 nodes or more; nodes and columns are in range.
                unsafe {
                    let thresholds = tree.thresholds.as_ptr().add(first);
                    let columns = tree.columns.as_ptr().cast::<f32>().add(first);
                    let (threshold, column) = if level <= 4 {
                        (pick(thresholds, *node), pick(columns, *node))
                    } else {
                        (gather(thresholds, *node), gather(columns, *node))
                    };
                    let yes = ask(values, shift, rows_from(start + 4 * u), vreinterpretq_u32_f32(column), threshold);
                    *node = vaddq_u32(vaddq_u32(vaddq_u32(*node, *node), one), yes);
                }
            }
        }
        for (u, node) in node.iter().enumerate() {
            // SAFETY: the sink has 16 rows from `start`, and a value for each slot.
            unsafe { leave(sink, start + 4 * u, vandq_u32(*node, low)) };
        }
    }
}

/// # Safety
/// As [`heap`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn flat(tree: Flat, block: &Block, rows: usize, sink: &mut Sink) {
    let values = block.values().as_ptr();
    let shift = vdupq_n_s32(block.shift() as i32);
    let first = vdupq_n_u32(tree.start as u32);
    for start in (0..rows).step_by(4 * U) {
        let mut slot = [first; U];
        for _ in 0..tree.depth {
            let mut still = vdupq_n_u32(u32::MAX);
            for (u, slot) in slot.iter_mut().enumerate() {
                // SAFETY: slot 0 exists, and from a slot the walk goes to a slot; columns are in range.
                let to = unsafe {
                    let threshold = gather(tree.thresholds.as_ptr(), *slot);
                    let column = vreinterpretq_u32_f32(gather(tree.columns.as_ptr().cast(), *slot));
                    let next = vreinterpretq_u32_f32(gather(tree.next.as_ptr().cast(), *slot));
                    let yes = ask(values, shift, rows_from(start + 4 * u), column, threshold);
                    vaddq_u32(vaddq_u32(next, vdupq_n_u32(1)), yes)
                };
                still = vandq_u32(still, vceqq_u32(*slot, to));
                *slot = to;
            }
            if vminvq_u32(still) == u32::MAX {
                break;
            }
        }
        for (u, slot) in slot.iter().enumerate() {
            // SAFETY: the sink has 16 rows from `start`, and a value for each slot.
            unsafe { leave(sink, start + 4 * u, vsubq_u32(*slot, first)) };
        }
    }
}
