//! What an ensemble of trees is, whatever kind of file it came from.
//!
//! ```text
//! ONNX, XGBoost, LightGBM, CatBoost, PMML ─► Ensemble ─► check: indices, cycles, depth, size ─► compile ─► Forest
//! ```
//!
//! Numbers are `f64` here; [`Ensemble::precision`] says in which type they were meant, and so how values are compared and
//! leaves are added up. Nodes may be shared (LightGBM's converters do), so a "tree" is a graph without cycles.

pub use super::super::kernel::post::Post;
use super::error::TreeError;

/// The most splits, and the most leaves: what a file of the largest size that is read could hold.
pub const MAX_NODES: usize = 1 << 23;
/// The longest way from a root to a leaf. A chain of `==` on one feature is one step.
pub const MAX_DEPTH: usize = 4096;
/// The most values of a row.
pub const MAX_WIDTH: usize = 1 << 20;
/// The most targets or classes.
pub const MAX_TARGETS: usize = 1 << 16;

/// The trees, and what becomes of what they say.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// Values per row.
    pub width: usize,
    /// The type in which values are compared and leaves added up.
    pub precision: Precision,
    /// The inner nodes of all trees.
    pub splits: Vec<Split>,
    /// The leaves of all trees: where each one's weights begin in `weights`; they end where the next one's begin.
    pub leaves: Vec<u32>,
    /// What the leaves add, leaf by leaf.
    pub weights: Vec<Weight>,
    /// The sets that [`Test::Member`] refers to.
    pub sets: Vec<Vec<f64>>,
    /// Where each tree begins, in the order in which leaves are added up.
    pub roots: Vec<Child>,
    /// Scores per row: targets of a regression, classes of a classifier.
    pub targets: usize,
    /// How the leaves of a row become scores.
    pub aggregate: Aggregate,
    /// Added to the scores; none, or one per target ([`Head::Pair`]: none, one or two).
    pub base: Vec<f64>,
    /// What becomes of the scores.
    pub head: Head,
}

/// The type of comparisons and sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// `f32`; other numbers are rounded to it before they are compared.
    Single,
    /// `f64`.
    Double,
}

/// An inner node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// The value of the row that is looked at.
    pub feature: u32,
    /// The question.
    pub test: Test,
    /// Whether a missing value (NaN) goes to `yes`.
    pub missing: bool,
    /// Where it goes on if the answer is yes.
    pub yes: Child,
    /// Where it goes on if not.
    pub no: Child,
}

/// What is asked about a value; never true for NaN, see [`Split::missing`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Test {
    /// `value <= threshold`
    AtMost(f64),
    /// `value < threshold`
    Less(f64),
    /// `value >= threshold`
    AtLeast(f64),
    /// `value > threshold`
    Greater(f64),
    /// `value == threshold`
    Equal(f64),
    /// `value != threshold`
    NotEqual(f64),
    /// The value is in this one of the sets.
    Member(u32),
}

/// A node: an index into the splits or the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Child {
    /// An inner node.
    Split(u32),
    /// A leaf.
    Leaf(u32),
}

/// What a leaf adds to one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    /// The score.
    pub target: u32,
    /// What is added.
    pub value: f64,
}

/// How leaves become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Added up, in the order of the trees.
    Sum,
    /// Added up and divided by the number of trees.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// What the scores mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Values.
    Values(Post),
    /// Classes: the one of the largest score is chosen, the first of equals; one that no leaf of the row spoke for is not.
    Classes(Post),
    /// Two classes, with ONNX Runtime's rules: often only one of them has a score.
    Pair {
        /// What is computed from the scores.
        post: Post,
        /// Whether all weights are for one of the classes.
        single: bool,
        /// Whether no weight is negative: then the score is a probability, and the second class begins above 0.5, not above 0.
        positive: bool,
    },
    /// One class: chosen (1) if its score is above 0.
    Sign(Post),
}

/// What [`Ensemble::check`] learned about each split on the way.
#[derive(Debug)]
pub(super) struct Checked {
    /// The longest way down from each split that a tree uses, in steps; 0 for those that none uses.
    pub(super) depths: Vec<u32>,
}

impl Ensemble {
    /// The weights of a leaf.
    #[must_use]
    pub fn weights_of(&self, leaf: u32) -> &[Weight] {
        let at = leaf as usize;
        let from = self.leaves.get(at).map_or(self.weights.len(), |from| *from as usize);
        let to = self.leaves.get(at + 1).map_or(self.weights.len(), |to| *to as usize);
        self.weights.get(from..to).unwrap_or_default()
    }

