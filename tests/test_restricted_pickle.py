"""The reader of pickle files: Python's own reader is the oracle for plain data, and hostile files do nothing at all."""

from __future__ import annotations

import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.sources import restricted_pickle
from builders.sources.restricted_pickle import read_plain_pickle
from srgaze360.errors import InputError

PROTOCOLS = (3, 4, 5)
PLAIN = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=300), st.binary(max_size=300)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), inner, max_size=5),
    ),
    max_leaves=20,
)


def read(folder: Path, data: bytes) -> object:
    (folder / "a.pickle").write_bytes(data)
    return read_plain_pickle(folder / "a.pickle")


def refused(folder: Path, data: bytes, found: str) -> None:
    with pytest.raises(
        InputError, match=rf"Expected numbers, text, .*a\.pickle; found {found}.* at byte \d+\. Such files can run"
    ):
        read(folder, data)


@given(value=PLAIN, protocol=st.sampled_from(PROTOCOLS))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plain_data_are_what_python_reads(value, protocol, tmp_path):
    data = pickle.dumps(value, protocol)
    assert read(tmp_path, data) == pickle.loads(data) == value  # noqa: S301
    assert read(tmp_path, pickletools.optimize(data)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i4", "i8", "<f2", "f4", "f8", ">f4", ">i8"])
def test_arrays_and_scalars_are_what_numpy_stored(dtype, protocol, tmp_path):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for stored in (array, np.asfortranarray(array), array[:, ::2], array[:0], array.T, array.ravel()[:1].reshape(())):
        got = read(tmp_path, pickle.dumps({"a": stored, "again": [stored, (stored,)]}, protocol))
        for one in (got["a"], got["again"][0], got["again"][1][0]):
            assert one.dtype == stored.dtype
            assert one.shape == stored.shape
            np.testing.assert_array_equal(one, stored)
            assert not one.flags.writeable
    assert read(tmp_path, pickle.dumps(array[1, 2, 3], protocol)) == array[1, 2, 3].item()
    old = pickle.dumps(array, 3).replace(b"numpy._core", b"numpy.core")
    np.testing.assert_array_equal(read(tmp_path, old), array)


def test_shared_values_stay_shared(tmp_path):
    shared = ["x"]
    got = read(tmp_path, pickle.dumps([shared, {"a": shared}]))
    assert got[0] is got[1]["a"]


class Calls:
    """An object that pickles into a call of anything."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_calls_are_refused_by_name_and_not_made(protocol, tmp_path):
    marker = tmp_path / "ran"
    payload = Calls(os.system, f"touch {marker}")
    for value in (payload, [{"a": (1, payload)}], Calls(len, payload), {"a": np.ones(3), "b": payload}):
        with pytest.raises(
            InputError,
            match=r"found (a request for (posix|nt)\.system|a request for (_codecs|\w+\.len)|the instruction \w+)",
        ):
            read(tmp_path, pickle.dumps(value, protocol))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Calls(getattr, Calls(getattr, "a", "__class__"), "__mro__"), "builtins.getattr"),
        (Calls(eval, "1"), "builtins.eval"),
        (Calls(np.load, "x"), "numpy.load"),
        (np.random.default_rng(1), "numpy.random"),
        (Path("x"), "pathlib"),
        ({1, 2}, "(the instruction EMPTY_SET|a request for builtins.set)"),
        (bytearray(b"x"), "builtins.bytearray"),
    ],
    ids=["getattr", "eval", "load", "generator", "path", "set", "bytearray"],
)
def test_other_objects_are_refused_by_name(value, name, tmp_path):
    refused(tmp_path, pickle.dumps(value, 4), f".*{name}")


@pytest.mark.parametrize(
    "array",
    [np.array([object()]), np.array(["a"]), np.array([b"a"]), np.zeros(2, "M8[s]"), np.zeros(2, "f4,f4"), np.ones(1, complex)],
)
def test_arrays_of_anything_but_numbers_are_refused(array, tmp_path):
    for protocol in PROTOCOLS:
        with pytest.raises(InputError, match="found (a NumPy array of the type|a request for)"):
            read(tmp_path, pickle.dumps(array if array.dtype != object else np.array([None]), protocol))


def test_instructions_that_call_or_look_up_are_refused(tmp_path):
    marker = tmp_path / "ran"
    command = f"touch {marker}".encode()
    for data, found in (
        (b"cos\nsystem\n(V" + command + b"\ntR.", r"a request for os\.system"),
        (b"(V" + command + b"\nios\nsystem\n.", "the instruction UNICODE"),
        (b"(cos\nsystem\nV" + command + b"\no.", r"a request for os\.system"),
        (b"(ios\nsystem\n.", "the instruction INST"),
        (b"\x80\x02cbuiltins\nexec\n)\x81.", r"a request for builtins\.exec"),
        (b"\x80\x02]]\x81.", "the instruction NEWOBJ"),
        (b"\x80\x02\x82\x01.", "the instruction EXT1"),
        (b"Pid\n.", "the instruction PERSID"),
        (b"\x80\x05\x97.", "the instruction NEXT_BUFFER"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"a request for os\.system"),
        (b"\x80\x04]\x8c\x06system\x93.", r"a request for \[\]\.system"),
        # one of NumPy's names, used as something that it is not
        (b"\x80\x02cnumpy\nndarray\nK\x03\x85R.", "a call of something"),
        (b"\x80\x02cnumpy\nndarray\n.", "a name of NumPy's where a value should be"),
        (b"\x80\x02]cnumpy\ndtype\na.", "a name of NumPy's where a value should be"),
        (b"\x80\x02cnumpy\nndarray\n}b.", "the state of something"),
        (b"\x80\x02}}b.", "the state of something"),
        (b"\x80\x02](K\x01K\x02tR.", "a call of something"),
        (b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R.", r"a NumPy array of the type 'O8'"),
        (
            b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R(K\x03X\x01\x00\x00\x00<}}}J\xff\xff\xff\xffK\x00K\x00tb.",
            "a NumPy type that",
        ),
        (b"\x80\x02}K\x01\x85K\x02s.", "a dictionary's key of the type tuple"),
    ):
        refused(tmp_path, data, found)
    assert not marker.exists()


def test_state_cannot_be_attached_to_names(tmp_path):
    """A second file is read as if the first had never been there."""
    refused(tmp_path, b"\x80\x02cnumpy\nndarray\n}X\x01\x00\x00\x00aK\x01sb.", "the state of something")
    assert read(tmp_path, pickle.dumps(np.ones(2), 3)).tolist() == [1.0, 1.0]


def test_every_truncation_is_an_error_in_words(tmp_path):
    data = pickle.dumps([{"a": np.arange(6.0).reshape(2, 3), "b": np.float32(1), "c": ("x", 1.5)}] * 2, 4)
    for end in range(len(data)):
        with pytest.raises(InputError, match=r"it is damaged, or none \(after byte \d+: .*\)\. Take it from"):
            read(tmp_path, data[:end])


@pytest.mark.parametrize("data", [b"(.", b"\x80\x04(\x94.", b"."])
def test_a_mark_is_no_value(data, tmp_path):
    with pytest.raises(InputError, match="it is damaged, or none .* the stack is empty"):
        read(tmp_path, data)


@given(data=st.binary(max_size=60), place=st.integers(0, 400), value=st.integers(0, 255))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_end_in_words_or_in_plain_data(data, place, value, tmp_path):
    whole = bytearray(pickle.dumps([{"a": np.arange(6.0).reshape(2, 3), "b": np.float32(1), "c": ("x", 1.5)}], 4))
    whole[place % len(whole)] = value
    for damaged in (data + b".", bytes(whole)):
        try:
            got = read(tmp_path, damaged)
        except InputError:
            continue
        assert got is None or isinstance(got, (bool, int, float, str, bytes, bytearray, list, tuple, dict, np.ndarray))


def test_bombs_cost_nothing(tmp_path, monkeypatch):
    laughs = b"\x80\x02]q\x00" + b"".join(b"](" + b"h%c" % n * 100 + b"eq%c" % (n + 1) for n in range(100)) + b"."
    got, depth = read(tmp_path, laughs), 0  # 100^100 repetitions, in 100 lists of 100
    while got:
        got, depth = got[0], depth + 1
    assert depth == 100
    deep = read(tmp_path, b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    assert len(deep) == 1
    assert read(tmp_path, b"\x80\x02Nr\xff\xff\xff\x7f.") is None  # a place far out in the store of values
    shape = pickle.dumps(np.zeros((10, 10), "u1"), 3).replace(b"K\nK\n\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86")
    with pytest.raises(InputError, match=r"an array of shape \(2147483647, 2147483647\) has 100 bytes"):
        read(tmp_path, shape)
    with pytest.raises(InputError, match="it is damaged, or none"):
        read(tmp_path, b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.")  # bytes that are not there
    monkeypatch.setattr(restricted_pickle, "MAX_BYTES", 3)
    with pytest.raises(InputError, match=r"Expected a pickle file of at most 0 MiB .*split it"):
        read(tmp_path, b"\x80\x02N.")
