import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.scores = None

    def forward(self, x):
        if self.scores is None or len(self.scores) != len(x):
            self.scores = torch.empty(len(x), 1)
        return self.scores.copy_(self.layer(x))
