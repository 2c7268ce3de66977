"""What was measured before: kept under a key that holds all that it depends on.

A run whose key is in the store needs neither torch nor the model. Nothing here decides a verdict, and
nothing that goes wrong here changes one: the run measures again. docs/reuse.md has the whole of it.

`place` says where the store is, `reuse` looks a measurement up and keeps it, `recall` gives a run what was
kept. They are imported one by one: the command line needs the first alone, and waits for nothing else.
"""
