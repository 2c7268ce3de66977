"""The ledgers of shards, held against the sets and the model that are here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from model_eval import engine
from model_eval.engine import spot_check
from model_eval.errors import PartsError
from model_eval.evaluation import Evaluator, Loaded, Sets, placed
from model_eval.joining import Joined, require_digest, require_labels, require_same, require_samples
from model_eval.ledger import Ledger
from model_eval.progress import Progress
from model_eval.tasks import COUNTED_UP
from model_eval.types import GOLDEN_HELDOUT, MAIN_HELDOUT, Report
from model_eval.wording import quote


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """What the run that joins shards has itself.

    Attributes:
        known: of it so far.
        unchanged: refuses code that is not that of when the run began, nor the shards'.
        progress: shows how far the samples are read.
    """

    known: Report
    sets: Sets
    evaluator: Evaluator
    loaded: Loaded
    unchanged: Callable[[], None]
    progress: Progress


def hold_against(joined: Joined, here: Here, kept: engine.Keeping) -> Mapping[str, Ledger]:
    """The ledgers of shards, after every row was compared with its sample's labels.

    That reads the sets once; a few samples of each part go through the model.

    Args:
        joined: what the shards have left.
        here: what they are held against.
        kept: keeps a sample of the main set.

    Raises:
        PartsError: they are not ledgers of this checkpoint on these sets.
        EvaluationError, HeldOutError, UserCodeError: this cannot be found out here.
    """
    sets, size = here.sets, here.evaluator.batch_size
    require_same(here.known, joined.report, who="this run")
    if more := joined.parts.keys() - sets.all.keys():
        raise PartsError(f"the shards have the held-out set {quote(min(more))}, and the spec not")
    if joined.batch_size < size.size:
        size.lower(joined.batch_size)
    total = sum(one.expected for one in sets.all.values())
    with here.progress(total) as advance:
        checked = {name: _hold_rows(joined, here, name, kept, advance) for name in sets.all}
    here.unchanged()
    for name, rows in joined.ledgers.items():
        _spot_check(here, name, checked[name].sample(), rows)
    for name, rows in joined.ledgers.items():
        scorer = here.evaluator.scorer_of(name, sets.heldouts)
        with placed(here.evaluator.places(name)):
            scorer.require_logits(name in joined.like_probabilities, rows["finite"])
            scorer.require_counted(rows.columns)
    return {
        name: replace(rows, heldout=sets.heldouts[name].info().sha256)
        for name, rows in joined.ledgers.items()
    }


def _hold_rows(
    joined: Joined,
    here: Here,
    name: str,
    kept: engine.Keeping,
    advance: Callable[[int], None],
) -> engine.Keeping:
    """Compares the rows of one set with its samples, of which a few of each part are kept."""
    golden, main = name == GOLDEN_HELDOUT, name == MAIN_HELDOUT
    heldout, parts = here.sets.all[name], joined.parts.get(name, ())
    multiple = here.evaluator.batch_size.multiple
    heldout.digest_ranges([part.stop for part in parts])
    rows = joined.golden if golden else joined.ledgers.get(name)
    keeping = engine.Keeping(
        kept if main else heldout,
        heldout.expected,
        here.evaluator.spec.run.seed,
        chosen=spot_check.chosen_of((part.start, part.stop) for part in parts),
    )
    labels = heldout.labels(multiple)
    if not golden and not heldout.scattered:
        labels = (block.labels for block in keeping.blocks(multiple))
    if heldout.scattered and not golden:
        keeping.fetch(heldout.part)
        if main:
            kept.fetch(heldout.part)
    targets = rows is None or rows.task not in COUNTED_UP
    columns = (engine.label_columns(one, target=targets) for one in labels)
    require_labels(name, rows, columns, expected=heldout.expected, progress=advance)
    require_samples(name, parts, heldout.range_digests())
    require_digest(name, joined.report, heldout.info().sha256)
    return keeping


def _spot_check(here: Here, name: str, sample: engine.Sample, ledger: Ledger) -> None:
    """Holds a few rows of each part of a set against what the model answers here.

    Raises:
        PartsError: they are of another model, whatever the digests say.
        EvaluationError: it cannot be run here.
    """
    evaluator, precision = here.evaluator, here.evaluator.spec.run.precision
    predict = evaluator.predict_for(here.loaded, name)
    engine.set_precision(precision)  # which what was imported may have set
    found = spot_check.largest_difference(
        predict,
        sample,
        ledger,
        evaluator.scorer_of(name, here.sets.heldouts),
        batch_size=evaluator.batch_size.size,
        precision=precision,
    )
    if found is not None:
        raise PartsError(
            f"for sample {found.position} of {quote(name)} the model answers something "
            f"else here than in its shard: `{found.column}` is off by {found.by:.3g} of its size",
            remedy="a file that its code reads, such as a config or a vocabulary, may be another: "
            "run every shard again, of one commit",
        )
