"""A dataset in an object store, over HTTP against a real server: the rules of a directory hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import guards
from guards import remote
from guards.cli import main
from guards.errors import NothingToExamine, UnsafeTree, UsageError
from guards.provenance import proof
from guards.provenance.manifest import parse
from guards.provenance.signing import parse_envelope
from guards.provenance.snapshot import take
from guards.remote import is_url, located, open_remote

s3fs = pytest.importorskip("s3fs", reason="needs the extra `remote`")
moto_server = pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
SECRET = "do-not-print-me"


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Bucket:
    """A bucket of its own, and what is put into it key by key, as no file system would."""

    def __init__(self, name: str, client: Any) -> None:
        self.name, self.client = name, client
        client.create_bucket(Bucket=name)

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def put_tree(self, root: Path) -> None:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                self.put(f"{root.name}/{path.relative_to(root).as_posix()}", path.read_bytes())

    def url(self, key: str) -> str:
        return f"s3://{self.name}/{key}"


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: Any) -> Bucket:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    import botocore.session

    client = botocore.session.get_session().create_client("s3", endpoint_url=endpoint)
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:40].strip("-")
    return Bucket(f"{name}-{abs(hash(request.node.name)) % 10**6}", client)


@pytest.fixture
def stored(bucket: Bucket, spine: Any) -> Bucket:
    """The spine's signed dataset, put into the bucket as it lies on the disk."""
    bucket.put_tree(spine.batch)
    bucket.put("batch.manifest.json", spine.manifest.read_bytes())
    return bucket


def codes(proof: Any) -> list[tuple[str, str]]:
    return sorted((problem.code, problem.path) for problem in proof.problems)


def test_a_store_is_named_as_a_directory_is(stored, spine):
    assert open_remote(stored.url("batch")).take().snapshot == take(spine.batch).snapshot
    assert open_remote(stored.url("batch/")).take().snapshot == take(spine.batch).snapshot
    one = next(iter(take(spine.batch).snapshot.files)).path
    single = open_remote(stored.url(f"batch/{one}"))
    assert single.single()
    assert single.take().snapshot == take(spine.batch / one).snapshot


def test_verify_reads_the_claim_beside_it_and_no_neighbour(stored, spine):
    stored.put("batch2/x.csv", b"x\n1\n")
    stored.put("batch.csv", b"x\n1\n")
    found = guards.verify(stored.url("batch"), trust=spine.trust_dir)
    assert found, found.problems
    assert len(found.found.files) == len(take(spine.batch).snapshot.files)


def test_each_object_is_read_once(stored, spine, monkeypatch):
    read: list[tuple[str, int, int]] = []
    fetch = s3fs.core.S3File._fetch_range

    def spied(self: Any, start: int, end: int) -> bytes:
        read.append((self.path, start, end))
        return bytes(fetch(self, start, end))

    monkeypatch.setattr(s3fs.core.S3File, "_fetch_range", spied)
    stored.put("big/a.bin", bytes(remote.CHUNK) + b"more")
    walked = open_remote(stored.url("big")).take()
    assert sorted(read) == [
        (f"{stored.name}/big/a.bin", 0, remote.CHUNK),
        (f"{stored.name}/big/a.bin", remote.CHUNK, remote.CHUNK + 4),
    ]
    assert len(walked.snapshot.files[0].chunks) == 2


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        ("changed", "changed-file"),
        ("extra", "extra-file"),
        ("missing", "missing-file"),
        ("truncated", "truncated-file"),
    ],
)
def test_what_was_changed_in_the_store_is_refused(stored, spine, attack, told):
    path = take(spine.batch).snapshot.files[0].path
    data = (spine.batch / path).read_bytes()
    match attack:
        case "changed":
            stored.put(f"batch/{path}", bytes([data[0] ^ 1]) + data[1:])
        case "extra":
            stored.put("batch/new.csv", b"x\n1\n")
        case "missing":
            stored.delete(f"batch/{path}")
        case _:
            stored.put(f"batch/{path}", data[:-1])
    found = guards.verify(stored.url("batch"), trust=spine.trust_dir)
    assert not found
    assert told in {code for code, _ in codes(found)}


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("../up.csv", "name-deceptive"),
        ("a/./b.csv", "name-deceptive"),
        ("a//b.csv", "name-deceptive"),
        (".hidden", "hidden"),
        (".git/config", "hidden"),
        ("bell\x07.csv", "name-unprintable"),
        ("wo\u202erd.csv", "name-deceptive"),
        ("C:evil.csv", "name-deceptive"),
        ("back\\slash.csv", "name-deceptive"),
        ("dot.", "name-deceptive"),
        ("x" * 256, "path-too-long"),
        ("a/" * 70 + "b.csv", "path-too-long"),
    ],
)
def test_keys_that_are_no_paths_are_refused_unread(bucket, monkeypatch, key, told):
    """Attacks 1 and 5: a key may be anything; it is refused by name and never opened."""
    bucket.put("data/good.csv", b"x\n1\n")
    bucket.put(f"data/{key}", b"evil")
    found = open_remote(bucket.url("data"))
    opened: list[str] = []
    real = found._store.open
    monkeypatch.setattr(
        found._store, "open", lambda k, *a, **m: opened.append(k) or real(k, *a, **m)
    )
    walked = found.take()
    assert [problem.code for problem in walked.unsafe] == [told]
    assert [entry.path for entry in walked.snapshot.files] == ["good.csv"]
    assert opened == [f"{bucket.name}/data/good.csv"]


