"""Lightning: `Trainer.test` with torchmetrics, and with all that only shows something left out."""

import logging
import warnings

import lightning
import torch
from torch import Tensor

from benchmarks.speed.contest import Values
from benchmarks.speed.data import Task
from benchmarks.speed.peers.by_hand import Batches
from benchmarks.speed.peers.torchmetrics import collection

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Tested(lightning.LightningModule):
    """A model with its metrics, logged as its documentation has it."""

    def __init__(self, model: torch.nn.Module, task: Task, *, auroc: bool, classes: int) -> None:
        super().__init__()
        self.model = model
        self.metrics = collection(task, auroc=auroc, classes=classes)

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Updates the metrics; they are computed at the end of the epoch."""
        x, target = batch
        self.metrics.update(self.model(x), target)
        self.log_dict(self.metrics, on_step=False, on_epoch=True)


def evaluate(
    model: torch.nn.Module, batches: Batches, task: Task, *, auroc: bool = False, classes: int = 10
) -> Values:
    """On the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        tested = Tested(model, task, auroc=auroc, classes=classes)
        (found,) = trainer.test(tested, dataloaders=batches, verbose=False)
    return found
