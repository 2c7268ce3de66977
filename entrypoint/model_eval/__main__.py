"""`python -I -m model_eval` is the same program as `model-eval`."""

from model_eval.cli import program

if __name__ == "__main__":
    program()
