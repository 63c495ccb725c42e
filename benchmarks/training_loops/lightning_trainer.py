"""Lightning: a `LightningModule` and the `Trainer` as it comes.

Nothing is switched off: it draws its progress bar, logs to TensorBoard where that is installed (to CSV where not), and
saves a checkpoint after each epoch. Loss, fused Adam and DataLoader are those of `dataloader`, so that what differs
is the Trainer.
"""

from __future__ import annotations

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from training_loops.by_hand import objective
from training_loops.turns import Setting, Turns
from training_loops.workloads import LEARNING_RATE, Workload


class Autoencoder(lightning.LightningModule):
    """A VAE as a user of Lightning writes it."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.parts = workload.parts()
        self.networks = self.parts.all()
        self.negative_elbo = objective(self.parts)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self.negative_elbo(self.parts, batch[0].float())
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE, fused=True)


class AfterEachStep(lightning.Callback):
    """Calls `done`."""

    def __init__(self, done: Turns) -> None:
        self.done = done

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.done(outputs["loss"])


def train(workload: Workload, data: Tensor, done: Turns, setting: Setting) -> None:
    """`Trainer.fit`."""
    trainer = lightning.Trainer(
        max_epochs=-1, accelerator=setting.device, callbacks=[AfterEachStep(done)], default_root_dir=setting.folder
    )
    loader = DataLoader(TensorDataset(data), batch_size=workload.batch, shuffle=True)
    trainer.fit(Autoencoder(workload), loader)
