# SPDX-License-Identifier: MIT
"""The file of metrics-file=: its form, which is Prometheus' text format, and its figures."""

import re

SERIES = {
    "smtpd_sessions_total": "counter", "smtpd_sessions_open": "gauge",
    "smtpd_turned_away_total": "counter", "smtpd_messages_total": "counter",
    "smtpd_rejected_total": "counter", "smtpd_session_crashes_total": "counter"}

REASONS = ["max-connections", "max-connections-per-source", "shortage", "stopping"]

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"

SAMPLE = re.compile(
    rf'({NAME})(?:\{{([a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*"(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*")*)\}})? '
    rf'(\d+)')


def parse(text):
    """{"name" or 'name{label="value"}': number}, of a text that is right in form: prometheus.io,
    "Exposition formats"."""
    assert text.endswith("\n")
    samples, types, order = {}, {}, []
    for line in text[:-1].split("\n"):
        if words := re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line):
            assert words[1] not in order, "the lines of a family stay together"
            order.append(words[1])
        elif words := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", line):
            assert words[1] == order[-1] and words[1] not in types
            types[words[1]] = words[2]
        else:
            name, labels, number = SAMPLE.fullmatch(line).groups()
            key = f"{name}{{{labels}}}" if labels else name
            assert name == order[-1] and name in types and key not in samples
            samples[key] = int(number)
    assert types == SERIES
    return samples


def figures_in(text):
    """Short: {"sessions_total": 1, "messages 2xx": 1, ...}; zeros are left out."""
    found = parse(text)
    assert [re.search('"(.*)"', key)[1] for key in found if "turned_away" in key] == REASONS
    assert [re.search('"(.*)"', key)[1] for key in found if "messages" in key] == ["2xx", "4xx",
                                                                                   "5xx"]
    return {re.sub(r'_total\{\w+="(.*)"\}', r" \1", key.removeprefix("smtpd_")): n for key,
            n in found.items() if n > 0}
