//! A model's answers as columns of their own, for who writes them to a file.   outputs ─► score, label, p_<class>, the rest
//!
//! `score` and `label` are what the SQL functions `score` and `classify` return, `p_<class>` what `predict` calls
//! probabilities. Outputs of which these do not tell everything follow under their own names, numbers as DOUBLE.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::answer::{Ran, class_name, every, labels, masked, numbers, scores};
use super::{Kind, Signature};

/// One column and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    Score,
    Label,
    /// Of output `.0` the number at `.1` of each row.
    Element(usize, usize),
    Output(usize),
}

/// The columns that a model's answers make.
#[derive(Debug, Clone)]
pub struct Answers {
    signature: Signature,
    columns: Vec<(Field, From)>,
}

impl Answers {
    /// Those of a signature.
    #[must_use]
    pub fn new(signature: &Signature) -> Self {
        let mut columns = vec![(Field::new("score", DataType::Float64, true), From::Score)];
        let (label, told) = match signature.kind {
            Kind::Regression { value } => (false, vec![value]),
            Kind::Classification { label, probabilities } => (true, [label, probabilities].into_iter().flatten().collect()),
            Kind::Anomaly { label, value } => (label.is_some(), [label, Some(value)].into_iter().flatten().collect()),
            Kind::Clustering { label, .. } => (true, vec![label]),
        };
        if label {
            columns.push((Field::new("label", DataType::Utf8, true), From::Label));
        }
        if let Kind::Classification { probabilities: Some(index), .. } = signature.kind {
            let classes = width(signature, index);
            for class in (0..classes).filter(|_| classes > 1) {
                let name = format!("p_{}", class_name(signature, class));
                columns.push((Field::new(name, DataType::Float64, true), From::Element(index, class)));
            }
        }
        let probabilities = match signature.kind {
            Kind::Classification { probabilities, .. } => probabilities,
            _ => None,
        };
        for (index, output) in signature.outputs.iter().enumerate() {
            // A row of several values says more than the score that is one of them.
            if told.contains(&index) && (width(signature, index) == 1 || probabilities == Some(index)) {
                continue;
            }
            let mut name = output.name.clone();
            while columns.iter().any(|(field, _)| *field.name() == name) {
                name.push_str("_output");
            }
            columns.push((Field::new(name, written_as(&output.data_type), true), From::Output(index)));
        }
        Self { signature: signature.clone(), columns }
    }

    /// Their names and types.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.columns.iter().map(|(field, _)| field)
    }

    /// The columns of a batch; NULL where a row has no answer.
    ///
    /// # Errors
    /// If the outputs are not those of the signature.
    pub fn of(&self, ran: &Ran) -> Result<Vec<ArrayRef>, ArrowError> {
        let output = |index: usize| {
            ran.outputs.get(index).ok_or_else(|| ArrowError::InvalidArgumentError(format!("there is no output {index}")))
        };
        self.columns
            .iter()
            .map(|(field, from)| {
                let array: ArrayRef = match *from {
                    From::Score => Arc::new(scores(&self.signature, &ran.outputs)?),
                    From::Label => Arc::new(labels(&self.signature, &ran.outputs)?),
                    From::Element(index, element) => {
                        let (values, width) = numbers(output(index)?)?;
                        Arc::new(every(&values, width, |_| element))
                    }
                    From::Output(index) => written(output(index)?, field.data_type())?,
                };
                masked(array, ran.nulls.as_ref())
            })
            .collect()
    }
}

/// How many values a row of an output has.
fn width(signature: &Signature, output: usize) -> usize {
    match signature.outputs.get(output).map(|o| &o.data_type) {
        Some(DataType::FixedSizeList(_, width)) => usize::try_from(*width).unwrap_or(0),
        _ => 1,
    }
}

/// The type of an output's column.
fn written_as(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Float32 => DataType::Float64,
        DataType::FixedSizeList(field, width) => {
            DataType::FixedSizeList(Arc::new(Field::new_list_field(written_as(field.data_type()), true)), *width)
        }
        other => other.clone(),
    }
}

