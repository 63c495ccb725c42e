"""Short trainings that find out why a level has collapsed: each changes one thing about a run, from its own start."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lucid import io
from lucid.distributions import OptimalScaleGaussian, draw
from lucid.evaluation import Carried, Use, examples_of, measure_carried, measure_use
from lucid.models import LatentModel, create, drive
from lucid.models.condition import told
from lucid.objectives import ELBO, Constant, Objective
from lucid.training.fit import fit
from lucid.training.introduce import Rescheduled, final_beta, introduction, squeezed
from lucid.training.isolated import Isolated
from lucid.training.kl_curve import KLCurve
from lucid.training.settings import Settings

if TYPE_CHECKING:
    from lucid.data import Dataset, Split

__all__ = ["Trial", "Trials", "fresh_copy"]

_BATCH = 256
_FREE_EXAMPLES = 128
_FREE_RATE = 0.05
_MOST_LATENTS = 32
_SURE = 3.0
"""Standard errors above 0 from which on a little counts as something that may grow."""


@dataclass(frozen=True)
class Trial:
    """A short training, and what came of it.

    Attributes:
        name: Which.
        steps: Training steps.
        use: The bound and the levels, on the examples that the run itself was measured on; None where only `carried`
            was asked for.
        carried: What the latents told the decoder; None where `use` was asked for.
        halfway: The same after half of the steps, where so little came through at first that it was trained on.
        falling: Levels whose KL was falling at the end, so fast that it would be gone in as many steps again.
    """

    name: str
    steps: int
    use: Use | None = None
    carried: Carried | None = None
    halfway: Carried | None = None
    falling: tuple[int, ...] = ()

    @property
    def carries(self) -> bool:
        """Whether anything comes through, or surely more and more does: a slow learner is not a broken one."""
        assert self.carried is not None, "what is carried was not asked for"
        before = 0.0 if self.halfway is None else self.halfway.nats
        growing = self.halfway is not None and self.carried.nats > max(2 * before, _SURE * self.carried.error)
        return self.carried.anything or growing

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        said: dict[str, Any] = {"name": self.name, "steps": self.steps}
        if self.use is not None:
            said |= {**self.use.to_json(), "falling": list(self.falling)}
        return said if self.carried is None else {**said, "carried": self.carried.to_json()}


class Trials:
    """Trains fresh models on a run's data, with its settings, and measures them on the same examples.

    Everything is a function of the seed: the first weights are those that `make` gives, the batches those of the run's
    seed. The run itself is not touched.

    Args:
        model: The run's, which is only looked at.
        make: A new model with the run's architecture and first weights of its own; the same at each call.
        data: The run's data.
        objective: What the run minimised.
        settings: How the run was trained.
        total_steps: Training steps of the run.
        steps: Training steps of each trial.
        examples: At most this many examples of the validation part (without one, of the training part) are measured.
        seed: Of the draws of the measurements.
        tell: Told in a few words what is tried.

    Raises:
        ValueError: If `steps` is too few to find anything out, or there are too few examples.
    """

    def __init__(
        self,
        model: LatentModel,
        make: Callable[[], LatentModel],
        data: Dataset,
        objective: Objective,
        settings: Settings,
        *,
        total_steps: int,
        steps: int = 1000,
        examples: int = 1000,
        seed: int = 0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"steps must be an int; received {steps!r}")
        if steps < 20:
            raise ValueError(f"steps must be at least 20, for a trial to find anything out; received {steps}")
        self.model, self.make, self.data, self.objective = model, make, data, objective
        self.steps, self.total_steps, self.seed, self.tell = steps, total_steps, seed, tell
        self.limit = examples
        self.beta = final_beta(objective, total_steps)
        self.settings = replace(
            settings,
            epochs=None,
            steps=steps,
            warmup=min(settings.warmup, steps // 10),
            validate_every=max(1, steps // 5),
            log_every=steps,
            early_stopping=None,
            ema=None,
            compile=False,
            strategy="data-parallel",
        )

    # Measuring

    @property
    def part(self) -> Split:
        """The part that everything is measured on: validation, or training where nothing was held out."""
        return self.data.validation if self.data.validation.size != 0 else self.data.train

    def measure(self, model: LatentModel) -> Use:
        """What each level of a model costs and saves."""
        return measure_use(model, self.examples(model), seed=self.seed)

    def examples(self, model: LatentModel) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The examples that everything is measured on."""
        left = self.limit
        for x, condition in examples_of(model, self.part, _BATCH, _device_of(model)):
            rows = min(left, len(x))
            if rows >= 2:
                yield x[:rows].to(_dtype_of(model)), None if condition is None else condition[:rows]
            left -= rows
            if left < 2:
                return

    # The trials

    def carry(self, levels: Collection[int], order: tuple[int, ...]) -> Trial:
        """At β = 0, and with nothing but these levels to tell it of x: can the decoder find out anything?

        In a chain that goes up from the data every level speaks through the deepest, so that all take part.

        Args:
            levels: Which.
            order: The levels in the order of inference.
        """
        chain = list(order) == sorted(order)
        live = range(len(order)) if chain else sorted(levels)
        name = "at β = 0" if len(live) == len(order) else f"at β = 0, level {', '.join(map(str, live))} alone"
        self.tell(f"{name}: can anything get through?")
        model = Isolated(self.make(), live, order)
        self._fit(model, ELBO(0.0))
        carried = measure_carried(model, self.examples(model), seed=self.seed)
        if carried.anything or carried.nats <= _SURE * carried.error:
            return Trial(name, self.steps, carried=carried)
        self.tell(f"{name}: a little does, on to twice as many steps")
        self._fit(model, ELBO(0.0))
        later = measure_carried(model, self.examples(model), seed=self.seed)
        return Trial(f"{name}, twice as long", 2 * self.steps, carried=later, halfway=carried)

    def free_latents(self, levels: Collection[int]) -> Trial:
        """Latents as free parameters, one set an example, no encoder: can the decoder use any?"""
        self.tell("latents without an encoder: can the decoder use any?")
        model = self.make()
        x, condition = next(examples_of(model, self.data.train, _FREE_EXAMPLES, _device_of(model)))
        latents = _FreeLatents(model, x.to(_dtype_of(model)), condition, levels, self.seed)
        latents.learn(self.steps, self.settings.learning_rate)
        return Trial("latents without an encoder", self.steps, carried=latents.carried())

    def introduced(self) -> Trial:
        """The run's objective, once the latents are in use.

        They are let in by a warm-up of β or, where β may not be what the objective schedules, by training at β = 0.
        """
        self.tell("the run's objective, the latents let in first")
        return self._introduced("the run's objective, the latents let in first", self.make())

    def cold(self) -> Trial:
        """The run as it was, in as many steps as the other trials."""
        self.tell("the run again")
        objective = squeezed(self._objective(), self.total_steps, self.steps)
        model = self.make()
        return self._trial("the run again", model, self._fit(model, objective))

    def plain(self) -> Trial:
        """The bound itself, β = 1 on every level, after a warm-up."""
        self.tell("β = 1, after a warm-up")
        return self._plain("β = 1 after a warm-up", self.make())

    def rescaled(self, *, plain: bool) -> Trial:
        """A Gaussian likelihood at the scale the data asks for.

        Args:
            plain: Whether with the bound itself, after a warm-up; else with the run's objective.
        """
        self.tell("the likelihood's scale learned")
        model = self.make()
        model.likelihood = OptimalScaleGaussian()
        train = self._plain if plain else self._introduced
        return train("the likelihood's scale learned", model)

    @property
    def can_refer(self) -> bool:
        """Whether the preset "mlp" could stand in: it takes no condition."""
        return self.model.condition is None

    def reference(self, latents: int) -> Trial:
        """The preset "mlp" on the same data, with the same likelihood: what another decoder reaches."""
        self.tell("another encoder and decoder")
        model = create(
            "mlp", self.data, size=1, latents=min(latents, _MOST_LATENTS), likelihood=_renewed(self.model.likelihood)
        )
        return self._plain("the preset mlp", model)

    def _objective(self) -> Objective:
        """The run's objective, its state apart from that of any other trial."""
        return copy.deepcopy(self.objective)

    def _plain(self, name: str, model: LatentModel) -> Trial:
        return self._trial(name, model, self._fit(model, ELBO(introduction(self.steps))))

    def _introduced(self, name: str, model: LatentModel) -> Trial:
        objective = self._objective()
        if isinstance(objective, ELBO):
            curve = self._fit(model, Rescheduled(objective, introduction(self.steps, self.beta)))
        else:
            before = self.steps // 3
            self._fit(model, ELBO(0.0), before)
            curve = self._fit(model, Rescheduled(objective, Constant(self.beta)), self.steps - before)
        return self._trial(name, model, curve)

    def _trial(self, name: str, model: LatentModel, curve: KLCurve) -> Trial:
        use = self.measure(model)
        falling = tuple(level for level in curve.falling if use.levels[level].is_divergence)
        return Trial(name, self.steps, use=use, falling=falling)

    def _fit(self, model: LatentModel, objective: Objective, steps: int | None = None) -> KLCurve:
        curve = KLCurve(steps or self.steps)
        settings = replace(self.settings, steps=curve.steps, log_every=curve.every)
        result = fit(model, self.data, settings=settings, objective=objective, progress=curve)
        if result.interrupted:
            raise KeyboardInterrupt
        return curve


