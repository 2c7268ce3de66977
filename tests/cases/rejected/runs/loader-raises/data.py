def make():
    raise FileNotFoundError("no folder `raw`")
