import torch
from torch.utils.data import Dataset, IterableDataset


class Samples(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        sign = 1.0 if index % 2 else -1.0
        return torch.nested.nested_tensor([torch.ones(2)]), index % 2


def make():
    return Samples()
