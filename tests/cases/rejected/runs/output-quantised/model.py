import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x):
        y = self.layer(x)
        return torch.quantize_per_tensor(y, 0.1, 0, torch.qint8)
