"""What must be the same in all parts of a run."""

from model_eval.errors import PartsError
from model_eval.own_files import digest_of_own_files
from model_eval.types import MAIN_HELDOUT, Environment, PartInfo, Report, ShardInfo
from model_eval.wording import printable, quote


def require_same(report: Report, other: Report, *, who: str, than: str = "the shards") -> None:
    """Compares what must be the same in all parts of a run, as far as both reports know it.

    Raises:
        PartsError: something differs.
    """
    known = facts_of(other)
    for what, value in facts_of(report).items():
        if what in known and known[what] != value:
            raise differ(who, than, what, value, known[what])


def require_same_code(code: str, other: Report, *, who: str, than: str = "the shards") -> None:
    """Compares the digest of the code with a shard's.

    Raises:
        PartsError: it is another, or the report is of no shard.
    """
    known = "" if other.shard is None else other.shard.code
    if code != known:
        raise differ(who, than, "digest of the code that the spec names", code, known)


def set_fact(name: str) -> str:
    """How people call the digest of a set."""
    return f"digest of {quote(name)}"


def facts_of(report: Report) -> dict[str, str]:
    """What must be the same in all parts of a run, by what people call it; only what is known."""
    facts = {"model-eval": report.model_eval}
    # What is no shard's is of the run that joins them.
    own = digest_of_own_files() if report.shard is None else report.shard.program
    facts["digest of model-eval's own files"] = own
    if report.spec is not None:
        facts["digest of the spec"] = report.spec.sha256
    if report.checkpoint is not None:
        facts["digest of the weights"] = report.checkpoint.digest
    sets = [(one.name, one.heldout) for one in report.more_heldout]
    if report.heldout is not None:
        sets.append((MAIN_HELDOUT, report.heldout))
    facts |= {set_fact(name): heldout.sha256 for name, heldout in sets if heldout.sha256}
    if (run := report.run) is not None:
        facts["precision"] = run.precision
        facts["memory format"] = run.memory_format
        facts["seed"] = str(run.seed)
        facts["decision threshold"] = str(run.decision_threshold)
        facts["compilation"] = str(run.compiled)
    if (environment := report.environment) is not None:
        facts["torch"] = environment.torch
        facts["kind of device"] = environment.device.used.partition(":")[0]
    return facts


def mark(report: Report, shard: ShardInfo, part: PartInfo) -> dict[str, str | int]:
    """What a ledger of a part says of itself."""
    facts = facts_of(report)
    return {
        "shard": shard.index,
        "of": shard.of,
        "heldout": part.heldout,
        "start": part.start,
        "stop": part.stop,
        "samples": part.of,
        "batch_size": shard.grid,
        "spec": facts.get("digest of the spec", ""),
        "weights": facts.get("digest of the weights", ""),
        "precision": facts.get("precision", ""),
        "device": facts.get("kind of device", ""),
        "torch": facts.get("torch", ""),
        "model_eval": report.model_eval,
        "program": facts["digest of model-eval's own files"],
    }


def machine(environment: Environment) -> str:
    """What the last digits may hang on, and every cost."""
    return printable(
        f"{environment.device.name} (Python {environment.python}, {environment.platform})", 200
    )


def differ(who: str, than: str, what: str, value: object, other: object) -> PartsError:
    """That two parts of a run, or a part and this run, are not of the same."""
    return PartsError(
        f"{who} has another {what} than {than}: {printable(str(value))} and {printable(str(other))}"
    )