@pytest.mark.parametrize(
    "keys",
    [
        ("A.csv", "a.csv"),
        ("caf\u00e9.csv", "cafe\u0301.csv"),
        ("a", "a/b.csv"),
        ("Dir/x.csv", "dir/y.csv"),
    ],
)
def test_keys_that_would_be_one_file_are_refused(bucket, keys):
    for key in keys:
        bucket.put(f"data/{key}", key.encode())
    walked = open_remote(bucket.url("data")).take()
    assert "name-collision" in {problem.code for problem in walked.unsafe}


def test_markers_of_directories(bucket):
    """Consoles write them: one of no bytes above files says nothing, and any other is told."""
    bucket.put("data/", b"")
    bucket.put("data/full/", b"")
    bucket.put("data/full/x.csv", b"x\n1\n")
    assert not open_remote(bucket.url("data")).take().unsafe
    bucket.put("data/empty/", b"")
    walked = open_remote(bucket.url("data")).take()
    assert [(p.code, p.path) for p in walked.unsafe] == [("empty-directory", "empty")]
    bucket.put("data/full/", b"bytes that nobody lists")
    walked = open_remote(bucket.url("data")).take()
    assert {p.code for p in walked.unsafe} == {"empty-directory", "special-file"}


def test_an_object_that_is_replaced_while_it_is_read_is_told(bucket, monkeypatch):
    """Attack 9: between the listing and the reading, and between the reading and the end."""
    for swap_before in (True, False):
        bucket.put("data/a.csv", b"x\n1\n")
        found = open_remote(bucket.url("data"))
        real = found._store.open

        def swapped(
            key: str, *args: Any, _real: Any = real, _first: bool = swap_before, **more: Any
        ) -> Any:
            if _first:
                bucket.put("data/a.csv", b"x\n2\n")
                return _real(key, *args, **more)
            opened = _real(key, *args, **more)
            read = opened.read

            def last(size: int) -> bytes:
                data = bytes(read(size))
                bucket.put("data/a.csv", b"x\n3\n")
                return data

            opened.read = last
            return opened

        monkeypatch.setattr(found._store, "open", swapped)
        walked = found.take()
        assert [problem.code for problem in walked.unsafe] == ["changed-while-read"]
        assert not walked.snapshot.files


def test_no_more_is_read_than_was_signed(bucket):
    bucket.put("data/a.bin", bytes(100))
    bucket.put("data/b.bin", bytes(1000))
    walked = open_remote(bucket.url("data")).take(most=200)
    assert [problem.code for problem in walked.unsafe] == ["too-large"]
    assert [entry.path for entry in walked.snapshot.files] == ["a.bin"]


def test_sign_writes_the_claim_into_the_store(bucket, spine, keys, tmp_path):
    pl.DataFrame({"x": [1, 2], "label": [0, 1]}).write_csv(tmp_path / "a.csv")
    bucket.put("made/a.csv", (tmp_path / "a.csv").read_bytes())
    url = bucket.url("made")
    key = keys.pem("producer")
    written = guards.sign(url, key=key, name="acme/flights/made", version=1, content=True)
    assert written == url + ".manifest.json"
    manifest = parse(parse_envelope(bucket.get("made.manifest.json")))
    assert manifest.sources[0].uri == url
    assert manifest.rows == 2
    assert guards.verify(url, trust=spine.trust_dir)
    guards.sign(url, key=keys.pem("both"), name="acme/flights/made", version=1, content=True)
    assert len(parse_envelope(bucket.get("made.manifest.json")).signatures) == 2
    bucket.put("made/a.csv", b"x,label\n2,1\n1,0\n")
    found = guards.verify(url, trust=spine.trust_dir, content=True)
    assert codes(found) == [("re-encoded-file", "a.csv")]
    with pytest.raises(UsageError, match="other bytes"):
        guards.sign(url, key=key, name="acme/flights/made", version=1, content=True)


