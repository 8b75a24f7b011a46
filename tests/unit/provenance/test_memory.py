"""The highest version seen: raised, never lowered, and read strictly."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from guards.errors import Malformed, UsageError
from guards.provenance.manifest import Name
from guards.provenance.memory import Memory


@pytest.fixture
def manifest(spine):
    return spine.verify().manifest


def test_absent_state_remembers_nothing(tmp_path):
    assert Memory(tmp_path / "absent").recall(Name("acme/x")) is None
    assert not (tmp_path / "absent").exists()


def test_memory_only_rises(tmp_path, manifest):
    memory = Memory(tmp_path / "state")
    for version, kept in ((5, 5), (3, 5), (5, 5), (6, 6)):
        memory.remember(dataclasses.replace(manifest, version=version))
        assert memory.recall(manifest.name).version == kept
    assert memory.recall(manifest.name).root == manifest.snapshot.root


def test_each_partition_has_its_own_memory(tmp_path, manifest):
    memory = Memory(tmp_path / "state")
    memory.remember(dataclasses.replace(manifest, version=9))
    assert memory.recall(Name(manifest.name.dataset)) is None
    assert memory.recall(Name(manifest.name.dataset, "2013-02")) is None


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"name":"acme/x","version":-1,"root":"0"}', b"\xff"]
)
def test_a_broken_memory_is_never_first_use(tmp_path, manifest, data):
    memory = Memory(tmp_path)
    memory.remember(manifest)
    [path] = tmp_path.glob("*.json")
    path.write_bytes(data)
    with pytest.raises(Malformed):
        memory.recall(manifest.name)


def test_a_memory_moved_from_another_name_is_refused(tmp_path, manifest):
    memory = Memory(tmp_path)
    memory.remember(manifest)
    [path] = tmp_path.glob("*.json")
    other = dataclasses.replace(manifest, name=Name("acme/other"))
    path.rename(memory._path(other.name))
    with pytest.raises(Malformed, match="another name"):
        memory.recall(other.name)


def test_a_memory_that_cannot_be_written_is_told(tmp_path, manifest):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="state"):
        Memory(tmp_path / "file").remember(manifest)


def test_of_many_writers_the_highest_wins(tmp_path, manifest):
    memory = Memory(tmp_path / "state")
    versions = [dataclasses.replace(manifest, version=v) for v in (7, 3, 12, 1, 9, 12, 4, 2)]
    threads = [threading.Thread(target=memory.remember, args=(m,)) for m in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.recall(manifest.name).version == 12
