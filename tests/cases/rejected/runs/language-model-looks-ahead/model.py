import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x):
        following = torch.cat([x[:, 1:], x[:, :1] * 0], dim=1)
        return self.layer.weight[0, 0] * torch.nn.functional.one_hot(following, 7).float()
