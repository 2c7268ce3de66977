import torch
from torch.utils.data import Dataset


class Images(Dataset):
    """Two channels of an image; a pixel is of class 1 where their sum is positive."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        image = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(index))
        mask = (image.sum(dim=0) > 0).to(torch.uint8)
        mask[0] = 255
        return image, mask


def make():
    return Images()