fn written(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    match (array.as_fixed_size_list_opt(), wanted) {
        (Some(list), DataType::FixedSizeList(field, width)) => {
            let values = cast(list.values(), field.data_type())?;
            Ok(Arc::new(FixedSizeListArray::try_new(field.clone(), *width, values, list.nulls().cloned())?))
        }
        _ => cast(array, wanted),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int64Array, StringArray};
    use arrow::buffer::NullBuffer;

    use super::*;
    use crate::model::Output;

    fn output(name: &str, data_type: DataType) -> Output {
        Output { name: name.to_owned(), data_type }
    }

    fn rows_of(width: i32, values: Vec<f32>) -> ArrayRef {
        let field = Arc::new(Field::new_list_field(DataType::Float32, true));
        Arc::new(FixedSizeListArray::new(field, width, Arc::new(Float32Array::from(values)), None))
    }

    fn wide(width: i32) -> DataType {
        DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Float32, true)), width)
    }

    fn names(answers: &Answers) -> Vec<&str> {
        answers.fields().map(|f| f.name().as_str()).collect()
    }

    #[test]
    fn a_classifier_has_a_column_per_class() {
        let signature = Signature {
            inputs: vec![],
            outputs: vec![output("label", DataType::Utf8), output("p", wide(2)), output("leaf", DataType::Int64)],
            kind: Kind::Classification { label: Some(0), probabilities: Some(1) },
            classes: vec!["no".to_owned(), "yes".to_owned()],
        };
        let answers = Answers::new(&signature);
        assert_eq!(names(&answers), ["score", "label", "p_no", "p_yes", "leaf"]);
        let ran = Ran {
            outputs: vec![
                Arc::new(StringArray::from(vec!["yes", "no"])),
                rows_of(2, vec![0.25, 0.75, 0.5, 0.5]),
                Arc::new(Int64Array::from(vec![4, 5])),
            ],
            nulls: Some(NullBuffer::from(vec![true, false])),
            failures: vec![],
        };
        let columns = answers.of(&ran).unwrap();
        let numbers = |i: usize| columns[i].as_primitive::<arrow::datatypes::Float64Type>().iter().collect::<Vec<_>>();
        assert_eq!(
            (numbers(0), numbers(2), numbers(3)),
            (vec![Some(0.75), None], vec![Some(0.25), None], vec![Some(0.75), None])
        );
        assert_eq!(columns[1].as_ref(), &StringArray::from(vec![Some("yes"), None]) as &dyn Array);
        assert_eq!(columns[4].as_ref(), &Int64Array::from(vec![Some(4), None]) as &dyn Array);
    }

    #[test]
    fn several_targets_follow_the_score() {
        let signature = Signature {
            inputs: vec![],
            outputs: vec![output("score", wide(2))],
            kind: Kind::Regression { value: 0 },
            classes: vec![],
        };
        let answers = Answers::new(&signature);
        assert_eq!(names(&answers), ["score", "score_output"]);
        let ran = Ran { outputs: vec![rows_of(2, vec![1.0, 2.0, 3.0, 4.0])], nulls: None, failures: vec![] };
        let columns = answers.of(&ran).unwrap();
        assert_eq!(columns[0].as_ref(), &Float64Array::from(vec![1.0, 3.0]) as &dyn Array);
        let second = columns[1].as_fixed_size_list().value(1);
        assert_eq!(second.as_ref(), &Float64Array::from(vec![3.0, 4.0]) as &dyn Array);
    }

    #[test]
    fn one_value_is_the_score_and_nothing_else() {
        let regression = Signature {
            inputs: vec![],
            outputs: vec![output("variable", DataType::Float32)],
            kind: Kind::Regression { value: 0 },
            classes: vec![],
        };
        assert_eq!(names(&Answers::new(&regression)), ["score"]);
        let clusters = Signature {
            outputs: vec![output("label", DataType::Int64), output("distances", wide(3))],
            kind: Kind::Clustering { label: 0, distances: Some(1) },
            ..regression
        };
        assert_eq!(names(&Answers::new(&clusters)), ["score", "label", "distances"]);
    }
}
