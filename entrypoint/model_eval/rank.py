"""Which of the processes of `torchrun` this one is, by the variables that it sets."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_SET = frozenset(_NEEDED) | {"LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"}
_SET_PREFIXES = ("ROLE_", "TORCHELASTIC_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rank:
    """One of several processes that share out the samples.

    Attributes:
        index: counting from 0; the first one judges.
        of: how many there are, on all hosts.
        local: which one on this host, counting from 0; it takes the device of this number.
        kept: whether what the processes tell one another outlives each of them.
        at: where they meet.
        attempt: how often torchrun has started them again: what was said before is not for these.
    """

    index: int
    of: int
    local: int
    kept: bool
    at: str = ""
    attempt: str = "0"

    @property
    def first(self) -> bool:
        """Whether this is the one that judges."""
        return self.index == 0


def rank_of(environ: Mapping[str, str]) -> Rank | None:
    """The rank that the environment says; None of a process that is alone.

    Raises:
        ValueError: the variables contradict one another.
    """
    found = [environ.get(name, "") for name in _NEEDED]
    if not all(found) or not all(text.isdecimal() for text in (found[0], found[1])):
        return None
    index, of = int(found[0]), int(found[1])
    if of == 1:
        return None
    if not 0 <= index < of:
        raise ValueError(f"RANK is {index} and WORLD_SIZE is {of}")
    if _number(environ, "GROUP_WORLD_SIZE") > 1 and _number(environ, "TORCHELASTIC_MAX_RESTARTS"):
        # Each host counts its own restarts, so that processes would hear what others said before.
        raise ValueError(
            f"the processes are on {environ['GROUP_WORLD_SIZE']} hosts and are to be restarted "
            f"{environ['TORCHELASTIC_MAX_RESTARTS']} times, and those of one host alone can be"
        )
    return Rank(
        index=index,
        of=of,
        local=_number(environ, "LOCAL_RANK"),
        kept=environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        at=f"{environ['MASTER_ADDR']}:{environ['MASTER_PORT']}",
        attempt=environ.get("TORCHELASTIC_RESTART_COUNT", "0"),
    )


def forget_rank(environ: MutableMapping[str, str]) -> None:
    """Removes the variables that say which of several processes this is.

    Datasets share themselves out by them: samples that were shared out already would be shared out
    again, and most of them would be judged by nobody.
    """
    for name in list(environ):
        if name in _SET or name.startswith(_SET_PREFIXES):
            del environ[name]


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else 0
