import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def _apply(self, function, recurse=True):
        raise RuntimeError("this model cannot be moved")

    def forward(self, x):
        return self.layer(x)
