//! From a description to trees in the form that kernels walk.
//!
//! ```text
//! Ensemble ─► check ─► columns ─► each tree: chains of == become sets ─► flat nodes ─► shallow and only <=: heap
//!                                                                                   ─► only <=: flat, else general
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use super::columns::{Columns, Members, Question};
use super::ensemble::{Child, Ensemble, Test};
use super::error::TreeError;
use super::layout::{HEAP_DEPTH, Node, Trees};
use super::votes::Ends;

/// Depth up to which a tree is a heap, however few leaves it has.
const SHALLOW: u32 = 6;
/// Deeper ones are heaps if so many times their leaves fill the lowest level.
const SKINNY: usize = 16;
/// The most slots of all trees together, as a multiple of the nodes, beside [`FREE_SLOTS`]: nodes that many trees share are
/// copied into each.
const SHARED: usize = 4;
/// So many slots are not too many, however few nodes there are.
const FREE_SLOTS: usize = 1 << 20;
/// Room that heaps may take, in slots; further trees are flat, which takes no more than the file.
const HEAP_SLOTS: usize = 1 << 22;

/// All trees in their form.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) columns: Columns,
    pub(super) trees: Trees,
    /// By tree.
    pub(super) ends: Vec<Ends>,
}

/// A tree's nodes in flat form.
#[derive(Debug, Default)]
struct Draft {
    nodes: Vec<Node>,
    sets: Vec<Arc<Members>>,
}

/// Compiles all trees.
///
/// # Errors
/// What is wrong with the ensemble.
pub(super) fn compile(ensemble: &Ensemble) -> Result<Compiled, TreeError> {
    let depths = ensemble.check()?.depths;
    let (tests, sets) = chains(ensemble, &depths);
    let used = tests.iter().zip(&depths).zip(&ensemble.splits).filter(|((_, depth), _)| **depth > 0);
    let asked = used.map(|((test, _), split)| (split.feature, test.0));
    let columns = Columns::new(asked, &sets, ensemble.width, ensemble.precision);
    let mut compiled = Compiled { columns, trees: Trees::default(), ends: vec![] };
    let mut drafts = Drafts {
        ensemble,
        tests: &tests,
        sets: &sets,
        columns: &compiled.columns,
        pairs: HashMap::new(),
        members: HashMap::new(),
    };
    let mut numbers = vec![u32::MAX; ensemble.leaves.len()];
    let most = SHARED * (2 * ensemble.splits.len() + ensemble.roots.len()) + FREE_SLOTS;
    let (mut slots, mut heap_slots) = (0usize, 0usize);
    for root in &ensemble.roots {
        let depth = match *root {
            Child::Split(split) => depths[split as usize],
            Child::Leaf(_) => 0,
        };
        let draft = drafts.draft(*root);
        slots += draft.nodes.len();
        TreeError::at_most("nodes in its trees", slots, most)?;
        let splits =
            || draft.nodes.iter().filter_map(|n| if let Node::Split { question, .. } = n { Some(question) } else { None });
        let plain = splits().all(|q| matches!(q, Question::AtMost(_)));
        let room = Trees::heap_slots(depth.min(HEAP_DEPTH));
        let shallow = depth <= SHALLOW || (depth <= HEAP_DEPTH && room <= SKINNY * (draft.nodes.len() - splits().count()));
        let trees = &mut compiled.trees;
        if plain && shallow && heap_slots + room <= HEAP_SLOTS {
            heap_slots += room;
            let (nodes, lowest) = heap(depth, &draft.nodes);
            trees.add_heap(depth, &nodes)?;
            compiled.ends.push(Ends::new(lowest.into_iter(), &mut numbers));
            continue;
        }
        let further = if plain {
            trees.add_flat(depth, &draft.nodes)?
        } else {
            trees.add_general(&draft.nodes, draft.sets)?;
            vec![]
        };
        compiled.ends.push(Ends::new(draft.nodes.into_iter().map(Some).chain(further), &mut numbers));
    }
    compiled.trees.fill_up();
    Ok(compiled)
}

