//! Every kernel against the plain walk, every order of rows, and everything that is refused.

use super::*;

/// Repeatable numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
    /// Often one of a few, that thresholds and values meet.
    fn number(&mut self) -> f64 {
        if self.chance(60) { [-1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0][self.below(7)] } else { self.next() as f64 / 1e9 - 1.0 }
    }
}

/// What random ensembles are like.
#[derive(Debug, Clone, Copy)]
struct Kind {
    depth: u32,
    /// Percent of nodes above the lowest level that are leaves.
    leaves: usize,
    only_at_most: bool,
    precision: Precision,
    targets: usize,
    /// Weights per leaf; more than targets: any number.
    weights: usize,
    aggregate: Aggregate,
    head: Head,
}

const PLAIN: Kind = Kind {
    depth: 6,
    leaves: 0,
    only_at_most: true,
    precision: Precision::Single,
    targets: 1,
    weights: 1,
    aggregate: Aggregate::Sum,
    head: Head::Values(Post::None),
};

fn empty(width: usize, targets: usize) -> Ensemble {
    Ensemble {
        width,
        precision: Precision::Single,
        splits: vec![],
        leaves: vec![],
        weights: vec![],
        sets: vec![vec![0.0, 2.0, 3.0, f64::NAN], vec![]],
        roots: vec![],
        targets,
        aggregate: Aggregate::Sum,
        base: vec![],
        head: Head::Values(Post::None),
    }
}

fn random_tree(ensemble: &mut Ensemble, kind: Kind, depth: u32, random: &mut Random) -> Child {
    if depth == 0 || (depth < kind.depth && random.chance(kind.leaves)) {
        ensemble.leaves.push(ensemble.weights.len() as u32);
        let tree = ensemble.roots.len();
        let count = if kind.weights > kind.targets { random.below(kind.targets + 1) } else { kind.weights };
        for target in 0..count {
            let target = if kind.weights == 1 { tree % kind.targets } else { target } as u32;
            ensemble.weights.push(Weight { target, value: random.number() });
        }
        return Child::Leaf(ensemble.leaves.len() as u32 - 1);
    }
    let t = random.number();
    let test = match random.below(if kind.only_at_most { 4 } else { 7 }) {
        0 => Test::AtMost(t),
        1 => Test::Less(t),
        2 => Test::AtLeast(t),
        3 => Test::Greater(t),
        4 => Test::Equal(t),
        5 => Test::NotEqual(t),
        _ => Test::Member(random.below(2) as u32),
    };
    let [yes, no] = [0; 2].map(|_| random_tree(ensemble, kind, depth - 1, random));
    let feature = random.below(ensemble.width) as u32;
    ensemble.splits.push(Split { feature, test, missing: random.chance(50), yes, no });
    Child::Split(ensemble.splits.len() as u32 - 1)
}

fn random_ensemble(kind: Kind, trees: usize, seed: u64) -> Ensemble {
    let mut random = Random(seed);
    let mut ensemble = empty(7, kind.targets);
    (ensemble.precision, ensemble.aggregate, ensemble.head) = (kind.precision, kind.aggregate, kind.head);
    for tree in 0..trees {
        let depth = if tree % 5 == 4 { random.below(kind.depth as usize + 1) as u32 } else { kind.depth };
        let root = random_tree(&mut ensemble, kind, depth, &mut random);
        ensemble.roots.push(root);
    }
    ensemble
}

fn random_rows(count: usize, width: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-40, f64::MAX];
    (0..count * width).map(|_| if random.chance(15) { special[random.below(5)] } else { random.number() }).collect()
}

/// The sum of a regression, by the definition.
fn by_definition(ensemble: &Ensemble, row: &[f64]) -> Vec<f64> {
    let single = ensemble.precision == Precision::Single;
    let round = |x: f64| if single { f64::from(x as f32) } else { x };
    let mut sums = vec![0.0; ensemble.targets];
    for root in &ensemble.roots {
        let mut node = *root;
        while let Child::Split(at) = node {
            let split = ensemble.splits[at as usize];
            let x = round(row[split.feature as usize]);
            let yes = match split.test {
                _ if x.is_nan() => split.missing,
                Test::AtMost(t) => x <= round(t),
                Test::Less(t) => x < round(t),
                Test::AtLeast(t) => x >= round(t),
                Test::Greater(t) => x > round(t),
                Test::Equal(t) => x == round(t),
                Test::NotEqual(t) => x != round(t),
                Test::Member(set) => ensemble.sets[set as usize].iter().any(|m| round(*m) == x),
            };
            node = if yes { split.yes } else { split.no };
        }
        let Child::Leaf(leaf) = node else { unreachable!() };
        for weight in ensemble.weights_of(leaf) {
            sums[weight.target as usize] = round(sums[weight.target as usize] + round(weight.value));
        }
    }
    sums
}

