import torch


def Net():
    return torch.nn.Linear(2, 1).state_dict()
