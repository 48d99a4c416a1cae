# SPDX-License-Identifier: MIT
"""An acceptor that root has started becomes a user once its sockets are open, and no capability
stays."""

import pytest
from accepting import MESSAGE
from acceptor import NOBODY, Acceptor, copy_of, folder, network, start_that_fails
from conftest import need, need_root
from session import wait_until

_ = folder  # a fixture


def privileges(pid):
    with open(f"/proc/{pid}/status") as lines:
        return {k: v.split() for k, v in (line.rstrip("\n").split(":", 1) for line in lines)
                if k in ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb")}


NONE = {"Uid": ["65534"] * 4, "Gid": ["65534"] * 4, "Groups": [],
        **{f"Cap{k}": ["0" * 16] for k in ("Inh", "Prm", "Eff", "Amb")}}


@pytest.mark.parametrize("options", [[], ["--user=nobody"]], ids=["default", "nobody"])
@pytest.mark.parametrize("prefix",
                         [[],
                          ["setpriv", "--inh-caps=+net_admin,+kill",
                           "--ambient-caps=+net_admin,+kill"],
                          ["setpriv", "--securebits=+no_setuid_fixup"]],
                         ids=["root", "ambient-capabilities", "capabilities-that-stay"])
def test_root_is_given_up(smtpd, folder, options, prefix):
    """Once the sockets are open, whatever is kept by whoever started us."""
    need_root()
    with network(), Acceptor(smtpd, folder, *options, listen="127.0.0.1:25",
                             prefix=prefix and [need("setpriv"), *prefix[1:]],
                             extra_groups=[4, 24,
                                           27]) as acceptor, acceptor.client("EHLO") as client:
        (session,) = acceptor.sessions()
        assert privileges(acceptor.pid) == privileges(session) == NONE
        assert client.send_message(MESSAGE).startswith(b"250 ")


def test_no_capability_is_left_to_a_user(release, folder):
    """Started as somebody with a capability for the port: sessions do without."""
    need_root()
    prefix = [need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups",
              "--inh-caps=+net_bind_service",
              "--ambient-caps=+net_bind_service"]
    with (network(),
          Acceptor(copy_of(release, folder), folder, listen="127.0.0.1:25",
                   prefix=prefix) as acceptor, acceptor.client("EHLO")):
        (session,) = acceptor.sessions()
        assert privileges(session) == NONE


def test_unknown_user_of_an_acceptor(smtpd, folder):
    need_root()
    status, said = start_that_fails(smtpd, folder, "--user=no-such-user")
    assert status == 78
    assert b"user=no-such-user: no such user; name one that exists" in said


def test_user_is_not_for_others_than_root(release, folder):
    need_root()
    with Acceptor(release, folder, "--user=daemon", **NOBODY) as acceptor:
        assert privileges(acceptor.pid) == NONE


def test_program_where_the_user_cannot_reach_it(release, folder):
    """Either sessions can be started, or that they cannot is found out at the start."""
    need_root()
    (folder / "private").mkdir(mode=0o700)
    acceptor = Acceptor(copy_of(release, folder / "private"), folder, wait=False)
    with acceptor:
        wait_until(lambda: acceptor.process.poll() is not None or b"listening" in acceptor.err(),
                   "a decision")
        if acceptor.process.poll() is None:
            assert acceptor.serve_one() == b"250 2.0.0 printed"
        else:
            assert acceptor.status() in (75, 78)
