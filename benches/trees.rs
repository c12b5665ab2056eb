//! Rows per second through ensembles of trees: `cargo bench --bench trees [-- MODEL.onnx ...]`.
//!
//! First the kernels alone, each that this processor has, on 100 made-up trees of depth 6; then each model given through
//! the path of a query, Arrow in and Arrow out. One thread; the best of many short runs, for other processes disturb.
//! `benches/trees.py` makes such a model and times ONNX Runtime on it in the same run.

#![allow(clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field};
use vatic::model::tree::{Aggregate, Child, Ensemble, Head, Post, Precision, Simd, Split, Test, Weight};
use vatic::model::{Loaded, load_any};

const BATCHES: [usize; 5] = [1, 16, 64, 1024, 8192];

/// Numbers between 0 and 1, the same every time.
fn random() -> impl FnMut() -> f32 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    }
}

/// Complete trees over 20 features.
fn made_up(trees: u32, depth: u32) -> Ensemble {
    let mut random = random();
    let (inner, leaves) = ((1u32 << depth) - 1, 1u32 << depth);
    let mut ensemble = Ensemble {
        width: 20,
        precision: Precision::Single,
        splits: vec![],
        leaves: (0..trees * leaves).collect(),
        weights: (0..trees * leaves).map(|_| Weight { target: 0, value: f64::from(random()) }).collect(),
        sets: vec![],
        roots: (0..trees).map(|t| Child::Split(t * inner)).collect(),
        targets: 1,
        aggregate: Aggregate::Sum,
        base: vec![0.5],
        head: Head::Values(Post::None),
    };
    for tree in 0..trees {
        for node in 0..inner {
            let child = |at: u32| {
                if at < inner { Child::Split(tree * inner + at) } else { Child::Leaf(tree * leaves + at - inner) }
            };
            let (yes, no) = (child(2 * node + 1), child(2 * node + 2));
            let feature = (random() * 20.0) as u32;
            ensemble.splits.push(Split { feature, test: Test::Less(f64::from(random())), missing: node % 2 == 0, yes, no });
        }
    }
    ensemble
}

/// The fewest seconds that one of many runs took, divided by the rows.
fn best(rows: usize, mut run: impl FnMut()) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::MAX);
    let repeat = (512 / rows).max(1);
    while begun.elapsed() < Duration::from_millis(300) {
        let start = Instant::now();
        (0..repeat).for_each(|_| run());
        best = best.min(start.elapsed().as_secs_f64() / (repeat * rows) as f64);
    }
    best
}

fn print(what: &str, seconds: impl Fn(usize) -> f64) {
    print!("{what:44}");
    BATCHES.iter().for_each(|rows| print!("{:>12.0}", 1.0 / seconds(*rows)));
    println!();
}

fn features(loaded: &Loaded, rows: usize) -> Vec<ArrayRef> {
    let mut random = random();
    let inputs = loaded.signature.inputs.iter();
    inputs
        .map(|input| {
            let values: ArrayRef = Arc::new(Float32Array::from_iter_values((0..rows * input.width).map(|_| random())));
            if input.width == 1 {
                return values;
            }
            let field = Arc::new(Field::new_list_field(DataType::Float32, true));
            Arc::new(FixedSizeListArray::new(field, input.width as i32, values, None)) as ArrayRef
        })
        .collect()
}

fn main() {
    println!("rows/s{:38}{}", "", BATCHES.map(|rows| format!("{:>12}", format!("by {rows}"))).concat());
    let ensemble = made_up(100, 6);
    let mut random = random();
    let rows: Vec<f32> = (0..8192 * ensemble.width).map(|_| random()).collect();
    for simd in Simd::available() {
        let forest = ensemble.compile_for(simd).expect("the ensemble is sound");
        print(&forest.describe(), |count| {
            let mut scores = vec![0f32; count];
            let rows = &rows[..count * forest.width()];
            best(count, || forest.score(rows, black_box(&mut scores), None).expect("the buffers fit"))
        });
    }
    for path in std::env::args().skip(1).filter(|a| !a.starts_with("--")) {
        let bytes = std::fs::read(&path).expect("the file can be read");
        let (_, loaded) = load_any(&bytes).expect("the model can be used");
        print(&path, |count| {
            let features = features(&loaded, count);
            best(count, || drop(black_box(loaded.scorer.score(&features, count).expect("rows can be scored"))))
        });
    }
}
