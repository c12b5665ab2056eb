//! Trees, or their upper levels, as lists of splits, for kernels that ask all of them instead of walking: QuickScorer (Lucchese
//! et al., 2015).
//!
//! ```text
//! every end a bit, from yes to no ─► each split that is answered by no clears the ends below its yes
//!                                 ─► the first bit that is left is where the row comes to
//! ```
//!
//! A walk waits at each step for numbers from all over the memory. Here splits are read one after the other, and each is
//! asked of many rows that lie side by side. A step of a walk takes as long as about a dozen of these questions: trees of few
//! leaves are asked as a whole, of the other complete heaps only the first levels. Bits are in words of 32; a split that
//! clears ends of several words is in the list of each.

use std::ops::Range;

use super::columns::Question;
use super::layout::{LANES, Node};

/// Questions that take as long as one step of a walk; measured with AVX2 and AVX-512.
const STEP: usize = 12;
/// Levels of a heap that are asked where all of it would take too long.
pub(super) const TOP: u32 = 4;
/// The most ends: of more, steps are never slower.
const MOST: usize = 128;
/// Ends of a word.
pub(super) const WORD: usize = 32;

/// A split, as far as it matters to one word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clause {
    /// Yes up to here; never NaN where NaN says yes.
    pub(super) threshold: f32,
    /// The column that is looked at.
    pub(super) column: u32,
    /// The bits that no leaves.
    pub(super) keep: u32,
}

/// 32 ends.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// Those that can be reached.
    pub(super) ends: u32,
    /// Where NaN says no.
    pub(super) missing_no: Box<[Clause]>,
    /// Where NaN says yes.
    pub(super) missing_yes: Box<[Clause]>,
}

/// Splits of a tree. Every column is one of the tree's.
#[derive(Debug, Clone)]
pub(super) struct Masks {
    first: usize,
    size: usize,
    words: Box<[Word]>,
}

impl Masks {
    /// What the ends are: as many slots of the tree as the second number says, from the first on; 16, 32 or a multiple of 64.
    /// Of [`Self::top`]: the nodes of level [`TOP`].
    pub(super) fn ends(&self) -> (usize, usize) {
        (self.first, self.size)
    }
    /// In the order of the ends.
    pub(super) fn words(&self) -> &[Word] {
        &self.words
    }
    /// How many questions there are.
    fn clauses(&self) -> usize {
        self.words.iter().map(|word| word.missing_no.len() + word.missing_yes.len()).sum()
    }

    /// All of a heap, if asking takes no longer than walking behind [`Self::top`]; ends are slots.
    pub(super) fn of_heap(depth: u32, nodes: &[Node]) -> Option<Self> {
        let walk = (1 << TOP) - 1 + STEP * depth.saturating_sub(TOP) as usize;
        Self::levels(depth, nodes).filter(|masks| depth < TOP || masks.clauses() <= walk)
    }

    /// The first levels of a heap that has more.
    pub(super) fn top(depth: u32, nodes: &[Node]) -> Option<Self> {
        if depth > TOP { Self::levels(TOP, nodes) } else { None }
    }

    fn levels(levels: u32, nodes: &[Node]) -> Option<Self> {
        let size = (1usize << levels).max(LANES);
        let low = size - 1;
        let is_split = |at: usize| matches!(nodes.get(at), Some(Node::Split { .. }));
        let mut ends = vec![false; size];
        for node in 1usize << levels..2 << levels {
            // A leaf that comes early answers no all the way down.
            ends[node & low] = (1..=levels).all(|up| is_split(node >> up) || node >> (up - 1) & 1 == 1);
        }
        let splits = nodes.iter().enumerate().take(1 << levels).filter(|(at, _)| is_split(*at));
        let splits = splits.map(|(at, node)| {
            let below = levels - at.ilog2();
            let yes = (at << below) & low;
            (*node, yes..yes + (1 << below) / 2)
        });
        Self::new(0, &ends, splits)
    }

    /// All of a flat tree of this depth, if asking takes no longer than walking. The ends are its leaves in their order, filled
    /// up: further slots of the tree, behind its nodes.
    pub(super) fn of_flat(depth: u32, nodes: &[Node]) -> Option<(Self, Vec<Option<Node>>)> {
        enum Visit {
            Node(usize),
            /// All that is below the yes of this node has been seen, since there were so many leaves.
            Yes(Node, usize),
        }
        let (mut leaves, mut splits, mut stack) = (vec![], vec![], vec![Visit::Node(0)]);
        while let Some(visit) = stack.pop() {
            match visit {
                Visit::Yes(node, since) => splits.push((node, since..leaves.len())),
                Visit::Node(at) => match *nodes.get(at)? {
                    // Shared nodes count each time.
                    Node::Leaf(_) if leaves.len() == MOST => return None,
                    leaf @ Node::Leaf(_) => leaves.push(Some(leaf)),
                    split @ Node::Split { next, .. } => {
                        let next = next as usize;
                        stack.extend([Visit::Node(next + 1), Visit::Yes(split, leaves.len()), Visit::Node(next)]);
                    }
                },
            }
        }
        let masks = Self::new(nodes.len(), &vec![true; leaves.len()], splits.into_iter())?;
        leaves.resize(masks.size, None);
        (masks.clauses() <= STEP * depth as usize).then_some((masks, leaves))
    }

    /// `ends`: which can be reached; `splits` with the ends below their yes.
    fn new(first: usize, ends: &[bool], splits: impl Iterator<Item = (Node, Range<usize>)>) -> Option<Self> {
        let size = match ends.len() {
            ..=16 => 16,
            17..=32 => 32,
            more => more.next_multiple_of(2 * WORD),
        };
        if size > MOST {
            return None;
        }
        let mut words: Vec<(u32, [Vec<Clause>; 2])> = vec![Default::default(); size.div_ceil(WORD)];
        for (end, reached) in ends.iter().enumerate() {
            words[end / WORD].0 |= u32::from(*reached) << (end % WORD);
        }
        for (node, yes) in splits {
            let Node::Split { column, question: Question::AtMost(threshold), missing, .. } = node else { return None };
            // NaN says yes, and no number does: the kernels have no such question.
            if missing && threshold.is_nan() {
                return None;
            }
            for (word, (_, clauses)) in words.iter_mut().enumerate() {
                let here = |end: usize| end.clamp(word * WORD, (word + 1) * WORD) - word * WORD;
                let (from, to) = (here(yes.start), here(yes.end));
                if from < to {
                    let keep = !(u32::MAX >> (WORD - (to - from)) << from);
                    clauses[usize::from(missing)].push(Clause { threshold, column, keep });
                }
            }
        }
        let words = words.into_iter().map(|(ends, [missing_no, missing_yes])| Word {
            ends,
            missing_no: missing_no.into(),
            missing_yes: missing_yes.into(),
        });
        Some(Self { first, size, words: words.collect() })
    }
}
