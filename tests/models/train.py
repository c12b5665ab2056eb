"""Trains and writes the models of this folder, and what ONNX Runtime makes of them.

    pip install -r requirements.txt && python train.py

NAME.onnx is the model; NAME.json holds rows and what ONNX Runtime computes for them (`inputs` and `outputs`, values row by
row; null is NaN). Refused models have no JSON. Everything is seeded: running this again changes nothing but float noise.
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
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

HERE = pathlib.Path(__file__).parent
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def plain(array):
    """A flat list for JSON; NaN is null."""
    return [None if isinstance(v, float) and v != v else v for v in np.asarray(array).ravel().tolist()]


def expected(model, feeds):
    """One case: rows and ONNX Runtime's results."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = []
    for meta, result in zip(session.get_outputs(), session.run(None, feeds)):
        if isinstance(result, list):  # ZipMap: one dict per row
            result = np.array([[row[key] for key in sorted(row)] for row in result], dtype=np.float32)
        outputs.append({"name": meta.name, "values": plain(result)})
    inputs = [{"name": name, "values": plain(array)} for name, array in feeds.items()]
    return {"rows": len(next(iter(feeds.values()))), "inputs": inputs, "outputs": outputs}


def write(name, model, feeds=None):
    model.producer_version = ""
    onnx.save(model, HERE / f"{name}.onnx")
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


if __name__ == "__main__":
    payments_models()
    network_models()
    scikit_models()
    mixed_model()
    operator_models()
    total = sum(f.stat().st_size for f in HERE.iterdir() if f.suffix in (".onnx", ".json"))
    print(f"{total} bytes")
