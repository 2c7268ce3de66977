import torch
from torch.utils.data import Dataset, IterableDataset


class Samples(Dataset):
    def __len__(self):
        raise SystemExit(0)

    def __getitem__(self, index):
        sign = 1.0 if index % 2 else -1.0
        return torch.tensor([sign, sign]), index % 2


def make():
    return Samples()
