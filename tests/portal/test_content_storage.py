"""The store on a file system holds whole files under their digest, or nothing."""

import hashlib
import os
import stat

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile

from portal.storages.filesystem import ContentStorage, Damaged

DATA = b"one row\n"
DIGEST = hashlib.sha256(DATA).hexdigest()
NAME = f"{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST}"


@pytest.fixture
def storage(tmp_path):
    return ContentStorage(url=f"file://{tmp_path / 'store'}")


def test_saved_content_is_read_back_and_read_only(storage):
    assert storage.save(NAME, ContentFile(DATA)) == NAME
    with storage.open(NAME) as file:
        assert file.read() == DATA
    assert storage.size(NAME) == len(DATA)
    assert not stat.S_IMODE(os.stat(storage.path(NAME)).st_mode) & 0o222


def test_saving_the_same_content_again_writes_nothing(storage):
    storage.save(NAME, ContentFile(DATA))
    before = os.stat(storage.path(NAME)).st_ino
    assert storage.save(NAME, ContentFile(DATA)) == NAME
    assert os.stat(storage.path(NAME)).st_ino == before


def test_bytes_that_do_not_match_their_name_leave_nothing_behind(storage, tmp_path):
    with pytest.raises(Damaged, match="sha256"):
        storage.save(NAME, ContentFile(b"something else"))
    assert not storage.exists(NAME)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


class _Breaks(ContentFile):
    """A source that fails after its first piece, as a lost network share would."""

    def chunks(self, chunk_size=None):
        yield DATA[:3]
        raise OSError("gone")


def test_an_interrupted_save_leaves_nothing_behind(storage, tmp_path):
    with pytest.raises(OSError, match="gone"):
        storage.save(NAME, _Breaks(DATA))
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "ab/cd/../../x", f"00/00/{DIGEST}", NAME.upper(), f"{NAME}/x", "", NAME + "\n"],
)
def test_a_name_that_is_no_content_address_is_refused(storage, name):
    for act in (storage.path, storage.exists, storage.open, storage.delete):
        with pytest.raises(SuspiciousFileOperation):
            act(name)
    with pytest.raises(SuspiciousFileOperation):
        storage.save(name, ContentFile(DATA))


def test_stored_content_cannot_be_opened_for_writing(storage):
    storage.save(NAME, ContentFile(DATA))
    with pytest.raises(SuspiciousFileOperation):
        storage.open(NAME, "r+b")


@pytest.mark.parametrize("url", ["s3://bucket", "/var/store", "file://other-machine/store", "file://relative"])
def test_an_address_that_is_no_local_folder_stops_the_start(url):
    with pytest.raises(ImproperlyConfigured, match="STORAGE_URL"):
        ContentStorage(url=url)
