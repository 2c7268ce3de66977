def Net():
    return Net()
