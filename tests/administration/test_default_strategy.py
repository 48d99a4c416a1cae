# SPDX-License-Identifier: MIT
"""The strategy where none is chosen, and strategies that have nowhere to put a message."""

import os
import shutil
import subprocess

import pytest
from conftest import missing
from options import NOT_CONFIGURED, conf
from session import PATIENCE, Session, environment, replies, run

_ = conf  # a fixture

BY_MANAGER = ["sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh"]  # as the service manager does it


def test_default_strategy_of_a_service(smtpd):
    """journal, whatever standard error is: it is /dev/null if journald could not be reached when
    the service was started."""
    if not os.path.exists(os.path.join(os.path.dirname(smtpd), "smtpd-journal")):
        missing("smtpd-journal was not built: libsystemd is missing")
    argv = [smtpd, "--config=/dev/null", "--check"]
    for prefix, env, strategy in ((BY_MANAGER, {}, b"journal"),
                                  ([], {"SYSTEMD_EXEC_PID": "1"}, b"print"),
                                  ([], {"SYSTEMD_EXEC_PID": ""}, b"print")):
        status, out, err = run([*prefix, *argv], env=environment(**env))
        assert (status, err) == (0, b"") and b"strategy=%s\n" % strategy in out


@pytest.fixture
def without_helper(smtpd, tmp_path):
    """smtpd, as it is where smtpd-journal was not built."""
    if any(os.path.exists(f"/usr/{folder}/smtpd/smtpd-journal") for folder in ("libexec", "lib")):
        pytest.skip("smtpd-journal is installed")
    return shutil.copy(smtpd, tmp_path / "smtpd")


@pytest.mark.parametrize("prefix, options", [([], ["--strategy=journal"]), (BY_MANAGER, [])],
                         ids=["chosen", "default"])
def test_strategy_that_is_not_installed(without_helper, tmp_path, prefix, options):
    """--check says so, and so does the start."""
    argv = [*prefix, without_helper, "--config=/dev/null", *options]
    status, out, err = run([*argv, "--check"])
    assert (status, out) == (78, b"")
    assert err.startswith(b"smtpd: strategy=journal: smtpd-journal is not installed")
    with Session(argv, tmp_path) as session:
        assert replies(session.read_to_end()) == [NOT_CONFIGURED]
        assert session.status() == 78 and session.err() == err
    done = subprocess.run([*argv, "--listen=127.0.0.1:0"], capture_output=True, env=environment(),
                          timeout=PATIENCE)
    assert done.returncode == 78 and err in done.stderr and b"listening" not in done.stderr


@pytest.mark.parametrize("how", ["by default", "by command line", "by file"])
def test_messages_are_not_printed_to_nowhere(smtpd, tmp_path, conf, how):
    """Unless somebody has chosen that."""
    argv = [smtpd, f"--config={conf('strategy=print' if how == 'by file' else '')}"]
    argv += ["--strategy=print"] if how == "by command line" else []
    with Session(argv, tmp_path, err=subprocess.DEVNULL) as session:
        if how == "by default":
            assert replies(session.read_to_end()) == [NOT_CONFIGURED] and session.status() == 78
        else:
            session.begin("EHLO")
            assert session.send_message(b"x\r\n").startswith(b"250 ") and session.end() == 0


@pytest.mark.parametrize("nowhere, options, status", [
    ("stdout", [], 78), ("stdout", ["--strategy=print"], 0), ("stderr", [], 0)])
def test_nobody_accepts_for_nowhere(smtpd, nowhere, options, status):
    """Messages go to standard output there. Whoever has chosen to lose them is served, and whoever
    wants no log."""
    argv = [smtpd, "--config=/dev/null", "--listen=127.0.0.1:0", "--exit-idle-time=1", *options]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams[nowhere] = subprocess.DEVNULL
    done = subprocess.run(argv, **streams, env=environment(), timeout=PATIENCE)
    assert done.returncode == status
    assert (b"cannot print: standard output is /dev/null" in (done.stderr or b"")) == (status == 78)
