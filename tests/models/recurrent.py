"""Writes recurrent networks of Keras that are unrolled, and what ONNX Runtime makes of them.

    pip install -r requirements.txt tensorflow==2.21.0 keras==3.15.1 tf2onnx==1.17.0 && python recurrent.py

tf2onnx makes a Loop of Keras' GRU and SimpleRNN, which is refused; with `unroll=True` there is none. keras_NAME.onnx and
keras_NAME.json are as train.py says. Everything is seeded.
"""

import json
import pathlib

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

HERE = pathlib.Path(__file__).parent
STEPS, FEATURES, ROWS = 5, 3, 40


def plain(array):
    return [float(format(value, ".9g")) for value in np.asarray(array).ravel().tolist()]


def write(name, layer):
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((STEPS, FEATURES)), layer, keras.layers.Dense(2, activation="softmax")])
    signature = (tf.TensorSpec((None, STEPS, FEATURES), tf.float32, name="x"),)
    model, _ = tf2onnx.convert.from_function(tf.function(network, input_signature=signature), signature, opset=15)
    model.producer_version = ""
    model.graph.doc_string = ""
    x = np.random.default_rng(2).normal(size=(ROWS, STEPS, FEATURES)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"x": x})
    np.testing.assert_allclose(scores, network(x).numpy(), rtol=1e-4)
    case = {
        "rows": ROWS,
        "inputs": [{"name": "x", "values": plain(x)}],
        "outputs": [{"name": session.get_outputs()[0].name, "values": plain(scores)}],
    }
    onnx.save(model, HERE / f"keras_{name}.onnx")
    (HERE / f"keras_{name}.json").write_text(json.dumps(case) + "\n")


write("gru_unrolled", keras.layers.GRU(4, unroll=True))
write("gru_before_unrolled", keras.layers.GRU(4, unroll=True, reset_after=False))
write("rnn_unrolled", keras.layers.SimpleRNN(4, unroll=True))
write("lstm_unrolled", keras.layers.LSTM(4, unroll=True))
