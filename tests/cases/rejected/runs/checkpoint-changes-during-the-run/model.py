from pathlib import Path

import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        with Path(__file__).with_name("model.safetensors").open("ab") as file:
            file.write(b"more")

    def forward(self, x):
        return self.layer(x)
