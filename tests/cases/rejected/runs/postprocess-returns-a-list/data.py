def clean(outputs):
    return outputs.tolist()
