import torch
from torch.utils.data import Dataset, IterableDataset


class Samples(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        sign = 1.0 if index % 2 else -1.0
        return torch.tensor([sign, sign]), index % 2, f"id-{index}"


def make(size):
    return Samples(size)
