"""What stops a start is said in one sentence that names the cause and the way out."""

from __future__ import annotations

import os
import shutil
import socket
from collections import namedtuple

import pytest

from portal import preflight


def test_a_busy_port_is_named_with_its_holder_and_another_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(preflight.NotReady) as refusal:
            preflight.check_address("127.0.0.1", port)

    assert f"Port {port} on 127.0.0.1 is in use" in str(refusal.value)
    assert f"(process {os.getpid()})" in str(refusal.value)
    assert f"PORT={port + 1} make run" in str(refusal.value)


def test_a_free_port_passes():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    preflight.check_address("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", 70000, "PORT is 70000"),
        ("192.0.2.1", 8000, "set HOST"),
        ("no such host", 8000, "HOST is 'no such host'"),
    ],
)
def test_an_impossible_address_is_refused(host, port, words):
    with pytest.raises(preflight.NotReady, match=words):
        preflight.check_address(host, port)


def test_a_folder_that_cannot_be_written_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "var").write_text("a file where the folder should be")

    with pytest.raises(preflight.NotReady, match=r"cannot write to .*GATEHOUSE_VAR=/path"):
        preflight.make_folders(tmp_path / "var")


def test_the_folder_is_for_this_user_alone(tmp_path):
    preflight.make_folders(tmp_path / "var")

    assert (tmp_path / "var").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in (tmp_path / "var").iterdir()) == ["incoming", "log", "run"]


def test_a_disk_that_is_nearly_full_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**10, 10**10 - 42_000_000, 42_000_000))

    with pytest.raises(preflight.NotReady, match="has 42 MB left and Gatehouse needs at least 500"):
        preflight.check_space(tmp_path)


def test_a_second_start_on_the_same_folder_names_the_first(tmp_path):
    preflight.make_folders(tmp_path)
    first = preflight.lock(tmp_path, "http://127.0.0.1:8000")

    with pytest.raises(preflight.NotReady, match=rf"process {os.getpid()}, http://127.0.0.1:8000"):
        preflight.lock(tmp_path, "http://127.0.0.1:8001")

    first.close()
    preflight.lock(tmp_path, "http://127.0.0.1:8001").close()


def test_a_missing_or_other_package_is_named_and_development_pins_are_not_asked_for(tmp_path):
    pins = tmp_path / "requirements.txt"
    pins.write_text(
        "# == Runtime ==\nno-such-package==1.0\npytest==0.1  # the runner\n"
        'absent==1 ; python_version < "3"\n# == Development ==\nalso-absent==1\n'
    )

    with pytest.raises(preflight.NotReady) as refusal:
        preflight.check_packages(pins)

    assert "no-such-package is missing, pytest is " in str(refusal.value)
    assert "instead of 0.1" in str(refusal.value)
    assert "absent" not in str(refusal.value)
    assert str(refusal.value).endswith("Run make install.")


def test_the_installed_environment_matches_the_pins():
    from django.conf import settings

    preflight.check_packages(settings.BASE_DIR / "requirements.txt")
