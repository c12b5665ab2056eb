//! The forms of trees in memory, for the kernels.
//!
//! ```text
//! complete heap   node i has the children 2i (yes) and 2i + 1 (no), from node 1; a leaf that comes early is continued to
//!                 the full depth. No pointers: shallow trees.
//! flat            a node's children are neighbours, `next` (yes) and `next + 1` (no); a leaf is its own next node, so a
//!                 walk may go on on the spot. Deep skinny trees, shared nodes.
//! general         flat, with questions other than `<=`.
//! masks           beside a heap or a flat tree: its splits, or the uppermost, as a list, see [`Masks`].
//! ```
//!
//! The nodes of all heaps lie in one array, and those of all flat trees in another, so that a kernel can walk one tree with
//! many rows or many trees with one row. A walk ends on a *slot* of its tree. The functions that add trees check all that a
//! kernel relies on, and the fields are private: no walk can leave the arrays, and no column is one that the block lacks.

use std::sync::Arc;

use super::columns::{Members, Question};
use super::error::TreeError;
use super::masks::Masks;

/// Bit of a column's number: NaN goes to yes.
pub(super) const MISSING: u32 = 1 << 31;
/// The deepest complete heap.
pub(super) const HEAP_DEPTH: u32 = 10;
/// Heaps have at least so many slots, that kernels may load them whole.
const HEAP_SLOTS: usize = 16;
/// Lists of trees are filled up to a multiple of this.
pub(super) const LANES: usize = 16;
/// The most nodes in one array: they are indexed by `i32`.
const MOST: usize = 1 << 30;

/// A node as the builders pass it on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Node {
    /// An inner node.
    Split {
        /// The column that is looked at.
        column: u32,
        /// What is asked.
        question: Question,
        /// Whether NaN goes to yes.
        missing: bool,
        /// The slot of its first child (flat trees).
        next: u32,
    },
    /// A leaf, by its number.
    Leaf(u32),
}

/// A tree that asks anything; walked row by row.
#[derive(Debug)]
pub(super) struct General {
    nodes: Box<[Node]>,
    /// By number of the set; trees share them.
    sets: Box<[Arc<Members>]>,
}

impl General {
    /// By slot, from slot 0.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    /// Whether the rank `x` is in a set.
    pub(super) fn contains(&self, set: u32, x: f32) -> bool {
        self.sets.get(set as usize).is_some_and(|members| members.contain(x))
    }
}

/// A tree in its form; its nodes begin at `at` of their array.
#[derive(Debug)]
enum Form {
    Heap { at: usize, depth: u32, missing: bool, top: Option<Masks> },
    Flat { at: usize, slots: usize, depth: u32 },
    General(General),
}

/// All trees.
#[derive(Debug, Default)]
pub(super) struct Trees {
    forms: Vec<Form>,
    heap_thresholds: Vec<f32>,
    heap_columns: Vec<u32>,
    flat_thresholds: Vec<f32>,
    flat_columns: Vec<u32>,
    flat_next: Vec<u32>,
    heaps: Lanes,
    flats: Lanes,
    /// By tree: all of it.
    masks: Vec<Option<Masks>>,
    columns: u32,
}

/// Trees of one form side by side, filled up to whole vectors by repeating the last; by lane.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    trees: Vec<u32>,
    starts: Vec<u32>,
    depths: Vec<u32>,
    /// Without those that fill up.
    count: usize,
}

impl Lanes {
    fn push(&mut self, tree: usize, start: usize, depth: u32) {
        self.trees.push(tree as u32);
        self.starts.push(start as u32);
        self.depths.push(depth);
        self.count += 1;
    }
    fn fill_up(&mut self) {
        while !self.trees.len().is_multiple_of(LANES) {
            self.trees.extend(self.trees.last().copied());
            self.starts.extend(self.starts.last().copied());
            self.depths.extend(self.depths.last().copied());
        }
    }
    /// Which tree.
    pub(super) fn trees(&self) -> &[u32] {
        &self.trees
    }
    /// Where its nodes begin; as many as trees.
    pub(super) fn starts(&self) -> &[u32] {
        &self.starts
    }
    /// How deep it is; as many as trees.
    pub(super) fn depths(&self) -> &[u32] {
        &self.depths
    }
}

