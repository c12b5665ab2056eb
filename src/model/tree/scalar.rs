//! Walks without vector instructions: the reference of the others, and what runs where there are none.
//!
//! Rows are walked in groups, step by step: one walk would wait for memory at each step. Slots are counted from the start
//! of their tree.

use super::columns::{Block, Question};
use super::layout::{Flat, General, Heap, MISSING, Node, Tree};

/// Walks at a time.
const GROUP: usize = 8;

/// Whether the answer is yes.
#[inline(always)]
fn at_most(x: f32, threshold: f32, column: u32) -> bool {
    x <= threshold || (x.is_nan() && column & MISSING != 0)
}

/// The slot of each of the block's first rows in a tree of any form.
pub(super) fn walk(tree: Tree, block: &Block, slots: &mut [u32]) {
    match tree {
        Tree::Heap(tree) => heap(tree, block, slots),
        Tree::Flat(tree) => flat(tree, block, slots),
        Tree::General(tree) => general(tree, block, slots),
    }
}

fn heap(tree: Heap, block: &Block, slots: &mut [u32]) {
    let low = tree.thresholds.len() - 1;
    for (group, slots) in slots.chunks_mut(GROUP).enumerate() {
        let mut nodes = [1usize; GROUP];
        for _ in 0..tree.depth {
            for (lane, node) in nodes.iter_mut().enumerate().take(slots.len()) {
                let column = tree.columns[*node];
                let x = block.at(column & !MISSING, group * GROUP + lane);
                *node = 2 * *node + usize::from(!at_most(x, tree.thresholds[*node], column));
            }
        }
        slots.iter_mut().zip(nodes).for_each(|(slot, node)| *slot = (node & low) as u32);
    }
}

fn flat(tree: Flat, block: &Block, slots: &mut [u32]) {
    for (group, slots) in slots.chunks_mut(GROUP).enumerate() {
        slots.fill(tree.start as u32);
        for _ in 0..tree.depth {
            let mut moved = false;
            for (lane, slot) in slots.iter_mut().enumerate() {
                let at = *slot as usize;
                let column = tree.columns[at];
                let x = block.at(column & !MISSING, group * GROUP + lane);
                *slot = tree.next[at].wrapping_add(u32::from(!at_most(x, tree.thresholds[at], column)));
                moved |= *slot as usize != at;
            }
            if !moved {
                break;
            }
        }
        slots.iter_mut().for_each(|slot| *slot -= tree.start as u32);
    }
}

fn general(tree: &General, block: &Block, slots: &mut [u32]) {
    let nodes = tree.nodes();
    for (row, slot) in slots.iter_mut().enumerate() {
        *slot = 0;
        while let Some(Node::Split { column, question, missing, next }) = nodes.get(*slot as usize) {
            let x = block.at(*column, row);
            let yes = match *question {
                _ if x.is_nan() => *missing,
                Question::AtMost(t) => x <= t,
                Question::Equal(t) => x == t,
                Question::Member(set) => tree.contains(set, x),
            };
            *slot = next + u32::from(!yes);
        }
    }
}
