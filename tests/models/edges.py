"""Operators at the ends of their types, and what scikit-learn's exporter writes with other options than `zipmap`.

    pip install -r requirements.txt && python edges.py

Written as `train.py` writes its own. `standard_edge_*` are made by hand, `sklearn_option_*` and `sklearn_edge_*` are exported.
Only what is defined: where C++ leaves a cast to the processor, there are the results of x86.
"""

import itertools
import json

import numpy as np
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from classical import TYPES, Sheet
from train import HERE, build, expected, write

F, D, I, S = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING
NAN, INF = float("nan"), float("inf")


def casts():
    """Every type to every type."""
    floats = [NAN, INF, -INF, -1.5, 300.75, 70000.0, 3e9, 5e9, -3e9, 1e20, -1e20, -0.0, 0.5, 2.0**31, 2.0**40, -(2.0**63), 1e-7, 123456.5]
    whole = [-1, 300, 2**31, 2**40 + 1, -(2**40) - 7, 0, 1, 2**62, -(2**63), 65536, 127, 128, 255, 256, -129, 99, 5, 6]
    small = [0, 1, 2, 3, 100, 127] * 3
    numerals = ["1", "1.5", "1e1", "-2", " 3", "3 ", "+4", "12abc", "300", "5.", "0", "-0", "7e", "1_000", "\t5", "99999", "100", "20"]
    words = ["INF", "-inf", "nan", "infinity", "1e40", "-1e-5", ".5", "0.1", "1e10", "2.5E3", "+1e+2", "1e-30", "4.", "5", "6", "7", "8", "9"]
    feeds = {"float32": floats, "float64": floats, "int64": whole, "bool": [n % 3 == 0 for n in small], "object": numerals}
    feeds |= {kind: small for kind in TYPES if "int" in kind and kind != "int64"}
    feeds = {f"{kind}_x": np.array(values, kind)[:, None] for kind, values in feeds.items()}
    feeds["words"] = np.array(words, object)[:, None]
    # What x86 makes of these depends on how many are converted at once.
    feeds["unsigned"] = np.array([-1.5, 300.75, 3e9, 0, 1, 4294967040.0] * 3, np.float32)[:, None]
    sheet = Sheet("standard_edge_cast", feeds)
    pairs = [(f"{a}_x", b) for a, b in itertools.product(TYPES, TYPES) if (a, b) not in {("float32", "uint32"), ("float64", "uint32")}]
    for name, kind in pairs + [("words", "float32"), ("words", "float64"), ("unsigned", "uint32")]:
        sheet.add("Cast", [name], (TYPES[kind], [1]), domain="", to=TYPES[kind])
    for name, like in [("float64_x", "int64_x"), ("int64_x", "object_x"), ("int64_x", "float32_x"), ("object_x", "int64_x")]:
        sheet.add("CastLike", [name, like], (TYPES[like[:-2]], [1]), domain="")
    sheet.write()


def reductions():
    """Integers that 32 bits do not hold, and results that 64 do not."""
    i = np.array([[1, 2, 3], [7, -2, -8], [2**40, 1, 5], [-(2**40), -3, 0], [2**62, 2**62, 2**62], [-(2**62), -(2**62), -(2**62)], [-7, 2, 0]])
    j = np.array([[1, 2, 3], [7, -2, -8], [2**30, 2**30, 2**30], [2**31 - 1, 5, 1], [-(2**31), -1, 0], [-7, 2, 0], [9, 9, 9]], np.int32)
    cube = np.stack([i, i[::-1]], axis=1) // 4
    constants = [("last", np.array([1])), ("two", np.array([-1, 1]))]
    operators = ["ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceSumSquare"]
    for opset in (11, 18):
        sheet = Sheet(f"standard_edge_reduce_{opset}", {"i": i, "j": j, "cube": cube}, opset=opset, constants=constants if opset > 11 else ())
        for operator, (name, axes) in itertools.product(operators, [("i", "last"), ("j", "last"), ("cube", "two"), ("cube", "last")]):
            inputs, more = ([name], {"axes": [int(a) for a in dict(constants)[axes]]}) if opset == 11 else ([name, axes], {})
            kept = {"i": [1], "j": [1], "two": [1, 1], "last": [1, 3]}[axes if name == "cube" else name]
            sheet.add(operator, inputs, (TYPES[str(sheet.feeds[name].dtype)], kept), domain="", **more)
        sheet.add(operators[0], ["i"] if opset == 11 else ["i", "last"], (I, []), domain="", keepdims=0, **({"axes": [1]} if opset == 11 else {}))
        sheet.write()


