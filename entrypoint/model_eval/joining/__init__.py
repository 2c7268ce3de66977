"""Shards → the ledgers of the whole run, or a refusal that says what does not fit together.

A shard is a folder with a report, which has no verdict, and a ledger of each set of which it has
samples. All that must be the same in every part of a run is compared: first among the reports, then
between each report and its ledgers, and then with what the run that joins them finds itself.
"""

from model_eval.joining.facts import require_same, require_same_code
from model_eval.joining.leave import completion_of_part, marked, part_report, sealed
from model_eval.joining.prove import require_digest, require_labels, require_samples
from model_eval.joining.whole import Joined, join

__all__ = [
    "Joined",
    "completion_of_part",
    "join",
    "marked",
    "part_report",
    "require_digest",
    "require_labels",
    "require_same",
    "require_same_code",
    "require_samples",
    "sealed",
]
