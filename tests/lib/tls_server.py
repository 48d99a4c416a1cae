# SPDX-License-Identifier: MIT
"""For tests of smtpd-tls --serve: a certificate, and the two shapes of its socket."""

import pytest
from tls import issued

SHAPES = pytest.mark.parametrize("shape", ["connected", "listening"])


@pytest.fixture(scope="module")
def ours(folder):
    return issued(folder)


def path_of(shape, tmp_path):
    return tmp_path / "tls" if shape == "listening" else None
