import torch


def prepare(x):
    return {"left": x[:, 0], "right": x[:, 1]}
