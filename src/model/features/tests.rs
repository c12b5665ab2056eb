//! Binding: what fits, what does not and says so, and what the columns become.

use arrow::array::{Decimal128Array, Int32Array, Int64Array, ListArray, StructArray};
use arrow::datatypes::Fields;

use super::*;
use crate::error::Explain;
use crate::model::{Kind, Output};

fn input(name: &str, data_type: DataType, width: usize) -> Input {
    let shape = if width == 1 { vec![] } else { vec![width] };
    Input { name: name.to_owned(), data_type, width, shape, takes_null: false }
}

fn signature(inputs: Vec<Input>) -> Signature {
    let outputs = vec![Output { name: "y".to_owned(), data_type: DataType::Float32 }];
    Signature { inputs, outputs, kind: Kind::Regression { value: 0 }, classes: vec![] }
}

fn fraud() -> Signature {
    signature(vec![input("amount", DataType::Float32, 1), input("hour", DataType::Int64, 1)])
}

fn tensor() -> Signature {
    signature(vec![input("x", DataType::Float32, 3)])
}

fn features(types: &[DataType]) -> Vec<Feature> {
    types.iter().enumerate().map(|(i, t)| Feature::named(format!("f{i}"), t.clone())).collect()
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn refusal(types: &[DataType], signature: &Signature) -> String {
    bind("fraud:3", &features(types), signature).map(|_| ()).unwrap_err().to_string()
}

fn floats(array: &ArrayRef) -> Vec<f32> {
    let values = array.as_fixed_size_list_opt().map_or(array, |l| l.values());
    values.as_primitive::<Float32Type>().values().to_vec()
}

use DataType::{Boolean, Float64, Int64, Utf8};

#[test]
fn numbers_names_and_types_are_checked() {
    let wide = signature(vec![input("x", DataType::Float32, 11)]);
    assert_eq!(refusal(&[Float64, Int64], &wide), "model \"fraud:3\" takes 11 features, 2 were given");
    assert_eq!(refusal(&[Float64], &wide), "model \"fraud:3\" takes 11 features, 1 was given");
    assert_eq!(refusal(&[], &fraud()), "model \"fraud:3\" takes 2 features, 0 were given");
    assert_eq!(refusal(&[Utf8, Int64], &fraud()), "model \"fraud:3\" takes FLOAT for \"amount\", \"f0\" VARCHAR was given");
    assert_eq!(
        refusal(&[Float64, Float64], &fraud()),
        "model \"fraud:3\" takes BIGINT for \"hour\", \"f1\" DOUBLE was given"
    );
    assert_eq!(refusal(&[list(Utf8)], &tensor()), "model \"fraud:3\" takes FLOAT for \"x\", \"f0\" VARCHAR[] was given");
    let fixed = DataType::FixedSizeList(Arc::new(Field::new_list_field(Float64, true)), 2);
    assert_eq!(refusal(&[fixed], &tensor()), "model \"fraud:3\" takes 3 features, the list has 2");
    let fields = |names: [&str; 2]| DataType::Struct(Fields::from(names.map(|n| Field::new(n, Int64, true)).to_vec()));
    assert_eq!(
        refusal(&[fields(["amount", "huor"])], &fraud()),
        "model \"fraud:3\" takes \"hour\", which the struct does not have (\"huor\" is near)"
    );
    let hint = bind("fraud:3", &features(&[Int64]), &fraud()).unwrap_err().hint().unwrap();
    assert_eq!(hint, "Give them in this order, or a struct with these names: amount FLOAT, hour BIGINT.");
    let hint = bind("fraud:3", &features(&[Int64]), &wide).unwrap_err().hint().unwrap();
    assert_eq!(hint, "Give 11 values in the model's order, as arguments or as one list: x FLOAT[11].");
    for (given, wanted) in [(Int64, DataType::Float32), (Boolean, DataType::Float32), (DataType::Null, DataType::Float32)] {
        assert!(fits(&given, &wanted), "{given} as {wanted}");
    }
    assert!(!fits(&Float64, &Int64) && !fits(&Int64, &Utf8) && !fits(&Int64, &Boolean) && !fits(&DataType::Date32, &Int64));
}

#[test]
fn arguments_become_columns_of_the_inputs_types() {
    let args: Vec<ArrayRef> = vec![
        Arc::new(Decimal128Array::from(vec![Some(1050), Some(-25), None]).with_precision_and_scale(10, 2).unwrap()),
        Arc::new(Int32Array::from(vec![Some(3), None, Some(5)])),
    ];
    let types = args.iter().map(|a| a.data_type().clone()).collect::<Vec<_>>();
    let columns = bind("m:1", &features(&types), &fraud()).unwrap().columns(&args).unwrap();
    assert_eq!(floats(&columns.inputs[0])[..2], [10.5, -0.25]);
    assert_eq!(columns.inputs[1].as_primitive::<Int64Type>().value(0), 3);
    assert!(columns.inputs.iter().all(|i| i.null_count() == 0));
    assert_eq!(columns.nulls.unwrap(), NullBuffer::from(vec![true, false, false]));
    assert!(columns.failed.is_empty());
}

#[test]
fn arguments_fill_a_tensor_row_by_row() {
    for rows in [1, 3, 700] {
        let column = |n: i64| Arc::new(Int64Array::from_iter_values((0..rows).map(|row| n * 1000 + row))) as ArrayRef;
        let args = vec![column(1), column(2), column(3)];
        let columns = bind("m:1", &features(&[Int64, Int64, Int64]), &tensor()).unwrap().columns(&args).unwrap();
        let wanted: Vec<f32> = (0..rows).flat_map(|row| [1000, 2000, 3000].map(|n| (n + row) as f32)).collect();
        assert_eq!(floats(&columns.inputs[0]), wanted);
        assert_eq!(columns.inputs[0].len(), rows as usize);
    }
    let words = signature(vec![input("w", Utf8, 2)]);
    let args: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec!["a", "b"])), Arc::new(StringArray::from(vec!["c", "d"]))];
    let columns = bind("m:1", &features(&[Utf8, Utf8]), &words).unwrap().columns(&args).unwrap();
    assert_eq!(
        columns.inputs[0].as_fixed_size_list().values().as_ref(),
        &StringArray::from(vec!["a", "c", "b", "d"]) as &dyn Array
    );
}

