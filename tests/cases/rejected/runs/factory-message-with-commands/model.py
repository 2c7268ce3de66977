def Net():
    raise ValueError("::error::x\n::add-mask::y `@all` <b>")