def far():
    """Activations far out, and NaN."""
    x = np.array([[0, 88, 100, -100], [1000, -1000, NAN, INF], [-INF, 1e-8, -20, -88], [1e30, 0, 0, 0], [0, 200, -300, 5], [-INF, 0, 1, 2]], np.float32)
    x = np.vstack([x, [[0.5, 1.5, -2.5, 3.5]] * 2]).astype(np.float32)
    cube = np.stack([x, x[::-1], x * np.float32(0.01)], axis=1)
    for opset in (11, 17):
        # ONNX Runtime's LogSoftmax of DOUBLE differs from that of FLOAT where a row holds infinity.
        d = np.nan_to_num(x[[0, 2, 4, 5, 6, 7, 3, 3]], posinf=300).astype(np.float64)
        sheet = Sheet(f"standard_edge_far_{opset}", {"x": x, "cube": cube, "d": d}, opset=opset)
        sheet.add("Softplus", ["x"], (F, [4]), domain="")
        for name, kind, axis in [("x", F, 1), ("x", F, -1), ("d", D, 1), ("cube", F, 1), ("cube", F, 2), ("cube", F, -2)]:
            sheet.add("LogSoftmax", [name], (kind, list(sheet.feeds[name].shape[1:])), domain="", axis=axis)
        sheet.add("LogSoftmax", ["cube"], (F, [3, 4]), domain="")
        for name, kind, axes, shape in [("x", F, [1], [1]), ("d", D, [1], [1]), ("cube", F, [1], [1, 4]), ("cube", F, [1, 2], [1, 1])] if opset == 17 else []:
            sheet.add("ReduceLogSumExp", [name], (kind, shape), domain="", axes=axes)
        sheet.add("Round", ["d"], (D, [4]), domain="")
        sheet.add("Round", ["x"], (F, [4]), domain="")
        # Rows without a number: NaN is equal to NaN when rows are compared.
        sheet.add("Sqrt", ["d"], (D, [4]), domain="")
        sheet.add("Log", ["d"], (D, [4]), domain="")
        sheet.write()


def classes():
    """Indices that are none of the classes."""
    i = np.array([[0, 1], [2, 3], [-1, -3], [-4, 100], [2**40, -(2**40)], [1, 1]])
    f = np.array([[0, 1.7], [2.9, 3], [-1, -1.5], [-4, 1e20], [0.2, -0.2], [1, 1]], np.float32)
    constants = [("three", np.array(3)), ("floats", np.array([7, 8], np.float32)), ("integers", np.array([-1, 1])), ("words", np.array(["off", "on"], object))]
    sheet = Sheet("standard_edge_one_hot", {"i": i, "f": f}, constants=constants)
    for name, values, kind in [("i", "floats", F), ("i", "integers", I), ("i", "words", S), ("f", "integers", I), ("f", "words", S)]:
        for axis, shape in [(-1, [2, 3]), (1, [3, 2])]:
            sheet.add("OneHot", [name, "three", values], (kind, shape), domain="", axis=axis)
    sheet.write()


