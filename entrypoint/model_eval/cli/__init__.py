"""`model-eval`: arguments, the real clock and screen, and the one place that catches and prints.

`command` begins and ends every command. `run` and `merge` are two processes: `parent` is the one that users
start, `child` the one in which the model's code runs. `on_github` alone uses a token.
"""

from model_eval.cli.command import main, program

__all__ = ["main", "program"]
