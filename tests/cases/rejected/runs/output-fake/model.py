import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x):
        y = self.layer(x)
        return torch._subclasses.FakeTensorMode().from_tensor(y)
