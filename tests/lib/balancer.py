# SPDX-License-Identifier: MIT
"""What a balancer says first: headers of the PROXY protocol."""

import ipaddress
import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
HERE = "192.0.2.2"


def v1(client="192.0.2.1", port=4711, here=HERE):
    return b"PROXY TCP%d %s %s %d 25\r\n" % (ipaddress.ip_address(client).version, client.encode(),
                                             here.encode(), port)


def octets(command, family, body=b""):
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def value(kind, text):
    return bytes([kind]) + struct.pack("!H", len(text)) + text


def v2(client="192.0.2.1", port=4711, values=b"", here=None):
    """Both ends, and more values (section 2.2 of the specification)."""
    is_v6 = ":" in client
    here = here or ("2001:db8::2" if is_v6 else HERE)
    packed = b"".join(socket.inet_pton(socket.AF_INET6 if is_v6 else socket.AF_INET, one)
                      for one in (client, here))
    return octets(PROXY, 0x21 if is_v6 else 0x11, packed + struct.pack("!HH", port, 25) + values)


def tls(protocol=b"TLSv1.3", cipher=b"TLS_AES_256_GCM_SHA384", flags=1):
    return value(0x20, bytes([flags]) + bytes(4) + value(0x21, protocol) + value(0x23, cipher))