/// Scores in chunks of `batch`, as bits, and classes.
fn scores(forest: &Forest, rows: &[f64], batch: usize) -> (Vec<u64>, Vec<u32>) {
    let count = rows.len() / forest.width();
    let mut all = vec![0f64; count * forest.targets()];
    let mut classes = vec![0; count];
    for start in (0..count).step_by(batch) {
        let end = count.min(start + batch);
        let rows = &rows[start * forest.width()..end * forest.width()];
        let scores = &mut all[start * forest.targets()..end * forest.targets()];
        forest.score(rows, scores, Some(&mut classes[start..end])).unwrap();
    }
    // One NaN is as good as another.
    (all.iter().map(|x| if x.is_nan() { f64::NAN } else { *x }.to_bits()).collect(), classes)
}

fn kinds() -> Vec<Kind> {
    let several = Kind { targets: 3, ..PLAIN };
    vec![
        PLAIN,
        Kind { leaves: 20, ..PLAIN },
        Kind { depth: 3, ..PLAIN },
        Kind { depth: 8, leaves: 10, ..PLAIN },
        Kind { depth: 10, leaves: 25, ..PLAIN },
        Kind { depth: 14, leaves: 40, ..PLAIN },
        Kind { depth: 16, leaves: 32, ..PLAIN },
        Kind { depth: 4, ..PLAIN },
        Kind { depth: 5, leaves: 15, ..PLAIN },
        Kind { only_at_most: false, leaves: 10, ..PLAIN },
        Kind { precision: Precision::Double, leaves: 10, ..PLAIN },
        Kind { precision: Precision::Double, only_at_most: false, ..PLAIN },
        several,
        Kind { weights: 3, ..several },
        Kind { weights: 4, leaves: 20, ..several },
        Kind { weights: 4, depth: 12, leaves: 40, ..several },
    ]
}

#[test]
fn every_kernel_gives_what_the_definition_says() {
    for (number, kind) in kinds().into_iter().enumerate() {
        let ensemble = random_ensemble(kind, 21, number as u64 + 1);
        let rows = random_rows(70, ensemble.width, 99);
        let wanted: Vec<u64> =
            rows.chunks(ensemble.width).flat_map(|row| by_definition(&ensemble, row)).map(f64::to_bits).collect();
        for simd in Simd::available() {
            let forest = ensemble.compile_for(simd).unwrap();
            for batch in [1, 7, 33, 70] {
                let (given, _) = scores(&forest, &rows, batch);
                let zero = |bits: &u64| if *bits == (-0.0f64).to_bits() { 0 } else { *bits };
                assert!(given.iter().map(zero).eq(wanted.iter().map(zero)), "{kind:?} with {simd:?} by {batch}");
            }
        }
    }
}

#[test]
fn heads_and_aggregates_are_the_same_for_every_kernel_and_batch() {
    let posts = [Post::None, Post::Logistic, Post::Softmax, Post::SoftmaxZero, Post::Probit];
    let mut heads: Vec<(usize, Head)> = vec![];
    for post in posts {
        heads.extend([(1, Head::Sign(post)), (3, Head::Values(post)), (3, Head::Classes(post))]);
        for (single, positive) in [(true, false), (true, true), (false, false)] {
            heads.push((2, Head::Pair { post, single, positive }));
        }
    }
    for (number, (targets, head)) in heads.into_iter().enumerate() {
        for aggregate in [Aggregate::Sum, Aggregate::Average, Aggregate::Min, Aggregate::Max] {
            let weights = [1, targets, targets + 1][number % 3];
            let kind = Kind { depth: 4, leaves: 10, targets, weights, aggregate, head, ..PLAIN };
            let ensemble = random_ensemble(kind, 9, number as u64);
            let rows = random_rows(20, ensemble.width, 7);
            let wanted = scores(&ensemble.compile_for(Simd::Scalar).unwrap(), &rows, 1);
            for simd in Simd::available() {
                for batch in [7, 20] {
                    assert_eq!(
                        scores(&ensemble.compile_for(simd).unwrap(), &rows, batch),
                        wanted,
                        "{kind:?} {simd:?} {batch}"
                    );
                }
            }
        }
    }
}

#[test]
fn trees_take_the_form_that_suits_them() {
    let forms = |kind: Kind| random_ensemble(kind, 4, 5).compile_for(Simd::Scalar).unwrap().describe();
    assert_eq!(forms(PLAIN), "4 complete trees (Scalar)");
    let mut deep = stump();
    for level in 0..12 {
        deep.splits.push(Split { no: Child::Split(level), ..deep.splits[0] });
    }
    deep.roots = vec![Child::Split(3), Child::Split(12)];
    assert_eq!(deep.compile_for(Simd::Scalar).unwrap().describe(), "1 complete + 1 flat trees (Scalar)");
    assert_eq!(forms(Kind { only_at_most: false, ..PLAIN }), "4 general trees (Scalar)");
}

