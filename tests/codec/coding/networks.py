"""Networks that answer like a frozen one, made of plain functions in float64, and small models of every family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MixtureSameFamily, Normal

from lucid.codec.layout import DataLayout, Described, LatentLayout, Layout
from lucid.distributions import FullCovarianceGaussian

Values = Mapping[str, Tensor]
Functions = Mapping[str, Callable[[Values], Tensor]]


class FunctionRun:
    """An evaluation of functions, one example at a time: a batch cannot change the bits of an answer."""

    def __init__(self, functions: Functions, n: int) -> None:
        self._functions = functions
        self.n = n
        self.values: dict[str, Tensor] = {}

    def feed(self, name: str, values: Tensor) -> None:
        assert values.dtype == torch.float64
        assert len(values) == self.n
        assert name not in self.values
        self.values[name] = values

    def read(self, name: str) -> Tensor:
        each = [{key: value[i] for key, value in self.values.items()} for i in range(self.n)]
        return torch.stack([self._functions[name](values) for values in each])


@dataclass
class FunctionNetwork:
    """Outputs by name, each a function of what has been fed.

    Attributes:
        functions: Of one example.
        runs: Every evaluation so far.
    """

    functions: Functions
    runs: list[FunctionRun] = field(default_factory=list[FunctionRun])

    def start(self, n: int) -> FunctionRun:
        self.runs.append(FunctionRun(self.functions, n))
        return self.runs[-1]


@dataclass(frozen=True)
class Model:
    """A model of binary vectors.

    Attributes:
        network: Its parameters.
        layout: Without grids.
    """

    network: FunctionNetwork
    layout: Layout

    def data(self, n: int, seed: int = 0) -> Tensor:
        """Draws of the model, (n, 30) of 0 and 1."""
        generator = torch.Generator().manual_seed(seed)
        run = self.network.start(n)
        by_level = {latent.level: latent for latent in self.layout.latents}
        for level in self.layout.generation:
            prior = distribution_of(run, by_level[level].prior, n, by_level[level].shape)
            with torch.random.fork_rng():
                torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
                run.feed(f"z{level}", prior.sample().double())
        return torch.bernoulli(run.read("x.logits").sigmoid(), generator=generator).long()

    def elbo(self, x: Tensor, draws: int, seed: int = 0) -> Tensor:
        """`bound` of z drawn from the posterior, (draws, n)."""
        by_level = {latent.level: latent for latent in self.layout.latents}
        every: list[Tensor] = []
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for _ in range(draws):
                run = self.network.start(len(x))
                run.feed("x", x.double())
                for level in self.layout.inference:
                    q = distribution_of(run, by_level[level].posterior, len(x), by_level[level].shape)
                    run.feed(f"z{level}", q.sample())
                every.append(self.bound(run))
        return torch.stack(every)

    def bound(self, run: FunctionRun) -> Tensor:
        """log p(x, z) − log q(z|x) in nats, of the x and z that an evaluation was fed, (n,)."""
        total = Bernoulli(logits=run.read("x.logits")).log_prob(run.values["x"]).sum(1)
        for latent in self.layout.latents:
            z = run.values[f"z{latent.level}"]
            total += distribution_of(run, latent.prior, run.n, latent.shape).log_prob(z)
            total -= distribution_of(run, latent.posterior, run.n, latent.shape).log_prob(z)
        return total


def distribution_of(run: FunctionRun, described: Described, n: int, shape: tuple[int, ...]) -> Distribution:
    """PyTorch's distribution of what is described."""
    if described.kind == "standard":
        return Independent(Normal(torch.zeros(n, *shape, dtype=torch.float64), 1.0), len(shape))
    if described.kind == "mixture":
        weights, loc, logvar = (described.constants[name] for name in ("log_weights", "loc", "logvar"))
        components = Independent(Normal(loc, (0.5 * logvar).exp()), len(shape))
        return MixtureSameFamily(Categorical(logits=weights), components).expand((n,))
    read = {name: run.read(output) for name, output in described.params.items()}
    if described.kind == "full_gaussian":
        return FullCovarianceGaussian(read["loc"], read["logvar"], read["lower"])
    return Independent(Normal(read["loc"], (0.5 * read["logvar"]).exp()), len(shape))


def gaussian(name: str) -> Described:
    """A Gaussian whose parameters the network emits."""
    return Described("gaussian", {"loc": f"{name}.loc", "logvar": f"{name}.logvar"})


STANDARD = Described("standard")
SIZE = 30
_BERNOULLI = Described("bernoulli", {"logits": "x.logits"}, settings={"levels": 2})


