//! Answers per kind of model, and batches of which some rows fail.

use arrow::array::{Float32Array, Int64Array};

use super::*;
use crate::error::Explain;
use crate::model::features::{Feature, bind};
use crate::model::{Input, Output, Scorer};

const MODEL: ModelIdentity = ModelIdentity { name: "fraud", version: 3, sha256: "ab12", offset: 41 };

fn fixed(values: Vec<f32>, width: i32) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(DataType::Float32, true));
    Arc::new(FixedSizeListArray::new(field, width, Arc::new(Float32Array::from(values)), None))
}

fn signature(kind: Kind, outputs: &[(&str, &ArrayRef)], classes: &[&str]) -> Signature {
    let outputs =
        outputs.iter().map(|(name, array)| Output { name: (*name).to_owned(), data_type: array.data_type().clone() });
    let inputs =
        vec![Input { name: "x".to_owned(), data_type: DataType::Float32, width: 1, shape: vec![], takes_null: false }];
    Signature { inputs, outputs: outputs.collect(), kind, classes: classes.iter().map(|c| (*c).to_owned()).collect() }
}

fn score(signature: &Signature, outputs: &[ArrayRef]) -> Vec<Option<f64>> {
    answer(Function::Score, &MODEL, signature, outputs, None).unwrap().as_primitive::<Float64Type>().iter().collect()
}

fn classify(signature: &Signature, outputs: &[ArrayRef]) -> Vec<Option<String>> {
    let labels = answer(Function::Classify, &MODEL, signature, outputs, None).unwrap();
    labels.as_string::<i32>().iter().map(|l| l.map(str::to_owned)).collect()
}

#[test]
fn each_kind_has_its_score_and_class() {
    let some = |v: &[&str]| v.iter().map(|s| Some((*s).to_owned())).collect::<Vec<_>>();

    let value: ArrayRef = Arc::new(Float32Array::from(vec![0.5, 2.0]));
    let regression = signature(Kind::Regression { value: 0 }, &[("y", &value)], &[]);
    assert_eq!(score(&regression, &[value]), [Some(0.5), Some(2.0)]);

    let labels: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let two = fixed(vec![0.75, 0.25, 0.125, 0.875], 2);
    let kind = Kind::Classification { label: Some(0), probabilities: Some(1) };
    let binary = signature(kind, &[("label", &labels), ("p", &two)], &["0", "1"]);
    assert_eq!(score(&binary, &[labels.clone(), two.clone()]), [Some(0.25), Some(0.875)]);
    assert_eq!(classify(&binary, &[labels, two]), some(&["0", "1"]));

    // The label decides, also against the largest probability, and classes need not be in order.
    let labels: ArrayRef = Arc::new(Int64Array::from(vec![9, 7]));
    let three = fixed(vec![0.5, 0.25, 0.25, 0.125, 0.5, 0.375], 3);
    let numbered = signature(kind, &[("label", &labels), ("p", &three)], &["8", "9", "7"]);
    assert_eq!(score(&numbered, &[labels, three.clone()]), [Some(0.25), Some(0.375)]);
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let named = signature(kind, &[("label", &words), ("p", &three)], &["a", "b", "c"]);
    assert_eq!(score(&named, &[words.clone(), three.clone()]), [Some(0.5), Some(0.5)]);
    assert_eq!(classify(&named, &[words, three.clone()]), some(&["a", "b"]));

    let bare = signature(Kind::Classification { label: None, probabilities: Some(0) }, &[("p", &three)], &[]);
    assert_eq!(score(&bare, std::slice::from_ref(&three)), [Some(0.5), Some(0.5)]);
    assert_eq!(classify(&bare, std::slice::from_ref(&three)), some(&["0", "1"]));

    let clusters: ArrayRef = Arc::new(Int64Array::from(vec![2, 0]));
    let kind = Kind::Clustering { label: 0, distances: Some(1) };
    let clustering = signature(kind, &[("label", &clusters), ("scores", &three)], &[]);
    assert_eq!(score(&clustering, &[clusters.clone(), three.clone()]), [Some(0.25), Some(0.125)]);
    assert_eq!(classify(&clustering, &[clusters, three]), some(&["2", "0"]));
}

