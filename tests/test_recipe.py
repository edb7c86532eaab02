"""Recipes: shipped ones are valid, settings and extension work, faults are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.recipe import Levels, Strata, load_recipe, recipe_names
from srgaze360.errors import InputError


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid_and_named_after_their_file(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert load_recipe(name).digest() == recipe.digest()


def test_demo_extends_suites_and_removes_some_of_them() -> None:
    demo, suites = load_recipe("demo"), load_recipe("suites")
    assert set(demo.suites) == {"mixed", "canonical", "latitude", "seam", "rendered"}
    assert demo.output.width == 1024
    assert demo.suites["seam"] == suites.suites["seam"]
    assert demo.suites["mixed"].draw["lens"] == suites.suites["mixed"].draw["lens"]


def test_a_setting_changes_the_value_and_the_digest() -> None:
    recipe = load_recipe("mixed", ["output.width=512", "suites.mixed.draw.fov_deg={strata: [[30, 40]]}"])
    assert recipe.output.width == 512
    assert recipe.suites["mixed"].draw["fov_deg"] == Strata(strata=((30.0, 40.0),))
    assert recipe.digest() != load_recipe("mixed").digest()


def test_a_varied_axis_overrides_the_base() -> None:
    axes = load_recipe("suites").axes("latitude")
    assert axes["latitude_deg"] == Levels(levels=(-60.0, -30.0, 0.0, 30.0, 60.0))
    assert axes["fov_deg"] == 60.0
    assert axes["longitude_deg"] == "clear"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("output.widht=3", r"unknown key 'output.widht'. Did you mean 'width'\?"),
        ("suites.mixed.draw.fov_degs=3", r"suite mixed: unknown axis 'fov_degs'. Did you mean 'fov_deg'\?"),
        ("suites.mixed.draw.lens=barel", r"lens cannot be 'barel'. Did you mean 'barrel'\?"),
        ("suites.mixed.draw.lens=3", "lens must be a name, found 3"),
        ("base.fov_deg=400", r"fov_deg must lie in \[1, 359\], found 400"),
        ("base.background=grean", "background cannot be 'grean'"),
        ("output.width=77", "output.width: Input should be a multiple of 2"),
        ("suites.seam.draw.longitude_deg=sea", "longitude_deg cannot be 'sea'"),
        ("suites.seam={draw: {longitude_deg: seam, tilt_yaw_deg: 5}}", "solved for an upright sphere"),
        ("suites.roll={vary: {roll_deg: [0]}, draw: {roll_deg: 1}}", "roll_deg is both drawn and varied"),
        ("suites.pole={vary: {latitude_deg: [zenith]}, draw: {tilt_roll_deg: 5}}", "zenith is solved for an upright sphere"),
        ("suites.fov.vary.fov_deg=[60, 60]", "levels of fov_deg must differ in their first six digits"),
        ("suites.fov.vary.fov_deg=[60.0000001, 60.0000002]", "levels of fov_deg must differ in their first six digits"),
        ("suites.fov.vary.fov_deg=[]", "levels"),
        ("suites.crowd.draw.latitude_deg=zenith", "placed apart may move off a pole"),
        ("suites.latitud.sample=5", r"no suite 'latitud'. Did you mean 'latitude'\?"),
        ("suites.pole.vary.latitude_deg=[zenit]", r"latitude_deg cannot be 'zenit'. Did you mean 'zenith'\?"),
        ("suites.crowd.draw.longitude_deg=clear", "6 photos on a sphere need longitude_deg: apart"),
        ("suites.crowd.photos=7", "suites.crowd.photos: Input should be less than or equal to 6"),
        ("suites.crowd.draw.longitude_deg={levels: [apart, clear]}", "6 photos on a sphere need longitude_deg: apart"),
        ("suites.rotated.draw.fov_deg=50", "fov_deg is an axis of photos"),
        ("suites.rotated.draw.longitude_deg=apart", "a panorama fills its sphere"),
        ("suites.rotated.photos=2", "a panorama fills its sphere"),
        ("suites.rotated.draw.latitude_deg=zenith", "a panorama fills its sphere"),
        ("suites.fov.takes=panorama", "suites.fov.takes: Input should be 'photos' or 'panoramas'"),
        ("base.fov_deg={strata: [[80, 40]]}", "ends before it starts"),
        ("base.fov_deg={strata: [[40, 60], [60, 400]]}", r"fov_deg must lie in \[1, 359\], found 400"),
        ("base.latitude_deg=91", r"latitude_deg must lie in \[-90, 90\], found 91"),
        ("suites.mixed.draw.lens={levels: [pinhole, barel]}", r"lens cannot be 'barel'. Did you mean 'barrel'\?"),
        ("suites.seam.draw.tilt_pitch_deg={levels: [0, 5]}", "seam is solved for an upright sphere"),
        ("output", "Expected --set in the form a.b=c, found 'output'"),
        ("output.width.x=3", "'width' is a single value"),
        ("output.width=[", "Expected YAML after ="),
    ],
)
def test_faults_are_named(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("suites", [setting])


def test_a_lens_is_a_preset_of_the_recipe_or_a_pinhole() -> None:
    recipe = load_recipe("mixed")
    assert (recipe.lens("unified").lens, recipe.lens("unified").params) == ("ucm", (0.8,))
    assert {recipe.lens(name).lens for name in ("pinhole", "own")} == {"pinhole"}
    stronger = load_recipe("mixed", ["lenses.unified.params=[0.9]"])
    assert stronger.lens("unified").params == (0.9,)
    assert stronger.digest() != recipe.digest()


def test_panoramas_have_no_axes_of_photos() -> None:
    axes = load_recipe("suites", ["base.background=blur"]).axes("rendered")
    assert not {"fov_deg", "lens", "background"} & set(axes)
    assert axes["longitude_deg"] == 0.0
    assert {"latitude_deg", "roll_deg", "tilt_pitch_deg", "tilt_roll_deg", "tilt_yaw_deg"} < set(axes)


def test_null_removes_and_draws_are_replaced_whole(tmp_path: Path) -> None:
    assert "fov" not in load_recipe("suites", ["suites.fov=null"]).suites
    own = tmp_path / "own.yaml"
    draw = "{lens: {levels: [pinhole]}, tilt_pitch_deg: {strata: [[0, 5]]}, background: null}"
    own.write_text(f"extends: mixed\nsuites: {{mixed: {{draw: {draw}}}}}\n")
    suite = load_recipe(str(own)).suites["mixed"]
    assert suite.draw["tilt_pitch_deg"] == Strata(strata=((0.0, 5.0),))  # not strata beside the levels of mixed
    assert suite.draw["lens"] == Levels(levels=("pinhole",))
    assert "background" not in suite.draw
    assert suite.draw["tilt_roll_deg"] == load_recipe("mixed").suites["mixed"].draw["tilt_roll_deg"]


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        (["base.background=panorama", "suites={one: {}}"], ["suites.one.draw.background={levels: [black]}"]),
        (["suites={one: {vary: {background: [panorama]}}}"], ["suites.one.vary.background=[black]"]),
        (["suites={one: {draw: {background: blur}}}"], []),
    ],
)
def test_what_takes_panoramas_out_of_a_recipe(changes: list[str], advice: list[str]) -> None:
    assert load_recipe("mixed", changes).without_panoramas() == advice
    assert load_recipe("mixed", [*changes, *advice]).without_panoramas() == []


def test_unknown_recipes_get_a_suggestion() -> None:
    with pytest.raises(InputError, match="found 'mixd'. Did you mean 'mixed'"):
        load_recipe("mixd")


def test_own_files_can_extend_but_not_in_a_circle(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("extends: mixed\nname: lab\nseed: 7\n")
    assert load_recipe(str(own)).seed == 7
    own.write_text(f"extends: {own}\n")
    with pytest.raises(InputError, match="extends itself"):
        load_recipe(str(own))


@pytest.mark.parametrize(("text", "message"), [("a: [", "Expected YAML"), ("- 1", "Expected a mapping at the top")])
def test_files_that_are_no_recipes(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(str(tmp_path / "bad.yaml"))


def test_null_removes_a_key_but_is_a_value_among_the_options_of_sources(tmp_path: Path) -> None:
    settings = ["sources.gazefollow.test_metadata=null", "lenses.barrel=null", "suites.mixed.draw.lens=pinhole"]
    recipe = load_recipe("mixed", settings)
    assert recipe.sources == {"gazefollow": {"test_metadata": None}}
    assert "barrel" not in recipe.lenses
    own = tmp_path / "own.yaml"
    own.write_text("extends: srgaze360-1.0\nname: own\nsources: {gazefollow: {train_file: null}}\nsuites: {seam: null}\n")
    found = load_recipe(str(own))
    assert found.sources["gazefollow"]["train_file"] is None
    assert found.sources["gazefollow"] == load_recipe("srgaze360-1.0").sources["gazefollow"] | {"train_file": None}
    assert "seam" not in found.suites
