import torch

def Net(:
