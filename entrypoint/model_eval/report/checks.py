"""The checks of the model in words, for every kind of report. Names in them are not made inert."""

from collections.abc import Iterator

from model_eval.checks import trial_is_worse
from model_eval.types import ControlInfo, ControlTrial, NoiseInfo, Report
from model_eval.wording import number


def describe_checks(report: Report) -> tuple[tuple[str, str], ...]:
    """Pairs of what was checked and what was found, a line each; none where nothing was checked."""
    found = []
    if report.control is not None:
        found += [("Untrained model", line) for line in describe_control(report.control)]
    if report.noise is not None:
        found += _noise(report.noise)
    return tuple(found)


def describe_control(control: ControlInfo) -> Iterator[str]:
    """A line for each untrained model, and one where the outcome is open."""
    if control.skipped is not None:
        yield f"not decided: {control.skipped}"
    for trial in control.trials:
        yield f"{_said(trial)}: {_values(trial)} (seed {trial.seed}, {control.n:,} samples)"


def _said(trial: ControlTrial) -> str:
    worse = trial_is_worse(trial)
    return "open" if worse is None else "clearly worse" if worse else "no worse"


def _values(trial: ControlTrial) -> str:
    return ", ".join(
        f"{one.metric.label} {_shown(one.value)}, the checkpoint {_shown(one.checkpoint_value)}"
        + ("" if one.standard_error is None else f", standard error {one.standard_error:.2g}")
        for one in trial.metrics
    )


def _noise(noise: NoiseInfo) -> Iterator[tuple[str, str]]:
    for name, difference in (
        ("Same batch again", noise.repeat_difference),
        ("Smaller batches", noise.batch_difference),
        ("CPU instead", noise.device_difference),
    ):
        if difference is not None:
            yield name, f"outputs of {noise.samples} samples differ by up to {difference:.2g}"
    for one in noise.metrics:
        if one.difference != 0:
            moved = (
                "defined in some ways only" if one.difference is None else f"{one.difference:.2g}"
            )
            yield "Noise of a metric", f"{one.metric.label}: {moved}"
    for why in noise.skipped:
        yield "Left out", why


def _shown(value: float | None) -> str:
    return "undefined" if value is None else number(value)
