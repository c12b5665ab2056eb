"""Trains and writes the models of this folder, and what ONNX Runtime makes of them.

    pip install -r requirements.txt && python train.py

NAME.onnx is the model; NAME.json holds rows and what ONNX Runtime computes for them (`inputs` and `outputs`, values row by
row; null is NaN, infinities are texts). Refused models have no JSON. Everything is seeded: running this again changes nothing but float noise.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

HERE = pathlib.Path(__file__).parent
QUERIES = HERE.parent.parent / "queries" / "models"
SAVED = ("fraud_v1", "fraud_v2", "iris_species", "churn", "machine")  # the saved queries and the demo publish these
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def plain(array):
    """A flat list for JSON; NaN is null, and a float32 has the digits that it needs."""
    short = lambda v: None if v != v else f"{v}" if v in (float("inf"), float("-inf")) else float(f"{v:.9g}")
    return [short(v) if isinstance(v, float) else v for v in np.asarray(array).ravel().tolist()]


def expected(model, feeds):
    """One case: rows and ONNX Runtime's results."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = []
    for meta, result in zip(session.get_outputs(), session.run(None, feeds)):
        if isinstance(result, list) and not isinstance(result[0], dict):  # one array per target
            result = np.concatenate(result, axis=1)
        elif isinstance(result, list):  # ZipMap: one dict per row
            zip_map = next(n for n in model.graph.node if meta.name in n.output)
            keys = [a for a in zip_map.attribute if a.name.startswith("classlabels")][0]
            keys = [k.decode() for k in keys.strings] or list(keys.ints)
            result = np.array([[row[key] for key in keys] for row in result], dtype=np.float32)
        rows = len(next(iter(feeds.values())))
        if result.shape[0] != rows and result.ndim > 1 and result.shape[1] == rows:  # the targets come first
            result = np.moveaxis(result, 1, 0)
        outputs.append({"name": meta.name, "values": plain(result)})
    inputs = [{"name": name, "values": plain(array)} for name, array in feeds.items()]
    return {"rows": len(next(iter(feeds.values()))), "inputs": inputs, "outputs": outputs}


def write(name, model, feeds=None):
    model.producer_version = ""
    onnx.save(model, HERE / f"{name}.onnx")
    if name in SAVED:
        onnx.save(model, QUERIES / f"{name}.onnx")
    if feeds is not None:
        (HERE / f"{name}.json").write_text(json.dumps(expected(model, feeds)) + "\n")


def build(nodes, inputs, outputs, constants=(), opsets=OPSETS):
    """A model of `inputs` and `outputs` as (name, type, shape), "N" being the rows."""
    info = lambda v: helper.make_tensor_value_info(*v)
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants]
    graph = helper.make_graph(nodes, "graph", [info(v) for v in inputs], [info(v) for v in outputs], tensors)
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="vatic")


def dense(layers, last, start):
    """Nodes and constants of a chain of dense layers with Relu between them and `last` behind them, from name `start`."""
    nodes, constants, at = [], [], start
    for i, (weights, bias) in enumerate(layers):
        constants += [(f"w{i}", weights.astype(np.float32)), (f"b{i}", bias.astype(np.float32))]
        nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [f"z{i}"]))
        at = f"z{i}"
        if i + 1 < len(layers):
            nodes.append(helper.make_node("Relu", [at], [f"a{i}"]))
            at = f"a{i}"
    nodes.append(helper.make_node(last, [at], ["activated"]))
    return nodes, constants


# --- payments: what the demo scores -------------------------------------------------------------------------------------

FRAUD = [("amount", FLOAT), ("hour", INT64), ("distance_km", FLOAT), ("tx_last_hour", INT64)]


def payments(rows, seed):
    """Payments and whether they are fraud: large ones at night, far away ones, and many in an hour are suspicious."""
    random = np.random.default_rng(seed)
    amount = np.exp(random.normal(3.5, 1.1, rows))
    hour = random.integers(0, 24, rows)
    distance = random.exponential(12.0, rows) + random.binomial(1, 0.06, rows) * random.uniform(200, 3000, rows)
    recent = random.poisson(1.2, rows) + random.binomial(1, 0.04, rows) * random.integers(4, 15, rows)
    night = (hour < 6) | (hour >= 23)
    risk = -6.0 + 1.1 * np.log1p(amount / 100) + 2.2 * night * (amount > 60) + 2.0 * (distance > 150) + 0.45 * np.maximum(recent - 2, 0)
    fraud = random.uniform(size=rows) < 1 / (1 + np.exp(-risk))
    return np.column_stack([amount, hour, distance, recent]).astype(np.float32), fraud.astype(int)


