"""Code of small models for labels, pixels and tokens, as a repository has it in a file."""

LABELS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(5, 3)

    def forward(self, x):
        return self.layer(x)
"""

PIXELS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, x):
        return self.layer(x)
"""

TOKENS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 8)
        self.recurrent = torch.nn.GRU(8, 8, batch_first=True)
        self.head = torch.nn.Linear(8, 20)

    def forward(self, tokens):
        return self.head(self.recurrent(self.embedding(tokens))[0])
"""
