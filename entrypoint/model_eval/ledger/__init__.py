"""The ledger: one row for each held-out sample; everything after is a function of it.

| column          | dtype                | binary | multiclass | regression | multilabel |
|-----------------|----------------------|--------|------------|------------|------------|
| `id`            | int64 or str         | yes    | yes        | yes        | yes        |
| `finite`        | bool                 | yes    | yes        | yes        | yes        |
| `target`        | int64/float64/bool   | [N]    | [N]        | [N, K]     | [N, L]     |
| `prediction`    | int64/float64/bool   | [N]    | [N]        | [N, K]     | [N, L]     |
| `probability`   | float64 / float32    | [N]    | [N, C]     |            | [N, L]     |
| `score`         | float64 / float32    | [N]    | [N, C]     |            | [N, L]     |
| `log_loss`      | float64              | [N]    | [N]        |            | [N]        |
| `cluster`       | int64/float64/str    | if the spec names it ||||
| `weight`        | float64              | if the spec names it ||||
| `slice:<name>`  | int64/float64/str    | if the spec names it ||||

Segmentation and language modelling keep what their pixels and tokens add up to, in addition to
`id`, `finite`, `cluster` and slices:

| column          | dtype            | segmentation: pixels of each class, of an image         |
|-----------------|------------------|---------------------------------------------------------|
| `hits`          | int64 [N, C]     | of the class and predicted as it                        |
| `predicted`     | int64 [N, C]     | predicted as it                                         |
| `support`       | int64 [N, C]     | of the class                                            |

| column          | dtype            | language_modeling: of a document                        |
|-----------------|------------------|---------------------------------------------------------|
| `nll`           | float64 [N]      | sum over tokens of -ln(probability of the target)       |
| `tokens`        | int64 [N]        | how many are counted                                    |
| `hits`          | int64 [N]        | how many of them were predicted                         |
| `bytes`         | int64 [N]        | its length, if the spec names it                        |

`score` is what rankings order by, where the model gives logits: the log-odds of the positive
class or of each label, or the log-probability of each class. Probabilities near 1 run together
long before these do. Without the column rankings order by `probability`.

`finite` is False for a row whose model output held NaN or an infinity that makes its
prediction meaningless; its other numbers must not be used, and metrics refuse to.
"""

from model_eval.ledger.columns import Array, Columns, Deferred
from model_eval.ledger.parquet import open_ledger, save
from model_eval.ledger.record import Ledger, concatenate

__all__ = ["Array", "Columns", "Deferred", "Ledger", "concatenate", "open_ledger", "save"]
