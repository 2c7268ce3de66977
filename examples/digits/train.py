"""Makes everything in this folder that is not code: data files and two checkpoints.

    pip install scikit-learn && python train.py

The data are scikit-learn's bundled digits (UCI's optical recognition of handwritten digits).
The second checkpoint is an honest failure: the same network after one epoch at a low rate.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from model import DigitsNet
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

HERE = Path(__file__).parent


def main() -> None:
    digits = load_digits()
    pixels, labels = digits.data.astype(np.uint8), digits.target.astype(np.int64)
    train, heldout = train_test_split(
        np.arange(len(labels)), test_size=597, random_state=0, stratify=labels
    )
    write(HERE / "data/train.parquet", pixels, labels, np.sort(train))
    write(HERE / "data/heldout.parquet", pixels, labels, np.sort(heldout))

    images = torch.from_numpy(pixels[train]).float().reshape(-1, 1, 8, 8) / 16
    targets = torch.from_numpy(labels[train])
    good = fit(images, targets, epochs=40, rate=3e-3)
    save_file(good.state_dict(), HERE / "checkpoints/digits.safetensors")
    worse = fit(images, targets, epochs=1, rate=1e-3)
    save_file(worse.state_dict(), HERE / "checkpoints/digits-undertrained.safetensors")
    record(
        HERE / "data/golden.npz", good, pixels[np.sort(heldout)[:10]], labels[np.sort(heldout)[:10]]
    )


def record(path: Path, model: DigitsNet, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Golden cases: what the model says of a few inputs, which later checkpoints must say too."""
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16
    with torch.inference_mode():
        logits = model(images).numpy().astype(np.float64)
    names = np.array([f"case-{index}-{label}" for index, label in enumerate(labels)])
    np.savez(path, pixels=images.numpy(), logits=logits, name=names)


def write(path: Path, pixels: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> None:
    flat = pa.array(pixels[rows].reshape(-1))
    table = pa.table(
        {
            "sample_id": pa.array(rows),
            "pixels": pa.FixedSizeListArray.from_arrays(flat, pixels.shape[1]),
            "label": pa.array(labels[rows]),
        }
    )
    pq.write_table(table, path, compression="zstd")


def fit(images: Tensor, targets: Tensor, *, epochs: int, rate: float) -> DigitsNet:
    torch.manual_seed(0)
    model = DigitsNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(model(images[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


if __name__ == "__main__":
    main()