def test_the_list_of_a_large_dataset_goes_with_the_claim(bucket, spine, keys, monkeypatch):
    monkeypatch.setattr("guards.provenance.manifest.INLINE", 1)
    for name in "abc":
        bucket.put(f"made/{name}.csv", b"x,label\n1,0\n")
    url = bucket.url("made")
    guards.sign(url, key=keys.pem("producer"), name="acme/flights/made", version=1)
    assert bucket.get("made.manifest.files.jsonl").count(b"\n") == 3
    assert guards.verify(url, trust=spine.trust_dir)
    bucket.delete("made.manifest.files.jsonl")
    proof._read.cache_clear()  # this process has seen it a moment ago
    assert codes(guards.verify(url, trust=spine.trust_dir))[0] == ("malformed", "manifest")


def test_what_cannot_lie_in_a_directory_is_not_signed(bucket, keys):
    bucket.put("made/a.csv", b"x,label\n1,0\n")
    bucket.put("made/../b.csv", b"x,label\n1,0\n")
    with pytest.raises(UnsafeTree, match="name-deceptive"):
        guards.sign(bucket.url("made"), key=keys.pem("producer"), name="acme/flights/x", version=1)


def test_scan_judges_a_copy(stored, spine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    url = stored.url("batch")
    line = ["scan", url, "--trust", str(spine.trust_dir), "--format", "json", "--quiet"]
    from_store = main(line)
    from_disk = main([*line[:1], str(spine.batch), *line[2:], "--out", str(tmp_path / "disk")])
    assert from_store == from_disk
    seen = [
        json.loads((tmp_path / run / "report.json").read_bytes()) for run in ("batch.run", "disk")
    ]
    assert seen[0]["verdict"]["decision"] == seen[1]["verdict"]["decision"]
    provenance = [
        [told["outcome"] for told in report["examinations"] if told["rule"] == "provenance"]
        for report in seen
    ]
    assert provenance[0] == provenance[1]
    stored.put("batch/../up.csv", b"x\n1\n")
    assert main(line) == 12
    again = (tmp_path / "batch.run" / "report.json").read_text()
    assert "name-deceptive" in again


def test_a_full_disk_is_no_failure_of_the_store(stored, tmp_path, no_file_beyond):
    into = tmp_path / "apart"
    into.mkdir()
    told = r"cannot copy .*: File too large; is there room in /"
    with no_file_beyond(100), pytest.raises(UsageError, match=told):
        open_remote(stored.url("batch")).stage(into)


def test_the_command_verifies_and_signs_a_url(stored, spine, capsys):
    url = stored.url("batch")
    assert main(["verify", url, "--trust", str(spine.trust_dir), "--quiet"]) == 0
    for part in (["--files", "*"], ["--index", "index"]):
        assert main(["verify", url, "--trust", str(spine.trust_dir), *part]) == 2
    assert main(["verify", stored.url("nothing"), "--trust", str(spine.trust_dir)]) == 3
    assert SECRET not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "local:///etc",
        "memory://x/y",
        "simplecache::s3://b/x",
        "zip://x::s3://b/x.zip",
        "http://127.0.0.1/x",
        "https://example.org/x",
        "ftp://example.org/x",
        "reference://x/y",
        "github://a:b@/x",
        "s3://AKIA:do-not-print-me@bucket/x",
        "s3://AKIA@bucket/x",
        "s3://bucket/x?X-Amz-Signature=do-not-print-me",
        "s3://bucket/x#fragment",
        "s3://bucket",
        "s3:///x",
        "s3://bucket/../x",
        "s3://bucket/a//x",
    ],
)
def test_urls_that_are_not_taken(url):
    """Attack 22: no local file by a URL, no chains, no credentials, no web server, no way up."""
    assert is_url(url)
    with pytest.raises(UsageError) as refused, located(url):
        pass
    assert SECRET not in str(refused.value)
    assert "AKIA" not in str(refused.value)


@pytest.mark.parametrize("path", ["data", "./s3:/x", "C:\\x", "a:b", "/a/b", "s3:/x"])
def test_paths_are_no_urls(path):
    assert not is_url(path)


def test_a_failure_says_where_and_no_secret(bucket, monkeypatch):
    for url in (bucket.url("nothing"), "s3://no-such-bucket-anywhere/x"):
        with pytest.raises((NothingToExamine, UsageError)) as refused:
            open_remote(url).take()
        assert url in str(refused.value)
        assert SECRET not in str(refused.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UsageError, match="is the store reachable") as refused:
        open_remote(bucket.url("data")).take()
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
