"""`run` and `merge` as users call them: a child evaluates, and what it leaves is believed, shown and published."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from model_eval.cli.shards import status_of
from model_eval.cli.surroundings import rank_of_process, roots_of
from model_eval.errors import UsageError
from model_eval.wording import place_in

if TYPE_CHECKING:
    from model_eval.settings import Settings


def run_in_child(args: argparse.Namespace, environ: Mapping[str, str], stdout: TextIO) -> int:
    """Has it evaluated, and returns the exit status of the report that is left."""
    from model_eval.output import REPORT
    from model_eval.settings import read_settings
    from model_eval.supervise import relay, supervise

    roots = roots_of(args)
    rank = rank_of_process(args, environ)
    with ExitStack() as stack:
        own = _scratch(stack) if rank is not None and not rank.first else args.output
        output = (own or _scratch(stack)).absolute()
        settings = read_settings(environ)
        arguments = [
            args.command, str(args.spec), *(str(path.absolute()) for path in args.shards or ()),
            "--output", str(output), "--root", str(roots[0]),
            *(["--shard", f"{args.shard.index}/{args.shard.of}"] if args.shard else []),
            *(word for path in roots[1:] for word in ("--allow-path", str(path))),
            *(["--base-spec", str(args.base_spec.absolute())] if args.base_spec else []),
            *(["--new-spec"] if args.new_spec else []),
            *(["--allow-loosening"] if args.allow_loosening else []),
            *(["--deadline", str(args.deadline)] if args.deadline is not None else []),
            *(args.store.arguments if args.store is not None else ["--no-cache"]),
        ]  # fmt: skip
        if rank is not None and not rank.first:
            return relay(arguments, output=output, environ=environ, deadline=args.deadline)
        title = f"model-eval {args.command} {args.spec}"
        with _untrusted_output(settings, stdout, title=title):
            report = supervise(
                arguments,
                name=place_in(args.spec, roots[0]),
                output=output,
                environ=environ,
                meanwhile=_import_readers,
                deadline=args.deadline,
            )
        from model_eval.publish import publish
        from model_eval.report import render_terminal

        stdout.write(render_terminal(report))
        report = publish(
            report,
            settings,
            report_path=output / REPORT,
            comment=None,
            stdout=stdout,
            stderr=sys.stderr,
        )
    stdout.flush()
    return status_of(args, report)


def _import_readers() -> None:
    """What reads and shows a report, imported while the child works: nobody waits for it then."""
    import jsonschema  # noqa: F401 — a report is held against its schema

    import model_eval.publish
    import model_eval.report  # noqa: F401


def _scratch(stack: ExitStack) -> Path:
    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-eval-")))
    except OSError as error:
        raise UsageError(
            "there is no temporary folder that can be written to",
            remedy="name a folder with --output, or give the container `--tmpfs /tmp`",
        ) from error


@contextmanager
def _untrusted_output(settings: "Settings", stdout: TextIO, *, title: str) -> Iterator[None]:
    """In GitHub Actions: folds what the model's code prints, and makes commands in it inert."""
    if not settings.in_actions:
        yield
        return
    from model_eval.github.commands import group, stopped_commands

    with group(stdout, title), stopped_commands(stdout):
        yield
