"""Trains and writes the models of the saved queries that train.py does not have: who will leave, and which machine is odd.

    pip install -r requirements.txt && python saved.py

Writes `NAME.onnx` here and in queries/models, and `NAME.json` here (see train.py); and the inputs of the queries that score them.
"""

import json

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import OneClassSVM

from train import QUERIES, write

PLANS = ["basic", "plus", "pro"]
NUMBERS = ["tenure_months", "monthly_fee", "support_calls", "days_since_login"]


def customers(rows, seed):
    """Customers and whether they left: the new ones, the annoyed ones, and those who no longer log in."""
    random = np.random.default_rng(seed)
    plan = random.choice(PLANS, rows, p=[0.5, 0.3, 0.2])
    fee = np.select([plan == "basic", plan == "plus"], [9.0, 19.0], 49.0) + random.choice([0.0, 2.5], rows)
    tenure, calls, idle = random.integers(1, 72, rows), random.poisson(1.3, rows), random.exponential(9.0, rows).round()
    risk = -1.6 - 0.04 * tenure + 0.55 * calls + 0.09 * idle + np.select([plan == "pro"], [-0.8], 0.3)
    left = random.uniform(size=rows) < 1 / (1 + np.exp(-risk))
    return plan, np.column_stack([tenure, fee, calls, idle]).astype(np.float32), left.astype(int)


def churn():
    frame = lambda plan, numbers: np.column_stack([plan.astype(object), numbers.astype(object)])
    columns = ColumnTransformer([("plan", OneHotEncoder(), [0]), ("numbers", StandardScaler(), [1, 2, 3, 4])])
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=1000))
    plan, numbers, left = customers(4000, 1)
    pipeline.fit(frame(plan, numbers), left)
    types = [("plan", StringTensorType([None, 1]))] + [(name, FloatTensorType([None, 1])) for name in NUMBERS]
    model = to_onnx(pipeline, initial_types=types, options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    plan, numbers, left = customers(400, 2)
    print(f"churn: AUC {roc_auc_score(left, pipeline.predict_proba(frame(plan, numbers))[:, 1]):.3f}")
    feeds = {"plan": plan[:40, None].astype(object)} | {n: numbers[:40, [i]] for i, n in enumerate(NUMBERS)}
    write("churn", model, feeds)
    with open(QUERIES.parent / "churn" / "input.jsonl", "w") as out:
        for i in range(40):
            tenure, fee, calls, idle = numbers[i].tolist()
            row = {"id": 1000 + i, "plan": str(plan[i]), "tenure_months": int(tenure), "monthly_fee": fee}
            out.write(json.dumps(row | {"support_calls": int(calls), "days_since_login": int(idle)}) + "\n")


def machines(rows, seed):
    """Temperature, vibration and current of healthy machines: they rise together with the load."""
    random = np.random.default_rng(seed)
    load = random.uniform(0.2, 1.0, rows)
    temperature = 30 + 40 * load + random.normal(0, 1.5, rows)
    vibration = 0.5 + 1.5 * load + random.normal(0, 0.1, rows)
    current = 2 + 10 * load + random.normal(0, 0.3, rows)
    return np.column_stack([temperature, vibration, current]).round(2).astype(np.float32)


def machine():
    healthy = make_pipeline(StandardScaler(), OneClassSVM(nu=0.01, gamma=0.5)).fit(machines(1000, 3))
    types = [("readings", FloatTensorType([None, 3]))]
    model = to_onnx(healthy, initial_types=types, target_opset={"": 17, "ai.onnx.ml": 3})
    readings = machines(40, 4)
    readings[7] = [118.0, 1.4, 6.1]  # hot
    readings[19] = [52.0, 4.9, 7.2]  # shaking
    readings[33] = [33.0, 0.6, 19.5]  # a short circuit
    write("machine", model, {"readings": readings})
    with open(QUERIES.parent / "anomalies" / "input.jsonl", "w") as out:
        for i, (temperature, vibration, current) in enumerate(readings.tolist()):
            row = {"id": i + 1, "machine": f"m-{i % 5}", "at": f"2026-11-21T04:{i:02}:00.000"}
            row |= {"temperature": round(temperature, 2), "vibration": round(vibration, 2), "amperes": round(current, 2)}
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    churn()
    machine()
