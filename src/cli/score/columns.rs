//! Which columns of an input are the model's features, and which are copied.
//!
//! By name if every input of the model has a column of its name, else by position: from the first on, those that are kept
//! left out unless there are too few without them. An input of width w takes w columns, or one column of lists.

use arrow::datatypes::{DataType, Schema};

use crate::error::{Error, Result, did_you_mean};
use crate::model::features::describe;
use crate::model::{Input, Signature};

/// A column that is a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Where it is in the input.
    pub(super) column: usize,
    /// The model's input it belongs to.
    pub(super) input: usize,
}

/// The features.
#[derive(Debug)]
pub(super) struct Choice {
    /// In the order in which they are bound.
    pub(super) features: Vec<Taken>,
    /// What people should know of it.
    pub(super) note: Option<String>,
    /// Whether columns are neither features nor copied, though nothing says that the right ones were taken.
    leftover: bool,
    hint: String,
}

impl Choice {
    /// How to choose the features, if others may have been meant.
    pub(super) fn advice(&self, signature: &Signature) -> Option<String> {
        self.leftover.then(|| {
            let takes = describe(&signature.inputs);
            format!("The model takes {takes}: name the columns so, or take those that are no features out with --keep, which copies them.")
        })
    }
    /// An error of binding, with what there was to choose from.
    pub(super) fn explain(&self, error: Error) -> Error {
        error.hint(self.hint.clone())
    }
}

/// Where the columns to copy are.
///
/// # Errors
/// `User` if there is no such column.
pub(super) fn kept(names: &[String], columns: &Schema) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    for name in names {
        let Some(index) = find(columns, name) else {
            let error = Error::user(format!("the input has no column \"{name}\" to keep"));
            let known = columns.fields().iter().map(|f| f.name().as_str());
            return Err(match did_you_mean(name, "columns", known) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        };
        if !found.contains(&index) {
            found.push(index);
        }
    }
    Ok(found)
}

/// An exact name wins over one that differs in case.
fn find(columns: &Schema, name: &str) -> Option<usize> {
    let fields = columns.fields();
    let exact = fields.iter().position(|f| f.name() == name);
    exact.or_else(|| fields.iter().position(|f| f.name().eq_ignore_ascii_case(name)))
}

/// Chooses the features. Whether their number and types fit is for binding to say.
pub(super) fn choose(signature: &Signature, columns: &Schema, kept: &[usize]) -> Choice {
    let name = |index: &usize| columns.field(*index).name().clone();
    let all: Vec<usize> = (0..columns.fields().len()).collect();
    let there = all.iter().map(name).collect::<Vec<_>>().join(", ");
    let hint = format!("The model takes {}; the input has the columns {there}.", describe(&signature.inputs));
    if let Some(features) = by_name(&signature.inputs, columns) {
        return Choice { features, note: None, leftover: false, hint };
    }
    let others: Vec<usize> = all.iter().copied().filter(|i| !kept.contains(i)).collect();
    let (features, from) = match by_position(&signature.inputs, columns, &others) {
        (features, true) => (features, others),
        (_, false) => (by_position(&signature.inputs, columns, &all).0, all),
    };
    let taken: Vec<usize> = features.iter().map(|t| t.column).collect();
    let left: Vec<String> = from.iter().filter(|i| !taken.contains(i) && !kept.contains(i)).map(name).collect();
    let named = match taken.as_slice() {
        [first, .., last] if taken.len() > 8 => format!("{} columns from {} to {}", taken.len(), name(first), name(last)),
        some => some.iter().map(name).collect::<Vec<_>>().join(", "),
    };
    let rest = if left.is_empty() { String::new() } else { format!("; not used: {}", left.join(", ")) };
    let note = Some(format!("features by position: {named}{rest}"));
    Choice { features, note, leftover: !left.is_empty(), hint }
}