def fraud(name, pipeline, x, y, held_x, held_y):
    """A model with one input per column, so that score('fraud', amount, hour, ...) and structs fit; the scaler is folded in."""
    pipeline.fit(x, y)
    scaler, classifier = pipeline[0], pipeline[-1]
    if isinstance(classifier, LogisticRegression):
        layers = [(classifier.coef_.T, classifier.intercept_)]
    else:
        layers = list(zip(classifier.coefs_, classifier.intercepts_))
    first, bias = layers[0]
    layers[0] = (first / scaler.scale_[:, None], bias - (scaler.mean_ / scaler.scale_) @ first)
    nodes = [helper.make_node("Cast", [c], [f"{c}_f"], to=FLOAT) for c, _ in FRAUD]
    nodes.append(helper.make_node("Concat", [f"{c}_f" for c, _ in FRAUD], ["x"], axis=1))
    chain, constants = dense(layers, "Sigmoid", "x")
    nodes += chain + [
        helper.make_node("Sub", ["one", "activated"], ["complement"]),
        helper.make_node("Concat", ["complement", "activated"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    constants.append(("one", np.ones((1, 1), np.float32)))
    inputs = [(c, t, ["N", 1]) for c, t in FRAUD]
    model = build(nodes, inputs, [("label", INT64, ["N"]), ("probabilities", FLOAT, ["N", 2])], constants)
    dtype = {FLOAT: np.float32, INT64: np.int64}
    feeds = {c: held_x[:60, [i]].astype(dtype[t]) for i, (c, t) in enumerate(FRAUD)}
    write(name, model, feeds)
    theirs = pipeline.predict_proba(held_x[:60])[:, 1]
    ours = np.array(expected(model, feeds)["outputs"][1]["values"]).reshape(-1, 2)[:, 1]
    assert np.abs(theirs - ours).max() < 1e-4, np.abs(theirs - ours).max()
    print(f"{name}: AUC {roc_auc_score(held_y, pipeline.predict_proba(held_x)[:, 1]):.3f}")


def payments_models():
    x, y = payments(60_000, 1)
    held = payments(20_000, 2)
    fraud("fraud_v1", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), x[:4_000], y[:4_000], *held)
    network = MLPClassifier((24, 12), alpha=1e-3, max_iter=60, early_stopping=True, random_state=3)
    fraud("fraud_v2", make_pipeline(StandardScaler(), network), x, y, *held)
    whole = (HERE / "fraud_v1.onnx").read_bytes()
    (HERE / "broken.onnx").write_bytes(whole[: len(whole) * 2 // 3])


# --- the other models ---------------------------------------------------------------------------------------------------


def network_models():
    random = np.random.default_rng(7)
    sizes = [11, 32, 16, 1]
    layers = [(random.normal(0, 1 / np.sqrt(a), (a, b)), random.normal(0, 0.1, b)) for a, b in zip(sizes, sizes[1:])]
    nodes, constants = dense(layers, "Sigmoid", "features")
    nodes[-1].output[0] = "score"
    model = build(nodes, [("features", FLOAT, ["N", 11])], [("score", FLOAT, ["N", 1])], constants)
    write("mlp_11_32_16_1", model, {"features": random.normal(size=(50, 11)).astype(np.float32)})

    iris = load_iris()
    x = iris.data.astype(np.float32)
    mlp = MLPClassifier((8,), max_iter=2000, random_state=1).fit(x, iris.target)
    nodes, constants = dense(list(zip(mlp.coefs_, mlp.intercepts_)), "Softmax", "flower")
    nodes[-1].output[0] = "probabilities"
    model = build(nodes, [("flower", FLOAT, ["N", 4])], [("probabilities", FLOAT, ["N", 3])], constants)
    write("iris_softmax", model, {"flower": x[::3]})

    # The file says one row at a time; the graph reshapes to exactly that.
    fixed = [helper.make_node("Reshape", ["flower", "shape"], ["row"])] + nodes
    fixed[1].input[0] = "row"
    shape = [("shape", np.array([1, 4], np.int64))]
    model = build(fixed, [("flower", FLOAT, [1, 4])], [("probabilities", FLOAT, [1, 3])], constants + shape)
    rows = [expected(model, {"flower": row[None]}) for row in x[::10]]
    case = {"rows": len(rows), "inputs": [], "outputs": []}
    for side in ("inputs", "outputs"):
        for i, first in enumerate(rows[0][side]):
            case[side].append({"name": first["name"], "values": [v for r in rows for v in r[side][i]["values"]]})
    write("one_row", model)
    (HERE / "one_row.json").write_text(json.dumps(case) + "\n")

    # Softmax over the rows: refused, for a row has no score of its own.
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=0)]
    write("across_rows", build(nodes, [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 2])]))


