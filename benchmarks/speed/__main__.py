"""Measures speed, memory and start-up beside the peers; writes benchmarks/results/speed*.

    make bench                                     all of it
    make bench BENCH=--quick                       small, to see that it runs
    make bench BENCH="mlp --rows 100000 --threads 1"
    make bench BENCH=render                        nothing but table and plot, of the results that there are

Cases that are not asked for stay as they are in the results. What is asked for is written part by part, into
`speed-CASE.json.part` until all of it is there.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.speed import machine
from benchmarks.speed.contest import UnavailableError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results"
PLOT = ROOT / "docs/images/speed.svg"
QUICK = ROOT / "out/bench"


def main() -> None:
    args = _arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    cases = [args.case] if args.case != "all" else list(CASES)
    for case in () if args.case == "render" else cases:
        print(f"==> {case}", flush=True)
        described = machine.described()  # before: the load is that of others
        measured: list[Any] = []
        part = args.output / f"speed-{case}.json.part"
        try:
            for one in CASES[case](args):
                measured.append(one)
                found = {"case": case, **described, "quick": args.quick, "found": measured}
                part.write_text(json.dumps(found, indent=1) + "\n")
        except UnavailableError as error:
            print(f"SKIPPED: {error}", flush=True)
            continue
        part.replace(args.output / f"speed-{case}.json")
        _render(args)
    if args.case == "render":
        _render(args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", nargs="?", default="all", choices=["all", "render", *CASES])
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument(
        "--threads", type=int, nargs="+", help="each in turn; 1 and 2, of accelerator all there are"
    )
    parser.add_argument("--runs", type=int, help="rounds; every case has its own number")
    parser.add_argument("--rows", type=int, help="of mlp, memory and intervals")
    parser.add_argument(
        "--parts",
        nargs="+",
        help="of mlp: classification, auroc, regression; of resnet: defaults, fixed, offers, peers",
    )
    parser.add_argument("--images", type=int, help="of resnet and accelerator")
    parser.add_argument(
        "--device", help="of accelerator: one that torch knows; without it, what there is"
    )
    parser.add_argument("--scores", type=int, help="of auroc")
    parser.add_argument("--replicates", type=int, default=1000, help="of intervals")
    parser.add_argument(
        "--program", help="of start: the interpreter of an environment with nothing but model-eval"
    )
    parser.add_argument(
        "--output", type=Path, help="benchmarks/results; with --quick out/bench, plot and all"
    )
    args = parser.parse_args()
    here = len(os.sched_getaffinity(0))
    args.all_threads = max(args.threads) if args.threads else here
    args.threads = args.threads or [count for count in (1, 2) if count <= here]
    args.output = args.output or (QUICK if args.quick else RESULTS)
    args.plot = PLOT if args.output == RESULTS else args.output / PLOT.name
    return args


def _size(args: argparse.Namespace, name: str, *, full: int, quick: int) -> int:
    return getattr(args, name) or (quick if args.quick else full)


def _mlp(args: argparse.Namespace) -> Iterator[Any]:
    from benchmarks.speed.child import in_child

    settings = {
        "rows": _size(args, "rows", full=1_000_000, quick=50_000),
        "runs": _size(args, "runs", full=5, quick=1),
        "parts": args.parts or ["classification", "auroc", "regression"],
    }
    for threads in args.threads:
        yield from in_child("benchmarks.speed.mlp", settings, threads=threads)


def _memory(args: argparse.Namespace) -> Iterable[Any]:
    from benchmarks.speed import growth

    return growth.compare(
        _size(args, "rows", full=1_000_000, quick=50_000), threads=max(args.threads)
    )


def _resnet(args: argparse.Namespace) -> Iterable[Any]:
    from benchmarks.speed.child import in_child

    settings = {
        "images": _size(args, "images", full=5_000, quick=64),
        "runs": _size(args, "runs", full=3, quick=1),
        "parts": args.parts or ["fixed", "offers", "peers"],
    }
    return in_child("benchmarks.speed.resnet", settings, threads=max(args.threads))


def _auroc(args: argparse.Namespace) -> Iterable[Any]:
    from benchmarks.speed import auroc

    settings = {
        "scores": _size(args, "scores", full=10_000_000, quick=200_000),
        "runs": _size(args, "runs", full=3, quick=1),
    }
    return (auroc.compare(settings, threads=threads) for threads in args.threads)


def _intervals(args: argparse.Namespace) -> Iterable[Any]:
    from benchmarks.speed.child import in_child

    settings = {
        "rows": _size(args, "rows", full=100_000, quick=10_000),
        "runs": _size(args, "runs", full=5, quick=1),
        "replicates": args.replicates,
        "few": 20,
    }
    return in_child("benchmarks.speed.intervals", settings, threads=max(args.threads))


def _accelerator(args: argparse.Namespace) -> Iterator[Any]:
    import torch

    from benchmarks.speed.accelerator import CASES, PRECISIONS
    from benchmarks.speed.child import in_child

    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None and args.device is None:
        raise UnavailableError("there is no accelerator, and no --device was named")
    settings = {
        "device": args.device or str(found),
        "images": _size(args, "images", full=0, quick=64),  # 0: each model's own number
        "runs": _size(args, "runs", full=5, quick=1),
    }
    for part in product(CASES, PRECISIONS):
        asked = settings | {"parts": [part]}
        yield from in_child("benchmarks.speed.accelerator", asked, threads=args.all_threads)


def _start(args: argparse.Namespace) -> Iterable[Any]:
    from benchmarks.speed import start

    settings = {"runs": _size(args, "runs", full=9, quick=1), "program": args.program}
    return [start.compare(settings)]


CASES: dict[str, Callable[[argparse.Namespace], Iterable[Any]]] = {
    "mlp": _mlp,
    "memory": _memory,
    "resnet": _resnet,
    "auroc": _auroc,
    "intervals": _intervals,
    "start": _start,
    "accelerator": _accelerator,
}


def _render(args: argparse.Namespace) -> None:
    from benchmarks.speed import plot, table

    found = {
        case: json.loads(path.read_text())
        for case in CASES
        if (path := args.output / f"speed-{case}.json").exists()
    }
    (args.output / "speed.md").write_text(table.markdown(found))
    if (drawn := plot.drawn(found)) is not None:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        args.plot.write_text(drawn)


if __name__ == "__main__":
    main()
