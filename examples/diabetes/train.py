"""Makes everything in this folder that is not code: data files and two checkpoints.

    pip install scikit-learn && python train.py

The data are scikit-learn's bundled diabetes set. The checkpoints are shaped like a trainer's
(`state_dict` beside the epoch). The second is an honest failure: regularised until it says
almost nothing.
"""

from pathlib import Path

import numpy as np
import torch
from model import ProgressionNet
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent


def main() -> None:
    features, target = load_diabetes(return_X_y=True)
    rows = np.arange(len(target))
    train, heldout = train_test_split(rows, test_size=142, random_state=1)
    for name, chosen in [("train", np.sort(train)), ("heldout", np.sort(heldout))]:
        np.savez(
            HERE / f"data/{name}.npz",
            patient=chosen,
            person=features[chosen, :2].astype(np.float32),
            examination=features[chosen, 2:].astype(np.float32),
            progression=target[chosen],
        )
    for name, strength in [("progression", 0.1), ("progression-overregularised", 20.0)]:
        ridge = Ridge(alpha=strength).fit(features[train], target[train])
        model = ProgressionNet()
        with torch.no_grad():
            model.person.weight.copy_(torch.from_numpy(ridge.coef_[None, :2]))
            model.examination.weight.copy_(torch.from_numpy(ridge.coef_[None, 2:]))
            model.examination.bias.fill_(float(ridge.intercept_))
        torch.save(
            {"epoch": 1, "state_dict": model.state_dict()}, HERE / f"checkpoints/{name}.ckpt"
        )


if __name__ == "__main__":
    main()