fn by_name(inputs: &[Input], columns: &Schema) -> Option<Vec<Taken>> {
    let taken = |(input, it): (usize, &Input)| {
        let column = find(columns, &it.name)?;
        (it.width == 1 || is_list(columns, column)).then_some(Taken { column, input })
    };
    inputs.iter().enumerate().map(taken).collect()
}

/// Column after column, and whether there were enough.
fn by_position(inputs: &[Input], columns: &Schema, from: &[usize]) -> (Vec<Taken>, bool) {
    if let [one] = from
        && is_list(columns, *one)
    {
        // One list of all features.
        return (vec![Taken { column: *one, input: 0 }], true);
    }
    let mut next = from.iter().copied().peekable();
    let mut taken = Vec::new();
    for (input, it) in inputs.iter().enumerate() {
        let many = if next.peek().is_some_and(|c| is_list(columns, *c)) { 1 } else { it.width };
        taken.extend(next.by_ref().take(many).map(|column| Taken { column, input }));
        if taken.iter().filter(|t| t.input == input).count() < many {
            return (taken, false);
        }
    }
    (taken, true)
}

fn is_list(columns: &Schema, index: usize) -> bool {
    matches!(columns.field(index).data_type(), DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;
    use crate::model::Kind;

    fn model(inputs: &[(&str, usize)]) -> Signature {
        let input = |(name, width): &(&str, usize)| Input {
            name: (*name).to_owned(),
            data_type: DataType::Float32,
            width: *width,
            shape: vec![],
            takes_null: false,
        };
        let inputs = inputs.iter().map(input).collect();
        Signature { inputs, outputs: vec![], kind: Kind::Regression { value: 0 }, classes: vec![] }
    }

    fn columns(names: &str) -> Schema {
        let field = |name: &str| match name.strip_suffix("[]") {
            Some(name) => Field::new(name, DataType::new_list(DataType::Float64, true), true),
            None => Field::new(name, DataType::Float64, true),
        };
        Schema::new(names.split(' ').map(field).collect::<Vec<_>>())
    }

    fn chosen(inputs: &[(&str, usize)], names: &str, keep: &[usize]) -> (Vec<usize>, Option<String>) {
        let choice = choose(&model(inputs), &columns(names), keep);
        (choice.features.iter().map(|t| t.column).collect(), choice.note)
    }

    #[test]
    fn names_win_if_all_are_there() {
        assert_eq!(chosen(&[("a", 1), ("b", 1)], "id B a", &[]), (vec![2, 1], None));
        assert_eq!(chosen(&[("x", 3)], "id x[]", &[]), (vec![1], None));
        let (features, note) = chosen(&[("a", 1), ("c", 1)], "id b a", &[]);
        assert_eq!((features, note.unwrap()), (vec![0, 1], "features by position: id, b; not used: a".to_owned()));
    }

    #[test]
    fn a_kept_column_is_a_feature_only_if_it_must_be() {
        assert_eq!(chosen(&[("x", 2)], "id a b label", &[0]).0, [1, 2]);
        assert_eq!(chosen(&[("x", 2)], "a b", &[0]).0, [0, 1]);
        assert_eq!(chosen(&[("x", 2)], "id v[]", &[0]).0, [1]);
        // Too few: all there are, for binding to complain about.
        assert_eq!(chosen(&[("x", 4)], "a b", &[]).0, [0, 1]);
    }

    #[test]
    fn many_columns_are_told_in_short() {
        let note = chosen(&[("x", 9)], "a b c d e f g h i", &[]).1.unwrap();
        assert_eq!(note, "features by position: 9 columns from a to i");
    }

    #[test]
    fn a_column_to_keep_must_be_there() {
        let error = kept(&["idd".to_owned()], &columns("id a")).unwrap_err();
        assert_eq!(error.message(), "the input has no column \"idd\" to keep");
        assert!(error.get_hint().unwrap().contains("\"id\""), "{error:?}");
        assert_eq!(kept(&["a".to_owned(), "A".to_owned()], &columns("id a")).unwrap(), [1]);
    }
}
