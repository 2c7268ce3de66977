import torch


def prepare(x):
    return x[x[:, 0] > 0]
