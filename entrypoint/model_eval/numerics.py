"""What NumPy does where a number overflows or is none, while our own code computes."""

import numpy as np

numpys_own = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
"""A decorator: NumPy's defaults, whatever code of the repository has set (`np.seterr(all="raise")`).

Its own code keeps what it has set, for it may rely on that.
"""
