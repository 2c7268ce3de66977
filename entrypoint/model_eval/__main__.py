"""`python -I -m model_eval` is the same program as `model-eval`."""

from model_eval.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
