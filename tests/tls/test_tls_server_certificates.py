# SPDX-License-Identifier: MIT
"""smtpd-tls --serve: its certificates, new ones while it runs, and tickets."""

import os
import shutil
import ssl
import time
from pathlib import Path

import pytest
from conftest import everybodys, let_everybody_reach, need_root
from tls import NAME, Server, client_context, engine, engine_of, folder, issued
from tls_server import SHAPES, ours, path_of

_ = engine, folder, ours  # fixtures


def serial(one):
    return ssl.DER_cert_to_PEM_cert(one.peer.getpeercert(binary_form=True))


def changed(path, source, is_old=True):
    """As who renews it does: a file of another inode."""
    new = Path(f"{path}.new")
    shutil.copy(source, new)
    os.rename(new, path)


@SHAPES
def test_new_certificate(engine, folder, tmp_path, shape):
    old, new = issued(tmp_path), issued(folder, "new.example")
    with Server([engine, *old.options], path_of(shape, tmp_path)) as server:
        server.wait_until_ready()
        with server.ask() as one:
            one.talk()
            was = serial(one)
        changed(old.key, new.key)
        with server.ask() as one:  # half of it, and fresh: nobody is served worse for that
            one.talk()
            assert serial(one) == was
        changed(old.certificate, new.certificate)
        time.sleep(3)
        assert server.process.poll() is None
        with server.ask() as one:
            one.talk()
            assert serial(one) == was
            status, log = server.end()
            assert (status, log) == (0,
                                     "smtpd: TLS: new certificate or key: "
                                     "restarting\n")
            one.clear.sendall(b"still here")
            assert one.peer.recv(100) == b"still here"
        server.process.stderr.close()
        server.start()
        server.wait_until_ready()
        with server.ask() as one:
            one.talk()
            assert serial(one) != was


def test_new_certificate_that_cannot_be_read(smtpd, folder, tmp_path):
    """By another user, as which it goes on, and says so once."""
    need_root()
    old, new = issued(tmp_path), issued(folder, "newer.example")
    let_everybody_reach(tmp_path)
    with (everybodys(smtpd) as program,
          Server([engine_of(program), *old.options, "--user=nobody"]) as server):
        server.wait_until_ready()
        assert f"Uid:\t{65534}\t" in Path(f"/proc/{server.process.pid}/status").read_text()
        changed(old.key, new.key)
        changed(old.certificate, new.certificate)
        time.sleep(3)
        for _ in range(3):
            with server.ask() as one:
                one.talk()
        server.process.terminate()
        status, log = server.end()
        assert status == 0 and log.count("\n") == 1 and "this user may not read it" in log


def test_self_signed_of_the_server(engine):
    """For the name that it is told, new each time."""
    found = []
    for _ in range(2):
        with Server([engine, "--certificate=self-signed", f"--hostname={NAME}"]) as server:
            server.wait_until_ready()
            with server.ask() as one:
                one.talk()
                found.append(serial(one))
            context = ssl.create_default_context(cadata=found[-1])
            with server.ask() as one:
                one.talk(context, name=NAME)
    assert found[0] != found[1]
    with Server([engine, "--certificate=self-signed", "--hostname=a,DNS:b"]) as server:
        assert server.end()[0] == 78


@pytest.mark.parametrize("options, status, said", [
    (["--certificate=/nonexistent"], 78,
     "cannot read the certificate /nonexistent: No such file or directory"),
    (["--certificate=self-signed", "--hostname=x", "--user=nosuchuser"], 78,
     "no such user")])
def test_cannot_start(engine, options, status, said):
    with Server([engine, *options]) as server:
        assert os.read(server.ready_fd, 100) == b""
        found, log = server.end()
        assert found == status and said in log


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                         ids=["1.2", "1.3"])
def test_tickets(engine, ours, version):
    """One that a client got from one child is read by the next, and by no other server."""
    context = client_context(minimum_version=version, maximum_version=version)
    with Server([engine, *ours.options]) as server, Server([engine, *ours.options]) as other:
        with server.ask() as one:
            one.talk(context)
            assert not one.peer.session_reused
            session = one.peer.session
            assert session.has_ticket
        with server.ask() as one:
            one.talk(context, session=session)
            assert one.peer.session_reused
        with other.ask() as one:
            one.talk(context, session=session)
            assert not one.peer.session_reused
