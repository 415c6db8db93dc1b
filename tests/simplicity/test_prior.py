"""How a prior is trained, judged and loaded."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fourlenses.artifacts import save_tensors
from fourlenses.errors import UserError
from fourlenses.nets.glow import build_glow
from fourlenses.simplicity import prior
from fourlenses.simplicity.bits import bits_per_dimension, dequantisation, measured, to_flow
from fourlenses.simplicity.prior import load_glow, pieces, refused_priors, schedule, shortcomings, train_prior

LIMITS = {"most_black": 2.5, "least_noise": 8.0, "most_noise": 12.0, "ordered": True}
GOOD = {"black": 2.0, "own": 3.0, "photos": 4.0, "noise": 10.0}


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(seed: int = 0):
    return build_glow((1, 8, 8), n_scales=2, depth=1, width=6, coupling="affine", generator=stream(seed))


def images(n: int = 40) -> torch.Tensor:
    """Smooth: levels that rise from left to right."""
    start, slope = torch.randint(0, 100, (2, n, 1, 1, 1), generator=stream())
    return (start + slope * torch.arange(8) / 8).expand(-1, -1, 8, -1).byte()


def unchanged(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return x


def trained(glow, steps: int, *, precision="float32", vary=unchanged, evaluate=lambda glow: {}, lr=1e-2, **saved):
    given = {"precision": precision, "vary": vary, "evaluate": evaluate} | saved
    return list(train_prior(glow, images(), steps, 8, lr, stream(2), **given))


@given(steps=st.integers(1, 100_000), peak=st.floats(1e-5, 1))
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(steps, peak):
    warm = min(200, steps / 10)
    rates = [schedule(step, steps, peak) for step in range(0, steps + 1, max(1, steps // 1000))]
    assert all(0 <= rate <= peak for rate in rates) and schedule(steps, steps, peak) == pytest.approx(0, abs=1e-12)
    assert schedule(math.ceil(warm), steps, peak) > 0.7 * peak or steps < 10
    turn = rates.index(max(rates))
    assert rates[: turn + 1] == sorted(rates[: turn + 1]) and rates[turn:] == sorted(rates[turn:], reverse=True)


def test_the_rate_by_hand():
    assert [schedule(step, 20, 3.0) for step in (0, 1, 2, 11, 20)] == pytest.approx([1, 2, 3, 1.5, 0])
    assert schedule(100, 10_000, 1.0) == pytest.approx(101 / 201)


@given(steps=st.integers(1, 300_000))
def test_a_piece_is_short_and_the_last_ends_the_training(steps):
    ends = pieces(steps)
    assert ends[-1] == steps and all(0 < b - a <= 500 for a, b in zip([0, *ends], ends, strict=False))
    assert len(ends) <= max(102, steps / 500 + 1)


def test_training_against_torchs_adamax():
    """Three steps of the optimizer of another file, on the same draws."""
    ours, peer, draws, x = small(), small(), stream(2), images()
    ((_, history),) = trained(ours, 3)
    first = x[torch.randint(40, (prior.FIRST,), generator=draws)]
    peer.initialise(to_flow(first / 255) + dequantisation(tuple(first.shape), draws) / 256)
    adamax, losses = torch.optim.Adamax(peer.parameters(), 1.0, (0.9, 0.98), weight_decay=5e-5), []
    for step in range(3):
        chosen = x[torch.randint(40, (8,), generator=draws)]
        losses.append(bits_per_dimension(peer, chosen / 255, dequantisation((8, 1, 8, 8), draws)).mean())
        adamax.zero_grad()
        losses[-1].backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), prior.CLIP)
        adamax.param_groups[0]["lr"] = schedule(step, 3, 1e-2)
        adamax.step()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, peer.state_dict()[name], atol=1e-6, rtol=1e-5)
    assert history == [{"step": 3, "lr": schedule(2, 3, 1e-2), "skipped": 0,
                        "bpd_train": pytest.approx(float(sum(losses).detach()) / 3)}]  # fmt: skip


def test_in_bfloat16_the_couplings_alone_are_coarser():
    seen = []
    runs = [trained(small(), 40, precision=precision, vary=lambda x, _: seen.append(x.dtype) or x)[-1]
            for precision in ("float32", "bfloat16")]  # fmt: skip
    (fine, (row,)), (coarse, (other,)) = runs
    assert set(seen) == {torch.uint8}
    assert {value.dtype for value in coarse.values() if value.is_floating_point()} == {torch.float32}
    assert not torch.equal(fine["glow/scales.0.lower"], coarse["glow/scales.0.lower"])
    assert other["bpd_train"] == pytest.approx(row["bpd_train"], rel=0.02)


def test_a_large_gradient_is_scaled_down(monkeypatch):
    """Adamax follows the gradient's direction alone, but a late one after a large one would count for nothing."""
    seen = []
    monkeypatch.setattr(prior, "adamax", lambda parameters, gradients, *rest, **options: seen.append(
        float(torch.cat([each.flatten() for each in gradients]).norm())))  # fmt: skip
    monkeypatch.setattr(prior, "CLIP", 1e-3)
    trained(small(), 4)
    assert seen == pytest.approx([1e-3] * 4, rel=1e-2)


