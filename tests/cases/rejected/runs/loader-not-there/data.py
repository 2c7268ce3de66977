def build():
    return []
