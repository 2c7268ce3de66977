"""A run that is shared out among processes or jobs: how, and how its parts become one again."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_eval import output
from model_eval.draft import Draft
from model_eval.errors import OutputError
from model_eval.joining import Joined, join, require_same, require_same_code
from model_eval.parts import Shard
from model_eval.run.result import Evaluation, save
from model_eval.spec.code_digest import digest_of_code
from model_eval.spec.eval_spec import EvalSpec
from model_eval.team import Team
from model_eval.types import GOLDEN_HELDOUT


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """How a run is shared out; at most one of the first three is there, and without any it is not.

    Attributes:
        shard: which part of the samples is run, which is not judged then.
        shards: folders with the ledgers of all parts, which are joined in place of a run.
        team: the processes that share it out; only the first one's report is judged.
        output: the folder that the result is saved in, and in which the ledgers of these processes are
            kept until they are joined; None for the system's.
    """

    shard: Shard | None = None
    shards: Sequence[Path] | None = None
    team: Team | None = None
    output: Path | None = None

    @property
    def several(self) -> bool:
        """Whether it is shared out."""
        return any(one is not None for one in (self.shard, self.shards, self.team))

    @property
    def own(self) -> Shard | None:
        """The part that this process runs; None where it runs or joins all."""
        return self.shard if self.team is None else self.team.shard

    @property
    def judged_here(self) -> bool:
        """Whether this process judges, what it ran or what all parts have left."""
        return self.shard is None and (self.team is None or self.team.rank.first)


WHOLE = Parts()


def require_free(spec: EvalSpec, parts: Parts) -> None:
    """Refuses now what `save` would refuse after the evaluation.

    Raises:
        OutputError: somebody else's file is where a ledger would be.
    """
    if parts.output is None:
        return
    golden = [GOLDEN_HELDOUT] if spec.golden is not None and parts.shard is not None else []
    for name in (*spec.more_heldout, *golden):
        output.require_free(parts.output / output.ledger_name(name))


def joined_of(shards: Sequence[Path], spec: EvalSpec, draft: Draft) -> Joined:
    """The shards' ledgers, which must be of this spec.

    Raises:
        PartsError: they are not the parts of one run of it.
    """
    joined = join(shards)
    require_same(draft.report, joined.report, who="this run")
    require_same_code(digest_of_code(spec), joined.report, who="this run")
    return joined


def gathered(part: Evaluation, team: Team, where: Path | None) -> Joined | None:
    """The ledgers of all processes, in the first of them; None in the others.

    Raises:
        OutputError: there is no room for them.
    """
    try:
        with output.scratch(where) as folder:
            own = folder / "own"
            own.mkdir()
            save(part, own)
            folders = team.gather(own, folder)
            if folders is None:
                return None
            joined = join(folders, noun="rank")
    except OSError as error:
        raise OutputError(
            f"the ledgers of the processes cannot be kept in `{where or tempfile.gettempdir()}`: "
            f"{error.strerror or error}",
        ) from error
    return joined
