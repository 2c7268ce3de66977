def clean(outputs):
    return outputs.logits