def dimensions():
    """Numbers made of shapes, by way of floats and casts, beside casts of data."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["six"]),
        helper.make_node("Cast", ["six"], ["six_f"], to=F),
        helper.make_node("Mul", ["six_f", "half"], ["three_f"]),
        helper.make_node("Cast", ["three_f"], ["three"], to=I),
        helper.make_node("Unsqueeze", ["three", "zeros"], ["threes"]),
        helper.make_node("Concat", ["rest", "threes"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["y"]),
        helper.make_node("Slice", ["x", "zeros", "ones", "zeros"], ["first"]),
        helper.make_node("Size", ["first"], ["size"]),
        helper.make_node("Cast", ["size"], ["size_f"], to=F),
        helper.make_node("Mul", ["x", "size_f"], ["sixfold"]),
        helper.make_node("Cast", ["x"], ["whole"], to=I),
        helper.make_node("Add", ["whole", "six"], ["more"]),
    ]
    constants = [("one", np.array(1)), ("zeros", np.array([0])), ("ones", np.array([1])), ("half", np.float32(0.5)), ("rest", np.array([-1, 2]))]
    outputs = [("y", F, ["N", 2, 3]), ("sixfold", F, ["N", 6]), ("more", I, ["N", 6])]
    x = np.linspace(-5e10, 5e10, 60, dtype=np.float32).reshape(10, 6)
    write("standard_edge_dimensions", build(nodes, [("x", F, ["N", 6])], outputs, constants), {"x": x})


def options():
    """The probabilities as one output per class, and the classes as an output."""
    iris = load_iris()
    x, names = iris.data.astype(np.float32), iris.target_names[iris.target].astype(str)
    models = {"columns": (LogisticRegression(max_iter=300), names), "columns_two": (LogisticRegression(), iris.target > 0)}
    models["columns_tree"] = (DecisionTreeClassifier(max_depth=3, random_state=0), iris.target)
    for name, (model, y) in models.items():
        model.fit(x, y.astype(int) if y.dtype == bool else y)
        exported = to_onnx(model, x[:1], target_opset=17, options={id(model): {"zipmap": "columns"}})
        case = expected(exported, {"X": x[::7]})
        label, *columns = case["outputs"]
        # They are one tensor again.
        cut = next(n for n in exported.graph.node if n.op_type == "Slice")
        rows = np.array([column["values"] for column in columns]).T
        case["outputs"] = [label, {"name": cut.input[0], "values": rows.ravel().tolist()}]
        write(f"sklearn_option_{name}", exported)
        (HERE / f"sklearn_option_{name}.json").write_text(json.dumps(case) + "\n")
    model = LogisticRegression(max_iter=300).fit(x, names)
    exported = to_onnx(model, x[:1], target_opset=17, options={id(model): {"zipmap": False, "output_class_labels": True}})
    write("sklearn_option_class_labels", exported)
    case = expected(exported, {"X": x[::7]})
    case["outputs"] = case["outputs"][:2]
    (HERE / "sklearn_option_class_labels.json").write_text(json.dumps(case) + "\n")


def encoders():
    """Categories that made-up rows do not have, labels beyond 32 bits, gaps behind a ColumnTransformer."""
    random = np.random.default_rng(23)
    iris = load_iris()
    y = iris.target
    plain = lambda model: {id(model): {"zipmap": False}}
    export = lambda model, kind, width: to_onnx(model, initial_types=[("x", kind([None, width]))], target_opset=17, options=plain(model))
    whole = random.choice([10, 20, 30], (150, 2))
    hot = lambda rows: make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, y)
    write("sklearn_edge_hot_integers", export(hot(whole), Int64TensorType, 2), {"x": whole[:12]})
    floats = whole.astype(np.float32)
    write("sklearn_edge_hot_floats", export(hot(floats), FloatTensorType, 2), {"x": floats[:12]})
    words = random.choice(["red", "green", "blue"], (150, 2)).astype(object)
    write("sklearn_edge_hot_words", export(hot(words), StringTensorType, 2), {"x": words[:12]})
    x = iris.data.astype(np.float32)
    neighbours = KNeighborsClassifier(3).fit(x[::3] + 0.013, np.array([10**10, 2 * 10**10, 3 * 10**10])[y[::3]])
    write("sklearn_edge_wide_labels", export(neighbours, FloatTensorType, 4), {"x": x[::10]})
    # Rows far from all that it was trained with.
    bayes = GaussianNB().fit(x, y)
    write("sklearn_edge_far_bayes", export(bayes, FloatTensorType, 4), {"x": np.vstack([x[::20], -20 * x[::20], 5 * x[::20]])})
    gaps = x.copy()
    gaps[::4, 1] = gaps[::5, 3] = np.nan
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    table = ColumnTransformer([("a", scaled, [0, 1]), ("b", SimpleImputer(strategy="median"), [2, 3])])
    write("sklearn_edge_gaps", export(make_pipeline(table, LogisticRegression(max_iter=300)).fit(gaps, y), FloatTensorType, 4), {"x": gaps[:24]})

    # An encoder of texts beside a mean over the rows: refused, though a made-up text is unknown.
    ml = lambda op, inputs, outputs, **more: helper.make_node(op, inputs, outputs, domain="ai.onnx.ml", **more)
    nodes = [ml("OneHotEncoder", ["s"], ["h"], cats_strings=["a", "b"], zeros=0), helper.make_node("Reshape", ["h", "two"], ["hot"])]
    nodes += [helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1), helper.make_node("Sub", ["x", "mean"], ["d"])]
    nodes += [helper.make_node("Concat", ["hot", "d"], ["all"], axis=1), helper.make_node("ReduceSum", ["all", "one"], ["y"])]
    model = build(nodes, [("s", S, ["N", 1]), ("x", F, ["N", 1])], [("y", F, ["N", 1])], [("two", np.array([-1, 2])), ("one", np.array([1]))])
    write("across_rows_of_texts", model)


if __name__ == "__main__":
    for part in (casts, reductions, far, classes, dimensions, options, encoders):
        part()
    made = [f for f in HERE.iterdir() if f.name.startswith(("standard_edge", "sklearn_edge", "sklearn_option", "across_rows_of")) and f.suffix in (".onnx", ".json")]
    print(f"{len(made)} files, {sum(f.stat().st_size for f in made)} bytes")
