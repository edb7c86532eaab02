"""The server of a review: what it answers, to whom, what it hides from blind reviewers, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from reviewing import HEADERS, REPOSITORY, TOKEN, as_reviewer, body, client, decoded, opened, path_of
from sound import rows_of, sound_dataset, write_sound
from starlette.testclient import TestClient

from annotation.lint.run import lint
from annotation.review import pictures
from annotation.review.guard import HEADERS as SECURITY
from annotation.review.guard import MAX_BODY_BYTES
from annotation.review.labels import label_of
from annotation.review.predicted import read_all
from annotation.review.server import page_files
from annotation.review.store import Store
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.images import write_image
from srgaze360.predictions import DatasetKey, PredictionHeader, Predictions, PredictorCard, write_predictions

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """24 people, two on a panorama; every test has its own store."""
    return sound_dataset(tmp_path_factory.mktemp("server") / "data", people=6)


@pytest.fixture
def store(data: Dataset, tmp_path: Path) -> Iterator[Store]:
    found = opened(data, tmp_path / "store.sqlite")
    yield found
    found.close()


@pytest.fixture
def browser(data: Dataset, store: Store) -> Iterator[TestClient]:
    with client(data, store, annotator="zoe") as found:
        yield found


def person(data: Dataset, index: int = 0) -> JSON:
    """A row with annotations."""
    return [row for row in rows_of(data.root) if row["gaze_points_deg"]][index]


def get(browser: TestClient, path: str, reviewer: str = "ann") -> JSON:
    answer = browser.get(path, headers=as_reviewer(reviewer))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def put(browser: TestClient, sample_id: str, content: str, reviewer: str = "ann") -> tuple[int, JSON]:
    answer = browser.put(path_of(sample_id), content=content, headers=as_reviewer(reviewer))
    return answer.status_code, answer.json()


def plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


# --- the page's questions ---------------------------------------------------------------------------------------------


def test_the_session_says_what_there_is(data: Dataset, browser: TestClient) -> None:
    told = get(browser, "api/session")
    assert told["dataset"] == {
        "name": "fake", "version": "1.0.0", "digest": data.info.label_digest, "people": 24, "panoramas": 12,
    }  # fmt: skip
    assert (told["annotator"], told["blind"], told["predictions"]) == ("ann", False, [])
    assert browser.get("api/session").json()["annotator"] == "zoe"
    assert [queue["kind"] for queue in told["queues"]] == ["all", "undone", "disagreement", "condition", "random", "filter"]
    assert told["queue"] == {"kind": "all", "value": ""}


def test_a_person_is_told_with_all_there_is(data: Dataset, store: Store) -> None:
    findings = lint(data.root).findings
    row = next(row for row in rows_of(data.root) if any(one.sample_id == row["sample_id"] for one in findings))
    with client(data, store, findings=findings) as browser:
        told = get(browser, path_of(row["sample_id"]))
    assert told["label"] == told["original"] == plain(label_of(row).model_dump())
    assert (told["revision"], told["verdict"], told["reviewed_by"]) == (0, None, None)
    assert told["panorama_id"] == row["panorama_id"]
    assert told["head_deg"] == [row["head_lon_deg"], row["head_lat_deg"]]
    assert told["image"] == {"width": 128, "height": 64}
    [neighbour] = [r for r in rows_of(data.root) if r["panorama_id"] == row["panorama_id"] and r != row]
    assert told["others"] == plain([{"sample_id": neighbour["sample_id"], "head_box": label_of(neighbour).head_box}])
    expected = [one for one in findings if one.sample_id == row["sample_id"]]
    assert [(one["rule"], one["message"]) for one in told["findings"]] == [(one.rule, one.evidence) for one in expected]
    assert told["facts"]["face"] == row["face"]
    assert told["facts"]["hfov_deg"] == 60.0
    assert not {"camera", "image_path", "gaze_points_deg", "head_u0"} & told["facts"].keys()


def test_decisions_come_back_in_every_view(data: Dataset, browser: TestClient) -> None:
    one, two, three = (person(data, index) for index in range(3))
    edited = {**plain(label_of(one).model_dump()), "gaze_points_deg": [[-179.5, 3.0]], "gaze_annotators": ["ann"]}
    assert put(browser, one["sample_id"], body(0, edited)) == (200, {"revision": 1})
    assert put(browser, two["sample_id"], body(0, plain(label_of(two).model_dump()), "rejected"), "bob")[0] == 200
    assert put(browser, three["sample_id"], body(0, plain(label_of(three).model_dump()), "skipped"))[0] == 200
    told = get(browser, path_of(one["sample_id"]), "bob")
    assert (told["label"], told["verdict"], told["revision"], told["reviewed_by"]) == (edited, "accepted", 1, "ann")
    assert told["original"] == plain(label_of(one).model_dump())
    queue = get(browser, "api/queue?kind=all")
    states = {item["sample_id"]: (item["verdict"], item["revision"]) for item in queue["items"] if item["revision"]}
    assert states == {
        one["sample_id"]: ("accepted", 1), two["sample_id"]: ("rejected", 1), three["sample_id"]: ("skipped", 1),
    }  # fmt: skip
    assert (queue["total"], queue["done"]) == (24, 2)
    progress = get(browser, "api/progress")
    assert progress == {
        "total": 24, "done": 2, "accepted": 1, "rejected": 1, "skipped": 1, "edited": 1,
        "reviewers": [{"name": "ann", "done": 1, "median_seconds": 1.5}, {"name": "bob", "done": 1, "median_seconds": 1.5}],
    }  # fmt: skip
    [entry] = get(browser, path_of(one["sample_id"], "history"))["entries"]
    assert (entry["revision"], entry["reviewer"], entry["action"], entry["verdict"]) == (1, "ann", "accept", "accepted")
    assert (entry["label"], entry["seconds"], entry["set_aside"]) == (edited, 1.5, False)


def test_a_conflict_is_shown_and_the_late_edit_kept(data: Dataset, browser: TestClient) -> None:
    row = person(data)
    ours = {**plain(label_of(row).model_dump()), "comment": "ours"}
    theirs = {**ours, "comment": "theirs"}
    put(browser, row["sample_id"], body(0, ours), "ann")
    status, told = put(browser, row["sample_id"], body(0, theirs, "rejected"), "bob")
    assert status == 409
    assert told["current"] == {"label": ours, "verdict": "accepted", "revision": 1, "reviewer": "ann"}
    entries = get(browser, path_of(row["sample_id"], "history"))["entries"]
    assert [(e["reviewer"], e["set_aside"], e["label"]["comment"]) for e in entries] == [
        ("ann", False, "ours"), ("bob", True, "theirs"),
    ]  # fmt: skip
    assert entries[1]["id"] == told["kept"]
    assert get(browser, path_of(row["sample_id"]))["label"] == ours
    assert put(browser, row["sample_id"], body(1, theirs, "rejected"), "bob") == (200, {"revision": 2})


def test_queues_come_in_pieces(data: Dataset, browser: TestClient) -> None:
    everybody = [item["sample_id"] for item in get(browser, "api/queue?kind=all")["items"]]
    pieces = [get(browser, f"api/queue?kind=all&offset={offset}&limit=7") for offset in range(0, 24, 7)]
    assert [item["sample_id"] for piece in pieces for item in piece["items"]] == everybody
    assert {piece["total"] for piece in pieces} == {24}
    row = next(row for row in rows_of(data.root) if row["sample_id"] == everybody[0])
    put(browser, everybody[0], body(0, plain(label_of(row).model_dump())))
    assert get(browser, "api/queue?kind=all")["first_open"] == 1
    assert get(browser, "api/queue?kind=undone")["total"] == 23
    for wrong in ("offset=-1", "limit=x", "offset=99999999999", "kind=none", "kind=random&value=x"):
        answer = browser.get(f"api/queue?{wrong}")
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("Expected")


def test_ids_may_hold_anything(tmp_path: Path) -> None:
    root = tmp_path / "odd"
    changed = sound_dataset(root, people=1)
    rows = rows_of(root)
    odd = "a/b c?d#é\u2028"
    rows[0]["sample_id"] = odd
    changed = write_sound(root, changed, rows)
    store = opened(changed)
    with client(changed, store) as browser:
        assert get(browser, path_of(odd))["sample_id"] == odd
        assert put(browser, odd, body(0, plain(label_of(rows[0]).model_dump())), "zoë/ß")[1] == {"revision": 1}
        assert get(browser, path_of(odd))["reviewed_by"] == "zoë/ß"
        assert len(get(browser, path_of(odd, "history"))["entries"]) == 1
    store.close()


def test_only_a_split_is_under_review_where_asked(data: Dataset, store: Store) -> None:
    chosen = data.select(split="test", suite="mixed")
    with client(chosen, store) as browser:
        assert get(browser, "api/session")["dataset"]["people"] == 6
        assert get(browser, "api/progress")["total"] == 6
        train = next(row for row in rows_of(data.root) if row["split"] == "train")
        assert browser.get(path_of(train["sample_id"])).status_code == 404
        assert browser.get(path_of(train["panorama_id"], "panorama")).status_code == 404


def test_the_result_is_written_beside(tmp_path: Path) -> None:
    data = sound_dataset(tmp_path / "data", people=1)
    store = opened(data)
    row = person(data)
    with client(data, store) as browser:
        said = {**plain(label_of(row).model_dump()), "ambiguous": True}
        put(browser, row["sample_id"], body(0, said))
        answer = browser.post("api/result", content='{"bump": "minor"}', headers=as_reviewer("ann"))
        assert answer.json() == {
            "path": str(tmp_path / "data-1.1.0"), "version": "1.1.0", "changes": {"ambiguous flag": 1}, "left": {},
        }  # fmt: skip
        assert Dataset.open(tmp_path / "data-1.1.0").info.version == "1.1.0"
        again = browser.post("api/result", content='{"bump": "minor"}', headers=as_reviewer("ann"))
        assert again.status_code == 400
        assert "Expected no folder" in again.json()["error"]
        for content in ('{"bump": "major"}', "", "[]", '{"path": "/etc"}'):
            assert browser.post("api/result", content=content, headers=as_reviewer("ann")).status_code == 400
        assert browser.post("api/result", content="{}", headers=HEADERS).status_code == 400  # by nobody
    store.close()


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_panoramas_are_served_on_the_stored_grid_and_kept(data: Dataset, browser: TestClient, monkeypatch: Any) -> None:
    row = person(data)
    answer = browser.get(path_of(row["panorama_id"], "panorama") + "?width=4096")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert decoded(answer.content).shape == (64, 128, 3)
    monkeypatch.setattr(pictures, "read_image", lambda _: pytest.fail("decoded twice"))
    assert browser.get(path_of(row["panorama_id"], "panorama")).content == answer.content
    assert browser.get(path_of(row["panorama_id"], "panorama") + "?width=wide").status_code == 400
    assert browser.get(path_of("../data", "panorama")).status_code == 404


def test_panoramas_that_are_none_are_told(tmp_path: Path) -> None:
    data = sound_dataset(tmp_path / "data", people=1)
    rows = rows_of(data.root)
    (data.root / rows[0]["image_path"]).write_bytes(b"GIF89a nothing")
    (data.root / rows[1]["image_path"]).unlink()
    store = opened(data)
    with client(data, store) as browser:
        for row, why in ((rows[0], "neither JPEG nor PNG"), (rows[1], "photo is missing")):
            answer = browser.get(path_of(row["panorama_id"], "panorama"))
            assert answer.status_code == 400
            assert why in answer.json()["error"]
            assert str(tmp_path) not in answer.json()["error"]
    store.close()


def test_paths_lead_nowhere_but_into_the_dataset(tmp_path: Path) -> None:
    data = sound_dataset(tmp_path / "data", people=1)
    write_image(tmp_path / "secret.jpg", np.zeros((64, 128, 3), np.uint8))
    rows = rows_of(data.root)
    for index, path in enumerate(("../secret.jpg", str(tmp_path / "secret.jpg"))):
        rows[index]["image_path"] = path
    from srgaze360.dataset_writer import write_dataset

    write_dataset(data.root, data.info, rows)
    data = Dataset.open(data.root)
    store = opened(data)
    with client(data, store) as browser:
        for row in rows[:2]:
            answer = browser.get(path_of(row["panorama_id"], "panorama"))
            assert answer.status_code == 400
            assert "Expected a relative path that stays inside" in answer.json()["error"]
    store.close()


# --- predictions ------------------------------------------------------------------------------------------------------


def predictions_file(
    data: Dataset, path: Path, name: str = "oracle", *, split: str = "test", heatmap: bool = True, of: JSON | None = None
) -> Path:
    rows = data.select(split=split)
    table = rows.annotations[["sample_id"]].copy()
    table["gaze_lon_deg"], table["gaze_lat_deg"] = np.linspace(-179, 179, len(rows)), 10.0
    maps = np.zeros((len(rows), 64, 128), np.float16)
    maps[:, 20, 30] = 1.0
    info = {"name": data.info.name, "version": data.info.version, "digest": data.info.label_digest, **(of or {})}
    header = PredictionHeader(dataset=DatasetKey(**info), split=split, predictor=PredictorCard(name=name))
    write_predictions(path, Predictions(header, table, maps if heatmap else None))
    return path


def test_predictions_are_shown_by_name(data: Dataset, store: Store, tmp_path: Path) -> None:
    files = [
        predictions_file(data, tmp_path / "a.parquet", "a/b"),
        predictions_file(data, tmp_path / "b.parquet", "a/b", heatmap=False),
    ]
    predicted = read_all(files, data)
    test = data.select(split="test").annotations["sample_id"].tolist()
    train = data.select(split="train").annotations["sample_id"].tolist()
    with client(data, store, predicted=predicted) as browser:
        assert get(browser, "api/session")["predictions"] == ["a/b", "a/b (2)"]
        told = get(browser, path_of(test[0]))["predictions"]
        assert told == [
            {"name": "a/b", "lon_deg": -179.0, "lat_deg": 10.0, "heatmap": True},
            {"name": "a/b (2)", "lon_deg": -179.0, "lat_deg": 10.0, "heatmap": False},
        ]
        assert get(browser, path_of(train[0]))["predictions"] == []
        answer = browser.get(f"api/heatmap/{quote('a/b', safe='')}/{quote(test[0], safe='')}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        alpha = decoded(answer.content)[..., 3]
        assert np.unravel_index(np.argmax(alpha), alpha.shape)[0] // 4 == 20
        for wrong in (f"a%2Fb%20(2)/{test[0]}", f"a%2Fb/{train[0]}", "a%2Fb/nobody", "nothing", "a%2Fb/"):
            assert browser.get(f"api/heatmap/{wrong}").status_code == 404


def test_predictions_of_something_else_are_refused(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    for key, match in (
        (
            {"digest": "f" * 64},
            r"Expected predictions for fake 1.0.0 \(label digest .*, found them for fake 1.0.0 \(ffffffffffff\)",
        ),
        ({"version": "2.0.0"}, "found them for fake 2.0.0"),
        ({"name": "other"}, "found them for other 1.0.0"),
    ):
        with pytest.raises(InputError, match=match):
            read_all([predictions_file(data, path, of=key)], data)
    predictions_file(data, path, split="train")
    with pytest.raises(InputError, match="Expected predictions of a split of .*, found them of 'train'"):
        read_all([path], data.select(split="test"))  # a dataset without one
    predictions_file(data.select(suite="mixed"), path)
    with pytest.raises(InputError, match="found 12 missing: "):
        read_all([path], data)
    with pytest.raises(InputError, match="12 of people who are not in that split"):
        read_all([predictions_file(data, path)], data.select(suite="mixed"))


# --- blind ------------------------------------------------------------------------------------------------------------


def everything(browser: TestClient, sample_id: str, reviewer: str) -> str:
    """All that a reviewer can get to read about a person."""
    paths = [path_of(sample_id), path_of(sample_id, "history"), "api/session", "api/progress"]
    kinds = get(browser, "api/session", reviewer)["queues"]
    paths += [f"api/queue?kind={queue['kind']}" for queue in kinds if queue["kind"] not in ("condition", "filter")]
    return json.dumps([get(browser, path, reviewer) for path in paths])


def test_blind_reviewers_are_told_nothing_of_others(data: Dataset, store: Store, tmp_path: Path) -> None:
    row = next(row for row in rows_of(data.root) if row["split"] == "test" and row["gaze_points_deg"])
    name = row["sample_id"]
    findings = [one for one in lint(data.root).findings if one.sample_id == name]
    assert findings
    predicted = read_all([predictions_file(data, tmp_path / "p.parquet", "secret-model")], data)
    with client(data, store) as open_one:  # another reviewer, not blind
        said = {**plain(label_of(row).model_dump()), "comment": "hush", "gaze_points_deg": [[12.345, 6.789]]}
        assert put(open_one, name, body(0, said, "rejected"), "bob")[0] == 200
    with client(data, store, findings=findings, predicted=predicted, suspects={name: 0.123}, blind=True) as browser:
        told = everything(browser, name, "ann")
        for secret in ("12.345", "hush", "bob", ': "rejected"', "secret-model", findings[0].evidence, "0.123"):
            assert secret not in told, secret
        for column in ("gaze_lon_deg", "gaze_lat_deg"):
            assert str(row[column]) not in told
        assert all(str(lon) not in told for lon, _ in row["gaze_points_deg"])
        person = get(browser, path_of(name))
        assert person["label"] == person["original"] == {
            "head_box": list(label_of(row).head_box or ()), "gaze_points_deg": [], "gaze_annotators": [], "in_frame": None,
            "ambiguous": False, "bad_image": False, "comment": "",
        }  # fmt: skip
        assert (person["revision"], person["verdict"], person["findings"], person["predictions"]) == (0, None, [], [])
        assert not {"gaze_band", "crosses_seam", "in_frame"} & person["facts"].keys()
        assert browser.get(f"api/heatmap/secret-model/{quote(name, safe='')}").status_code == 404
        assert browser.get("api/queue?kind=lint").status_code == 400
        own = {**person["label"], "gaze_points_deg": [[1.5, 2.5]]}
        assert put(browser, name, body(0, own), "ann") == (200, {"revision": 2})
        assert get(browser, path_of(name))["label"] == own
        status, conflict = put(browser, name, body(0, {**own, "comment": "elsewhere"}), "ann")
        assert (status, conflict["current"]["label"]) == (409, own)
        for secret in ("12.345", "hush", "bob"):
            assert secret not in everything(browser, name, "ann") + json.dumps(conflict)
        assert get(browser, "api/progress")["done"] == 1
        assert get(browser, "api/progress", "cid")["done"] == 0
    last = store.last(name)
    assert last is not None
    assert last.label.gaze_points_deg == ((12.345, 6.789), (1.5, 2.5))
    assert last.label.gaze_annotators == ("", "ann")
    with client(data, store) as open_one:  # who is not blind sees what counts
        assert get(open_one, path_of(name), "bob")["label"]["gaze_points_deg"] == [[12.345, 6.789], [1.5, 2.5]]


# --- what is refused --------------------------------------------------------------------------------------------------


def bare(data: Dataset, store: Store) -> TestClient:
    from annotation.review.desk import Desk
    from annotation.review.guard import Guard
    from annotation.review.server import Server

    return TestClient(Guard(Server(Desk(data, store)).app(), TOKEN), base_url="http://127.0.0.1:8360")


def test_nothing_without_the_token(data: Dataset, store: Store) -> None:
    outside = bare(data, store)
    for path in ("/", "/api/session", f"/{TOKEN}", f"/{TOKEN}x/", f"/x/{TOKEN}/", "/..%2f", f"/{TOKEN.upper()}/", "/é/", "//"):
        answer = outside.get(path, follow_redirects=False)
        assert answer.status_code == 404, path
        assert answer.json() == {"error": "Not found."}
    assert outside.get(f"/{TOKEN}/").status_code == 200


def test_only_this_page_can_change_anything(data: Dataset, browser: TestClient) -> None:
    row = person(data)
    path, content = path_of(row["sample_id"]), body(0, plain(label_of(row).model_dump()))
    good = {**as_reviewer("ann"), "Origin": "http://localhost:8360", "Sec-Fetch-Site": "same-origin"}
    for change, status in (
        ({"X-SRGaze360": None}, 403),
        ({"X-SRGaze360": "2"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": None}, 415),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:9999"}, 403),  # another server on this machine
        ({"Origin": "null", "Sec-Fetch-Site": None}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"X-Annotator": None}, 400),
        ({"X-Annotator": "%0a"}, 400),
        ({"X-Annotator": "x" * 65}, 400),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": ""}, 403),
    ):
        headers = {name: value for name, value in {**good, **change}.items() if value is not None}
        answer = browser.put(path, content=content, headers=headers)
        assert answer.status_code == status, change
        assert answer.json()["error"]
    assert get(browser, path)["revision"] == 0
    assert browser.put(path, content=content, headers=good).status_code == 200
    assert browser.put(path, content=content, headers={**good, "Origin": "null"}).status_code == 200


def test_large_bodies_are_refused(data: Dataset, browser: TestClient) -> None:
    path = path_of(person(data)["sample_id"])
    huge = b" " * (MAX_BODY_BYTES + 1)
    assert browser.put(path, content=huge, headers=as_reviewer("ann")).status_code == 413
    assert (
        browser.put(path, content=iter([huge[:100_000]] * 4), headers=as_reviewer("ann")).status_code == 413
    )  # no length given
    assert browser.put(path, content=huge[:-1], headers=as_reviewer("ann")).status_code == 400


def test_what_no_label_can_be_is_told_and_not_saved(data: Dataset, browser: TestClient) -> None:
    row = person(data)
    said = plain(label_of(row).model_dump())
    for wrong in ({**said, "gaze_points_deg": [[181, 0]], "gaze_annotators": []}, {**said, "head_box": [0.5, 0.5, 0.4, 0.6]}):
        status, told = put(browser, row["sample_id"], body(0, wrong))
        assert status == 400
        assert told["error"].startswith("Expected a label that a dataset can have, found one with")
    assert put(browser, row["sample_id"], "{}")[0] == 400
    assert put(browser, "nobody", body(0, said))[0] == 404
    assert get(browser, path_of(row["sample_id"], "history"))["entries"] == []


def test_every_answer_carries_the_security_headers(data: Dataset, browser: TestClient) -> None:
    row = person(data)
    panorama = path_of(row["panorama_id"], "panorama")
    answers = [
        browser.get(path) for path in ("", "api/session", "api/nothing", panorama, "static/index.html", "static/../server.py")
    ]
    answers += [
        browser.put(path_of(row["sample_id"])),
        browser.delete("api/session", headers=HEADERS),
        browser.options("api/session"),
    ]
    answers += [browser.get("http://localhost:8360/"), browser.get("api/session", headers={"Host": "evil.example"})]
    answers += [browser.post("api/session", headers=HEADERS), browser.head("api/session")]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 200, 200, 404, 403, 405, 403, 404, 403, 405, 200]
    for answer in answers:
        for name, value in SECURITY.items():
            assert answer.headers[name] == value
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_a_failure_of_ours_is_told_without_its_inside(
    data: Dataset, store: Store, browser: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(store, "history", fails)
    answer = browser.get(path_of(person(data)["sample_id"], "history"))
    assert answer.status_code == 500
    assert "inside" not in answer.text
    assert answer.headers["content-security-policy"] == SECURITY["Content-Security-Policy"]
    assert "the inside" in caplog.text  # the terminal has it
    assert TOKEN not in caplog.text
    assert browser.get("api/session").status_code == 200


def test_only_files_of_the_page_are_served(browser: TestClient) -> None:
    files = page_files()
    assert "index.html" in files
    for name, (path, kind) in files.items():
        answer = browser.get(f"static/{name}")
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"] == kind
        assert path.is_relative_to(REPOSITORY / "annotation" / "review" / "page")
    for name in ("../desk.py", "..%2Fdesk.py", "%2e%2e/desk.py", "/etc/passwd", "index.html%00", "", "vendor", "index.html/"):
        assert browser.get(f"static/{name}").status_code == 404, name


def test_what_is_no_file_of_a_page_is_not_in_its_table(tmp_path: Path) -> None:
    for name in ("index.html", "a.js", "vendor/b.css", "notes.md", "run.py", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert list(page_files(tmp_path)) == ["a.js", "index.html", "vendor/b.css"]
