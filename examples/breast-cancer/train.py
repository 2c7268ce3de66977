"""Makes everything in this folder that is not code: data files and two checkpoints.

    pip install scikit-learn && python train.py

The data are scikit-learn's bundled Wisconsin breast cancer set. The second checkpoint is an
honest failure: it was trained on labels of which four in ten were wrong.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch
from model import TumourNet
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

HERE = Path(__file__).parent


def main() -> None:
    data = load_breast_cancer()
    malignant = 1 - data.target  # scikit-learn has 0 for malignant; the finding is the positive
    train, heldout = train_test_split(
        np.arange(len(malignant)), test_size=200, random_state=0, stratify=malignant
    )
    for name, rows in [("train", np.sort(train)), ("heldout", np.sort(heldout))]:
        columns = {"case": [f"case-{row:03d}" for row in rows]}
        for index, feature in enumerate(data.feature_names):
            columns[str(feature)] = data.data[rows, index]
        columns["diagnosis"] = ["malignant" if m else "benign" for m in malignant[rows]]
        pyarrow.csv.write_csv(pa.table(columns), HERE / f"data/{name}.csv")

    inputs = torch.from_numpy(data.data[train]).float()
    targets = torch.from_numpy(malignant[train]).float()
    torch.save(fit(inputs, targets).state_dict(), HERE / "checkpoints/tumour.pt")
    wrong = torch.rand(len(targets), generator=torch.Generator().manual_seed(1)) < 0.4
    noisy = torch.where(wrong, 1 - targets, targets)
    torch.save(fit(inputs, noisy).state_dict(), HERE / "checkpoints/tumour-noisy-labels.pt")


def fit(inputs: Tensor, targets: Tensor) -> TumourNet:
    torch.manual_seed(0)
    model = TumourNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        for batch in torch.randperm(len(inputs)).split(64):
            logits = model(inputs[batch]).squeeze(1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


if __name__ == "__main__":
    main()