    /// The split behind a `==` that asks the same value for another number and goes to the same node if it is equal: files
    /// write sets of categories as chains of these.
    pub(super) fn next_in_chain(&self, split: u32) -> Option<u32> {
        let this = self.splits.get(split as usize)?;
        let Child::Split(next) = this.no else { return None };
        let that = self.splits.get(next as usize)?;
        let equal = matches!((this.test, that.test), (Test::Equal(_), Test::Equal(_)));
        (equal && this.feature == that.feature && this.yes == that.yes && this.missing == that.missing).then_some(next)
    }

    /// Whether all that will index something is in range, no node is its own descendant, and sizes are reasonable.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self) -> Result<Checked, TreeError> {
        if self.roots.is_empty() {
            return Err(TreeError::Empty);
        }
        TreeError::at_most("splits", self.splits.len(), MAX_NODES)?;
        TreeError::at_most("leaves", self.leaves.len(), MAX_NODES)?;
        TreeError::at_most("weights", self.weights.len(), 4 * MAX_NODES)?;
        TreeError::at_most("trees", self.roots.len(), MAX_NODES)?;
        TreeError::at_most("values per row", self.width, MAX_WIDTH)?;
        TreeError::at_most("targets", self.targets, MAX_TARGETS)?;
        TreeError::at_most("members of sets", self.sets.iter().map(Vec::len).sum(), 4 * MAX_NODES)?;
        let count = |what, count: usize, fits: bool| {
            let (count, targets) = (count as u64, self.targets as u64);
            if fits { Ok(()) } else { Err(TreeError::Count { what, count, targets }) }
        };
        let bases = self.base.len();
        let pair = matches!(self.head, Head::Pair { .. });
        count("base values", bases, bases == 0 || bases == self.targets || (pair && bases == 1))?;
        count("classes", self.targets, self.targets > 0)?;
        count("classes", self.targets, !pair || self.targets == 2)?;
        count("classes", self.targets, !matches!(self.head, Head::Sign(_)) || self.targets == 1)?;
        let ordered = self.leaves.is_sorted() && self.leaves.last().is_none_or(|at| *at as usize <= self.weights.len());
        count("weights", self.weights.len(), ordered)?;
        if let Some(weight) = self.weights.iter().find(|w| w.target as usize >= self.targets) {
            return Err(TreeError::missing("target", weight.target as usize, self.targets));
        }
        for split in &self.splits {
            if split.feature as usize >= self.width {
                return Err(TreeError::missing("feature", split.feature as usize, self.width));
            }
            if let Test::Member(set) = split.test
                && set as usize >= self.sets.len()
            {
                return Err(TreeError::missing("set", set as usize, self.sets.len()));
            }
        }
        self.roots.iter().chain(self.splits.iter().flat_map(|s| [&s.yes, &s.no])).try_for_each(|child| match *child {
            Child::Split(at) if at as usize >= self.splits.len() => {
                Err(TreeError::missing("split", at as usize, self.splits.len()))
            }
            Child::Leaf(at) if at as usize >= self.leaves.len() => {
                Err(TreeError::missing("leaf", at as usize, self.leaves.len()))
            }
            _ => Ok(()),
        })?;
        self.depths().map(|depths| Checked { depths })
    }

    /// The depth below each split that can be reached, without recursion: files decide how deep it goes.
    fn depths(&self) -> Result<Vec<u32>, TreeError> {
        /// Being looked at: meeting it again is a cycle.
        const OPEN: u32 = u32::MAX;
        let mut depths = vec![0u32; self.splits.len()];
        let mut stack = Vec::new();
        for root in &self.roots {
            let Child::Split(root) = *root else { continue };
            if depths[root as usize] != 0 {
                continue;
            }
            depths[root as usize] = OPEN;
            // Each entry is a split and how many of its children have been seen to.
            stack.push((root, 0u8));
            while let Some((split, seen)) = stack.pop() {
                let node = &self.splits[split as usize];
                let below = |child: Child| match child {
                    Child::Split(at) => depths[at as usize],
                    Child::Leaf(_) => 0,
                };
                if seen == 2 {
                    let link = self.next_in_chain(split).is_some();
                    let depth = (1 + below(node.yes)).max(u32::from(!link) + below(node.no));
                    TreeError::at_most("levels", depth as usize, MAX_DEPTH)?;
                    depths[split as usize] = depth;
                    continue;
                }
                stack.push((split, seen + 1));
                if let Child::Split(child) = if seen == 0 { node.yes } else { node.no } {
                    match depths[child as usize] {
                        OPEN => return Err(TreeError::Cycle { split: child }),
                        0 => {
                            depths[child as usize] = OPEN;
                            stack.push((child, 0));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(depths)
    }
}