#[test]
fn one_list_is_a_tensor_or_spread_over_inputs() {
    let some = |v: &[f64]| Some(v.iter().map(|x| Some(*x)).collect::<Vec<_>>());
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
        some(&[1.0, 2.0, 3.0]),
        some(&[1.0, 2.0]),
        None,
        Some(vec![Some(1.0), None, Some(3.0)]),
        some(&[4.0, 5.0, 6.0]),
    ]));
    let types = [lists.data_type().clone()];
    let columns = bind("m:1", &features(&types), &tensor()).unwrap().columns(std::slice::from_ref(&lists)).unwrap();
    let values = floats(&columns.inputs[0]);
    assert_eq!((&values[..3], &values[12..]), (&[1.0, 2.0, 3.0][..], &[4.0, 5.0, 6.0][..]));
    assert_eq!(columns.nulls.unwrap(), NullBuffer::from(vec![true, false, false, false, true]));
    assert_eq!(columns.failed, [(1, "the model takes 3 features, the list has 2".to_owned())]);

    let spread = signature(vec![input("a", DataType::Float32, 1), input("b", DataType::Float32, 2)]);
    let columns = bind("m:1", &features(&types), &spread).unwrap().columns(&[lists.slice(4, 1)]).unwrap();
    assert_eq!((floats(&columns.inputs[0]), floats(&columns.inputs[1])), (vec![4.0], vec![5.0, 6.0]));

    // All of the right length: nothing is copied but by the cast.
    let whole = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![Some(vec![Some(1.0); 3]); 4]);
    let dense: ArrayRef = Arc::new(whole.slice(1, 3));
    let columns = bind("m:1", &features(&[dense.data_type().clone()]), &tensor()).unwrap().columns(&[dense]).unwrap();
    assert_eq!((columns.inputs[0].len(), columns.nulls, floats(&columns.inputs[0])), (3, None, vec![1.0; 9]));

    // A fixed-size list starts at its own offset.
    let field = Arc::new(Field::new_list_field(DataType::Float32, true));
    let values = Arc::new(Float32Array::from_iter_values((0..9).map(|n| n as f32)));
    let fixed: ArrayRef = Arc::new(FixedSizeListArray::new(field, 3, values, None).slice(1, 2));
    let columns = bind("m:1", &features(&[fixed.data_type().clone()]), &tensor()).unwrap().columns(&[fixed]).unwrap();
    assert_eq!(floats(&columns.inputs[0]), [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
}

#[test]
fn a_struct_matches_by_name_in_any_order_and_case() {
    let fields = Fields::from(vec![
        Field::new("HOUR", Int64, true),
        Field::new("card", Utf8, true),
        Field::new("Amount", Float64, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![7, 8])),
        Arc::new(StringArray::from(vec!["a", "b"])),
        Arc::new(Float64Array::from(vec![1.5, 2.5])),
    ];
    let given: ArrayRef = Arc::new(StructArray::new(fields, columns, Some(NullBuffer::from(vec![true, false]))));
    let columns = bind("m:1", &features(&[given.data_type().clone()]), &fraud()).unwrap().columns(&[given]).unwrap();
    assert_eq!(floats(&columns.inputs[0])[0], 1.5);
    assert_eq!(columns.inputs[1].as_primitive::<Int64Type>().value(0), 7);
    assert_eq!(columns.nulls.unwrap(), NullBuffer::from(vec![true, false]));
}

#[test]
fn a_value_out_of_range_fails_its_row_and_missing_ones_reach_a_model_that_treats_them() {
    let small = signature(vec![input("n", DataType::Int32, 1)]);
    let args: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![Some(1), Some(1 << 40), None]))];
    let columns = bind("m:1", &features(&[Int64]), &small).unwrap().columns(&args).unwrap();
    assert_eq!(columns.failed, [(1, "feature \"n\" is out of the range of INTEGER".to_owned())]);
    assert_eq!(columns.nulls.unwrap(), NullBuffer::from(vec![true, false, false]));

    let mut treating = fraud();
    treating.inputs[0].takes_null = true;
    let args: Vec<ArrayRef> =
        vec![Arc::new(Float64Array::from(vec![None, Some(1.0)])), Arc::new(Int64Array::from(vec![1, 2]))];
    let columns = bind("m:1", &features(&[Float64, Int64]), &treating).unwrap().columns(&args).unwrap();
    assert!(floats(&columns.inputs[0])[0].is_nan());
    assert_eq!(columns.nulls, None);

    let args: Vec<ArrayRef> = vec![new_null_array(&DataType::Null, 2), Arc::new(Int64Array::from(vec![1, 2]))];
    let columns = bind("m:1", &features(&[DataType::Null, Int64]), &fraud()).unwrap().columns(&args).unwrap();
    assert_eq!(columns.nulls.map(|n| n.null_count()), Some(2));
}
