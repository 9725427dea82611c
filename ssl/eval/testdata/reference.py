"""Writes reference.json: neighbours and linear probes of scikit-learn on data that are a formula of their index, which
eval_test.go repeats. Run: python reference.py; made with the versions recorded in the file.
"""

import json
import math
import os

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TRAIN, TEST, DIM, CLASSES = 160, 60, 6, 4


def make(n, start):
    """Overlapping clusters; float32, as features are."""
    x, y = np.zeros((n, DIM), np.float32), np.zeros(n, int)
    for i in range(n):
        y[i] = (i * 7 + i // 5) % CLASSES
        for j in range(DIM):
            noise = math.sin(start + 12.9898 * (i + 1) + 78.233 * (j + 1)) * 43758.5453
            noise -= math.floor(noise)
            x[i, j] = (j + 1) * (math.cos(y[i] * (j + 1)) + 2.2 * (noise - 0.5)) + 0.5
    return x, y


(xa, ya), (xb, yb) = make(TRAIN, 0.0), make(TEST, 1.0)
out = {"generator": f"reference.py with scikit-learn {sklearn.__version__}, numpy {np.__version__}", "knn": [], "probe": []}
for k in (1, 5, 20):
    m = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07))
    m.fit(xa, ya)
    out["knn"].append({"k": k, "classes": m.predict(xb).tolist()})
for c in (0.01, 1.0):
    m = make_pipeline(StandardScaler(), LogisticRegression(C=c, tol=1e-10, max_iter=10000))
    m.fit(xa.astype(np.float64), ya)
    lr = m[-1]
    out["probe"].append({"c": c, "weight": lr.coef_.tolist(), "bias": lr.intercept_.tolist(), "classes": m.predict(xb.astype(np.float64)).tolist()})
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference.json"), "w") as f:
    json.dump(out, f, separators=(",", ":"))
    f.write("\n")
for r in out["knn"] + out["probe"]:
    print(r.get("k", r.get("c")), np.mean(np.array(r["classes"]) == yb))