def fresh_copy(model: LatentModel, seed: int = 0) -> LatentModel:
    """The same architecture with new weights.

    It is built from the model's description, as `lucid.load` does; where that is not possible (modules of one's own
    that are not registered), a copy of the model whose layers draw their weights anew.

    Args:
        model: The model, which is left alone.
        seed: Of the new weights.

    Raises:
        ValueError: If the model has weights that only its own code could draw anew.

    Example:
        >>> import lucid.nn as nn
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> other = fresh_copy(model, seed=1)
        >>> bool((other.encoders[0].weight == model.encoders[0].weight).any())
        False
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # noqa: TID251  inside the fork alone
        try:
            fresh = io.build(io.describe(model))
        except ValueError:
            fresh = _redrawn(model)
    fresh.protocol = model.protocol
    fresh.likelihood = _renewed(fresh.likelihood)
    return fresh.to(_device_of(model))


def _redrawn(model: LatentModel) -> LatentModel:
    fresh = copy.deepcopy(model)
    for name, module in fresh.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None and not _is_rebuilt(module):
            raise ValueError(
                f"{name or type(module).__name__} has weights that cannot be drawn anew: pass make=, a function that "
                "returns a new model, or register the module (lucid.io.register)"
            )
    return fresh


def _is_rebuilt(module: nn.Module) -> bool:
    """Likelihoods are built anew from their arguments."""
    from lucid.distributions import Likelihood

    return isinstance(module, Likelihood)


def _renewed(likelihood: Any) -> Any:
    """A likelihood as it was before it met data; one that cannot be described stays as it is."""
    try:
        return io.build(io.describe(likelihood))
    except ValueError:
        return copy.deepcopy(likelihood)


def _device_of(model: LatentModel) -> torch.device:
    tensor = next(model.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device


def _dtype_of(model: LatentModel) -> torch.dtype:
    """What the networks read: float64 where they are in float64."""
    tensor = next(model.parameters(), None)
    return torch.float32 if tensor is None else tensor.dtype


class _FreeLatents:
    """Latents of some examples as parameters, learned together with the decoder."""

    def __init__(
        self, model: LatentModel, x: Tensor, condition: Tensor | None, levels: Collection[int], seed: int
    ) -> None:
        self.model, self.x, self.condition, self.levels = model, x, condition, levels
        self.codes: dict[int, nn.Parameter] = {}
        self.seed = seed
        with torch.no_grad():  # the latents' shapes become known
            generator = torch.Generator(x.device).manual_seed(seed)
            drive(model.walk(x, **told(condition)), lambda q: draw(q, generator=generator))
            self._loss(generator)

    def learn(self, steps: int, learning_rate: float) -> None:
        groups = [
            {"params": list(self.model.parameters()), "lr": learning_rate},
            {"params": list(self.codes.values()), "lr": _FREE_RATE},
        ]
        optimizer = torch.optim.Adam(groups)
        generator = torch.Generator(self.x.device).manual_seed(self.seed)
        self.model.train()
        for _ in range(steps):
            optimizer.zero_grad()
            self._loss(generator).mean().backward()
            optimizer.step()
        self.model.eval()

    @torch.no_grad()
    def carried(self) -> Carried:
        own, foreign = (
            self._loss(torch.Generator(self.x.device).manual_seed(self.seed), shift=shift) for shift in (0, 1)
        )
        difference = foreign - own
        error = float(difference.std() / len(difference) ** 0.5)
        return Carried(float(own.mean()), float(foreign.mean()), error)

    def _loss(self, generator: torch.Generator, *, shift: int = 0) -> Tensor:
        """−log p(x|z), (N,), with the free latents, those of other examples where there is a shift."""
        remaining = iter(reversed(range(self.model.depth)))  # a walk without data meets the deepest latent first

        def choose(prior: Distribution) -> Tensor:
            level = next(remaining)
            z = draw(prior, generator=generator)
            if level not in self.levels:
                return z
            if level not in self.codes:
                self.codes[level] = nn.Parameter(z.detach().clone())
            return self.codes[level].roll(shift, 0)

        record = drive(self.model.walk(num_examples=len(self.x), **told(self.condition)), choose)
        return -record.likelihood.log_prob(self.x)
