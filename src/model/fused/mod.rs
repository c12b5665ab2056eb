//! Chains of small steps (scaling, dense layers, softmax, the winner's class) run as one pass over blocks of rows.
//!
//! ```text
//! rows, row by row ─► block: columns of 64 rows ─► step ─► step ─► ... ─► rows again
//! ```
//!
//! A block stays in the nearest cache from its first step to its last. Inside it rows lie side by side, so every step is a
//! loop over whole vectors: no step needs another layout, and three classes cost three columns, not eight. Nothing is
//! allocated per row or block; the blocks' memory is the thread's own and is used again.

mod dense;
mod math;
mod step;

use std::cell::RefCell;

use super::tree::{Vectorized, vectorized};

pub use dense::Dense;
pub use step::{Activation, Arithmetic, Norm, Step};

/// Rows of a block.
const BLOCK: usize = 64;
/// Rows of a block for the last rows, or for a batch of few.
const SMALL: usize = 16;

/// Numbers in a line of the cache, where blocks begin: else every load of a whole vector would be one of two lines.
const LINE: usize = 16;

/// A block of more numbers than this (8 MiB) is near in no cache, and memory that nobody counts.
const MOST_NUMBERS: usize = 1 << 21;

/// A chain over values: value 0 is the input, and each step makes one, or changes one that nothing else needs.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The columns of each value.
    widths: Vec<usize>,
    /// Where each value lies, in columns from the start of the block.
    starts: Vec<usize>,
    steps: Vec<(usize, usize, Step)>,
    outputs: Vec<Wanted>,
}

/// What is wanted of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Rows(usize),
    Largest(usize),
    Smallest(usize),
}

/// A value of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(usize);

/// Where an output is to be written.
#[derive(Debug)]
pub enum Target<'a> {
    /// Row by row, as many numbers as the value has columns.
    Numbers(&'a mut [f32]),
    /// One number per row: which column won.
    Winners(&'a mut [u32]),
}

impl Chain {
    /// A chain that takes `width` columns.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { widths: vec![width], starts: vec![0], ..Self::default() }
    }

    /// The input.
    #[must_use]
    pub fn input(&self) -> Value {
        Value(0)
    }

    /// How many columns a value has.
    #[must_use]
    pub fn width(&self, value: Value) -> usize {
        self.widths.get(value.0).copied().unwrap_or(0)
    }

    /// Adds a step behind `value`. If `last`, nothing else needs `value`, and the step may overwrite it.
    pub fn step(&mut self, value: Value, step: Step, last: bool) -> Value {
        let width = step.width(self.width(value));
        if last && step.in_place() {
            self.steps.push((value.0, value.0, step));
            return value;
        }
        let start = self.columns();
        self.starts.push(start);
        self.widths.push(width);
        self.steps.push((value.0, self.widths.len() - 1, step));
        Value(self.widths.len() - 1)
    }

    /// The step that made `value`, if no other came behind it: to be fused with what follows.
    pub fn last_dense(&mut self, value: Value) -> Option<&mut Dense> {
        match self.steps.last_mut() {
            Some((_, to, Step::Dense(dense))) if *to == value.0 => Some(dense),
            _ => None,
        }
    }

    /// Wants the rows of a value as an output; the outputs are numbered in the order in which they are wanted.
    pub fn want_rows(&mut self, value: Value) {
        self.outputs.push(Wanted::Rows(value.0));
    }

    /// Wants which column of each row is the largest, the first of equals (or the smallest).
    pub fn want_winner(&mut self, value: Value, smallest: bool) {
        self.outputs.push(if smallest { Wanted::Smallest(value.0) } else { Wanted::Largest(value.0) });
    }

    /// Whether its block has a size that a chain is good for.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.columns().saturating_mul(BLOCK) <= MOST_NUMBERS
    }

    /// Whether it has no steps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether its outputs are all its input.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_empty() && self.outputs.iter().all(|o| *o == Wanted::Rows(0))
    }

    /// The steps, for people.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut said: Vec<String> = self.steps.iter().map(|(_, _, step)| step.describe()).collect();
        said.dedup();
        if self.outputs.iter().any(|o| !matches!(o, Wanted::Rows(_))) {
            said.push("winner's class".to_owned());
        }
        said
    }

    /// Runs `rows` rows of `x`, which lie one behind the other, and writes the outputs to `targets`.
    pub fn run(&self, x: &[f32], rows: usize, targets: &mut [Target<'_>]) {
        thread_local! {
            static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let wanted = self.columns() * BLOCK;
            if scratch.len() < wanted + LINE {
                scratch.resize(wanted + LINE, 0.0);
            }
            let start = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
            vectorized(Run { chain: self, x, rows, scratch: &mut scratch[start..start + wanted], targets });
        });
    }

    /// The columns of all values together.
    fn columns(&self) -> usize {
        self.starts.last().copied().unwrap_or(0) + self.widths.last().copied().unwrap_or(0)
    }
}