#[test]
fn prediction_tells_all_and_by_whom() {
    let labels: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 1]));
    let two = fixed(vec![0.75, 0.25, 0.125, 0.875, 0.5, 0.5], 2);
    let kind = Kind::Classification { label: Some(0), probabilities: Some(1) };
    let signature = signature(kind, &[("label", &labels), ("p", &two)], &["ok", "fraud"]);
    let nulls = NullBuffer::from(vec![true, true, false]);
    let array = answer(Function::Predict, &MODEL, &signature, &[labels, two], Some(&nulls)).unwrap();
    assert_eq!(array.data_type(), &predict_type());
    assert!(array.is_null(2));
    let row = array.as_struct();
    assert!(row.columns().iter().all(|c| c.is_null(2)));
    let shown = arrow::util::display::array_value_to_string(&array, 1).unwrap();
    assert_eq!(
        shown,
        "{score: 0.875, label: 1, probabilities: {ok: 0.125, fraud: 0.875}, outputs: {label: [1.0], p: [0.125, 0.875]}, \
         model: fraud, version: 3, sha256: ab12, registry_offset: 41}"
    );
    let text = predict_type().to_string();
    assert!(text.contains("\"key\": non-null Utf8") && text.contains("entries"), "{text}");
}

#[test]
fn functions_that_mean_nothing_are_refused_at_plan_time() {
    let value: ArrayRef = Arc::new(Float32Array::from(vec![0.5]));
    let regression = signature(Kind::Regression { value: 0 }, &[("y", &value)], &[]);
    let error = check("price:2", Function::Classify, &regression).unwrap_err();
    assert_eq!(error.to_string(), "model \"price:2\" has no classes");
    assert_eq!(error.hint().unwrap(), "Use score(...), or predict(...), which works on every model.");
    assert!(
        check("price:2", Function::Score, &regression).is_ok() && check("price:2", Function::Predict, &regression).is_ok()
    );
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let only = signature(Kind::Classification { label: Some(0), probabilities: None }, &[("label", &labels)], &[]);
    assert_eq!(check("m:1", Function::Score, &only).unwrap_err().to_string(), "model \"m:1\" gives no probabilities");
}

/// Doubles its input; fails on 13, panics on 99.
#[derive(Debug)]
struct Doubles;

impl Scorer for Doubles {
    fn score(&self, features: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, ModelError> {
        let x = features[0].as_primitive::<arrow::datatypes::Float32Type>();
        assert_eq!(x.len(), rows);
        assert!(!x.values().contains(&99.0), "ninety-nine");
        if x.values().contains(&13.0) {
            return Err(ModelError::Run { model: String::new(), reason: "unlucky".to_owned() });
        }
        Ok(vec![Arc::new(x.unary::<_, arrow::datatypes::Float32Type>(|v| v * 2.0))])
    }
}

fn doubled(values: Vec<Option<f64>>) -> Scored {
    let value: ArrayRef = Arc::new(Float32Array::from(vec![0.5]));
    let signature = signature(Kind::Regression { value: 0 }, &[("y", &value)], &[]);
    let binding = bind("fraud:3", &[Feature::named("v", DataType::Float64)], &signature).unwrap();
    let loaded = Loaded { signature, scorer: Arc::new(Doubles) };
    let args: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(values))];
    score_batch(&loaded, &MODEL, &binding, &[Function::Score, Function::Predict], &args).unwrap()
}

#[test]
fn rows_that_fail_are_found_and_the_others_have_their_scores() {
    let scored = doubled(vec![Some(1.0), Some(13.0), None, Some(4.0), Some(99.0), Some(6.0)]);
    let scores: Vec<_> = scored.answers[0].as_primitive::<Float64Type>().iter().collect();
    assert_eq!(scores, [Some(2.0), None, None, Some(8.0), None, Some(12.0)]);
    let failures: Vec<_> = scored.failures.iter().map(|(row, e)| (*row, e.to_string())).collect();
    let text = |reason: &str| format!("model \"fraud:3\" failed: {reason}");
    assert_eq!(failures, [(1, text("unlucky")), (4, text("panic: ninety-nine"))]);
    assert_eq!(scored.answers[1].null_count(), 3);

    let nothing = doubled(vec![None, None]);
    assert_eq!((nothing.answers[0].null_count(), nothing.failures.len()), (2, 0));
    let empty = doubled(vec![]);
    assert_eq!((empty.answers[0].len(), empty.answers[1].data_type()), (0, &predict_type()));
    assert_eq!(doubled(vec![Some(13.0); 5]).failures.len(), 5);
}
