"""A diagnosis in plain language: every sentence that `lucid diagnose` says is made here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from lucid.report.markup import minus

if TYPE_CHECKING:
    from lucid.evaluation import LevelUse
    from lucid.report.diagnosis import Diagnosis, Gain, Since, Verdict
    from lucid.training import Trial

__all__ = ["explain", "rows"]

_MOST_LISTED = 8


def explain(found: Diagnosis) -> str:
    """The diagnosis, a paragraph a thought, separated by blank lines."""
    parts = [_headline(found), *_levels(found)]
    if not found.healthy:
        parts += [_verdict(found, verdict) for verdict in found.verdicts] if found.tried else [_untried()]
    if found.trials:
        parts.append(_tried(found))
    if not found.use.levels[-1].collapsed:
        parts.append(found.gap.explain())
    return "\n\n".join(part for part in parts if part)


def rows(found: Diagnosis) -> list[tuple[str, str, str, str, str]]:
    """A line for each level: number, KL, what it saves, active units, state."""
    return [
        (
            str(level),
            _nats(use.kl),
            f"{_nats(use.saved)} ± {use.saved_error:.2f}",
            f"{use.active_units} of {use.latent_units}",
            "in use" if since is None else f"collapsed {_since_in_short(since)}".strip(),
        )
        for level, (use, since) in enumerate(zip(found.use.levels, found.since, strict=True))
    ]


# What is the matter


def _headline(found: Diagnosis) -> str:
    depth, gone = len(found.use.levels), found.use.collapsed
    where = (
        f"ELBO {_nats(found.use.elbo)} ± {found.use.elbo_error:.2f} nats on {found.use.num_examples:,} {found.part} "
        "examples"
    )
    if found.healthy:
        every = "its latents are" if depth == 1 else f"all {depth} levels are"
        return f"{found.run} is healthy: {every} in use. {where}."
    if depth == 1:
        return f"{found.run} has collapsed: its latents tell next to nothing of x. {where}."
    return f"In {found.run}, {len(gone)} of {depth} levels have collapsed: {_named(gone)}. {where}."


def _levels(found: Diagnosis) -> list[str]:
    if len(found.use.levels) <= _MOST_LISTED:
        return [
            " ".join(
                _level(found, level, use, since)
                for level, (use, since) in enumerate(zip(found.use.levels, found.since, strict=True))
            )
        ]
    said: list[str] = []
    for collapsed, group in groupby(enumerate(found.use.levels), key=lambda entry: entry[1].collapsed):
        members = list(group)
        kl = sum(use.kl for _, use in members)
        state = "have collapsed" if collapsed else "are in use"
        said.append(f"{_named([level for level, _ in members]).capitalize()} {state}, {_nats(kl)} nats of KL together.")
    return [" ".join(said)]


def _level(found: Diagnosis, level: int, use: LevelUse, since: Since | None) -> str:
    name = f"Level {level}" if len(found.use.levels) > 1 else "The latent"
    units = f"{use.active_units} of its {use.latent_units} units move with x"
    worth = f"{_nats(use.saved)} ± {use.saved_error:.2f} nats would be lost without it"
    if since is None:
        return f"{name} costs {_nats(use.kl)} nats (its KL); {units}, and {worth}."
    return f"{name} has collapsed: its KL is {_nats(use.kl)} nats, {units}, and {worth}. {_since(found, since)}"


def _since(found: Diagnosis, since: Since) -> str:
    if since.step is None:
        return "Since when, metrics.jsonl does not show."
    if since.ever_alive:
        return f"It was in use at first, and has been like this since step {since.step:,}."
    until = "" if found.last_step is None else f" of {found.last_step:,}"
    return f"It has been like this since step {since.step:,}{until}, and no earlier line shows it in use."


def _since_in_short(since: Since) -> str:
    return "" if since.step is None else f"since step {since.step:,}"


# Why, what it costs, what to change


def _verdict(found: Diagnosis, verdict: Verdict) -> str:
    say = {
        "decoder": _decoder,
        "encoder": _encoder,
        "objective": _objective,
        "schedule": _schedule,
    }[verdict.cause]
    said = say(found, verdict)
    if verdict.sure or verdict.cause in ("decoder", "encoder"):
        return said
    why = (
        "a trial had it in use at its end, but less and less"
        if verdict.falling
        else "what the trials gained is within its error"
    )
    return f"Not sure, give more --steps (steps=): {why}. What they hint at: {said}"


def _decoder(found: Diagnosis, verdict: Verdict) -> str:
    why = (
        f"The decoder cannot use {_latents(found, verdict.levels)}. Trained at β = 0, where information costs nothing, "
        "nothing about x came through; nor did latents that were free parameters of each example, without any encoder."
    )
    change = (
        "Change the decoder: look for what stands between the latent and the output and forgets its input, such as a "
        "normalisation over a single feature, activations that are all off, a missing connection."
    )
    return " ".join([why, _gains(verdict), change, _preset(found, verdict)]).strip()


def _encoder(found: Diagnosis, verdict: Verdict) -> str:
    why = (
        f"The encoder tells {_latents(found, verdict.levels)} nothing. Trained at β = 0, where information costs "
        "nothing, nothing about x came through, although the decoder can use latents: with free parameters of each "
        "example in the encoder's place, something did."
    )
    change = "Change the encoder: look for what stands between x and its output and forgets its input."
    return " ".join([why, _gains(verdict), change, _preset(found, verdict)]).strip()


def _objective(found: Diagnosis, verdict: Verdict) -> str:
    what, it = _latents(found, verdict.levels), _it(verdict)
    given_up = (
        f"Encoder and decoder can carry {what} (see β = 0 below), but the run's objective gives {it} up again even "
        "where let in first."
    )
    if verdict.reason == "not worth it":
        return (
            f"The objective has no use for {what}. {given_up} No trial found a bound that keeps {it}, so the collapse "
            f"costs nothing that could be measured. Leave {it} out (fewer --latents, or a smaller --depth), or try "
            f"longer (--steps). If you want {it} to carry information whatever that costs the bound, train with free "
            "bits (--objective free-bits)."
        )
    why, back = {
        "weight": (
            f"The objective is why: {_CHARGE.get(verdict.replaced, _ANOTHER)[0]}.",
            f"Under the ELBO at β = 1 the same networks keep {it}.",
        ),
        "scale": (
            (
                "The objective is why: its Gaussian likelihood has a fixed standard deviation that is too large for "
                "this data, so that a better reconstruction is worth fewer nats than it costs."
            ),
            f"With a scale that is learned the same networks keep {it}.",
        ),
    }[verdict.reason]
    instead = "" if verdict.replaced is None else _CHARGE.get(verdict.replaced, _ANOTHER)[1]
    return f"{' '.join([why, given_up, back, _gains(verdict), _change(found, verdict)])}\n{instead}".strip()


_DRAWS = (
    "of several draws one good one is enough, so that the encoder need not tell them from the prior",
    "Or keep the objective, with fewer draws (num_samples).",
)
_CHARGE: dict[str | None, tuple[str, str]] = {
    None: ("it charges more for the latents than the bound itself, β = 1, does", ""),
    "GECO": (
        "the target of GECO is met without the latents, and beyond it nothing but a smaller KL counts",
        "Or keep GECO and lower its target: it is too loose.",
    ),
    "Capacity": (
        "it holds the KL at its capacity C, which is too little for the latents to be of use",
        "Or keep it and raise C (nats).",
    ),
    "FreeBits": (
        "free bits make a level pay its KL whether or not it says anything, and weigh what is above them by β",
        "Or keep free bits, at β = 1 and with other nats.",
    ),
    "BetaTC": (
        "β-TC charges more for what its units say together than the bound itself does",
        "Or keep it and lower β (beta).",
    ),
    "InfoVAE": (
        "its discrepancy holds the latents to the prior more than the bound itself does",
        "Or keep it, with a smaller strength or a larger alpha.",
    ),
    "KLBalancing": ("the levels that say little lose out to the others, as it divides β among them", ""),
    **dict.fromkeys(("IWAE", "DReG", "MIWAE", "CIWAE"), _DRAWS),
}
_ANOTHER = ("it is not the bound itself, and gives less for what the latents say", "")
"""Of an objective: why it gives latents up that the ELBO keeps, and how to keep the objective and the latents."""


def _schedule(found: Diagnosis, verdict: Verdict) -> str:
    what, it = _latents(found, verdict.levels), _it(verdict)
    why = {
        "cold start": (
            f"The schedule is why: the KL of {what} was charged before the decoder had found a use for {it}. The run's "
            f"own objective keeps {it} once let in first; started like the run, the collapse comes again."
        ),
        "too short": (
            f"The run was too short: in trials of more steps than it had, the same recipe brings {what} into use, with "
            "a warm-up or without."
        ),
        "not again": (
            f"The run's recipe does not do this each time: repeated from new weights, it keeps {what} in use, with a "
            f"warm-up or without. The run lost {it} later than the trials reach, or by chance."
        ),
    }[verdict.reason]
    return " ".join([why, _gains(verdict), _change(found, verdict)])


def _gains(verdict: Verdict) -> str:
    """What it costs, in nats."""
    told = [gain for gain in (verdict.gain, verdict.gain_over_run) if gain is not None]
    sure = [gain for gain in told if gain.sure]
    if not told:
        return "What it costs could not be measured."
    if not sure:
        return f"The bound gains nothing by it that could be measured: {'; '.join(map(_gain, told))}."
    return f"It costs {'; '.join(map(_gain, sure))}."


def _gain(gain: Gain) -> str:
    return f"{_nats(gain.value)} ± {gain.error:.2f} nats of ELBO (against {gain.over})"


def _change(found: Diagnosis, verdict: Verdict) -> str:
    if not verdict.options:
        return "Train with β = 0 first, then with this objective."
    if found.from_command_line:
        options = " ".join(verdict.options)
        return f"Try: lucid train --config {found.run}/run.json {options} --out {found.run}-again"
    if verdict.replaced is not None:
        assert verdict.warm_up is not None
        bound = f"objective=ELBO(Linear(steps={verdict.warm_up.steps}, hold={verdict.warm_up.hold}))"
        likelihood = ", and a model with likelihood=OptimalScaleGaussian()" if verdict.reason == "scale" else ""
        return f"Try, in fit: {bound}{likelihood}."
    parts = ["likelihood=OptimalScaleGaussian()"] if verdict.reason == "scale" else []
    if verdict.warm_up is not None:
        end = "" if verdict.warm_up.end == 1 else f", end={verdict.warm_up.end:g}"
        parts.append(f"beta_schedule=Linear(steps={verdict.warm_up.steps}, hold={verdict.warm_up.hold}{end})")
    return f"Try, in the model's configuration: {', '.join(parts)}."


def _preset(found: Diagnosis, verdict: Verdict) -> str:
    """The networks of a preset, where they have proved to do better."""
    if verdict.gain_over_run is None or not verdict.gain_over_run.sure:
        return ""
    if found.from_command_line:
        return f"Or try: lucid train --config {found.run}/run.json --model mlp --out {found.run}-again"
    return 'Or begin from lucid.models.create("mlp", data), which is what was tried.'


def _untried() -> str:
    return "Why, was not asked: leave --no-trial out, and short trainings on the run's own data find out."


# The figures behind it


def _tried(found: Diagnosis) -> str:
    steps = min(trial.steps for trial in found.trials)
    lines = [f"What was tried, {steps:,} training steps each, from new weights, on the same examples:"]
    return "\n".join([*lines, *(f"- {_trial(trial)}" for trial in found.trials)])


def _trial(trial: Trial) -> str:
    if trial.carried is not None:
        carried = trial.carried
        return (
            f"{trial.name}: −log p(x|z) is {_nats(carried.reconstruction)} nats at an example's own latents and "
            f"{_nats(carried.foreign)} at another's, so they are worth {_nats(carried.nats)} ± {carried.error:.2f}"
        )
    assert trial.use is not None
    kl = " ".join(f"{_nats(level.kl)}" for level in trial.use.levels[:_MOST_LISTED])
    more = " …" if len(trial.use.levels) > _MOST_LISTED else ""
    gone = f"collapsed: {_named(trial.use.collapsed)}" if trial.use.collapsed else "all in use"
    fading = f", still falling: {_named(trial.falling)}" if trial.falling else ""
    return f"{trial.name}: ELBO {_nats(trial.use.elbo)} ± {trial.use.elbo_error:.2f}, KL {kl}{more}; {gone}{fading}"


def _it(verdict: Verdict) -> str:
    return "it" if len(verdict.levels) == 1 else "them"


def _nats(value: float) -> str:
    return minus(f"{round(value, 2) + 0.0:,.2f}")


def _latents(found: Diagnosis, levels: Sequence[int]) -> str:
    return "the latent" if len(found.use.levels) == 1 else _named(levels)


def _named(levels: Iterable[int]) -> str:
    """`level 3`, `levels 0, 2 and 5 to 9`."""
    runs: list[list[int]] = []
    for level in sorted(levels):
        if runs and level == runs[-1][-1] + 1:
            runs[-1].append(level)
        else:
            runs.append([level])
    names = [f"{run[0]} to {run[-1]}" if len(run) > 2 else " and ".join(map(str, run)) for run in runs]
    word = "level" if len(runs) == 1 and len(runs[0]) == 1 else "levels"
    return f"{word} {', '.join(names)}"