/// Each split's test and where no leads to, with chains of `==` as one test of a set.
fn chains(ensemble: &Ensemble, depths: &[u32]) -> (Vec<(Test, Child)>, Vec<Vec<f64>>) {
    let mut tests: Vec<(Test, Child)> = ensemble.splits.iter().map(|s| (s.test, s.no)).collect();
    let mut sets = ensemble.sets.clone();
    let mut linked = vec![false; ensemble.splits.len()];
    for at in (0..ensemble.splits.len() as u32).filter(|at| depths[*at as usize] > 0) {
        if let Some(next) = ensemble.next_in_chain(at) {
            linked[next as usize] = true;
        }
    }
    for at in (0..ensemble.splits.len() as u32).filter(|at| depths[*at as usize] > 0 && !linked[*at as usize]) {
        let (mut members, mut end) = (vec![], at);
        while let Some(next) = ensemble.next_in_chain(end) {
            members.extend(equal(ensemble, end));
            end = next;
        }
        if end != at {
            members.extend(equal(ensemble, end));
            tests[at as usize] = (Test::Member(sets.len() as u32), tests[end as usize].1);
            sets.push(members);
        }
    }
    (tests, sets)
}

fn equal(ensemble: &Ensemble, split: u32) -> Option<f64> {
    match ensemble.splits.get(split as usize)?.test {
        Test::Equal(t) => Some(t),
        _ => None,
    }
}

/// Makes flat nodes of one tree after the other.
struct Drafts<'a> {
    ensemble: &'a Ensemble,
    tests: &'a [(Test, Child)],
    sets: &'a [Vec<f64>],
    columns: &'a Columns,
    /// Where the children of each split of the tree are.
    pairs: HashMap<u32, u32>,
    /// By column and set.
    members: HashMap<(u32, u32), Arc<Members>>,
}

impl Drafts<'_> {
    /// Level by level, so that the nodes near the root, which all rows meet, are near each other. The children of a split
    /// have one place, however many parents the split has.
    fn draft(&mut self, root: Child) -> Draft {
        self.pairs.clear();
        let mut draft = Draft::default();
        let mut queue = vec![];
        draft.nodes.push(Node::Leaf(0));
        draft.nodes[0] = self.node(root, &mut draft, &mut queue);
        let mut done = 0;
        while let Some((split, yes, no)) = queue.get(done).copied() {
            done += 1;
            let at = self.pairs.get(&split).map_or(0, |at| *at as usize);
            draft.nodes[at] = self.node(yes, &mut draft, &mut queue);
            draft.nodes[at + 1] = self.node(no, &mut draft, &mut queue);
        }
        draft
    }

    /// A node; the children of a split that is new get a place, and the split is queued.
    fn node(&mut self, child: Child, draft: &mut Draft, queue: &mut Vec<(u32, Child, Child)>) -> Node {
        let split = match child {
            Child::Leaf(leaf) => return Node::Leaf(leaf),
            Child::Split(split) => split,
        };
        let given = self.ensemble.splits[split as usize];
        let (test, no) = self.tests[split as usize];
        let column = self.columns.find(given.feature).unwrap_or(0);
        let (question, swap) = self.columns.question(column, test);
        let question = match question {
            Question::Member(set) => {
                let members = self.members.entry((column, set));
                let made = || Arc::new(self.columns.members(column, &self.sets[set as usize]));
                draft.sets.push(members.or_insert_with(made).clone());
                Question::Member(draft.sets.len() as u32 - 1)
            }
            other => other,
        };
        let next = *self.pairs.entry(split).or_insert_with(|| {
            let at = draft.nodes.len() as u32;
            draft.nodes.extend([Node::Leaf(0); 2]);
            queue.push(if swap { (split, no, given.yes) } else { (split, given.yes, no) });
            at
        });
        Node::Split { column, question, missing: given.missing != swap, next }
    }
}

/// A flat tree's nodes as a complete heap, and what is in its slots.
fn heap(depth: u32, flat: &[Node]) -> (Vec<Node>, Vec<Option<Node>>) {
    let mut nodes = vec![Node::Leaf(0); 1 << depth];
    let mut lowest: Vec<Option<Node>> = vec![None; Trees::heap_slots(depth)];
    let low = lowest.len() - 1;
    // Heap node, flat slot, levels below.
    let mut stack = vec![(1usize, 0u32, depth)];
    while let Some((at, slot, below)) = stack.pop() {
        let node = flat[slot as usize];
        if below == 0 {
            lowest[at & low] = Some(node);
            continue;
        }
        nodes[at] = node;
        match node {
            Node::Split { next, .. } => stack.extend([(2 * at, next, below - 1), (2 * at + 1, next + 1, below - 1)]),
            // A leaf that comes early answers no all the way down.
            Node::Leaf(_) => stack.push((2 * at + 1, slot, below - 1)),
        }
    }
    (nodes, lowest)
}
