import torch
from torch.utils.data import Dataset

SIZE = 7


class Documents(Dataset):
    """Each token is the one before it plus one; 0 is padding."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        tokens = (torch.arange(9) + index) % (SIZE - 1) + 1
        tokens[9 - index % 4 :] = 0
        return {"tokens": tokens, "next": torch.cat([tokens[1:], torch.zeros(1).long()]), "size": 4 * 9}


def make():
    return Documents()