#[test]
fn trees_are_asked_as_a_whole_where_that_is_shorter() {
    let size = |ensemble: &Ensemble| {
        let trees = super::compile::compile(ensemble).unwrap().trees;
        (0..trees.len()).map(|at| trees.masks(at).map(|masks| masks.ends().1)).collect::<Vec<_>>()
    };
    let of = |depth| size(&random_ensemble(Kind { depth, ..PLAIN }, 1, 5));
    assert_eq!((of(3), of(4), of(6), of(8)), (vec![Some(16)], vec![Some(16)], vec![None], vec![None]));
    // Chains: a flat tree of 41 leaves, then one of 129.
    let mut deep = stump();
    for level in 0..128 {
        deep.splits.push(Split { no: Child::Split(level), missing: level % 2 == 0, ..deep.splits[0] });
    }
    deep.roots = vec![Child::Split(39), Child::Split(127)];
    assert_eq!(size(&deep), [Some(64), None]);
    // "Never, but yes for NaN" is no question of these kernels.
    let mut never = stump();
    (never.splits[0].test, never.splits[0].missing) = (Test::AtMost(f64::NAN), true);
    assert_eq!(size(&never), [None]);
}

#[test]
fn small_sets_among_many_numbers_are_found() {
    let mut ensemble = stump();
    ensemble.sets = vec![(0..5000).map(|n| f64::from(2 * n)).collect(), vec![7.0, 4.0, f64::NAN]];
    // In the second set: 10; else in the first: 20; else 10.
    let split = |set, yes, no| Split { feature: 0, test: Test::Member(set), missing: false, yes, no };
    let (ten, twenty) = (Child::Leaf(0), Child::Leaf(1));
    ensemble.splits = vec![split(1, ten, Child::Split(1)), split(0, twenty, ten)];
    assert_eq!(
        [7.0, 4.0, 6.0, 9998.0, 5.0, 4.5, -1.0].map(|x| score_of(&ensemble, &[x])),
        [10.0, 10.0, 20.0, 20.0, 10.0, 10.0, 10.0]
    );
}

/// One split, `x[0] <= 1`, and the leaves 10 and 20.
fn stump() -> Ensemble {
    let mut ensemble = empty(1, 1);
    ensemble.leaves = vec![0, 1];
    ensemble.weights = [10.0, 20.0].map(|value| Weight { target: 0, value }).to_vec();
    let (yes, no) = (Child::Leaf(0), Child::Leaf(1));
    ensemble.splits = vec![Split { feature: 0, test: Test::AtMost(1.0), missing: false, yes, no }];
    ensemble.roots = vec![Child::Split(0)];
    ensemble
}

fn score_of(ensemble: &Ensemble, row: &[f32]) -> f32 {
    let mut score = [0.0];
    ensemble.compile().unwrap().score(row, &mut score, None).unwrap();
    score[0]
}

#[test]
fn thresholds_are_met_exactly() {
    let mut ensemble = stump();
    let above = 1f32.next_up();
    for (test, wanted) in [
        (Test::AtMost(1.0), [10.0, 10.0, 20.0]),
        (Test::Less(1.0), [10.0, 20.0, 20.0]),
        (Test::AtLeast(1.0), [20.0, 10.0, 10.0]),
        (Test::Greater(1.0), [20.0, 20.0, 10.0]),
        (Test::Equal(1.0), [20.0, 10.0, 20.0]),
        (Test::NotEqual(1.0), [10.0, 20.0, 10.0]),
        (Test::AtMost(f64::NAN), [20.0, 20.0, 20.0]),
        (Test::AtLeast(f64::NEG_INFINITY), [10.0, 10.0, 10.0]),
    ] {
        ensemble.splits[0].test = test;
        for missing in [false, true] {
            ensemble.splits[0].missing = missing;
            assert_eq!([1f32.next_down(), 1.0, above].map(|x| score_of(&ensemble, &[x])), wanted, "{test:?}");
            assert_eq!(score_of(&ensemble, &[f32::NAN]), if missing { 10.0 } else { 20.0 }, "{test:?}");
        }
    }
    // Doubles are told apart where floats are not.
    ensemble.precision = Precision::Double;
    ensemble.splits[0] = Split { test: Test::AtMost(1.0 + 1e-12), missing: false, ..ensemble.splits[0] };
    let forest = ensemble.compile().unwrap();
    let mut scores = [0.0f64; 2];
    forest.score(&[1.0 + 1e-12, 1.0 + 2e-12], &mut scores, None).unwrap();
    assert_eq!(scores, [10.0, 20.0]);
}