/// One call of a chain.
struct Run<'a, 'b> {
    chain: &'a Chain,
    x: &'a [f32],
    rows: usize,
    scratch: &'a mut [f32],
    targets: &'a mut [Target<'b>],
}

impl Vectorized for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let mut start = 0;
        while start < self.rows {
            let left = self.rows - start;
            if left > BLOCK / 2 {
                self.block::<BLOCK, FMA>(start, left.min(BLOCK));
                start += BLOCK;
            } else {
                self.block::<SMALL, FMA>(start, left.min(SMALL));
                start += SMALL;
            }
        }
    }
}

impl Run<'_, '_> {
    #[inline(always)]
    fn block<const R: usize, const FMA: bool>(&mut self, start: usize, rows: usize) {
        let Chain { widths, starts, steps, outputs } = self.chain;
        let span = |value: usize| starts[value] * R..(starts[value] + widths[value]) * R;
        let width = widths[0];
        load::<R>(&self.x[start * width..(start + rows) * width], width, &mut self.scratch[span(0)]);
        for (from, to, step) in steps {
            if from == to {
                step.run_in_place::<R, FMA>(&mut self.scratch[span(*to)]);
            } else {
                let to = span(*to);
                let (before, behind) = self.scratch.split_at_mut(to.start);
                step.run::<R, FMA>(&before[span(*from)], &mut behind[..to.len()]);
            }
        }
        for (wanted, target) in outputs.iter().zip(self.targets.iter_mut()) {
            match (*wanted, target) {
                (Wanted::Rows(value), Target::Numbers(out)) => {
                    let width = widths[value];
                    store::<R>(&self.scratch[span(value)], width, &mut out[start * width..(start + rows) * width]);
                }
                (Wanted::Largest(value), Target::Winners(out)) => {
                    winners::<R>(&self.scratch[span(value)], |x, best| x > best, &mut out[start..start + rows]);
                }
                (Wanted::Smallest(value), Target::Winners(out)) => {
                    winners::<R>(&self.scratch[span(value)], |x, best| x < best, &mut out[start..start + rows]);
                }
                _ => {}
            }
        }
    }
}

/// Rows to columns; what is missing of the block is 0.
#[inline(always)]
fn load<const R: usize>(rows: &[f32], width: usize, block: &mut [f32]) {
    let full = rows.len() == R * width;
    for (column, block) in block.as_chunks_mut::<R>().0.iter_mut().enumerate() {
        if full {
            for (r, x) in block.iter_mut().enumerate() {
                *x = rows[r * width + column];
            }
        } else {
            *block = [0.0; R];
            block.iter_mut().zip(rows.chunks_exact(width)).for_each(|(x, row)| *x = row[column]);
        }
    }
}

/// Columns to rows.
#[inline(always)]
fn store<const R: usize>(block: &[f32], width: usize, rows: &mut [f32]) {
    if width == 1 {
        rows.copy_from_slice(&block[..rows.len()]);
        return;
    }
    for (column, block) in block.as_chunks::<R>().0.iter().enumerate() {
        rows.chunks_exact_mut(width).zip(block).for_each(|(row, x)| row[column] = *x);
    }
}

/// Which column of each row wins; NaN never does.
#[inline(always)]
fn winners<const R: usize>(block: &[f32], better: impl Fn(f32, f32) -> bool, out: &mut [u32]) {
    let Some((first, others)) = block.as_chunks::<R>().0.split_first() else { return };
    let (mut best, mut winner) = (*first, [0u32; R]);
    for (column, x) in others.iter().enumerate() {
        for ((best, winner), x) in best.iter_mut().zip(&mut winner).zip(x) {
            let wins = better(*x, *best);
            *best = if wins { *x } else { *best };
            *winner = if wins { column as u32 + 1 } else { *winner };
        }
    }
    out.copy_from_slice(&winner[..out.len()]);
}
