import numpy as np


def profit(columns, weights, price):
    right = columns["target"] == columns["prediction"]
    return price * np.average(right, weights=weights) - 0.5
