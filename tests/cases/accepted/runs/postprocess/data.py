def clean(outputs):
    return outputs["scores"][0]