/// A complete heap. Every array has the same length, a power of two and at least 16; every column is less than
/// [`Trees::columns`] but for its [`MISSING`] bit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heap<'a> {
    /// Steps from the root to the slots.
    pub(super) depth: u32,
    /// By node.
    pub(super) thresholds: &'a [f32],
    /// By node.
    pub(super) columns: &'a [u32],
    /// Whether any node has the [`MISSING`] bit.
    pub(super) missing: bool,
    /// The levels above level [`super::masks::TOP`], if there are more.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // the kernels for them are x86-64's
    pub(super) top: Option<&'a Masks>,
}

/// A flat tree, or all of them. Every array has the same length; every column is less than [`Trees::columns`] but for its
/// [`MISSING`] bit; for each slot `next + 1` (wrapping) is a slot, and `next` too if the answer can be yes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flat<'a> {
    /// The slot at which walks begin; slots are counted from here.
    pub(super) start: usize,
    /// After so many steps every walk stands on a leaf.
    pub(super) depth: u32,
    /// By slot; a leaf's is NaN.
    pub(super) thresholds: &'a [f32],
    /// By slot; a leaf's has no [`MISSING`] bit.
    pub(super) columns: &'a [u32],
    /// By slot: the one before that of `no`.
    pub(super) next: &'a [u32],
}

