def loss(columns, weights):
    return 0.0
