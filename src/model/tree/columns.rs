//! From rows to the block of columns that the kernels read, and from thresholds to the numbers in it.
//!
//! ```text
//! rows, row by row ─► the features that some tree looks at ─► column by column: value, or rank ─► Block
//! ```
//!
//! A kernel knows one comparison, `x <= t` of two `f32`. Where the trees compare `f32`, `x` is the value itself. Where they
//! compare `f64`, or ask for members of a set, `x` is the value's *rank* among all the numbers that the trees compare it
//! with: `2k` between number `k - 1` and number `k`, `2k + 1` on number `k`. Ranks are small integers, so every comparison
//! of values is exactly one of ranks. NaN stays NaN.

use std::collections::HashSet;

use super::ensemble::{Precision, Test};
use super::number::Value;

/// The columns that the kernels read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Columns {
    columns: Vec<Column>,
    precision: Precision,
}

#[derive(Debug, Clone, PartialEq)]
struct Column {
    feature: u32,
    /// The numbers that ranks are among, ascending; none where values are compared as they are.
    points: Option<Box<[f64]>>,
}

/// A question about a column's number, in the form that kernels have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Question {
    /// `x <= t`; never with `t` NaN.
    AtMost(f32),
    /// `x == t`; never with `t` NaN.
    Equal(f32),
    /// `x` is the rank of a member.
    Member(u32),
}

/// The ranks of a set's members, in the smaller of two forms.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Members {
    /// A bit for each of the column's points.
    Bits(Box<[u64]>),
    /// The points, ascending.
    Points(Box<[u32]>),
}

impl Members {
    /// Whether the rank `x` is that of a member.
    pub(super) fn contain(&self, x: f32) -> bool {
        let rank = x as usize;
        let point = rank / 2;
        rank % 2 == 1
            && match self {
                Self::Bits(bits) => bits.get(point / 64).is_some_and(|word| word >> (point % 64) & 1 == 1),
                Self::Points(points) => points.binary_search(&(point as u32)).is_ok(),
            }
    }
}

/// Rows of which columns are made at a time.
const PART: usize = 32;
/// Numbers in a line of the cache.
const LINE: usize = 16;

/// Some rows, column by column: row `r` of column `c` is at `(c << shift) + r`.
#[derive(Debug)]
pub(super) struct Block {
    room: Vec<f32>,
    /// Where the values begin in `room`: at a line of the cache, else every load of a whole vector would be one of two lines.
    start: usize,
    columns: usize,
    shift: u32,
}

impl Block {
    /// Room for `1 << shift` rows, two at least.
    pub(super) fn new(columns: usize, shift: u32) -> Self {
        let shift = shift.max(1);
        let room = vec![0.0; (columns.max(1) << shift) + LINE];
        let start = room.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { room, start, columns, shift }
    }
    /// `columns() << shift()` values, and `1 << shift()` at least.
    pub(super) fn values(&self) -> &[f32] {
        &self.room[self.start..]
    }
    /// How many columns there are.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }
    /// The number of rows that there is room for is `1 << shift()`; at least 1, so that shifting a column's number loses
    /// the bit that says where NaN goes.
    pub(super) fn shift(&self) -> u32 {
        self.shift
    }
    /// Column `column` of row `row`.
    pub(super) fn at(&self, column: u32, row: usize) -> f32 {
        self.room[self.start + ((column as usize) << self.shift) + row]
    }
}