#[test]
fn shared_nodes_are_no_larger_than_the_file() {
    // 40 levels of which both sides are the same node: 2^40 ways.
    let mut ensemble = stump();
    for level in 0..40 {
        let below = Child::Split(level);
        ensemble.splits.push(Split {
            feature: 0,
            test: Test::AtMost(f64::from(level)),
            missing: false,
            yes: below,
            no: below,
        });
    }
    ensemble.roots = vec![Child::Split(40)];
    assert_eq!(ensemble.compile().unwrap().describe().split(' ').nth(1), Some("flat"));
    assert_eq!(score_of(&ensemble, &[0.5]), 10.0);
    // A chain of == to one node is a set, whatever its length.
    let mut ensemble = stump();
    let last = 2 * MAX_DEPTH as u32;
    ensemble.splits = (0..last)
        .map(|at| Split {
            feature: 0,
            test: Test::Equal(f64::from(3 * at)),
            missing: false,
            yes: Child::Leaf(0),
            no: if at + 1 < last { Child::Split(at + 1) } else { Child::Leaf(1) },
        })
        .collect();
    assert_eq!([0.0, 1.0, 3.0, 300.0, 301.0, -3.0].map(|x| score_of(&ensemble, &[x])), [10.0, 20.0, 10.0, 10.0, 20.0, 20.0]);
}

#[test]
fn what_is_malformed_is_refused_with_the_reason() {
    let reason = |change: fn(&mut Ensemble)| {
        let mut ensemble = stump();
        change(&mut ensemble);
        ensemble.compile().unwrap_err().to_string()
    };
    let missing = |what: &str| format!("{what} does not exist: the ensemble of trees has ");
    assert_eq!(reason(|e| e.roots.clear()), "the ensemble has no tree");
    assert_eq!(reason(|e| e.roots[0] = Child::Split(1)), missing("split 1") + "1");
    assert_eq!(reason(|e| e.splits[0].yes = Child::Leaf(2)), missing("leaf 2") + "2");
    assert_eq!(reason(|e| e.splits[0].feature = 1), missing("feature 1") + "1");
    assert_eq!(reason(|e| e.splits[0].test = Test::Member(2)), missing("set 2") + "2");
    assert_eq!(reason(|e| e.weights[1].target = 1), missing("target 1") + "1");
    assert_eq!(reason(|e| e.splits[0].no = Child::Split(0)), "the nodes of a tree form a cycle through split 0");
    assert_eq!(reason(|e| e.leaves[0] = 2), "the ensemble of trees has 2 weights for 1 targets");
    assert_eq!(reason(|e| e.base = vec![0.0; 2]), "the ensemble of trees has 2 base values for 1 targets");
    assert_eq!(reason(|e| e.targets = 0), "the ensemble of trees has 0 classes for 0 targets");
    assert_eq!(
        reason(|e| e.head = Head::Pair { post: Post::None, single: true, positive: true }),
        "the ensemble of trees has 1 classes for 1 targets"
    );
    assert_eq!(
        reason(|e| e.width = 1 << 30),
        format!("the ensemble of trees has {} values per row, more than {MAX_WIDTH}", 1 << 30)
    );
    let deep = reason(|e| {
        for level in 0..5000 {
            e.splits.push(Split { no: Child::Split(level), ..e.splits[0] });
        }
        e.roots[0] = Child::Split(5000);
    });
    assert_eq!(deep, "the ensemble of trees has 4097 levels, more than 4096");
    // Few nodes, but each of very many trees would be a copy of them.
    let many = reason(|e| {
        for level in 0..2000 {
            e.splits.push(Split { no: Child::Split(level), ..e.splits[0] });
        }
        e.roots = vec![Child::Split(2000); 1000];
    });
    assert!(many.ends_with("nodes in its trees, more than 1068584"), "{many}");

    let forest = stump().compile().unwrap();
    assert_eq!(
        forest.score(&[0f32; 3], &mut [0f32; 2], None).unwrap_err().to_string(),
        "rows of 3 values where 2 are needed"
    );
    forest.score::<f32, f32>(&[], &mut [], None).unwrap();
}

#[test]
fn threads_share_a_forest() {
    let forest = random_ensemble(PLAIN, 20, 3).compile().unwrap();
    let rows = random_rows(100, forest.width(), 4);
    let wanted = scores(&forest, &rows, 100);
    std::thread::scope(|scope| {
        for batch in [1, 5, 64] {
            let (forest, rows, wanted) = (&forest, &rows, &wanted);
            scope.spawn(move || assert_eq!(&scores(forest, rows, batch), wanted));
        }
    });
}
