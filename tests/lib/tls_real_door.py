# SPDX-License-Identifier: MIT
"""An acceptor with TLS, of which the engine is the real smtpd-tls."""

import shutil

from acceptor import Acceptor
from processes import running_children
from session import wait_until
from tls import engine_of
from tls_stand import Door


def installed(smtpd, folder):
    """smtpd and smtpd-tls, at a place that others can reach."""
    shutil.copy(engine_of(smtpd), folder / "smtpd-tls")
    return str(shutil.copy(smtpd, folder / "smtpd"))


class RealDoor(Door):
    """Its keeper's child is the engine."""

    def __init__(self, program, folder, pair, *options, **given):
        self.folder = folder
        Acceptor.__init__(self, program, folder, *options_of(pair), *options, **given)

    @property
    def engine(self):
        (keeper,) = self.keepers()
        wait_until(lambda: len(running_children(keeper)) == 1, "the only engine")
        return running_children(keeper)[0]


def options_of(pair):
    return [f"--tls-certificate={pair.certificate}",
            f"--tls-key={pair.key}"] if pair else ["--tls-certificate=self-signed"]
