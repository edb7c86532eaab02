"""Fitted priors: planted distributions are recovered, closed forms hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from queries import KERNEL_KAPPA, SHAPE, in_chunks, job_on, on_the_sphere, query, with_targets
from scipy import stats
from scipy.special import ive

from baselines.priors import KAPPA_RANGE, STATE_FILE, HeadPrior, LatitudePrior, fitted_concentration, latitude_density
from baselines.training.runs import train_predictor
from srgaze360 import heatmaps, sphere
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.predictors import open_predictor

# --- latitude prior ---------------------------------------------------------------------------------------------------


def test_latitude_density_is_the_mean_of_kernels_over_longitude() -> None:
    targets = on_the_sphere(np.random.default_rng(0), 7)
    targets[0] = (0.0, -1.0, 0.0)  # the zenith itself
    kernels = heatmaps.von_mises_fisher(targets[:, None, :], KERNEL_KAPPA, height=512, width=1024)
    _, latitudes = sphere.cell_lonlat(1024, 512)
    slow = kernels.mean(axis=(0, 2))
    np.testing.assert_allclose(latitude_density(targets, latitudes, KERNEL_KAPPA), slow, rtol=1e-3, atol=1e-6)


def test_latitude_density_keeps_mass_and_moments() -> None:
    targets = on_the_sphere(np.random.default_rng(1), 5000) * (1.0, 0.4, 1.0) + (0.0, -0.3, 0.0)
    targets = sphere.normalise(targets)
    sine, weights = np.polynomial.legendre.leggauss(400)
    ring = 2.0 * np.pi * weights * latitude_density(targets, np.arcsin(sine), KERNEL_KAPPA)
    wanted = -targets[:, 1]
    # a von Mises-Fisher kernel multiplies the Legendre moments of degree 1 and 2 by A and 1 - 3 A / kappa
    shrink = 1.0 / np.tanh(KERNEL_KAPPA) - 1.0 / KERNEL_KAPPA
    assert ring.sum() == pytest.approx(1.0, abs=1e-12)
    assert ring @ sine == pytest.approx(shrink * wanted.mean(), abs=1e-12)
    second = ring @ (1.5 * sine**2 - 0.5)
    assert second == pytest.approx((1.0 - 3.0 * shrink / KERNEL_KAPPA) * np.mean(1.5 * wanted**2 - 0.5), abs=1e-12)


def test_latitude_prior_matches_a_planted_distribution(fake: Dataset) -> None:
    rng = np.random.default_rng(2)
    n, kappa = 6000, 6.0
    targets = stats.vonmises_fisher(mu=[0.0, -1.0, 0.0], kappa=kappa).rvs(n, random_state=rng)  # around the zenith
    prior = LatitudePrior.train(job_on(with_targets(fake, on_the_sphere(rng, n), targets)))
    guess = prior.predict([query("a"), query("b", head=(1.0, 0.0, 0.0))])
    assert guess.heatmaps is not None
    solid = sphere.cell_solid_angles(*SHAPE[::-1])
    assert np.sum(guess.heatmaps[0] * solid) == pytest.approx(1.0, abs=2e-3)
    planted = heatmaps.von_mises_fisher([[0.0, -1.0, 0.0]], kappa)
    assert np.sum(np.abs(guess.heatmaps[0] - planted) * solid) < 0.06  # twice the total variation
    # latitude only, for everybody alike, point at the peak
    assert (guess.heatmaps == guess.heatmaps[:1, :, :1]).all()
    np.testing.assert_array_equal(guess.directions[0], guess.directions[1])
    lon, lat = np.degrees(sphere.lonlat_from_direction(guess.directions[0]))
    assert abs(lon) < 1e-9 or lat == pytest.approx(90.0)
    assert lat > 75.0


def test_latitude_prior_points_at_a_planted_ring(fake: Dataset) -> None:
    rng = np.random.default_rng(3)
    targets = sphere.direction_from_lonlat(rng.uniform(-np.pi, np.pi, 300), np.radians(-35.0))
    prior = LatitudePrior.train(job_on(with_targets(fake, on_the_sphere(rng, 300), targets)))
    lon, lat = np.degrees(sphere.lonlat_from_direction(prior.predict([query("a")]).directions[0]))
    assert lon == 0.0
    assert lat == pytest.approx(-35.0, abs=1.0)


def test_latitude_prior_is_ninety_degrees_away_from_symmetric_latitudes(fake: Dataset) -> None:
    rng = np.random.default_rng(4)
    n = 4000
    latitudes = np.radians(40.0) * rng.choice([-1.0, 1.0], n) + rng.normal(size=n) * 0.1
    targets = sphere.direction_from_lonlat(rng.uniform(-np.pi, np.pi, n), latitudes)
    prior = LatitudePrior.train(job_on(with_targets(fake, targets, targets)))
    guess = prior.predict([query("a")]).directions[0]
    assert 30.0 < abs(np.degrees(sphere.lonlat_from_direction(guess)[1])) < 50.0
    assert np.degrees(sphere.angle_between(guess, targets).mean()) == pytest.approx(90.0, abs=2.5)


# --- head prior -------------------------------------------------------------------------------------------------------


def test_head_prior_recovers_a_planted_offset(fake: Dataset) -> None:
    rng = np.random.default_rng(0)
    heads = on_the_sphere(rng, 400)
    offset = np.array([0.5, -0.3])
    prior = HeadPrior.train(job_on(with_targets(fake, heads, sphere.exp_map(heads, offset))))
    elsewhere = on_the_sphere(rng, 50)
    guess = prior.predict([query(f"sample-{i}", head) for i, head in enumerate(elsewhere)])
    assert sphere.angle_between(guess.directions, sphere.exp_map(elsewhere, offset)).max() < 1e-9
    assert prior.state.kappa == KAPPA_RANGE[1]  # no scatter: as narrow as it gets


@pytest.mark.parametrize("kappa", [0.8, 5.0, 60.0])
def test_head_prior_recovers_a_planted_scatter_and_its_expected_error(kappa: float, fake: Dataset) -> None:
    rng = np.random.default_rng(1)
    n = 8000
    mean = sphere.normalise([0.6, -0.4, -0.7])  # behind the head, to the east and below
    local = stats.vonmises_fisher(mu=mean, kappa=kappa).rvs(2 * n, random_state=rng)
    heads = on_the_sphere(rng, 2 * n)
    targets = sphere.rotate(np.swapaxes(sphere.tangent_frame(heads), -1, -2), local)
    prior = HeadPrior.train(job_on(with_targets(fake, heads[:n], targets[:n])))
    resultant = 1.0 / np.tanh(kappa) - 1.0 / kappa
    assert sphere.angle_between(prior.state.mean, mean) < 4.0 * np.sqrt(2.0 / (n * kappa * resultant))
    assert prior.state.kappa == pytest.approx(kappa, rel=0.08)
    directions = in_chunks(prior, [query(f"sample-{i}", head) for i, head in enumerate(heads[n:])])
    errors = sphere.angle_between(directions, targets[n:])
    expected = np.pi * (ive(0, kappa) - np.exp(-2.0 * kappa)) / -np.expm1(-2.0 * kappa)
    assert abs(errors.mean() - expected) < 4.0 * errors.std() / np.sqrt(n)


@given(resultant=st.floats(0.004, 0.9996))
def test_concentration_agrees_with_scipy(resultant: float) -> None:
    angle = np.arccos(resultant)
    pair = np.array([[np.sin(angle), 0.0, np.cos(angle)], [-np.sin(angle), 0.0, np.cos(angle)]])
    _, peer = stats.vonmises_fisher.fit(pair)
    assert fitted_concentration(float(np.linalg.norm(pair.mean(axis=0)))) == pytest.approx(peer, rel=1e-6)


def test_concentration_stays_in_range() -> None:
    assert [fitted_concentration(r) for r in (0.0, 1e-9, 1.0)] == [KAPPA_RANGE[0], KAPPA_RANGE[0], KAPPA_RANGE[1]]


def test_head_prior_is_equivariant_to_yaw(fake: Dataset) -> None:
    prior = HeadPrior.train(job_on(fake.select(split="train")))
    heads = on_the_sphere(np.random.default_rng(2), 40)
    before = prior.predict([query(f"sample-{i}", head) for i, head in enumerate(heads)])
    assert before.heatmaps is not None
    for columns in (1, 37, 64, 127):
        turn = sphere.rotation_from_pose(2.0 * np.pi * columns / SHAPE[1], 0.0, 0.0)
        after = prior.predict([query(f"sample-{i}", head) for i, head in enumerate(sphere.rotate(turn, heads))])
        assert after.heatmaps is not None
        np.testing.assert_allclose(after.directions, sphere.rotate(turn, before.directions), atol=1e-14)
        np.testing.assert_allclose(after.heatmaps, np.roll(before.heatmaps, columns, axis=2), rtol=1e-5, atol=1e-9)


# --- priors: what they learn from -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [HeadPrior, LatitudePrior])
def test_priors_use_rows_with_known_gaze_only(kind: type[Any], fake: Dataset) -> None:
    rows = fake.select(split="train")
    known = rows.annotations["gaze_lon_deg"].notna()
    assert 0 < known.sum() < len(rows)
    without = replace(rows, annotations=rows.annotations[known].reset_index(drop=True))
    assert kind.train(job_on(rows)).state == kind.train(job_on(without)).state
    assert kind.train(job_on(rows)).state.people == known.sum()
    unknown = replace(rows, annotations=rows.annotations[~known].reset_index(drop=True))
    with pytest.raises(InputError, match=rf"Expected people whose gaze is known to fit '{kind.name}', found none among the 20"):
        kind.train(job_on(unknown))


def test_targets_that_cancel_out_are_refused(fake: Dataset) -> None:
    heads = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    opposite = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    with pytest.raises(InputError, match=r"the 2 targets .* cancel out"):
        HeadPrior.train(job_on(with_targets(fake, heads, opposite)))


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("head-prior", {"schema_version": 2}, "schema_version"),
        ("head-prior", {"mean": [1.0, 1.0, 0.0]}, "length 1"),
        ("head-prior", {"kappa": 1e9}, "kappa"),
        ("head-prior", {"predictor": "latitude-prior"}, "predictor"),
        ("latitude-prior", {"density": [1.0, 2.0]}, "density"),
        ("latitude-prior", {"density": [0.0] * 361}, "positive somewhere"),
        ("latitude-prior", {"density": [-1.0] * 361}, "density.0"),
        ("latitude-prior", {"surprise": 1}, "surprise"),
    ],
)
def test_a_broken_state_is_refused(name: str, change: dict[str, Any], complaint: str, fake: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_predictor(name, fake, run)
    state = json.loads((run / STATE_FILE).read_text())
    (run / STATE_FILE).write_text(json.dumps(state | change))
    with pytest.raises(InputError, match=rf"Expected a fitted prior in .*{STATE_FILE}, found: .*{complaint}.*Train again"):
        open_predictor(str(run))
