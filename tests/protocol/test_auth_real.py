# SPDX-License-Identifier: MIT
"""AUTH end to end: real clients, us, and Postfix with Dovecot's SASL."""

import re
import smtplib

import pytest
from acceptor import Acceptor, folder
from auth import CLIENTS, DOVECOT_CONF, NAME, PASSWORD, SASL_CF, has_secret, login, say_by_msmtp
from conftest import need, need_root
from dovecot import for_this_dovecot
from logs import lines
from postfix import SETTINGS, Postfix, take
from proxy import RECEIVED
from servers import folder as shared_folder
from servers import server
from session import wait_until

_ = folder, shared_folder  # fixtures


@pytest.fixture(scope="module")
def postfix(shared_folder):
    """It asks Dovecot who is who, and takes mail of nobody else."""
    need_root()
    program = need("dovecot", "postfix")[0]
    private = shared_folder / "auth"
    settings = SETTINGS.replace(", permit\n", ", permit_sasl_authenticated, reject\n") + SASL_CF
    it = Postfix(private, settings, bounce="discard")
    (private / "dovecot.conf").write_text(
        for_this_dovecot(DOVECOT_CONF.format(folder=private, password=PASSWORD)))
    with (server(private / "dovecot.out", str(private / "queue/sasl"), program, "-F", "-c",
                 str(private / "dovecot.conf")), it):
        yield it


def test_real_clients_and_a_real_upstream(release, folder, postfix):
    """Each mechanism, end to end: swaks, msmtp, curl, smtplib, us, Postfix, Dovecot's SASL."""
    options = ["--strategy=proxy", f"--upstream={postfix.endpoint}", "--auth=upstream",
               "--relay-from=192.0.2.1"]
    with Acceptor(release, folder, *options) as door:
        port = int(door.addresses[0].rpartition(":")[2])
        for client, kind in [*CLIENTS, (say_by_msmtp, "SCRAM-SHA-256"), (None, "")]:
            if client:
                done = client(port, kind)
                assert done.returncode == 0, (client, kind, done, door.err().decode())
            else:
                login(port)
            top = take(postfix)
            assert f"(Authenticated sender: {NAME})".encode() in top
            # a newer msmtp says SMTPUTF8 if it is offered
            assert re.search(rb" with (ESMTP|UTF8SMTP)A id ", RECEIVED.search(top)[0]), top
        with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            login(port, password="wrong")
        assert refusal.value.smtp_code == 535
        wait_until(lambda: len(lines(door.err(), "session")) == 9, "the sessions")
        log = door.err()
    assert {line["auth"] for line in lines(log, "message")} == {b"PLAIN", b"LOGIN",
                                                                b"SCRAM-SHA-256"}
    assert not has_secret(log) and not has_secret(postfix.log().encode())