def test_training_saves_bits_on_the_images_and_less_on_others():
    glow = small()
    before = [{"bpd": None}]

    def evaluate(glow) -> dict:
        before.append({"bpd": float(measured(glow, images(), stream()).mean())})
        return before[-1]

    rows = trained(glow, 120, evaluate=evaluate)[-1][1]
    assert [row["step"] for row in rows] == [50, 100, 120] and rows[-1]["bpd"] == before[-1]["bpd"]
    assert rows[-1]["bpd"] < rows[0]["bpd"] < 8 and rows[-1]["bpd_train"] < rows[0]["bpd_train"]
    noise = torch.randint(0, 256, (20, 1, 8, 8), generator=stream(), dtype=torch.uint8)
    assert float(measured(glow, noise, stream()).mean()) > rows[-1]["bpd"] + 2


def test_it_learns_from_what_the_images_are_varied_to():
    seen = []

    def flat(x, generator):
        seen.append(x)
        return torch.full_like(x, 9)

    glow, other = small(), small()
    trained(glow, 60, vary=flat)
    trained(other, 60)
    assert len(seen) == 61 and seen[0].shape == (prior.FIRST, 1, 8, 8)
    nine = torch.full((4, 1, 8, 8), 9, dtype=torch.uint8)
    assert measured(glow, nine, stream()).mean() < measured(other, nine, stream()).mean() - 1


def test_training_resumed_is_training_uninterrupted():
    whole = trained(small(), 110)
    state, history = trained(small(), 110)[0]
    rest = trained(small(seed=5), 110, state=state, history=history)
    assert len(whole) == 3 and len(rest) == 2 and rest[-1][1] == whole[-1][1]
    assert all(torch.equal(value, rest[-1][0][name]) for name, value in whole[-1][0].items())
    done = small(seed=6)
    assert trained(done, 110, state=whole[-1][0], history=whole[-1][1]) == []
    assert all(torch.equal(value, whole[-1][0][f"glow/{name}"]) for name, value in done.state_dict().items())


def test_steps_without_a_finite_gradient_are_skipped_until_there_are_too_many(monkeypatch):
    bad, n = {30}, iter(range(-1, 10_000))
    real = prior.bits_per_dimension

    def sometimes(glow, x, noise):
        return real(glow, x, noise) * (float("inf") if next(n) + 1 in bad else 1)

    monkeypatch.setattr(prior, "bits_per_dimension", sometimes)
    glow = small()
    rows = trained(glow, 100)[-1][1]
    assert [row["skipped"] for row in rows] == [1, 1] and all(math.isfinite(row["bpd_train"]) for row in rows)
    assert all(torch.isfinite(p).all() for p in glow.parameters())
    bad, n = {0, 60}, iter(range(-1, 10_000))
    with pytest.raises(FloatingPointError, match="2 of the first 100 steps"):
        trained(small(), 100)


def test_a_good_prior_has_no_shortcomings():
    assert shortcomings(GOOD, **LIMITS) == []


@pytest.mark.parametrize(("change", "words"), [
    ({"black": 2.6}, ["black has 2.6", "more than 2.5"]), ({"noise": 7.0}, ["noise has 7", "less than 8"]),
    ({"noise": 13.0}, ["noise has 13", "more than 12"]), ({"own": 5.0}, ["own has 5", "photos has 4"]),
    ({"own": 1.5}, ["black has 2", "own has 1.5"]), ({"photos": 10.0}, ["photos has 10", "noise has 10"]),
])  # fmt: skip
def test_each_shortcoming_is_said_with_its_numbers(change, words):
    (said,) = shortcomings(GOOD | change, **LIMITS)
    assert all(word in said for word in words)


def test_order_is_asked_for_only_where_it_is_wanted_and_what_is_not_finite_is_named():
    assert shortcomings(GOOD | {"own": 9.0}, **LIMITS | {"ordered": False}) == []
    assert any("own has nan" in each for each in shortcomings(GOOD | {"own": math.nan}, **LIMITS))
    assert any("noise has inf" in each for each in shortcomings(GOOD | {"noise": math.inf}, **LIMITS))


@pytest.fixture
def stored(tmp_path):
    glows = {"good": small(), "bad": small(1)}
    tensors = {f"{name}/{key}": value for name, glow in glows.items() for key, value in glow.state_dict().items()}
    about = {"priors": {name: glow.arguments for name, glow in glows.items()}, "accepted": {"good": GOOD, "bad": GOOD}}
    save_tensors(tmp_path / "glow.safetensors", tensors, about | {"refused": {"good": [], "bad": ["own has 9"]}})
    return tmp_path / "glow.safetensors", glows["good"]


def test_a_stored_prior_measures_what_it_measured(stored):
    path, glow = stored
    loaded = load_glow(path, "good", torch.device("cpu"))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert torch.equal(measured(loaded, images(), stream()), measured(glow, images(), stream()))
    assert refused_priors(path) == {"bad"}
    shown = load_glow(path, "bad", torch.device("cpu"), although_refused=True)
    assert not torch.equal(measured(shown, images(), stream()), measured(glow, images(), stream()))


@pytest.mark.parametrize(("name", "words"), [("bad", "own has 9"), ("absent", "one of bad, good")])
def test_a_prior_that_was_refused_or_is_not_there_is_one_line(stored, name, words):
    with pytest.raises(UserError, match=words):
        load_glow(stored[0], name, torch.device("cpu"))