def scikit_models():
    iris = load_iris()
    x, names = iris.data.astype(np.float32), iris.target_names[iris.target].astype(str)
    some = x[::3]
    logistic = LogisticRegression(max_iter=1000).fit(x, names)
    options = {id(logistic): {"zipmap": False}}
    write("iris_species", to_onnx(logistic, x[:1], target_opset=17, options=options), {"X": some})
    numbered = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, iris.target)
    write("iris_zipmap", to_onnx(numbered, x[:1], target_opset=17), {"X": some})
    network = MLPClassifier((6,), max_iter=2000, random_state=1).fit(x, names)
    options = {id(network): {"zipmap": False}}
    write("iris_mlp", to_onnx(network, x[:1], target_opset=17, options=options), {"X": some})
    clusters = KMeans(3, n_init=5, random_state=1).fit(x)
    write("iris_clusters", to_onnx(clusters, x[:1], target_opset=17), {"X": some})
    neighbours = KNeighborsClassifier(3).fit(x[::2], iris.target[::2])
    options = {id(neighbours): {"zipmap": False}}
    write("iris_neighbours", to_onnx(neighbours, x[:1], target_opset=17, options=options), {"X": some})
    tree = DecisionTreeClassifier(max_depth=3, random_state=1).fit(x, iris.target)
    options = {id(tree): {"zipmap": False}}
    write("iris_tree", to_onnx(tree, x[:1], target_opset=17, options=options))

    diabetes = load_diabetes()
    rows = diabetes.data.astype(np.float32)
    write("diabetes", to_onnx(LinearRegression().fit(rows, diabetes.target), rows[:1], target_opset=17), {"X": rows[:50]})


def mixed_model():
    """Numbers with gaps and two kinds of categories: what a table looks like."""
    random = np.random.default_rng(5)
    rows = 300
    size = random.normal(3, 1, rows)
    weight = random.normal(10, 4, rows)
    colour = random.choice(["red", "green", "blue"], rows)
    level = random.integers(0, 3, rows)
    target = (size + 0.2 * weight + (colour == "red") + level > 6).astype(int)
    weight[random.uniform(size=rows) < 0.1] = np.nan
    numeric = make_pipeline(SimpleImputer(), StandardScaler())
    encode = OneHotEncoder(handle_unknown="ignore")
    pipeline = make_pipeline(
        ColumnTransformer([("n", numeric, [0, 1]), ("c", encode, [2]), ("l", encode, [3])]), LogisticRegression(max_iter=1000)
    )
    pipeline.fit(np.array(list(zip(size, weight, colour, level)), dtype=object), target)
    types = [("size", FloatTensorType), ("weight", FloatTensorType), ("colour", StringTensorType), ("level", Int64TensorType)]
    model = to_onnx(
        pipeline,
        initial_types=[(name, kind([None, 1])) for name, kind in types],
        target_opset=17,
        options={id(pipeline): {"zipmap": False}},
    )
    columns = [size.astype(np.float32), weight.astype(np.float32), colour.astype(object), level.astype(np.int64)]
    feeds = {name: column[:60, None] for (name, _), column in zip(types, columns)}
    feeds["colour"][5] = "violet"  # unknown to the encoder
    write("mixed", model, feeds)


