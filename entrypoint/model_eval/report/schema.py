"""`python -m model_eval.report.schema` prints `schemas/report.schema.json`."""

import json
import sys

from model_eval.report import json_schema

if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
