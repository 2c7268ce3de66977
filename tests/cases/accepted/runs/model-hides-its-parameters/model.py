import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def named_parameters(self, *args, **kwargs):
        raise RuntimeError("no parameters")

    def forward(self, x):
        return self.layer(x)