def operator_models():
    """Each operator of ai.onnx.ml with awkward values: zeros, NaN, negative numbers, far out scores, ties."""
    ml = lambda op, inputs, outputs, **attributes: helper.make_node(op, inputs, outputs, domain="ai.onnx.ml", **attributes)
    linear = {"coefficients": [1.0, -2.0, 0.5, 3.0, 1.0, -2.0, 0.5, 3.0, -4.0, 1.0, 0.0, 2.0], "intercepts": [0.1, 0.1, -0.2]}
    nodes = [
        ml("Scaler", ["x"], ["scaled"], offset=[1.0, -2.0, 0.5, 3.0], scale=[0.5, 2.0, -1.0, 10.0]),
        ml("Scaler", ["x"], ["scaled_alike"], offset=[1.0], scale=[0.25]),
        ml("Imputer", ["gaps"], ["imputed"], imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=float("nan")),
        ml("Imputer", ["x"], ["imputed_zero"], imputed_value_floats=[9.0], replaced_value_float=0.0),
        ml("Normalizer", ["x"], ["largest"], norm="MAX"),
        ml("Normalizer", ["x"], ["first"], norm="L1"),
        ml("Normalizer", ["x"], ["second"], norm="L2"),
        ml("LinearRegressor", ["x"], ["lines"], coefficients=linear["coefficients"], intercepts=linear["intercepts"], targets=3),
        ml("LinearRegressor", ["x"], ["line"], coefficients=[1.0, 2.0, 3.0, 4.0]),
        ml("LinearClassifier", ["x"], ["l1", "p1"], classlabels_ints=[7, 5, 3], post_transform="SOFTMAX", multi_class=1, **linear),
        ml("LinearClassifier", ["x"], ["l2", "p2"], classlabels_ints=[7, 5, 3], post_transform="LOGISTIC", **linear),
        ml("LinearClassifier", ["x"], ["l3", "p3"], classlabels_strings=["a", "b", "c"], post_transform="NONE", **linear),
        ml("Scaler", ["i"], ["scaled_integers"], offset=[1.5, 2.0], scale=[0.3, 2.0]),
        ml("Normalizer", ["i"], ["normal_integers"], norm="L1"),
        ml("LinearClassifier", ["i"], ["l4", "p4"], classlabels_ints=[0, 1], coefficients=[1.0, 2.0, -1.0, 0.5], intercepts=[0.0, 1.0]),
        ml("ArrayFeatureExtractor", ["x", "columns"], ["picked"]),
    ]
    floats = ["scaled", "scaled_alike", "imputed", "imputed_zero", "largest", "first", "second"]
    outputs = [(name, FLOAT, ["N", 4]) for name in floats] + [("lines", FLOAT, ["N", 3]), ("line", FLOAT, ["N", 1])]
    outputs += [("l1", INT64, ["N"]), ("p1", FLOAT, ["N", 3]), ("l2", INT64, ["N"]), ("p2", FLOAT, ["N", 3])]
    outputs += [("l3", STRING, ["N"]), ("p3", FLOAT, ["N", 3]), ("scaled_integers", FLOAT, ["N", 2])]
    outputs += [("normal_integers", FLOAT, ["N", 2]), ("l4", INT64, ["N"]), ("p4", FLOAT, ["N", 2]), ("picked", FLOAT, ["N", 2])]
    inputs = [("x", FLOAT, ["N", 4]), ("gaps", FLOAT, ["N", 4]), ("i", INT64, ["N", 2])]
    random = np.random.default_rng(11)
    x = random.normal(0, 3, (40, 4)).astype(np.float32)
    x[0], x[1], x[2], x[3] = 0, [1, 0, 0, -1], [-1, -2, -3, -4], [100, -100, 50, 80]
    gaps = x.copy()
    gaps[::3, 1] = np.nan
    integers = random.integers(-20, 20, (40, 2))
    integers[0] = 0
    model = build(nodes, inputs, outputs, [("columns", np.array([2, 0], np.int64))])
    write("operators", model, {"x": x, "gaps": gaps, "i": integers})

    nodes = [
        ml("OneHotEncoder", ["s"], ["colours"], cats_strings=["red", "green", "blue"], zeros=1),
        ml("OneHotEncoder", ["i"], ["levels"], cats_int64s=[3, 1, 2], zeros=1),
    ]
    inputs = [("s", STRING, ["N", 1]), ("i", INT64, ["N", 2])]
    outputs = [("colours", FLOAT, ["N", 1, 3]), ("levels", FLOAT, ["N", 2, 3])]
    words = random.choice(["red", "green", "blue", "violet", ""], (40, 1)).astype(object)
    write("encoders", build(nodes, inputs, outputs), {"s": words, "i": random.integers(0, 5, (40, 2))})


