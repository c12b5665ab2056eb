//! A compiled ensemble, and how rows go through it.
//!
//! ```text
//! few rows:   each row by itself, through 8 trees at a time
//! more:       64 to 256 rows as columns ─► tree after tree: slots of all rows ─► sums ─► scores and class of each row
//! ```
//!
//! Sums are made in the order of the trees, so a row's score does not depend on the rows around it or on the processor.

use super::columns::{Block, Columns};
use super::compile::{Compiled, compile};
use super::ensemble::{Aggregate, Ensemble, Head, Precision};
use super::error::TreeError;
use super::finish::Finish;
use super::layout::Trees;
use super::number::{Number, Value};
use super::simd::{ROWS, Simd, Sink, adds, walk, walk_row};
use super::votes::{Habits, Votes};

/// Up to so many rows go one by one.
const FEW: usize = 4;
/// What a block of columns may take in the fastest cache, in bytes.
const BLOCK_BYTES: usize = 32 << 10;

/// Trees ready to score. Immutable: threads share it.
#[derive(Debug)]
pub struct Forest {
    width: usize,
    targets: usize,
    columns: Columns,
    trees: Trees,
    sums: Sums,
    simd: Simd,
    /// A block has `1 << shift` rows.
    shift: u32,
}

/// Leaves in the ensemble's precision.
#[derive(Debug)]
enum Sums {
    Single(Leaves<f32>),
    Double(Leaves<f64>),
}

#[derive(Debug)]
struct Leaves<T> {
    /// By tree.
    votes: Vec<Votes<T>>,
    habits: Habits,
    aggregate: Aggregate,
    finish: Finish<T>,
}

impl Ensemble {
    /// Compiles it for this processor.
    ///
    /// # Errors
    /// What is wrong with the ensemble.
    pub fn compile(&self) -> Result<Forest, TreeError> {
        self.compile_for(Simd::best())
    }

    /// Compiles it for some instructions; those that this processor lacks are not used.
    ///
    /// # Errors
    /// What is wrong with the ensemble.
    pub fn compile_for(&self, simd: Simd) -> Result<Forest, TreeError> {
        let Compiled { columns, trees, ends } = compile(self)?;
        let sums = match self.precision {
            Precision::Single => Sums::Single(Leaves::new(self, &ends)),
            Precision::Double => Sums::Double(Leaves::new(self, &ends)),
        };
        let simd = if Simd::available().contains(&simd) { simd } else { Simd::Scalar };
        let rows = (BLOCK_BYTES / 4 / columns.len().max(1)).clamp(ROWS, 256);
        Ok(Forest { width: self.width, targets: self.targets, columns, trees, sums, simd, shift: rows.ilog2() })
    }
}

impl Forest {
    /// Values per row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The type of comparisons and sums.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match self.sums {
            Sums::Single(_) => Precision::Single,
            Sums::Double(_) => Precision::Double,
        }
    }

    /// Scores per row.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.targets
    }

    /// In words: how many trees of which form, and the instructions.
    #[must_use]
    pub fn describe(&self) -> String {
        let [heaps, flat, general] = self.trees.count();
        let forms = [("complete", heaps), ("flat", flat), ("general", general)];
        let forms: Vec<String> = forms.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
        format!("{} trees ({:?})", forms.join(" + "), self.simd)
    }

    /// Scores rows: `rows` are `width()` values each, one row behind the other; `scores` take `targets()` each, `classes`,
    /// if wanted, one each (0 where the ensemble has no classes).
    ///
    /// # Errors
    /// `Buffer` if the lengths do not fit together.
    pub fn score<N: Value, O: Number>(
        &self,
        rows: &[N],
        scores: &mut [O],
        classes: Option<&mut [u32]>,
    ) -> Result<(), TreeError> {
        let fits = |what, given: usize, wanted: usize| {
            let (given, wanted) = (given as u64, wanted as u64);
            if given == wanted { Ok(()) } else { Err(TreeError::Buffer { what, given, wanted }) }
        };
        let count = scores.len() / self.targets;
        fits("scores", scores.len(), count * self.targets)?;
        fits("rows", rows.len(), count * self.width)?;
        fits("classes", classes.as_ref().map_or(count, |c| c.len()), count)?;
        match &self.sums {
            Sums::Single(leaves) => self.run(leaves, rows, scores, classes, add_single),
            Sums::Double(leaves) => self.run(leaves, rows, scores, classes, |_, _, _, _, _, _, _| false),
        }
        Ok(())
    }

    fn run<T: Number, N: Value, O: Number>(
        &self,
        leaves: &Leaves<T>,
        rows: &[N],
        scores: &mut [O],
        mut classes: Option<&mut [u32]>,
        fused: impl Fn(Simd, &Trees, usize, &Votes<T>, &Block, usize, &mut [T]) -> bool,
    ) {
        let (targets, count) = (self.targets, scores.len() / self.targets);
        if count == 0 {
            return;
        }
        let single = count <= FEW;
        let shift = if single { 0 } else { self.shift };
        let size = 1usize << shift;
        let mut block = Block::new(self.columns.len(), shift);
        let mut slots = vec![0u32; if single { self.trees.len() } else { size }];
        let mut sums = vec![T::default(); targets * size];
        let mut heard = vec![false; if leaves.habits.list { targets * size } else { 0 }];
        let mut row = vec![T::default(); targets];
        for start in (0..count).step_by(size) {
            let here = size.min(count - start);
            self.columns.fill(rows, self.width, start, here, &mut block);
            sums.fill(T::default());
            heard.fill(false);
            if single {
                walk_row(self.simd, &self.trees, &block, &mut slots);
            }
            for (at, votes) in leaves.votes.iter().enumerate() {
                if single {
                    votes.add(leaves.aggregate, &slots[at..=at], size, &mut sums, &mut heard);
                } else if !fused(self.simd, &self.trees, at, votes, &block, here, &mut sums) {
                    walk(self.simd, &self.trees, at, &block, here, Sink::Slots(&mut slots));
                    votes.add(leaves.aggregate, &slots[..here], size, &mut sums, &mut heard);
                }
            }
            for at in 0..here {
                // Trees that each have one target leave their sums target by target.
                if leaves.habits.one {
                    row.iter_mut().enumerate().for_each(|(k, x)| *x = sums[k * size + at]);
                } else {
                    row.copy_from_slice(&sums[at * targets..][..targets]);
                }
                let heard = if leaves.habits.list { &heard[at * targets..][..targets] } else { &leaves.habits.heard };
                let class = leaves.finish.row(&mut row, heard, &mut scores[(start + at) * targets..][..targets]);
                if let Some(classes) = classes.as_deref_mut() {
                    classes[start + at] = class;
                }
            }
        }
    }
}

