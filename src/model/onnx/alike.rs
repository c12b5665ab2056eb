//! Whether two results of the same rows are the same but for rounding.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{Float32Type, Float64Type};

/// Compares arrays, or lists of one length per row. Numbers may differ by `tolerance`, those above 1 relative to themselves;
/// NaN is like NaN, and an infinity only like itself. What is no float has to be equal.
pub(super) fn alike(a: &ArrayRef, b: &ArrayRef, tolerance: f64) -> bool {
    fn flat(array: &ArrayRef) -> ArrayRef {
        match array.as_fixed_size_list_opt() {
            Some(list) => {
                let width = usize::try_from(list.value_length()).unwrap_or(0);
                list.values().slice(list.offset() * width, list.len() * width)
            }
            None => array.clone(),
        }
    }
    fn numbers<T: ArrowPrimitiveType>(a: &PrimitiveArray<T>, b: &PrimitiveArray<T>, tolerance: f64) -> bool
    where
        T::Native: Into<f64>,
    {
        let near = |a: f64, b: f64| {
            let difference = (a - b).abs();
            a == b
                || (a.is_nan() && b.is_nan())
                || (difference.is_finite() && difference <= tolerance * a.abs().max(b.abs()).max(1.0))
        };
        a.len() == b.len() && a.values().iter().zip(b.values()).all(|(a, b)| near((*a).into(), (*b).into()))
    }
    let (a, b) = (flat(a), flat(b));
    if let (Some(a), Some(b)) = (a.as_primitive_opt::<Float32Type>(), b.as_primitive_opt::<Float32Type>()) {
        return numbers(a, b, tolerance);
    }
    match (a.as_primitive_opt::<Float64Type>(), b.as_primitive_opt::<Float64Type>()) {
        (Some(a), Some(b)) => numbers(a, b, tolerance),
        _ => a.as_ref() == b.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, Float32Array, Float64Array, Int64Array};

    use super::*;

    #[test]
    fn rounding_is_no_difference_and_nan_is_itself() {
        let same = |a: [f64; 2], b: [f64; 2]| {
            let double: [ArrayRef; 2] = [a, b].map(|x| Arc::new(Float64Array::from(x.to_vec())) as ArrayRef);
            let single = [a, b].map(|x| Arc::new(x.iter().map(|x| Some(*x as f32)).collect::<Float32Array>()) as ArrayRef);
            let found = alike(&double[0], &double[1], 1e-3);
            assert_eq!(found, alike(&single[0], &single[1], 1e-3), "{a:?} {b:?}");
            found
        };
        assert!(same([1.0, 2000.0], [1.0005, 2001.0]));
        assert!(same([f64::NAN, f64::INFINITY], [f64::NAN, f64::INFINITY]));
        assert!(!same([1.0, 2.0], [1.0, 2.1]));
        for other in [1.0, f64::NAN, f64::NEG_INFINITY] {
            assert!(!same([0.0, f64::INFINITY], [0.0, other]));
        }
    }

    #[test]
    fn rows_of_a_list_are_those_of_its_slice() {
        let list = |values: Vec<i64>| {
            let field = arrow::datatypes::Field::new_list_field(arrow::datatypes::DataType::Int64, true);
            Arc::new(FixedSizeListArray::new(Arc::new(field), 2, Arc::new(Int64Array::from(values)), None)) as ArrayRef
        };
        let (all, one) = (list(vec![1, 2, 3, 4]), list(vec![3, 4]));
        assert!(alike(&all.slice(1, 1), &one, 0.0));
        assert!(!alike(&all.slice(0, 1), &one, 0.0));
    }
}
