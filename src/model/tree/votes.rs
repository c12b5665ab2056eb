//! What leaves add to the scores of a row: tables by slot, laid out for how a tree's leaves speak.
//!
//! | leaves of a tree | table | sums |
//! |---|---|---|
//! | one weight each, all for one target (regression, boosted classes) | value by slot | target by target, added by the kernel |
//! | weights for a range of targets (random forests) | row of values by leaf | row by row |
//! | anything else, smallest or largest, classes that may stay unheard | list by leaf | row by row, with flags |

use super::ensemble::{Aggregate, Ensemble, Weight};
use super::layout::Node;
use super::number::Number;

/// The leaves of one tree.
#[derive(Debug)]
pub(super) enum Votes<T> {
    /// One target.
    One {
        /// Which.
        target: usize,
        /// By slot.
        values: Box<[T]>,
    },
    /// A range of targets.
    Range {
        /// The first target.
        first: usize,
        /// By slot: where the leaf's row begins in `table`.
        rows: Box<[u32]>,
        /// How long a row is.
        width: usize,
        /// Row by row.
        table: Box<[T]>,
    },
    /// Any targets.
    List {
        /// By slot: the leaf.
        leaves: Box<[u32]>,
        /// By leaf: where its entries begin; one more than leaves.
        starts: Box<[u32]>,
        /// Target and value.
        entries: Box<[(u32, T)]>,
    },
}

/// The leaves that a tree can end on, in the order of their numbers in it, and the leaf of each slot.
#[derive(Debug)]
pub(super) struct Ends {
    /// The ensemble's leaf, by the tree's own number.
    pub(super) leaves: Vec<u32>,
    /// The tree's own number, by slot; `u32::MAX` where no walk ends.
    pub(super) slots: Vec<u32>,
}

impl Ends {
    /// Numbers the leaves among some slots.
    pub(super) fn new(slots: impl Iterator<Item = Option<Node>>, ensemble_leaves: &mut [u32]) -> Self {
        let mut ends = Self { leaves: vec![], slots: vec![] };
        for node in slots {
            let number = match node {
                Some(Node::Leaf(leaf)) => {
                    let known = &mut ensemble_leaves[leaf as usize];
                    if *known == u32::MAX {
                        *known = ends.leaves.len() as u32;
                        ends.leaves.push(leaf);
                    }
                    *known
                }
                _ => u32::MAX,
            };
            ends.slots.push(number);
        }
        // The scratch is the next tree's.
        ends.leaves.iter().for_each(|leaf| ensemble_leaves[*leaf as usize] = u32::MAX);
        ends
    }

    fn weights<'a>(&'a self, ensemble: &'a Ensemble) -> impl Iterator<Item = &'a [Weight]> + 'a {
        self.leaves.iter().map(|leaf| ensemble.weights_of(*leaf))
    }
}

/// What the leaves of all trees have in common.
#[derive(Debug)]
pub(super) struct Habits {
    /// Whether every tree can be [`Votes::One`].
    pub(super) one: bool,
    /// Whether all must be [`Votes::List`], with flags.
    pub(super) list: bool,
    /// Which targets some leaf of every row speaks for, where `list` is false.
    pub(super) heard: Vec<bool>,
}

impl Habits {
    /// `flags`: whether it matters which targets were spoken for.
    pub(super) fn new(ensemble: &Ensemble, trees: &[Ends], flags: bool) -> Self {
        let mut heard = vec![false; ensemble.targets];
        let mut sometimes = vec![false; ensemble.targets];
        let mut habits = Self { one: true, list: false, heard: vec![] };
        let (mut dense, mut sparse) = (0usize, 0usize);
        // By target: the tree and leaf that spoke for it last, and for how many of the tree's leaves it did.
        let mut last = vec![(usize::MAX, usize::MAX, 0usize); ensemble.targets];
        for (tree, ends) in trees.iter().enumerate() {
            let (mut low, mut high) = (usize::MAX, 0);
            for (leaf, weights) in ends.weights(ensemble).enumerate() {
                habits.one &= weights.len() == 1;
                sparse += weights.len();
                for weight in weights {
                    let target = weight.target as usize;
                    (low, high) = (low.min(target), high.max(target));
                    sometimes[target] = true;
                    let (last_tree, last_leaf, count) = &mut last[target];
                    if (*last_tree, *last_leaf) == (tree, leaf) {
                        // Two weights for one target are added one after the other.
                        habits.list = true;
                    }
                    *count = if *last_tree == tree { *count + 1 } else { 1 };
                    (*last_tree, *last_leaf) = (tree, leaf);
                    heard[target] |= *count == ends.leaves.len();
                }
            }
            habits.one &= low == high;
            dense = dense.saturating_add(ends.leaves.len().saturating_mul((high + 1).saturating_sub(low.min(high))));
        }
        habits.list |= dense > 4 * sparse + (1 << 16);
        habits.list |= flags && (0..ensemble.targets).any(|k| sometimes[k] && !heard[k]);
        habits.list |= matches!(ensemble.aggregate, Aggregate::Min | Aggregate::Max);
        habits.one &= !habits.list;
        habits.heard = if flags { heard } else { vec![] };
        habits
    }
}

impl<T: Number> Votes<T> {
    pub(super) fn new(ensemble: &Ensemble, ends: &Ends, habits: &Habits) -> Self {
        let known = |number: &u32| (*number != u32::MAX).then_some(*number as usize);
        if habits.list {
            let mut starts = vec![0];
            let mut entries = vec![];
            for weights in ends.weights(ensemble) {
                entries.extend(weights.iter().map(|w| (w.target, T::from_f64(w.value))));
                starts.push(entries.len() as u32);
            }
            let leaves = ends.slots.iter().map(|n| known(n).unwrap_or(0) as u32).collect();
            return Self::List { leaves, starts: starts.into(), entries: entries.into() };
        }
        let targets = || ends.weights(ensemble).flatten().map(|w| w.target as usize);
        let first = targets().min().unwrap_or(0);
        let width = targets().max().map_or(0, |last| last + 1 - first);
        let mut table = vec![T::default(); width * ends.leaves.len()];
        for (leaf, weights) in ends.weights(ensemble).enumerate() {
            for weight in weights {
                table[leaf * width + weight.target as usize - first] = T::from_f64(weight.value);
            }
        }
        if habits.one {
            let value = |n: &u32| known(n).and_then(|leaf| table.get(leaf)).copied().unwrap_or_default();
            return Self::One { target: first, values: ends.slots.iter().map(value).collect() };
        }
        let rows = ends.slots.iter().map(|n| (known(n).unwrap_or(0) * width) as u32).collect();
        Self::Range { first, rows, width, table: table.into() }
    }
}
