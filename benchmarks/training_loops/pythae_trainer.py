"""pythae: its `VAE` around the same networks, trained by its `BaseTrainer` as it comes.

It has "bce" on probabilities, its default optimizer is Adam for each parameter in turn, and it has no hierarchical
model of networks that the user brings.
"""

from __future__ import annotations

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from training_loops.turns import LeftOut, Setting, Turns
from training_loops.workloads import LEARNING_RATE, Workload


class Encoder(BaseEncoder):
    """Mean and log-variance."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        mu, logvar = self.network(x).chunk(2, 1)
        return ModelOutput(embedding=mu, log_covariance=logvar)


class Decoder(BaseDecoder):
    """Probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z).sigmoid())


class AfterEachStep(TrainingCallback):
    """Calls `done`."""

    def __init__(self, done: Turns, model: VAE) -> None:
        self.done = done
        self.output = output = {}
        # A function and not a method: pythae copies the model, hooks and what they hold included.
        model.register_forward_hook(lambda _model, _inputs, outputs: output.update(outputs))

    def on_train_step_end(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        self.done(self.output["loss"])


def train(workload: Workload, data: Tensor, done: Turns, setting: Setting) -> None:
    """`BaseTrainer.train`."""
    parts = workload.parts()
    if parts.priors:
        raise LeftOut("it has no hierarchical model of networks of one's own")
    latents = parts.encoders[0](data[:1].float()).shape[1] // 2
    config = VAEConfig(input_dim=workload.shape, latent_dim=latents, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(parts.encoders[0]), decoder=Decoder(parts.decoders[0]))
    settings = BaseTrainerConfig(
        output_dir=str(setting.folder),
        num_epochs=10**9,
        per_device_train_batch_size=workload.batch,
        learning_rate=LEARNING_RATE,
        no_cuda=setting.device == "cpu",
    )
    examples = BaseDataset(data, torch.zeros(len(data)))
    BaseTrainer(model, examples, training_config=settings, callbacks=[AfterEachStep(done, model)]).train()