/// A tree, to be walked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tree<'a> {
    /// Shallow.
    Heap(Heap<'a>),
    /// Deep and skinny.
    Flat(Flat<'a>),
    /// With other questions than `<=`.
    General(&'a General),
}

impl Trees {
    /// How many slots a heap of this depth has: a power of two. Slot `s` is node `i` of the lowest level where `i` and `s`
    /// have the same low bits.
    pub(super) fn heap_slots(depth: u32) -> usize {
        (1usize << depth).max(HEAP_SLOTS)
    }

    /// Adds a heap: its nodes from node 1 (index 0 is not used) to the last above the slots.
    ///
    /// # Errors
    /// If there is not the right number of nodes, or one asks something else than `<=`.
    pub(super) fn add_heap(&mut self, depth: u32, nodes: &[Node]) -> Result<(), TreeError> {
        if depth > HEAP_DEPTH || nodes.len() != 1 << depth {
            return Err(TreeError::missing("level", depth as usize, HEAP_DEPTH as usize));
        }
        let (at, slots) = (self.heap_thresholds.len(), Self::heap_slots(depth));
        TreeError::at_most("nodes in its heaps", at + slots, MOST)?;
        self.heap_thresholds.resize(at + slots, f32::NAN);
        self.heap_columns.resize(at + slots, 0);
        let mut any = false;
        for (node, given) in nodes.iter().enumerate().skip(1) {
            // A leaf that comes early keeps NaN, and so answers no all the way down.
            if let Node::Split { column, question, missing, .. } = *given {
                (self.heap_thresholds[at + node], self.heap_columns[at + node]) = self.split(column, question, missing)?;
                any |= missing;
            }
        }
        self.heaps.push(self.forms.len(), at, depth);
        let masks = Masks::of_heap(depth, nodes);
        let top = if masks.is_none() { Masks::top(depth, nodes) } else { None };
        self.forms.push(Form::Heap { at, depth, missing: any, top });
        self.masks.push(masks);
        Ok(())
    }

    /// Adds a flat tree, by slot; returns what is in its slots behind the nodes.
    ///
    /// # Errors
    /// If a node has a child behind the last, or asks something else than `<=`.
    pub(super) fn add_flat(&mut self, depth: u32, nodes: &[Node]) -> Result<Vec<Option<Node>>, TreeError> {
        let at = self.flat_thresholds.len();
        TreeError::at_most("nodes in its flat trees", at + nodes.len(), MOST)?;
        for (slot, node) in nodes.iter().enumerate() {
            // A leaf asks what is always answered by no, and no is itself.
            let (mut threshold, mut column, mut next) = (f32::NAN, 0, ((at + slot) as u32).wrapping_sub(1));
            if let Node::Split { column: given, question, missing, next: child } = *node {
                if child as usize + 1 >= nodes.len() {
                    return Err(TreeError::missing("slot", child as usize + 1, nodes.len()));
                }
                (threshold, column) = self.split(given, question, missing)?;
                next = at as u32 + child;
            }
            self.flat_thresholds.push(threshold);
            self.flat_columns.push(column);
            self.flat_next.push(next);
        }
        if nodes.is_empty() {
            return Err(TreeError::missing("slot", 0, 0));
        }
        self.flats.push(self.forms.len(), at, depth);
        let (masks, further) = Masks::of_flat(depth, nodes).unzip();
        let further = further.unwrap_or_default();
        self.forms.push(Form::Flat { at, slots: nodes.len() + further.len(), depth });
        self.masks.push(masks);
        Ok(further)
    }

    /// Adds a tree that asks anything, by slot.
    ///
    /// # Errors
    /// If a column is out of range.
    pub(super) fn add_general(&mut self, nodes: &[Node], sets: Vec<Arc<Members>>) -> Result<(), TreeError> {
        for node in nodes {
            if let Node::Split { column, missing, .. } = *node {
                self.split(column, Question::AtMost(0.0), missing)?;
            }
        }
        self.forms.push(Form::General(General { nodes: nodes.into(), sets: sets.into() }));
        self.masks.push(None);
        Ok(())
    }

    /// To be called when the last tree has been added.
    pub(super) fn fill_up(&mut self) {
        self.heaps.fill_up();
        self.flats.fill_up();
    }

    /// A node's threshold and column.
    fn split(&mut self, column: u32, question: Question, missing: bool) -> Result<(f32, u32), TreeError> {
        let Question::AtMost(threshold) = question else { return Err(TreeError::missing("column", column as usize, 0)) };
        if column as usize >= MOST {
            return Err(TreeError::missing("column", column as usize, MOST));
        }
        self.columns = self.columns.max(column + 1);
        Ok((threshold, column | if missing { MISSING } else { 0 }))
    }

    /// How many trees there are.
    pub(super) fn len(&self) -> usize {
        self.forms.len()
    }
    /// How many columns a block must have.
    pub(super) fn columns(&self) -> usize {
        self.columns as usize
    }
    /// The heaps side by side.
    pub(super) fn heaps(&self) -> &Lanes {
        &self.heaps
    }
    /// The flat trees side by side.
    pub(super) fn flats(&self) -> &Lanes {
        &self.flats
    }
    /// The nodes of all heaps: thresholds and columns.
    pub(super) fn heap_nodes(&self) -> (&[f32], &[u32]) {
        (&self.heap_thresholds, &self.heap_columns)
    }
    /// All flat trees as one, of no depth.
    pub(super) fn flat_nodes(&self) -> Flat<'_> {
        let (thresholds, columns, next) = (&self.flat_thresholds, &self.flat_columns, &self.flat_next);
        Flat { start: 0, depth: 0, thresholds, columns, next }
    }
    /// A tree.
    pub(super) fn tree(&self, index: usize) -> Tree<'_> {
        match &self.forms[index] {
            Form::Heap { at, depth, missing, top } => {
                let nodes = *at..*at + Self::heap_slots(*depth);
                let (thresholds, columns) = (&self.heap_thresholds[nodes.clone()], &self.heap_columns[nodes]);
                Tree::Heap(Heap { depth: *depth, thresholds, columns, missing: *missing, top: top.as_ref() })
            }
            Form::Flat { at, depth, .. } => Tree::Flat(Flat { start: *at, depth: *depth, ..self.flat_nodes() }),
            Form::General(tree) => Tree::General(tree),
        }
    }
    /// A tree's splits as a list, if it has one. Its columns are less than [`Self::columns`], its ends are among its slots.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // the kernels for them are x86-64's
    pub(super) fn masks(&self, index: usize) -> Option<&Masks> {
        self.masks[index].as_ref()
    }
    /// How many slots a tree has.
    pub(super) fn slots(&self, index: usize) -> usize {
        match &self.forms[index] {
            Form::Heap { depth, .. } => Self::heap_slots(*depth),
            Form::Flat { slots, .. } => *slots,
            Form::General(tree) => tree.nodes.len(),
        }
    }
    /// Whether there is a general tree.
    pub(super) fn any_general(&self) -> bool {
        self.heaps.count + self.flats.count < self.forms.len()
    }
    /// How many heaps, flat and general trees there are.
    pub(super) fn count(&self) -> [usize; 3] {
        let (heaps, flats) = (self.heaps.count, self.flats.count);
        [heaps, flats, self.forms.len() - heaps - flats]
    }
}
