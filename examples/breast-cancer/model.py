"""A small network for the thirty measurements of the Wisconsin breast cancer set."""

from torch import Tensor, nn


class TumourNet(nn.Module):
    """Measurements (N, 30) to one logit (N, 1): positive means malignant.

    The first layer standardises: its mean and scale are buffers of the checkpoint, so that the
    held-out file can hold the raw measurements.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(30, affine=False)
        self.layers = nn.Sequential(nn.Linear(30, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, measurements: Tensor) -> Tensor:
        return self.layers(self.standardise(measurements))
