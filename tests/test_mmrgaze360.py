"""MMRGaze360: its generators against their definitions, its switches, and how the whole turns with the sphere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from neural_batches import make_batch, turned

from baselines.data.batch import Batch
from baselines.mmrgaze360.arc import ARC_MAPS, KNOTS_DEG, SightArc, arc_maps, points_along, polar, profile, quantiles
from baselines.mmrgaze360.fov import COORDINATES, SURROUNDINGS, field_of_view, surroundings
from baselines.mmrgaze360.fusion import Fusion
from baselines.mmrgaze360.model import MMRGaze360, MMRGaze360Network
from baselines.mmrgaze360.sightline import GazeGenerator, SightLine
from baselines.mmrgaze360.verdict import Verdict, mixed
from baselines.nets import geometry
from baselines.training.losses import counts, cross_entropy, objective, sums
from baselines.training.settings import LossSettings, Settings
from srgaze360 import sphere
from srgaze360.errors import InputError

SMALL = {"width": 8, "head_width": 8, "features": 32, "scene_height": 32, "patch_size": 8, "evidence": 4}


def settings(**model: Any) -> Settings:
    return MMRGaze360.settings_of({"data": {"height": 64, "crop": 32}, "model": {**SMALL, **model}})


def network(seed: int = 0, **model: Any) -> MMRGaze360Network:
    """The network with weights that differ from their tidy beginnings, so that every part has a say."""
    torch.manual_seed(seed)
    made = MMRGaze360.make(settings(**model))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return made.eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return make_batch(panoramas=2, people=5, height=64, crop=32).to("cpu")


# --- 360-Gaze ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def line(batch: Batch) -> SightLine:
    torch.manual_seed(1)
    with torch.no_grad():
        return GazeGenerator(8, 32, 5, reinject=True)(batch)


def test_points_lie_on_the_arc_that_leaves_the_head_along_the_direction(batch: Batch, line: SightLine) -> None:
    heads, points = batch.heads.double().numpy(), line.points.double().numpy()
    ends = line.exit.double().numpy()
    normal = np.cross(heads, ends)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    np.testing.assert_allclose(np.einsum("bkc,bc->bk", points, normal), 0.0, atol=2e-3)  # one great circle
    arcs = sphere.angle_between(heads[:, None], points)
    reach = sphere.angle_between(heads, ends)
    np.testing.assert_allclose(arcs[:, 0], reach, rtol=1e-3)  # the exit point is the first guess
    limit = sphere.angle_between(line.direction.double().numpy(), [0.0, 0.0, 1.0])  # infinitely far away: the direction itself
    order = arcs[:, [3, 1, 0, 2, 4]]
    assert (np.diff(order, axis=1) > 0).all()
    assert (order[:, -1] < limit).all()
    # law of sines in the triangle of camera, head and a point at depth s
    depths = np.sin(arcs) / np.sin(limit[:, None] - arcs)
    np.testing.assert_allclose(depths / depths[:, :1], [[1.0, 0.5, 2.0, 0.25, 4.0]] * len(heads), rtol=1e-2)


def test_the_direction_is_that_of_the_chord_to_the_exit(batch: Batch, line: SightLine) -> None:
    back = geometry.chords(batch.heads, batch.frames, line.exit)
    torch.testing.assert_close(back, line.direction, atol=1e-4, rtol=0)
    assert (line.direction[:, 2] < 0).all()  # a fresh network looks into the ball


def test_polar_coordinates_are_those_of_the_great_circle_to_each_cell(batch: Batch) -> None:
    cells = sphere.cell_directions(32, 16)
    found = polar(batch.frames, 16)
    for person in range(5):
        head = batch.heads[person].double().numpy()
        arcs = sphere.angle_between(cells, head)
        np.testing.assert_allclose(found.arcs[person].numpy(), arcs, atol=1e-5)
        tangent = sphere.log_map(head, cells)  # the float64 original, by another way
        far = np.sin(arcs) > 0.2
        azimuth = np.moveaxis(found.azimuths[person].double().numpy(), 0, -1)
        expected = tangent / np.linalg.norm(tangent, axis=-1, keepdims=True)
        np.testing.assert_allclose(azimuth[far], expected[far], atol=2e-3)


def test_the_profile_is_linear_between_knots_and_exact_at_them() -> None:
    values = torch.randn(2, len(KNOTS_DEG), generator=torch.Generator().manual_seed(0))
    arcs = torch.deg2rad(torch.linspace(0.0, 180.0, 200)).view(1, 10, 20).expand(2, -1, -1)
    found = profile(values, arcs).numpy()
    for person in range(2):
        np.testing.assert_allclose(
            found[person], np.interp(np.degrees(arcs[person].numpy()), KNOTS_DEG, values[person].numpy()), atol=1e-5
        )


def test_the_arc_is_sure_of_its_azimuth_and_open_in_depth(batch: Batch) -> None:
    """With no profile the density is the same all along a great circle, and its log falls with the cosine to the azimuth."""
    made = SightArc(8)
    with torch.no_grad():
        for weight in made.parameters():
            weight.zero_()
        made.say[-1].bias[:2] = torch.tensor([0.0, 5.0])  # due north
        cells = polar(batch.frames, 32)
        density = made(torch.zeros(5, 8), cells).density
        maps = arc_maps(density, torch.tensor([[0.0, 1.0]] * 5), cells)
    torch.testing.assert_close(density, 5.0 * cells.azimuths[:, 1])
    far = torch.sin(cells.arcs) > 0.3
    north = far & (cells.azimuths[:, 1] > 0.99)
    assert north.any()
    assert (density[north] > 4.9).all()
    assert maps.shape == (5, ARC_MAPS, 32, 64)
    assert (maps[:, 0] <= 0).all()
    assert (maps[:, 0].amax((-2, -1)) == 0).all()
    torch.testing.assert_close(maps[:, 2][north], cells.azimuths[:, 1][north] ** 40)
    assert (maps[:, 1][density < -1] < 1e-3).all()


def test_quantiles_cut_the_mass_of_rings_into_equal_parts() -> None:
    """Against a fine sum in float64; and uniform over the sphere, where the mass up to an arc is (1 - cos) / 2."""
    values = 2.0 * torch.randn(4, len(KNOTS_DEG), generator=torch.Generator().manual_seed(0))
    values[0] = 0.0
    values[1] = torch.tensor([0.0, 9, 9, -9, -9, -9, -9, -9, -9, -9, 4, 4])  # near or far, nothing between
    found = quantiles(values, 5).double().numpy()
    np.testing.assert_allclose((1.0 - np.cos(found[0])) / 2.0, [0.1, 0.3, 0.5, 0.7, 0.9], atol=1e-4)
    arcs = (np.arange(200_000) + 0.5) * np.pi / 200_000
    for person in range(4):
        mass = np.exp(np.interp(np.degrees(arcs), KNOTS_DEG, values[person].numpy())) * np.sin(arcs)
        up_to = np.cumsum(mass) / mass.sum()
        np.testing.assert_allclose(np.interp(found[person], arcs, up_to), [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.02)
    near, far = found[1] < np.radians(15.0), found[1] > np.radians(90.0)
    assert near.any()
    assert far.any()
    assert (near | far).all()


def test_points_along_an_azimuth_are_where_the_exponential_map_leads(batch: Batch) -> None:
    azimuth = torch.nn.functional.normalize(torch.randn(5, 2, generator=torch.Generator().manual_seed(1)), dim=-1)
    arcs = torch.tensor([[0.1, 1.0, 3.0]] * 5)
    found = points_along(arcs, batch.heads, batch.frames, azimuth).numpy()
    for person in range(5):
        head = sphere.normalise(batch.heads[person].double().numpy())
        tangents = arcs[person].double().numpy()[:, None] * azimuth[person].double().numpy()
        np.testing.assert_allclose(found[person], sphere.exp_map(head, tangents), atol=1e-5)


# --- 360-FoV ----------------------------------------------------------------------------------------------------------


def test_cones_are_powers_of_the_cosine_to_the_chord(batch: Batch, line: SightLine) -> None:
    maps = field_of_view(batch, line, (1.0, 7.0), 16).double().numpy()
    assert maps.shape == (5, 2 + COORDINATES, 16, 32)
    cells = sphere.cell_directions(32, 16)
    for person in range(5):
        head = batch.heads[person].double().numpy()
        frame = sphere.tangent_frame(head)
        chords = sphere.normalise(cells - head) @ frame.T
        cosine = np.clip(chords @ line.direction[person].double().numpy(), 0.0, None)
        far = sphere.angle_between(cells, head) > 0.1  # at the head itself there is no chord
        np.testing.assert_allclose(maps[person, 0][far], cosine[far], atol=2e-3)
        np.testing.assert_allclose(maps[person, 1][far], cosine[far] ** 7, atol=5e-3)
        np.testing.assert_allclose(maps[person, 5], cells @ head, atol=1e-5)
        np.testing.assert_allclose(maps[person, 8], np.broadcast_to(-cells[..., 1], (16, 32)), atol=1e-6)


def test_cones_keep_their_digits_under_mixed_precision(batch: Batch, line: SightLine) -> None:
    plain = field_of_view(batch, line, (1.0, 100.0), 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(field_of_view(batch, line, (1.0, 100.0), 16), plain, atol=0, rtol=0)


def test_without_the_field_of_view_no_map_depends_on_the_gaze(batch: Batch, line: SightLine) -> None:
    maps = surroundings(batch, 16)
    assert maps.shape == (5, SURROUNDINGS, 16, 32)
    torch.testing.assert_close(maps, field_of_view(batch, line, (), 16)[:, 3:-1])
    turned = line._replace(direction=-line.direction, azimuth=-line.azimuth)
    changed = (field_of_view(batch, turned, (), 16) - field_of_view(batch, line, (), 16)).abs().amax((0, 2, 3))
    assert (changed > 0.01).tolist() == [True, False, False, False, False, False, False, True]


# --- the whole --------------------------------------------------------------------------------------------------------

SWITCHES: list[dict[str, Any]] = [
    {},
    {"reborn": "off"},
    {"reborn": "recycle", "recycle_every": 1},
    {"arc": False},
    {"arc": False, "points": 0},
    {"context": False},
    {"coarse": False},
    {"fov": False},
    {"points": 0},
    {"points": 1},
    {"reaches_deg": [20.0]},
    {"tasks": False},
    {"attention": False},
]


@pytest.mark.parametrize("model", SWITCHES, ids=str)
def test_every_weight_is_reached_by_the_loss(model: dict[str, Any], batch: Batch) -> None:
    made = network(**model).train()
    output = made(batch)
    assert output.heatmap.shape == (5, 8, 16)
    assert (output.patches is None) == (model.get("points") == 0 or model.get("tasks") is False)
    loss = settings(**model).loss
    objective(sums(output, batch, loss), counts(batch), loss).backward()
    unreached = [name for name, weight in made.named_parameters() if weight.grad is None or not weight.grad.abs().sum() > 0]
    assert unreached == []
    made.after_step(torch.optim.AdamW(made.parameters()), 1, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("columns", [16, 64, 100])
def test_turning_the_panorama_turns_the_answer(columns: int, batch: Batch) -> None:
    """Whole strides of the scene encoder: 16 columns at its coarsest, 4 at the heatmap's, of a panorama halved before."""
    made = network()
    columns = columns // 32 * 32 or 32
    with torch.no_grad():
        before, after = made(batch), made(turned(batch, columns))
    torch.testing.assert_close(after.heatmap, torch.roll(before.heatmap, columns * 16 // 128, dims=-1), atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(after.direction, before.direction, atol=1e-5, rtol=0)
    assert not torch.allclose(after.heatmap, before.heatmap, atol=0.02)


def test_what_a_head_is_told_of_its_surroundings_is_what_lies_there(batch: Batch) -> None:
    """Painting over the far side of a panorama leaves the context alone; painting over the head's side does not."""
    made = network()
    asked: list[torch.Tensor] = []
    made.context.register_forward_hook(lambda *call: asked.append(call[1][0]))  # type: ignore[union-attr]
    coarse = sum(made.encoder.channels[-2:])
    columns = torch.round((torch.atan2(batch.heads[:, 0], batch.heads[:, 2]) / (2.0 * torch.pi) + 0.5) * 128).long()
    person, panorama = 0, int(batch.owner[0])
    for away in (64, 0):
        painted = batch.panoramas.clone()
        place = (int(columns[person]) + away + torch.arange(-8, 8)) % 128
        painted[panorama, :, :, place] = 1.0 - painted[panorama, :, :, place]
        with torch.no_grad():
            made(replace(batch, panoramas=painted))
    with torch.no_grad():
        made(batch)
    far, near, plain = (given[person, :coarse] for given in asked)
    assert (near - plain).abs().max() > 3.0 * (far - plain).abs().max()
    assert asked[0].shape == (5, coarse + 2 * SMALL["width"])


def test_the_coarse_part_of_fusion_sees_farther() -> None:
    """A change of the scene moves answers beyond the reach of the fine convolutions only where the coarse ones are."""
    reach = {}
    for coarse in (True, False):
        torch.manual_seed(0)
        fusion = Fusion(8, 3, 32, coarse=coarse, reinject=False).eval()
        torch.nn.init.normal_(fusion.out.weight)
        scene, maps = torch.randn(1, 8, 32, 64), torch.randn(1, 3, 32, 64)
        owner, features = torch.zeros(1, dtype=torch.int64), torch.randn(1, 32)
        # group normalisation lets everything see the mean of everything: what is left of the effect far away is that
        with torch.no_grad():
            before = fusion(scene, owner, maps, features).heatmap
            scene[..., 16, 32] += 5.0
            moved = (fusion(scene, owner, maps, features).heatmap - before).abs()[0]
        reach[coarse] = float(moved[16, 40] / moved[16, 32])
    assert reach[True] > 3.0 * reach[False]


def test_the_heatmap_agrees_with_the_verdict_and_keeps_what_it_says_within_each_part() -> None:
    torch.manual_seed(0)
    before, odds = 3.0 * torch.randn(3, 16, 32), torch.tensor([-2.0, 0.5, 4.0])
    inside = torch.zeros(3, 16, 32, dtype=torch.bool)
    inside[0, 4:10, 3:20] = inside[1, 7:9, 28:] = inside[2, :, 5:] = True
    after = mixed(before, torch.where(inside, 40.0, -40.0), odds)
    old, new = (geometry.log_probabilities(logits).double().exp() for logits in (before, after))
    for person in range(3):
        assert float(new[person][inside[person]].sum()) == pytest.approx(float(torch.sigmoid(odds[person])), abs=1e-5)
        for place in (inside[person], ~inside[person]):
            ratio = (new[person] / old[person])[place].numpy()
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


@pytest.mark.parametrize("photo", [30.0, 0.0, -2.0])
def test_where_nothing_tells_the_photo_from_the_rest_the_heatmap_stays(photo: float) -> None:
    before = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(0))
    after = mixed(before, torch.full_like(before, photo), torch.tensor([12.0, -3.0]))
    torch.testing.assert_close(geometry.log_probabilities(after), geometry.log_probabilities(before), atol=1e-4, rtol=0)


def test_verdict_and_map_learn_from_their_own_losses_alone(batch: Batch) -> None:
    made = network()
    assert made.verdict is not None
    assert made.photo is not None
    judge, photo = made.verdict.judge[-1].weight, made.photo[-1].weight
    output = made(batch)
    geometry.log_probabilities(output.heatmap)[:, 3, 5].sum().backward(retain_graph=True)
    assert judge.grad is None
    assert photo.grad is None
    output.in_frame.sum().backward(retain_graph=True)
    assert judge.grad.abs().max() > 0
    assert photo.grad is None
    output.photo.sum().backward()
    assert photo.grad.abs().max() > 0


def test_the_weight_of_the_verdict_learns_within_a_short_training_what_the_known_targets_say() -> None:
    verdict = Verdict(4, 8)
    with torch.no_grad():
        verdict.judge[-1].weight.zero_()
        verdict.judge[-1].bias.fill_(1.0)  # of all people 73 of 100 look into the photo
    photo = torch.full((20, 8, 16), -8.0)
    photo[:, 2:6, 3:9] = 8.0
    target = torch.zeros(20, 8, 16)
    target[:19, 3, 5] = target[19:, 0, 12] = 1.0  # of those whose target is known 95
    optimiser = torch.optim.Adam(verdict.parameters(), lr=1e-3)
    for _ in range(300):
        optimiser.zero_grad()
        heatmap = verdict(torch.zeros(20, 8, 16), torch.zeros(20, 4, 8, 16), photo, torch.zeros(20, 8)).heatmap
        cross_entropy(heatmap, target).mean().backward()
        optimiser.step()
    inside = geometry.log_probabilities(heatmap).exp()[:, 2:6, 3:9].sum((-2, -1))
    assert float(inside.mean().detach()) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("loss", "parts"),
    [({"in_frame": 0.3, "photo": 0.3}, (True, True)), ({"in_frame": 0.3}, (False, False)), ({"photo": 0.3}, (False, True))],
)
def test_the_verdict_needs_a_map_of_what_is_photo(batch: Batch, loss: dict[str, float], parts: tuple[bool, bool]) -> None:
    output = MMRGaze360.make(settings().model_copy(update={"loss": LossSettings(**loss)}))(batch)
    assert (output.in_frame is not None, output.photo is not None) == parts


def test_sizes_and_options_are_checked() -> None:
    assert MMRGaze360.settings_of({"size": "base"}).model["points"] == 6
    with pytest.raises(InputError, match=r"Unknown size 'huge' of mmrgaze360.*base"):
        MMRGaze360.settings_of({"size": "huge"})
    with pytest.raises(InputError, match=r"options of mmrgaze360 .*reborn.*'reinject', 'recycle' or 'off'"):
        MMRGaze360.settings_of({"model": {"reborn": "on"}})
    with pytest.raises(InputError, match=r"Expected settings of mmrgaze360, found: .*stepps.*Names are"):
        MMRGaze360.settings_of({"train": {"stepps": 3}})
