"""Repositories: bytes are stored once, commits never change, and nothing reaches outside its folder."""

import hashlib
import io
import os
import subprocess

import pytest
from django.core.files.storage import default_storage

from governance.services import access
from projects.models import Blob, Commit, Ref, Repository
from projects.services import repositories

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


@pytest.fixture
def repository(bob, team):
    return repositories.create(actor=bob, kind="dataset", team=team, name="requests")


def test_store_blob_computes_the_digests_of_sha256sum_and_git(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3_000_000))
    blob = repositories.store_blob(path)
    assert blob.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    git = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True)
    assert blob.git_oid == git.stdout.strip()
    assert blob.size == 3_000_000
    with repositories.open_blob(blob) as file:
        assert file.read() == path.read_bytes()


def test_store_blob_takes_paths_bytes_and_open_files_alike(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"same")
    stored = [repositories.store_blob(source) for source in (path, str(path), b"same", io.BytesIO(b"same"))]
    assert len({blob.pk for blob in stored}) == 1
    assert Blob.objects.count() == 1


def test_store_blob_brings_back_bytes_that_the_store_had_lost():
    blob = repositories.store_blob(b"data")
    default_storage.delete(f"{blob.sha256[:2]}/{blob.sha256[2:4]}/{blob.sha256}")
    with pytest.raises(repositories.Missing, match="backup"):
        repositories.open_blob(blob)
    repositories.store_blob(b"data")
    assert repositories.read_blob(blob) == b"data"


def test_read_blob_refuses_what_is_too_large_to_hold():
    blob = repositories.store_blob(b"12345")
    with pytest.raises(repositories.Invalid, match="5 bytes"):
        repositories.read_blob(blob, limit=4)


def test_commit_gets_forty_hex_digits_and_moves_main(bob, repository):
    one = repositories.store_blob(b"one")
    first = repositories.commit(actor=bob, repository=repository, files={"data/train.parquet": one}, message="First")
    assert len(first.oid) == 40
    assert set(first.oid) <= set("0123456789abcdef")
    second = repositories.commit(actor=bob, repository=repository, files={"data/train.parquet": one}, message="Again")
    assert second.oid != first.oid
    assert second.parent == first
    assert Ref.objects.get(repository=repository, name="main").commit == second
    assert [(f.path, f.sha256, f.git_oid, f.size) for f in first.files.all()] == [
        ("data/train.parquet", one.sha256, one.git_oid, 3)
    ]


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../up", "a/../../b", "a//b", "a/./b", "a\\b", "c:/x", "a\x00b", "a\nb", " a", "a/", "x" * 401],
)
def test_commit_refuses_a_path_that_could_leave_the_folder(bob, repository, path):
    with pytest.raises(repositories.Invalid) as caught:
        repositories.commit(
            actor=bob, repository=repository, files={path: repositories.store_blob(b"x")}, message="Bad"
        )
    assert caught.value.field == "path"
    assert not Commit.objects.exists()


def test_commit_refuses_a_name_that_is_file_and_folder(bob, repository):
    blob = repositories.store_blob(b"x")
    with pytest.raises(repositories.Invalid, match="both a file and a folder"):
        repositories.commit(actor=bob, repository=repository, files={"a": blob, "a/b": blob}, message="Bad")


def test_commit_refuses_an_empty_commit_and_a_foreign_parent(bob, team, repository):
    blob = repositories.store_blob(b"x")
    with pytest.raises(repositories.Invalid, match="at least one file"):
        repositories.commit(actor=bob, repository=repository, files={}, message="Nothing")
    other = repositories.create(actor=bob, kind="dataset", team=team, name="other")
    foreign = repositories.commit(actor=bob, repository=other, files={"a": blob}, message="Elsewhere")
    with pytest.raises(repositories.Invalid, match="another repository"):
        repositories.commit(actor=bob, repository=repository, files={"a": blob}, message="Mixed", parent=foreign)


def test_commit_refuses_people_without_the_right(eve, carol, repository):
    blob = repositories.store_blob(b"x")
    for person in (eve, carol):
        with pytest.raises(access.Denied):
            repositories.commit(actor=person, repository=repository, files={"a": blob}, message="Not mine")


def test_create_refuses_reserved_taken_and_badly_formed_names(bob, team, repository):
    for name in ("api", "requests", "../x", "Über", "", "a" * 65):
        with pytest.raises(repositories.Invalid) as caught:
            repositories.create(actor=bob, kind="dataset", team=team, name=name)
        assert caught.value.field == "name"
    assert repositories.create(actor=bob, kind="model", team=team, name="requests").kind == Repository.Kind.MODEL


def test_materialise_lays_files_out_by_hard_link(bob, repository, tmp_path):
    blob = repositories.store_blob(b"content")
    made = repositories.commit(
        actor=bob, repository=repository, files={"data/a.txt": blob, "README.md": blob}, message="Two"
    )
    laid = repositories.materialise(made, tmp_path / "run")
    assert laid["data/a.txt"].read_bytes() == b"content"
    assert laid["README.md"].stat().st_ino == repositories.local_path(blob).stat().st_ino
    only = repositories.materialise(made, tmp_path / "part", paths=["README.md"])
    assert list(only) == ["README.md"]
    with pytest.raises(repositories.Missing, match="nothing"):
        repositories.materialise(made, tmp_path / "part", paths=["nothing"])


def test_materialise_refuses_bytes_that_were_changed_in_the_store(bob, repository, tmp_path):
    blob = repositories.store_blob(b"content")
    made = repositories.commit(actor=bob, repository=repository, files={"a": blob}, message="One")
    path = repositories.local_path(blob)
    path.chmod(0o600)
    path.write_bytes(b"tampered")
    with pytest.raises(repositories.Damaged, match="sha256"):
        repositories.materialise(made, tmp_path / "run")
    assert not (tmp_path / "run" / "a").exists()


def test_repositories_of_a_team_are_hidden_from_outsiders(eve, carol, bob, repository):
    assert list(Repository.objects.visible_to(bob)) == [repository]
    assert list(Repository.objects.visible_to(carol)) == [repository]
    assert list(Repository.objects.visible_to(eve)) == []
