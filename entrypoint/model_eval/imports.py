"""What makes the import of large packages take less time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """A context in which packages are imported without the cyclic garbage collector.

    An import makes objects that stay, and the collector looks at all of them again and again: a
    ninth of torch's import is that. What there is at the end is left out of later collections
    (`gc.freeze`). Where the collector is off already, nothing is changed.
    """
    if not gc.isenabled():
        yield
        return
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()