/// Walks and adds in one go, where a tree has one target.
fn add_single(
    simd: Simd,
    trees: &Trees,
    tree: usize,
    votes: &Votes<f32>,
    block: &Block,
    rows: usize,
    sums: &mut [f32],
) -> bool {
    let Votes::One { target, values } = votes else { return false };
    if !adds(simd, trees.tree(tree)) {
        return false;
    }
    let size = 1usize << block.shift();
    walk(simd, trees, tree, block, rows, Sink::Add { values, sums: &mut sums[target * size..][..size] });
    true
}

impl<T: Number> Votes<T> {
    /// Adds one tree's leaves; `slots` are by row, and there is room for `size` rows.
    fn add(&self, aggregate: Aggregate, slots: &[u32], size: usize, sums: &mut [T], heard: &mut [bool]) {
        match self {
            Self::One { target, values } => {
                let sums = &mut sums[target * size..][..slots.len()];
                sums.iter_mut().zip(slots).for_each(|(sum, slot)| *sum = sum.plus(values[*slot as usize]));
            }
            Self::Range { first, rows, width, table } => {
                let targets = sums.len() / size;
                for (sums, slot) in sums.chunks_exact_mut(targets).zip(slots) {
                    let values = &table[rows[*slot as usize] as usize..][..*width];
                    sums[*first..].iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.plus(*value));
                }
            }
            Self::List { leaves, starts, entries } => {
                let targets = sums.len() / size;
                for (row, slot) in slots.iter().enumerate() {
                    let leaf = leaves[*slot as usize] as usize;
                    for (target, value) in &entries[starts[leaf] as usize..starts[leaf + 1] as usize] {
                        let at = row * targets + *target as usize;
                        sums[at] = match aggregate {
                            Aggregate::Sum | Aggregate::Average => sums[at].plus(*value),
                            _ if !heard[at] => *value,
                            Aggregate::Min if *value < sums[at] => *value,
                            Aggregate::Max if *value > sums[at] => *value,
                            Aggregate::Min | Aggregate::Max => sums[at],
                        };
                        heard[at] = true;
                    }
                }
            }
        }
    }
}

impl<T: Number> Leaves<T> {
    fn new(ensemble: &Ensemble, ends: &[super::votes::Ends]) -> Self {
        // With a base value for each, all classes count as spoken for.
        let flags = match ensemble.head {
            Head::Classes(_) => ensemble.base.is_empty(),
            Head::Pair { .. } => true,
            Head::Values(_) => ensemble.targets > 1 && !ensemble.base.is_empty(),
            Head::Sign(_) => false,
        };
        let habits = Habits::new(ensemble, ends, flags);
        let finish = Finish {
            aggregate: ensemble.aggregate,
            trees: T::from_f64(ensemble.roots.len() as f64),
            base: ensemble.base.iter().map(|b| T::from_f64(*b)).collect(),
            head: ensemble.head,
        };
        let votes = ends.iter().map(|ends| Votes::new(ensemble, ends, &habits)).collect();
        Self { votes, habits, aggregate: ensemble.aggregate, finish }
    }
}
