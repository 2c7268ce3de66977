import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.one = torch.nn.Linear(2, 1, bias=False)
        self.two = torch.nn.Linear(2, 1, bias=False)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.one(x) + self.two(x)