def standard_models():
    """Standard operators, several nodes to a file, each an output of its own: what the reader's list of operators rests on."""
    random = np.random.default_rng(13)
    rows = 10
    x = random.normal(0, 2, (rows, 6)).astype(np.float32)
    x[0], x[1, 0] = 0, np.nan
    unit = random.uniform(-0.99, 0.99, (rows, 6)).astype(np.float32)
    positive = random.uniform(0.05, 6, (rows, 6)).astype(np.float32)
    above = random.uniform(1.01, 6, (rows, 6)).astype(np.float32)
    unit[0], above[0] = [0.5, -0.5, 0.25, 0, -0.25, 0.75], [1.5, 2.5, 3.5, 4.5, 2, 3]
    i = random.integers(-5, 6, (rows, 6))
    b = random.uniform(size=(rows, 6)) < 0.5
    given = {"x": x, "unit": unit, "positive": positive, "above": above, "i": i, "b": b}
    types = {"float32": FLOAT, "int64": INT64, "bool": TensorProto.BOOL}
    shapes = {name: types[str(array.dtype)] for name, array in given.items()}

    def many(name, calls, constants=(), opset=17, wide=None):
        """`calls` are (operator, inputs, attributes); one output each, of two the one at `picked`."""
        feeds = wide or given
        used = [n for n in feeds if any(n in c[1] for c in calls)]
        nodes, outputs = [], []
        for index, (operator, inputs, attributes, *picked) in enumerate(calls):
            which = picked[0] if picked else 0
            out = f"{operator}_{index}"
            both = [out, f"{out}_other"][:: -1 if which else 1] if operator in ("TopK", "Split") else [out]
            nodes.append(helper.make_node(operator, inputs, both, **attributes))
            outputs.append(helper.make_empty_tensor_value_info(out))
        kinds = [(n, types[str(feeds[n].dtype)], ["N", *feeds[n].shape[1:]]) for n in used]
        tensors = [numpy_helper.from_array(np.asarray(array), key) for key, array in constants]
        info = [helper.make_tensor_value_info(*k) for k in kinds]
        graph = helper.make_graph(nodes, "graph", info, outputs, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="vatic")
        model = onnx.shape_inference.infer_shapes(model)
        feeds = {n: feeds[n] for n in used}
        write(name, model, feeds)

    on_x = ["Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"]
    on_x += ["Neg", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Tanh", "ThresholdedRelu", "Dropout"]
    calls = [(op, ["unit"], {}) for op in on_x + ["Acos", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan"]]
    calls += [(op, ["above"], {}) for op in on_x + ["Acosh", "Log", "Sqrt", "Reciprocal"]]
    calls += [("LeakyRelu", ["unit"], {"alpha": 0.3}), ("Elu", ["unit"], {"alpha": 2.0})]
    calls += [("HardSigmoid", ["unit"], {"alpha": 0.4, "beta": 0.3}), ("ThresholdedRelu", ["unit"], {"alpha": 0.2})]
    calls += [("Selu", ["unit"], {"alpha": 1.5, "gamma": 1.2}), ("Abs", ["i"], {}), ("Neg", ["i"], {}), ("Sign", ["i"], {})]
    calls += [("Not", ["b"], {}), ("Clip", ["unit", "low", "high"], {}), ("Clip", ["unit", "", "high"], {}), ("IsNaN", ["x"], {})]
    many("standard_unary", calls, [("low", np.float32(-0.5)), ("high", np.float32(0.25))])
    many("standard_gelu", [("Gelu", ["unit"], {}), ("Gelu", ["above"], {"approximate": "tanh"})], opset=20)

    row = np.arange(1, 7, dtype=np.float32)
    binary = [(op, ["unit", "above"], {}) for op in ["Add", "Sub", "Mul", "Div", "Max", "Min"]]
    binary += [("Pow", ["positive", "unit"], {}), ("Pow", ["unit", "two"], {}), ("PRelu", ["unit", "row"], {}), ("Div", ["i", "five"], {})]
    binary += [(op, ["unit", "row"], {}) for op in ["Add", "Sub", "Mul", "Div", "Max", "Min"]] + [("Add", ["i", "five"], {})]
    compare = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]
    binary += [(op, ["i", "five"], {}) for op in compare] + [(op, ["unit", "zero"], {}) for op in compare]
    binary += [("And", ["b", "yes"], {}), ("Or", ["b", "no"], {}), ("Where", ["b", "unit", "above"], {}), ("Where", ["b", "i", "five"], {})]
    binary += [("Max", ["unit", "above", "positive"], {}), ("Sum", ["unit", "above", "row"], {}), ("Mean", ["unit", "above", "positive"], {})]
    scalars = [("two", np.float32(2)), ("zero", np.float32(0)), ("five", np.int64(3)), ("yes", np.array(True)), ("no", np.array(False))]
    many("standard_binary", binary, scalars + [("row", row)])

    square = random.normal(size=(6, 4)).astype(np.float32)
    reduce = [(op, ["positive"], {"axes": [1], "keepdims": keep}) for keep in (0, 1) for op in
              ["ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"]]
    reduce += [("ReduceSum", ["unit", "one"], {"keepdims": 0}), ("ReduceSum", ["unit", "one"], {}), ("ReduceL1", ["unit"], {"axes": [-1]})]
    reduce += [(op, ["unit"], {"axis": 1, "keepdims": keep}) for op in ["ArgMax", "ArgMin"] for keep in (0, 1)]
    reduce += [("ArgMax", ["i"], {"axis": 1}), ("ArgMin", ["i"], {"axis": -1}), ("ArgMax", ["i"], {"axis": 1, "select_last_index": 1})]
    reduce += [(op, ["unit"], {"axis": axis}) for op in ["Softmax", "LogSoftmax"] for axis in (1, -1)]
    reduce += [("MatMul", ["unit", "square"], {}), ("Gemm", ["unit", "square", "four"], {"alpha": 0.5, "beta": 2.0})]
    reduce += [("Gemm", ["unit", "turned"], {"transB": 1}), ("TopK", ["unit", "three"], {"axis": 1}), ("TopK", ["unit", "three"], {}, 1)]
    reduce += [("TopK", ["unit", "three"], {"largest": 0}), ("LayerNormalization", ["unit", "row", "row"], {}), ("Expand", ["unit", "three"], {})]
    reduce = [c for c in reduce if c[0] != "Expand"]
    numbers = [("one", np.array([1])), ("three", np.array([3])), ("square", square), ("turned", square.T.copy()), ("row", row)]
    many("standard_reduce", reduce, numbers + [("four", np.arange(4, dtype=np.float32))])

    shape = [("Concat", ["unit", "above"], {"axis": 1}), ("Transpose", ["cube"], {"perm": [0, 2, 1]}), ("Flatten", ["cube"], {})]
    shape += [("Reshape", ["unit", "halves"], {}), ("Reshape", ["unit", "kept"], {}), ("Squeeze", ["thin", "one"], {}), ("Unsqueeze", ["unit", "one"], {})]
    shape += [("Slice", ["unit", "one", "four", "one"], {}), ("Slice", ["unit", "last", "first", "one", "back"], {})]
    shape += [("Gather", ["unit", "pick"], {"axis": 1}), ("Gather", ["table", "index"], {}), ("GatherElements", ["unit", "index"], {"axis": 1})]
    shape += [("Split", ["unit", "parts"], {"axis": 1}), ("Split", ["unit", "parts"], {"axis": 1}, 1), ("Tile", ["unit", "times"], {})]
    shape += [("Pad", ["unit", "pads"], {}), ("Pad", ["unit", "pads", "seven"], {}), ("Pad", ["unit", "pads"], {"mode": "reflect"})]
    shape += [("Pad", ["unit", "pads"], {"mode": "edge"}), ("OneHot", ["index", "depth", "onoff"], {}), ("Cast", ["unit"], {"to": INT64})]
    shape += [("Cast", ["i"], {"to": FLOAT}), ("Cast", ["b"], {"to": FLOAT}), ("Cast", ["i"], {"to": TensorProto.BOOL}), ("Cast", ["unit"], {"to": TensorProto.DOUBLE})]
    more = dict(given, cube=random.normal(size=(rows, 3, 4)).astype(np.float32), thin=random.normal(size=(rows, 1, 5)).astype(np.float32))
    more["index"] = random.integers(0, 6, (rows, 6))
    del more["x"]
    numbers = [("halves", np.array([-1, 2, 3])), ("kept", np.array([0, 3, 2])), ("one", np.array([1])), ("four", np.array([4])), ("last", np.array([-1]))]
    numbers += [("first", np.array([-100])), ("back", np.array([-1])), ("pick", np.array([5, 0, 0])), ("parts", np.array([2, 4])), ("times", np.array([1, 2]))]
    numbers += [("pads", np.array([0, 2, 0, 1])), ("seven", np.float32(7)), ("depth", np.int64(6)), ("onoff", np.array([0.5, 2], np.float32)), ("table", square)]
    many("standard_shape", shape, numbers, wide=more)

    image = random.normal(size=(3, 3, 8, 7)).astype(np.float32)
    line = random.normal(size=(3, 3, 10)).astype(np.float32)
    four = lambda *size: random.normal(0, 0.4, size).astype(np.float32)
    conv = [("Conv", ["image", "k", "kb"], {}), ("Conv", ["image", "k"], {"pads": [1, 1, 1, 1], "strides": [2, 2]})]
    conv += [("Conv", ["image", "k"], {"auto_pad": "SAME_UPPER", "strides": [2, 1]}), ("Conv", ["image", "k"], {"dilations": [2, 2]})]
    conv += [("Conv", ["image", "g"], {"group": 3}), ("Conv", ["line", "k1"], {"pads": [1, 0]}), ("Conv", ["image", "k"], {"auto_pad": "SAME_LOWER"})]
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    conv += [(op, ["image"], dict(pool, **more)) for op in ["MaxPool", "AveragePool"] for more in ({}, {"ceil_mode": 1}, {"pads": [1, 0, 1, 0]})]
    conv += [("AveragePool", ["image"], dict(pool, pads=[1, 1, 1, 1], count_include_pad=1)), ("GlobalAveragePool", ["image"], {})]
    conv += [("GlobalMaxPool", ["image"], {}), ("BatchNormalization", ["image", "s", "o", "m", "v"], {"epsilon": 1e-3})]
    conv += [("InstanceNormalization", ["image", "s", "o"], {}), ("LayerNormalization", ["line", "ten", "ten"], {"axis": -1})]
    numbers = [("k", four(4, 3, 3, 2)), ("kb", four(4)), ("g", four(6, 1, 3, 3)), ("k1", four(5, 3, 3)), ("s", four(3)), ("o", four(3)), ("m", four(3))]
    numbers += [("v", np.array([0.5, 1, 2], np.float32)), ("ten", four(10))]
    many("standard_image", conv, numbers, wide={"image": image, "line": line})

    # Where versions of the operator set differ: attributes that became inputs, and a Softmax that flattened.
    old = [("Softmax", ["unit"], {}), ("Softmax", ["cube"], {"axis": 1}), ("LogSoftmax", ["unit"], {}), ("Clip", ["unit"], {"min": -0.5, "max": 0.2})]
    old += [("Dropout", ["unit"], {"ratio": 0.5}), ("Squeeze", ["thin"], {"axes": [1]}), ("Unsqueeze", ["unit"], {"axes": [1]})]
    old += [("Slice", ["unit"], {"axes": [1], "starts": [1], "ends": [-1]}), ("Pad", ["unit"], {"pads": [0, 1, 0, 2], "value": 3.0})]
    old += [("Flatten", ["cube"], {"axis": 1}), ("ReduceSum", ["unit"], {"axes": [1]})]
    old += [("BatchNormalization", ["cube", "s", "o", "m", "v"], {}), ("Gemm", ["unit", "square", "four"], {}), ("Gather", ["unit", "pick"], {"axis": 1})]
    numbers = [("s", four(3)), ("o", four(3)), ("m", four(3)), ("v", np.array([0.5, 1, 2], np.float32)), ("square", square)]
    numbers += [("four", np.arange(4, dtype=np.float32)), ("pick", np.array([5, 0]))]
    many("standard_opset9", old, numbers, opset=9, wide=more)
    new = [(op, ["positive", "one"], {"keepdims": keep}) for keep in (0, 1) for op in
           ["ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"]]
    new += [("Pad", ["unit", "pads", "", "one"], {}), ("Softmax", ["cube"], {"axis": 1}), ("Reshape", ["unit", "kept"], {}), ("Cast", ["unit"], {"to": INT64})]
    numbers = [("one", np.array([1])), ("pads", np.array([1, 2])), ("kept", np.array([0, 3, 2]))]
    many("standard_opset18", new, numbers, opset=18, wide=more)

    # Shapes computed from the rows at hand, as PyTorch's exporter writes them.
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Unsqueeze", ["rows", "zeros"], ["rows_1"]),
        helper.make_node("Concat", ["rows_1", "six"], ["wanted"], axis=0),
        helper.make_node("ConstantOfShape", ["wanted"], ["filled"], value=numpy_helper.from_array(np.array([0.5], np.float32))),
        helper.make_node("Add", ["x", "filled"], ["added"]),
        helper.make_node("Expand", ["row", "shape"], ["expanded"]),
        helper.make_node("Concat", ["rows_1", "rest"], ["halves"], axis=0),
        helper.make_node("Reshape", ["x", "halves"], ["reshaped"]),
        helper.make_node("Constant", [], ["seven"], value_float=7.0),
        helper.make_node("Mul", ["x", "seven"], ["sevenfold"]),
        helper.make_node("Range", ["zero", "end", "step"], ["range"]),
        helper.make_node("Cast", ["range"], ["range_f"], to=FLOAT),
        helper.make_node("Add", ["x", "range_f"], ["ranged"]),
    ]
    constants = [("zero", np.int64(0)), ("zeros", np.array([0])), ("six", np.array([6])), ("row", row[None]), ("rest", np.array([2, 3]))]
    constants += [("end", np.int64(6)), ("step", np.int64(1))]
    outputs = [(name, FLOAT, ["N", 6]) for name in ("added", "expanded", "sevenfold", "ranged")] + [("reshaped", FLOAT, ["N", 2, 3])]
    write("standard_dynamic", build(nodes, [("x", FLOAT, ["N", 6])], outputs, constants), {"x": unit})

    # Recurrent layers take time first: the rows are transposed in and out, as exporters do. Initial states come from the rows.
    steps = random.normal(size=(rows, 5, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["steps"], ["time"], perm=[1, 0, 2]),
        helper.make_node("Gather", ["steps", "first_step"], ["start"], axis=1),
        helper.make_node("MatMul", ["start", "widen"], ["state"]),
        helper.make_node("Unsqueeze", ["state", "axis"], ["initial"]),
    ]
    outputs, constants = [], [("first_step", np.int64(0)), ("widen", four(3, 4)), ("axis", np.array([0]))]
    for name, factor in {"LSTM": 4, "GRU": 3, "RNN": 1}.items():
        variants = [("forward", {}, False), ("bidirectional", {}, False), ("forward", {}, True)]
        variants += [("forward", {"linear_before_reset": 1}, False)] if name == "GRU" else []
        for number, (way, extra, initial) in enumerate(variants):
            ways, tag = 1 + (way == "bidirectional"), f"{name}_{number}"
            constants += [(f"{tag}w", four(ways, 4 * factor, 3)), (f"{tag}r", four(ways, 4 * factor, 4)), (f"{tag}b", four(ways, 8 * factor))]
            inputs = ["time", f"{tag}w", f"{tag}r", f"{tag}b"]
            inputs += ["", "initial"] + ["initial"] * (name == "LSTM") if initial else []
            nodes.append(helper.make_node(name, inputs, [f"{tag}y", f"{tag}h"], hidden_size=4, direction=way, **extra))
            nodes.append(helper.make_node("Transpose", [f"{tag}h"], [f"{tag}_out"], perm=[1, 0, 2]))
            outputs.append((f"{tag}_out", FLOAT, ["N", ways, 4]))
    write("standard_recurrent", build(nodes, [("steps", FLOAT, ["N", 5, 3])], outputs, constants), {"steps": steps})


if __name__ == "__main__":
    standard_models()
    payments_models()
    network_models()
    scikit_models()
    mixed_model()
    operator_models()
    total = sum(f.stat().st_size for f in HERE.iterdir() if f.suffix in (".onnx", ".json"))
    print(f"{total} bytes")
