import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    @property
    def training(self):
        raise RuntimeError("no mode")

    @training.setter
    def training(self, mode):
        pass

    def forward(self, x):
        return self.layer(x)
