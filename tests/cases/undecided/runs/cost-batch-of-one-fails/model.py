import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x):
        if len(x) == 1:
            raise ValueError("a batch of one")
        return self.layer(x)
