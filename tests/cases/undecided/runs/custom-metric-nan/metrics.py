def profit(columns, weights, price):
    return float("nan")
