"""Measures what the statistics promise, and writes benchmarks/results/statistics.{json,md}.

    make bench-statistics                     all of it
    make bench-statistics STATISTICS=--quick  a few minutes
    make bench-statistics STATISTICS="--parts speed"
    make bench-statistics STATISTICS=--parts  nothing but the Markdown, of the results that there are

Parts that are not asked for stay as they are in the results.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.stats import counts, coverage, power, report, verdicts
from benchmarks.stats.populations import populations

RESULTS = Path(__file__).parents[1] / "results"
PARTS = ("power", "verdicts", "speed", "coverage")
QUICK = 0.1
_JSON = "statistics.json"
_PACKAGES = ("model-eval-action", "numpy", "scipy", "torch", "torchmetrics", "confidenceinterval")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} times the held-out sets")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--only", default="", help="populations of coverage with this in their name"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    factor = QUICK if args.quick else 1.0
    if not args.parts:
        _render(args.output, json.loads((args.output / _JSON).read_text()))
    for part in args.parts:
        if part == "coverage":
            for found in _coverage(args, factor):
                _write(args.output, part, found, factor)
        else:
            _write(args.output, part, _part(part, factor), factor)


def _part(part: str, factor: float):
    _say(part)
    if part == "power":
        return power.rows()
    if part == "verdicts":
        return verdicts.rows(factor=factor)
    # A process of its own, so that it has all the cores.
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "speed.json"
        command = [sys.executable, "-m", "benchmarks.stats.speed", "--output", str(output)]
        if factor < 1:
            command += ["--rows", "100000", "--replicates", "200"]
        threads = str(os.cpu_count() or 1)
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": threads})
        return json.loads(output.read_text())


def _coverage(args: argparse.Namespace, factor: float):
    """All rows so far, again and again; with `--only`, beside the rows of the others."""
    _say("coverage")
    path = args.output / _JSON
    order = {population.name: index for index, population in enumerate(populations())}
    found = []
    if args.only and path.exists():
        before = json.loads(path.read_text()).get("coverage", {"found": []})["found"]
        found = [row for row in before if args.only not in row["population"]]
    elif not args.only:
        found = counts.rows()
        yield found
    for rows in coverage.measure(factor=factor, processes=args.processes, only=args.only, say=_say):
        found = sorted([*found, *rows], key=lambda row: order.get(row["population"], -1))
        yield found


def _write(folder: Path, part: str, found, factor: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _JSON
    result = json.loads(path.read_text()) if path.exists() else {}
    result[part] = {"versions": _versions(), "factor": factor, "found": found}
    path.write_text(json.dumps(result, indent=1) + "\n")
    _render(folder, result)


def _render(folder: Path, result: dict) -> None:
    (folder / "statistics.md").write_text(report.markdown(result))


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()
