"""What a server acknowledged is there after it was killed: real servers, real kills, and what they leave behind."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest
from reviewing import Process, as_reviewer, body, opened, path_of, running
from sound import rows_of, sound_dataset, write_sound
from typer.testing import CliRunner

from annotation.commands import annotate
from srgaze360.dataset import Dataset
from srgaze360.errors import SRGaze360Error

ODD = "50%2F a/b?c"  # an id that addresses have to be careful with


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """24 people; every test has its own store."""
    data = sound_dataset(tmp_path_factory.mktemp("saving") / "data", people=6)
    rows = rows_of(data.root)
    rows[1]["sample_id"] = ODD
    return write_sound(data.root, data, rows)


@pytest.fixture
def store_option(tmp_path: Path) -> tuple[str, str]:
    return "--store", str(tmp_path / "store.sqlite")


@pytest.fixture(scope="module")
def live(shared: Dataset) -> Iterator[Process]:
    """A server that runs while the tests of this file do."""
    with running(shared.root, "--store", str(shared.root.with_name("live.sqlite"))) as server:
        yield server


def people_of(data: Dataset) -> list[str]:
    return [str(name) for name in data.annotations["sample_id"]]


def hammer(server: Process, sample_ids: list[str], reviewer: str, acknowledged: list[tuple[str, int, str]]) -> None:
    """Save one decision after the other until the server is gone; note what it acknowledged."""
    number = 0
    try:
        while True:
            for sample_id in sample_ids:
                _, person = server.ask(path_of(sample_id), reviewer=reviewer)
                comment = f"{reviewer} {number}"
                said = body(person["revision"], {**person["label"], "comment": comment})
                status, told = server.ask(path_of(sample_id), method="PUT", data=said, reviewer=reviewer)
                assert status == 200, told
                acknowledged.append((sample_id, told["revision"], comment))
                number += 1
    except (OSError, ValueError):  # killed: refused, reset, or an answer cut short
        return


def test_a_killed_server_loses_nothing_it_acknowledged(shared: Dataset, store_option: tuple[str, str]) -> None:
    """Killed in the middle of many writes by two reviewers, twice over; started again, all of it is there, in order."""
    ids = people_of(shared)
    acknowledged: list[tuple[str, int, str]] = []
    for enough in (25, 60):
        with running(shared.root, *store_option) as server:
            halves = [(ids[:12], "ann"), (ids[12:], "bob")]
            threads = [threading.Thread(target=hammer, args=(server, half, name, acknowledged)) for half, name in halves]
            for thread in threads:
                thread.start()
            while len(acknowledged) < enough and any(thread.is_alive() for thread in threads):
                threads[0].join(0.01)
            server.kill()
            for thread in threads:
                thread.join()
    assert len(acknowledged) >= 60
    store = opened(shared, Path(store_option[1]))
    for sample_id in ids:
        entries = {one.revision: one for one in store.history(sample_id) if not one.set_aside}
        assert sorted(entries) == list(range(1, len(entries) + 1))
        for name, revision, comment in acknowledged:
            if name == sample_id:
                assert entries[revision].label.comment == comment
        # more than was acknowledged may be there: what was written when the kill came, one for each of two reviewers and kills
        assert len(entries) - sum(name == sample_id for name, _, _ in acknowledged) in (0, 1, 2)
    store.close()
    with running(shared.root, *store_option) as server:
        last: dict[str, tuple[int, str]] = {}
        for name, revision, comment in acknowledged:
            last[name] = max(last.get(name, (0, "")), (revision, comment))
        for name, (revision, _) in last.items():
            assert server.ask(path_of(name))[1]["revision"] >= revision


def test_two_servers_on_one_store(shared: Dataset, store_option: tuple[str, str]) -> None:
    """Each sees at once what the other saved, and a conflict between them is one."""
    [name, *_] = people_of(shared)
    with running(shared.root, *store_option) as one, running(shared.root, *store_option) as two:
        _, person = one.ask(path_of(name))
        said = {**person["label"], "comment": "one"}
        assert one.ask(path_of(name), method="PUT", data=body(0, said))[1] == {"revision": 1}
        assert two.ask(path_of(name))[1]["label"]["comment"] == "one"
        late = {**person["label"], "comment": "two"}
        status, told = two.ask(path_of(name), method="PUT", data=body(0, late), reviewer="bob")
        assert (status, told["current"]["reviewer"], told["current"]["label"]["comment"]) == (409, "ann", "one")
        entries = one.ask(path_of(name, "history"))[1]["entries"]
        assert [(entry["label"]["comment"], entry["set_aside"]) for entry in entries] == [("one", False), ("two", True)]
        assert entries[1]["id"] == told["kept"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_told_and_tells_no_secret(shared: Dataset, store_option: tuple[str, str], number: int) -> None:
    with running(shared.root, *store_option, "--annotator", "zoe") as server:
        assert server.ask("api/session", reviewer="")[1]["annotator"] == "zoe"
        assert server.ask("api/nothing")[0] == 404
        assert server.ask(path_of(people_of(shared)[0]), method="PUT", data="{")[0] == 400
        server.process.send_signal(number)
        code = server.process.wait(timeout=30)
        told = server.log.read_text()
        token = server.url.rstrip("/").rpartition("/")[2]
        assert token not in told  # the first line of standard output alone has it
        assert "Traceback" not in told
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""
    if number == signal.SIGINT:
        assert code == 0
        assert "Stopped. Every decision that the page called saved is in" in told
    assert not Path(store_option[1]).with_name("store.sqlite-wal").exists() or number == signal.SIGTERM


def refusal(root: Path, *options: str) -> SRGaze360Error:
    """The error of ``annotate serve`` where it does not start."""
    done = CliRunner().invoke(annotate, ["serve", str(root), "--no-lint", *options])
    assert isinstance(done.exception, SRGaze360Error), done.output
    return done.exception


def test_a_port_in_use_is_told(shared: Dataset, store_option: tuple[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refusal(shared.root, "--port", str(port), *store_option)
    assert error.exit_code == 3
    assert f"Expected port {port} of 127.0.0.1 to be free" in str(error)


def test_what_it_cannot_start_with_is_told(
    shared: Dataset, store_option: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(shared.root, "--store", str(shared.root / "review.sqlite"))
    assert "Expected --store outside of the dataset" in str(error)
    error = refusal(shared.root, "--host", "no.such.host.invalid", *store_option)
    assert (error.exit_code, str(error).startswith("Expected --host to be an address of this machine")) == (2, True)
    error = refusal(shared.root, "--queue", "lunt", *store_option)
    assert "Expected a queue that there is, found 'lunt'" in str(error)
    error = refusal(shared.root, "--queue", "undone", "--where", "suite=mixed", *store_option)
    assert "Expected --where or --queue to begin with, found both" in str(error)
    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == "uvicorn" else find(name, *rest))
    error = refusal(shared.root, *store_option)
    assert (error.exit_code, "Expected uvicorn to be installed" in str(error)) == (3, True)
    assert "pip install 'srgaze360[review]'" in str(error)


def test_other_hosts_are_a_flag_and_a_warning(shared: Dataset, store_option: tuple[str, str]) -> None:
    with running(shared.root, *store_option, "--host", "0.0.0.0") as server:  # noqa: S104
        assert "warning: the review is open to the network on 0.0.0.0, not encrypted" in " ".join(
            server.log.read_text().split()
        )
        port, path = place_of(server)
        for host, status in (("127.0.0.1", 200), ("192.0.2.7", 200), (socket.gethostname(), 200), ("evil.example", 403)):
            assert raw_status(port, f"/{path}api/session", f"{host}:{port}") == status, host


def test_loopback_answers_to_its_own_names_alone(live: Process) -> None:
    port, path = place_of(live)
    for host, status in (("localhost", 200), ("127.0.0.1", 200), ("[::1]", 200), ("192.0.2.7", 403), ("evil.example", 403)):
        assert raw_status(port, f"/{path}api/session", f"{host}:{port}") == status, host
    assert raw_status(port, f"/{path}../../../../etc/passwd", f"localhost:{port}") == 404
    assert raw_status(port, "/", f"localhost:{port}") == 404


def place_of(server: Process) -> tuple[int, str]:
    """Port and path of a server."""
    _, _, host, path = server.url.split("/", 3)
    return int(host.partition(":")[2]), path


def raw_status(port: int, path: str, host: str) -> int:
    """Status of an answer to a request with any host and path, which clients would not send so."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert b"content-security-policy" in answer.lower()
    assert b"access-control" not in answer.lower()
    return int(answer.split()[1])


def test_a_browser_that_is_killed_in_the_middle_of_a_body_changes_nothing(shared: Dataset, live: Process) -> None:
    name = people_of(shared)[1]
    assert name == ODD
    port, path = place_of(live)
    said = body(0, live.ask(path_of(name))[1]["label"]).encode()
    headers = {**as_reviewer("ann"), "Host": f"localhost:{port}", "Content-Length": str(len(said))}
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"PUT /{path}{path_of(name)} HTTP/1.1\r\n{head}\r\n".encode() + said[: len(said) // 2])
    assert live.ask(path_of(name))[1]["revision"] == 0
    assert live.ask(path_of(name), method="PUT", data=said.decode())[0] == 200
    assert "Traceback" not in live.log.read_text()