impl Columns {
    /// For the given tests (feature, test), in which `Member(s)` means `sets[s]`.
    pub(super) fn new(
        tests: impl Iterator<Item = (u32, Test)>,
        sets: &[Vec<f64>],
        width: usize,
        precision: Precision,
    ) -> Self {
        /// What is known about a feature so far.
        #[derive(Default, Clone)]
        struct Seen {
            ranked: bool,
            points: Vec<f64>,
        }
        let mut seen: Vec<Option<Seen>> = vec![None; width];
        let mut sets_seen = HashSet::new();
        for (feature, test) in tests {
            let Some(slot) = seen.get_mut(feature as usize) else { continue };
            let seen = slot.get_or_insert_default();
            seen.ranked |= precision == Precision::Double || matches!(test, Test::Member(_));
            match test {
                Test::Member(set) if sets_seen.insert((feature, set)) => {
                    seen.points.extend(sets.get(set as usize).into_iter().flatten());
                }
                Test::Member(_) => {}
                _ => seen.points.push(threshold(test)),
            }
        }
        let round = |t: f64| if precision == Precision::Single { f64::from(t as f32) } else { t };
        let columns = seen.into_iter().enumerate().filter_map(|(feature, seen)| {
            let Seen { ranked, points } = seen?;
            let mut points: Vec<f64> = points.into_iter().map(round).filter(|p| !p.is_nan()).collect();
            points.sort_unstable_by(f64::total_cmp);
            // 0 and -0 are equal.
            points.dedup_by(|a, b| a == b);
            Some(Column { feature: feature as u32, points: ranked.then_some(points.into()) })
        });
        Self { columns: columns.collect(), precision }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The column of a feature that one of the tests was about.
    pub(super) fn find(&self, feature: u32) -> Option<u32> {
        self.columns.binary_search_by_key(&feature, |c| c.feature).ok().map(|at| at as u32)
    }

    /// What a test asks of its column, and whether yes and no change places.
    pub(super) fn question(&self, column: u32, test: Test) -> (Question, bool) {
        use Question::{AtMost, Equal, Member};
        let never = AtMost(f32::NAN);
        let t = threshold(test);
        if t.is_nan() {
            return (never, matches!(test, Test::NotEqual(_)));
        }
        let Some(points) = self.columns.get(column as usize).and_then(|c| c.points.as_deref()) else {
            let t = t as f32;
            // The largest that is less; nothing is less than minus infinity.
            let below = if t == f32::NEG_INFINITY { never } else { AtMost(t.next_down()) };
            return match test {
                Test::AtMost(_) => (AtMost(t), false),
                Test::Greater(_) => (AtMost(t), true),
                Test::Less(_) => (below, false),
                Test::AtLeast(_) => (below, true),
                Test::Equal(_) => (Equal(t), false),
                Test::NotEqual(_) => (Equal(t), true),
                Test::Member(set) => (Member(set), false),
            };
        };
        let (below, on) = {
            let below = 2 * self.index(points, t);
            (below as f32, (below + 1) as f32)
        };
        match test {
            Test::AtMost(_) => (AtMost(on), false),
            Test::Greater(_) => (AtMost(on), true),
            Test::Less(_) => (AtMost(below), false),
            Test::AtLeast(_) => (AtMost(below), true),
            Test::Equal(_) => (Equal(on), false),
            Test::NotEqual(_) => (Equal(on), true),
            Test::Member(set) => (Member(set), false),
        }
    }

    /// The ranks of a set's members in a column. Takes no more room than the set itself, about.
    pub(super) fn members(&self, column: u32, set: &[f64]) -> Members {
        let points = self.columns.get(column as usize).and_then(|c| c.points.as_deref()).unwrap_or_default();
        let mut members: Vec<u32> =
            set.iter().filter(|m| !m.is_nan()).map(|member| self.index(points, *member) as u32).collect();
        if points.len() > 128 * members.len() {
            members.sort_unstable();
            return Members::Points(members.into());
        }
        let mut bits = vec![0u64; points.len().div_ceil(64)];
        for at in members {
            if let Some(word) = bits.get_mut(at as usize / 64) {
                *word |= 1 << (at % 64);
            }
        }
        Members::Bits(bits.into())
    }

    /// How many of `points` are less than `value`.
    fn index(&self, points: &[f64], value: f64) -> usize {
        let value = if self.precision == Precision::Single { f64::from(value as f32) } else { value };
        points.partition_point(|p| *p < value)
    }

    /// Puts rows `start..start + count` of `rows`, of `width` values each, into `block`.
    pub(super) fn fill<N: Value>(&self, rows: &[N], width: usize, start: usize, count: usize, block: &mut Block) {
        let width = width.max(1);
        let rows = rows.get(start * width..(start + count) * width).unwrap_or_default();
        // A few rows at a time, which stay in the nearest cache while column after column is taken from them.
        for (part, rows) in rows.chunks(PART * width).enumerate() {
            for (at, column) in self.columns.iter().enumerate() {
                let to = &mut block.room[block.start + (at << block.shift) + part * PART..][..rows.len() / width];
                let values = rows.iter().skip(column.feature as usize).step_by(width);
                match (&column.points, self.precision) {
                    (None, _) => to.iter_mut().zip(values).for_each(|(to, value)| *to = value.single()),
                    (Some(points), Precision::Single) => {
                        to.iter_mut().zip(values).for_each(|(to, value)| *to = rank(points, f64::from(value.single())));
                    }
                    (Some(points), Precision::Double) => {
                        to.iter_mut().zip(values).for_each(|(to, value)| *to = rank(points, value.double()));
                    }
                }
            }
        }
    }
}

/// The number that a test compares with; 0 for a set.
fn threshold(test: Test) -> f64 {
    match test {
        Test::AtMost(t) | Test::Less(t) | Test::AtLeast(t) | Test::Greater(t) | Test::Equal(t) | Test::NotEqual(t) => t,
        Test::Member(_) => 0.0,
    }
}

fn rank(points: &[f64], value: f64) -> f32 {
    if value.is_nan() {
        return f32::NAN;
    }
    let below = points.partition_point(|p| *p < value);
    (2 * below + usize::from(points.get(below) == Some(&value))) as f32
}