def _weights(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale / shape[-1] ** 0.5


def _read(of: str, weight: Tensor, bias: float = 0.0) -> Callable[[Values], Tensor]:
    """A linear function of one input; of x, around its middle."""
    return lambda values: weight @ (values[of].flatten() - (0.5 if of == "x" else 0.0)) + bias


def _layout(latents: tuple[LatentLayout, ...], inference: tuple[int, ...], generation: tuple[int, ...]) -> Layout:
    return Layout(latents, inference, generation, _BERNOULLI, DataLayout((SIZE,), 2))


def one_level(posterior: str = "gaussian", prior: Described = STANDARD, latents: int = 6) -> Model:
    """x - z0."""
    d, known = latents, prior.kind == "standard"
    functions = {
        "q0.loc": _read("x", _weights(0, d, SIZE, scale=2.0)),
        "q0.logvar": _read("x", _weights(1, d, SIZE), bias=-2.0),
        "q0.lower": lambda values: (_weights(2, d * d, SIZE) @ (values["x"] - 0.5)).reshape(d, d),
        "x.logits": _read("z0", _weights(3, SIZE, d, scale=3.0)),
    }
    params = {"loc": "q0.loc", "logvar": "q0.logvar"} | ({"lower": "q0.lower"} if posterior != "gaussian" else {})
    latent = LatentLayout(0, (d,), Described(posterior, params), prior, known)
    return Model(FunctionNetwork(functions), _layout((latent,), (0,), (0,)))


def mixture(latents: int = 6) -> Model:
    """x - z0 under a mixture of Gaussians."""
    constants = {
        "log_weights": torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log(),
        "loc": _weights(7, 3, latents, scale=2.0),
        "logvar": _weights(8, 3, latents) + 0.5,
    }
    return one_level(prior=Described("mixture", {}, constants), latents=latents)


def chain() -> Model:
    """x - z0 - z1, inferred bottom-up; the prior of z0 follows z1, which is drawn after it."""
    functions = {
        "q0.loc": _read("x", _weights(0, 5, SIZE, scale=2.0)),
        "q0.logvar": _read("x", _weights(1, 5, SIZE), bias=-1.5),
        "q1.loc": _read("z0", _weights(2, 4, 5)),
        "q1.logvar": _read("z0", _weights(3, 4, 5, scale=0.5), bias=-1.0),
        "p0.loc": _read("z1", _weights(4, 5, 4)),
        "p0.logvar": _read("z1", _weights(5, 5, 4, scale=0.3)),
        "x.logits": _read("z1", _weights(6, SIZE, 4, scale=3.0)),
    }
    latents = (
        LatentLayout(0, (5,), gaussian("q0"), gaussian("p0"), False),
        LatentLayout(1, (4,), gaussian("q1"), STANDARD, True),
    )
    return Model(FunctionNetwork(functions), _layout(latents, (0, 1), (1, 0)))


def top_down(levels: int = 3) -> Model:
    """z2 - z1 - z0 - x, inferred from the deepest on; level 1 has places and has collapsed."""
    latents: list[LatentLayout] = []
    functions: dict[str, Callable[[Values], Tensor]] = {}

    def above(level: int, seed: int, shape: tuple[int, ...], bias: float) -> Callable[[Values], Tensor]:
        weight = _weights(seed, 4, 4, scale=0.5)
        return lambda values: (weight @ values[f"z{level + 1}"].flatten() + bias).reshape(shape)

    def given(prior: Callable[[Values], Tensor], seed: int, scale: float) -> Callable[[Values], Tensor]:
        weight = _weights(seed, 4, SIZE, scale=scale)
        return lambda values: prior(values) + (weight @ (values["x"] - 0.5)).reshape(prior(values).shape)

    for level in reversed(range(levels)):
        shape, deepest = ((2, 2) if level == 1 else (4,)), level == levels - 1
        loc = _zeros if deepest else above(level, 10 * level, shape, 0.0)
        logvar = _zeros if deepest else above(level, 10 * level + 1, shape, -0.5)
        scale = 0.0 if level == 1 else 2.0
        functions |= {f"p{level}.loc": loc, f"p{level}.logvar": logvar}
        functions |= {
            f"q{level}.loc": given(loc, 10 * level + 2, scale),
            f"q{level}.logvar": given(lambda v, f=logvar, s=scale: f(v) - s, 10 * level + 3, 0.5 * scale),
        }
        prior = STANDARD if deepest else gaussian(f"p{level}")
        latents.insert(0, LatentLayout(level, shape, gaussian(f"q{level}"), prior, True))
    functions["x.logits"] = lambda values: sum(
        (_weights(90 + level, SIZE, 4, scale=2.0) @ values[f"z{level}"].flatten() for level in range(levels)),
        torch.zeros(SIZE, dtype=torch.float64),
    )
    order = tuple(reversed(range(levels)))
    return Model(FunctionNetwork(functions), _layout(tuple(latents), order, order))


def weak(latents: int = 400) -> Model:
    """x - z0, of whose many latents six say something of x, and the others next to nothing, but not nothing."""
    strong = 6
    size = (torch.arange(latents) < strong).double() * 2.0 + 0.08
    encoder, decoder = _weights(0, latents, SIZE), _weights(3, SIZE, latents, scale=3.0 * (latents / strong) ** 0.5)
    functions = {
        "q0.loc": lambda values: size * (encoder @ (values["x"] - 0.5)),
        "q0.logvar": lambda _: -size,
        "x.logits": lambda values: decoder @ ((torch.arange(latents) < strong) * values["z0"]),
    }
    latent = LatentLayout(0, (latents,), gaussian("q0"), STANDARD, True)
    return Model(FunctionNetwork(functions), _layout((latent,), (0,), (0,)))


def _zeros(_: Values) -> Tensor:
    return torch.zeros(4, dtype=torch.float64)


MODELS: Mapping[str, Callable[[], Model]] = {
    "one level": one_level,
    "full covariance": lambda: one_level(posterior="full_gaussian"),
    "mixture prior": mixture,
    "chain with learned prior": chain,
    "top-down": top_down,
}
