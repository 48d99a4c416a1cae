# SPDX-License-Identifier: MIT
"""Strategy show: the message as a person reads it, in the wild's variety, and on a terminal."""

import base64
import contextlib
import email.message
import os
import pty
import re
import resource
import threading
import tty

import pytest
from session import PATIENCE, Session
from show import SHOWN, showing, shown


def on_the_wire(message):
    octets = message if isinstance(message, bytes) else message.encode()
    wire = re.sub(rb"^\.", b"..", octets.replace(b"\r\n", b"\n"), flags=re.M)
    return wire.replace(b"\n", b"\r\n") + b"\r\n" * (not wire.endswith(b"\n"))


def show(smtpd, folder, message):
    """What becomes of one."""
    with Session(showing(smtpd), folder) as session:
        session.begin("EHLO")
        assert session.send_message(on_the_wire(message)) == SHOWN
        assert session.end() == 0
        ((envelope, client, text),) = shown(session.err())
    assert envelope == "<a@example.org> to <b@example.com>"
    assert client == "local (client.example.org), ESMTP"
    return text


def encoded(text, charset):
    return base64.encodebytes(text.encode(charset)).decode()


# --- the wild's variety ---------------------------------------------------------------------------

MIXED = """From: a@example.org
Subject: mixed
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

ignored
--b
Content-Type: text/plain

the text
--b
%s
--b--
"""

MESSAGES = {
    "plain": ("From: Alice <a@example.org>\nTo: Bob <b@example.com>\nSubject: Lunch\nX-Other: not "
              "shown\n\nAt noon?\n.dot\n",
              "From: Alice <a@example.org>\nTo: Bob <b@example.com>\nSubject: Lunch\n\nAt "
              "noon?\n.dot\n"),
    "no-header": ("just text\n", "just text\n"),
    "empty-line-first": ("\nbody\n", "\nbody\n"),
    "no-body": ("Subject: x\n", "Subject: x\n"),
    "fields": ("Date: Fri, 27 Nov 2026 10:00:00 +0100\nBcc: c@example.com\nReply-To: "
               "r@example.org\nCc: d@example.com,\n e@example.com\n"
               "sender: s@example.org\nFROM: a@example.org\n\nx\n",
               "From: a@example.org\nSender: s@example.org\nReply-To: r@example.org\nCc: "
               "d@example.com, e@example.com\nBcc: c@example.com\n"
               "Date: Fri, 27 Nov 2026 10:00:00 +0100\n\nx\n"),
    "words": ("From: =?utf-8?Q?J=C3=B6rg?= <a@example.org>\nTo: =?iso-8859-1?Q?Andr=E9?= "
              "<b@example.com>, c@example.com\n"
              "Subject: =?utf-8?B?R3LDvMOfZQ==?=\n =?utf-8?Q?_aus_?= =?koi8-r?B?7c/Ty9fB?=\n\nx\n",
              "From: Jörg <a@example.org>\nTo: André <b@example.com>, c@example.com\nSubject: "
              "Grüße aus Москва\n\nx\n"),
    "name-like-an-address": ("From: =?utf-8?Q?boss=40example.com=3E=2C_x?= <a@example.org>\n\nx\n",
                             'From: "boss@example.com>, x" <a@example.org>\n\nx\n'),
    "octets-in-header": ("Subject: Grüße\n\nx\n".encode("latin-1"), "Subject: Grüße\n\nx\n"),
    "utf8-in-header": ("Subject: Grüße\nFrom: Jörg <a@example.org>\n\nx\n",
                       "From: Jörg <a@example.org>\nSubject: Grüße\n\nx\n"),
    "line-end-in-word": ("Subject: =?utf-8?Q?a=0AAttachment:_b?=\n\nx\n",
                         "Subject: a Attachment: b\n\nx\n"),
    "iso-2022-jp": ("Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\nContent-Type: text/plain; "
                    "charset=ISO-2022-JP\n\n".encode()
                    + "日本語です\n".encode("iso-2022-jp"), "Subject: 日本\n\n日本語です\n"),
    "not-iso-2022-jp": (b"Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B-!F|-\"K\\\x1b(B x "
                        b"\x1b$BF|-\nx\n\x1b$BF|K\\\x1b(B \xff\n",
                        "\n\ufffd日\ufffd本 x 日\ufffd\nx\n日本 \ufffd\n"),
    "shift-jis": (b"Content-Type: text/plain; charset=\"Shift_JIS\"\n\n"
                  + "日本\n".encode("shift-jis"), "\n日本\n"),
    "windows-31j": (b"Content-Type: text/plain; charset=Windows-31J\n\n"
                    + "①日本".encode("cp932") + b"\n", "\n①日本\n"),
    "x-sjis": (b"Content-Type: text/plain; charset=x-sjis\n\n" + "日本".encode("shift_jis") + b"\n",
               "\n日本\n"),
    "iso-8859-8-i": (b"Content-Type: text/plain; charset=iso-8859-8-i\n\n\xf9\xec\xe5\xed\n", "\nשלום\n"),
    "latin-1": (b"Content-Type: text/plain; charset=iso-8859-1\n\nGr\xfc\xdfe \x80\n",
                "\nGrüße €\n"),
    "latin-9": (b"Content-Type: text/plain; charset=iso-8859-15\n\n\xa4\n", "\n€\n"),
    "not-said": (b"Subject: x\n\nGr\xfc\xdfe\n", "Subject: x\n\nGrüße\n"),
    "wrongly-said": ("Content-Type: text/plain; charset=us-ascii\n\nGrüße\n", "\nGrüße\n"),
    "unknown": (b"Content-Type: text/plain; charset=x-nobody\n\nGr\xfc\xdfe\n", "\nGrüße\n"),
    "invalid": (b"Content-Type: text/plain; charset=euc-jp\n\nx\xff\xffy\n", "\nx��y\n"),
    "nul": (b"Subject: a\0b\n\nbefore\0after\nand \0more\n",
            "Subject: a b\n\nbefore after\nand  more\n"),
    "nul-in-base64": ("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
                      + encoded("before\0after\nmore\n", "ascii"),
                      "\nbefore after\nmore\n"),
    "nul-in-html": (b"Content-Type: text/html; charset=koi8-r\n\n<p>before\0after<p>more\n",
                    "\nbefore after\n\nmore\n"),
    "quoted-printable": ("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
                         "quoted-printable\n\nGr=C3=BC=\n=C3=9Fe =3D\n",
                         "\nGrüße =\n"),
    "base64": ("Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n"
               + encoded("Grüße\r\nzwei\r\n", "utf-16"),
               "\nGrüße\nzwei\n"),
    "bad-base64": (
        "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\naGVsbG8=!!\n@@\n",
        "\naGVsbG8=!!\n@@\n"),
    "html": ("Content-Type: text/html; charset=utf-8\n\n<html><head><title>no</title><style>p "
             "{}</style></head><body><h1>Gr&uuml;&szlig;e</h1>"
             "<p>One<br>two &lt;three&gt; &#8364; "
             "&#x20AC;<script>alert('<p>')</script><ul><li>a<li>b</ul><!-- <p>no</p> -->"
             "<a href='https://example.org/?a=1&amp;b=2'>link</a> <a "
             "href=\"mailto:c@example.org\">c@example.org</a> <img alt='a cat' src=x>"
             "<pre>  a\n   b</pre>1 < 2 & 3</body></html>\n",
             "\nGrüße\n\nOne\ntwo <three> € €\n* a\n* b\nlink <https://example.org/?a=1&b=2> "
             "c@example.org [a cat]\n  a\n   b\n1 < 2 & 3\n"),
    "html-numbers-of-windows": ("Content-Type: text/html\n\nIt&#146;s 5 &#x80; &#129;<img "
                                "alt='&#147;x&#148;'>\n", "\nIt\u2019s 5 € \ufffd[“x”]\n"),
    "html-head-without-end": ("Content-Type: text/html\n\n<head><title>no</title><body>text <svg/>"
                              "and this\n", "\ntext and this\n"),
    "broken-html": ("Content-Type: text/html\n\n<p>one <b>two <a href=\"x three <p>four\n",
                    "\none two four\n"),
    "alternative": ("Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: "
                    "text/plain\n\nplain\n--b\nContent-Type: text/html\n\n"
                    "<p>html\n--b--\n", "\nplain\n\nAlternative: text/html, 7 octets\n"),
    "alternative-without-text": ("Content-Type: multipart/alternative; "
                                 "boundary=b\n\n--b\nContent-Type: text/plain\n\n\n--b\n"
                                 "Content-Type: text/html\n\n<p>html\n--b--\n",
                                 "\nhtml\n\nAlternative: text/plain, 0 octets\n"),
    "alternative-with-a-picture": ("Content-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n"
                                   "--b\nContent-Type: multipart/related; boundary=c\n\n--c\n"
                                   "Content-Type: text/html\n\n<img src=cid:x>\n--c\nContent-Type: "
                                   "image/png; name=logo.png\nContent-Transfer-Encoding: base64\n\n"
                                   "AAAA\n--c--\n--b--\n",
                                   "\nplain\n\nAlternative: text/html, 15 octets\n"
                                   "Attachment: logo.png, image/png, 3 octets\n"),
    "alternative-deep": ("Content-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n--b\n"
                         "Content-Type: multipart/mixed; boundary=c\n\n--c\n"
                         "Content-Type: multipart/related; boundary=d\n\n--d\n"
                         "Content-Type: text/html\n\n<p>\n--d--\n--c\nContent-Type: text/plain\n"
                         "Content-Disposition: attachment; filename=a.txt\n\nx\n--c\n"
                         "Content-Type: message/rfc822\n\nSubject: y\n\nz\n--c--\n--b\n"
                         "Content-Type: application/ics\n\nx\n--b--\n",
                         "\nplain\n\nAlternative: text/html, 3 octets\n"
                         "Attachment: a.txt, text/plain, 1 octet\n"
                         "Attachment: message/rfc822, 13 octets\n"
                         "Alternative: application/ics, 1 octet\n"),
    "attachment": (MIXED % "Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: "
                           "base64\n\nAAAAAAAA",
                   "From: a@example.org\nSubject: mixed\n\nthe text\n\nAttachment: a.pdf, "
                   "application/pdf, 6 octets\n"),
    "rfc2231": (MIXED % ("Content-Type: image/png\nContent-Disposition: attachment; "
                         "filename*0*=utf-8'de'Gr%C3%BC;\n filename*1*=%C3%9Fe.png\n\nxyz"),
                "From: a@example.org\nSubject: mixed\n\nthe text\n\nAttachment: Grüße.png, "
                "image/png, 3 octets\n"),
    "name-in-words": (MIXED % "Content-Type: image/png; "
                              "name=\"=?iso-8859-1?Q?r=E9sum=E9.png?=\"\n\nxyz",
                      "From: a@example.org\nSubject: mixed\n\nthe text\n\nAttachment: résumé.png, "
                      "image/png, 3 octets\n"),
    "attached-text": (MIXED % "Content-Type: text/plain\nContent-Disposition: attachment; "
                              "filename=notes.txt\n\nnotes",
                      "From: a@example.org\nSubject: mixed\n\nthe text\n\nAttachment: notes.txt, "
                      "text/plain, 5 octets\n"),
    "second-text": (MIXED % "Content-Type: text/html\nContent-Disposition: inline\n\n<p>more",
                    "From: a@example.org\nSubject: mixed\n\nthe text\n\nmore\n"),
    "forwarded": (MIXED % "Content-Type: message/rfc822\n\nFrom: c@example.org\nSubject: "
                          "=?utf-8?Q?=C3=BC?=\n\ninner",
                  "From: a@example.org\nSubject: mixed\n\nthe text\n\n---- attached message "
                  "----\nFrom: c@example.org\nSubject: ü\n\ninner\n"
                  "---- end of attached message ----\n"),
    "no-end": ("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: "
               "text/plain\n\nnever ended\n", "\nnever ended\n"),
    "no-boundary": ("Subject: x\nContent-Type: multipart/mixed\n\nwhatever\n",
                    "Subject: x\n\nwhatever\n"),
    "no-parts": ("Subject: x\nContent-Type: multipart/mixed; boundary=b\n\nwhatever\n--c\n\ntoo\n--c--\n",
                 "Subject: x\n\nwhatever\n--c\n\ntoo\n--c--\n"),
    "no-parts-but-an-end": ("Content-Type: multipart/mixed; boundary=b\n\nwhatever\n--b--\ntoo\n",
                            "\nwhatever\n--b--\ntoo\n"),
    "no-parts-encoded": ("Content-Type: multipart/mixed; boundary=b; charset=utf-8\n"
                         "Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n",
                         "\nGrüße\n"),
    "no-empty-line": ("Subject: x\nthis text\nthis: too\n\nand this\n",
                      "Subject: x\n\nthis text\nthis: too\n\nand this\n"),
    "no-empty-line-in-part": (MIXED % "Content-Type: text/plain\nthis text\n--b\nand this",
                              "From: a@example.org\nSubject: mixed\n\nthe text\n\nthis text\n\nand "
                              "this\n"),
    "colons": ("Server: down\nDisk: full\n", "\nServer: down\nDisk: full\n"),
    "colons-in-part": (MIXED % "Server: down\n\nDisk: full",
                       "From: a@example.org\nSubject: mixed\n\nthe text\n\nServer: down\n\nDisk: "
                       "full\n"),
    "no-header-in-message": ("Subject: x\nContent-Type: message/rfc822\n\nthis text\n",
                             "Subject: x\n\n---- attached message ----\n\nthis text\n"
                             "---- end of attached message ----\n"),
    "encoded-message": ("Subject: x\nContent-Type: message/rfc822\nContent-Transfer-Encoding: "
                        "base64\n\n" + encoded("Subject: y\r\n\r\nthis text\r\n", "ascii"),
                        "Subject: x\n\n---- attached message ----\nSubject: y\n\nthis text\n"
                        "---- end of attached message ----\n"),
    "digest": ("Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\none\n--b\n"
               "Subject: y\n\ntwo\n--b--\n",
               "\n---- attached message ----\nSubject: x\n\none\n"
               "---- end of attached message ----\n\n---- attached message ----\nSubject: y\n\ntwo\n"
               "---- end of attached message ----\n"),
    "text-after-base64": ("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
                          "aGVsbG8=\n\n-- \nThe list's footer\n", "\nhello-- \nThe list's footer\n"),
    "short-base64": ("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\naGVsbG8K\nand\n",
                     "\nhello\nand\n"),
    "bad-quoted-printable": ("Content-Type: text/plain\nContent-Transfer-Encoding: "
                             "quoted-printable\n\n=a =zz =\n=4\n", "\n=a =zz =4\n"),
    "not-utf-16": ("Content-Type: text/plain; charset=utf-16\n\nthis text\n", "\nthis text\n"),
    "only-a-picture": ("Subject: x\nContent-Type: text/html\n\n<p><img src=x></p>\n",
                       "Subject: x\n\nAttachment: text/html, 19 octets\n"),
    "bad-type": ("Content-Type: text\nContent-Transfer-Encoding: nonsense\n\ntext\n", "\ntext\n"),
    "mbox": ("From a@example.org Thu Jan  1 00:00:00 2026\nSubject: x\n\nbody\n",
             "X-Mailbox-Line: From a@example.org Thu Jan 1 00:00:00 2026\nSubject: x\n\nbody\n"),
    "escapes": (b"Subject: \033[2J\nContent-Type: text/plain; charset=utf-8\n\na\x1b]0;title\x07 "
                b"\xc2\x9b31m \xe2\x80\xaeevil\x7f\ttab\n",
                "Subject: ^[[2J\n\na^[]0;title^G <U+009b>31m <U+202e>evil^?\ttab\n"),
    "escapes-in-words": ("Subject: =?utf-8?Q?=1B[31mred=9B?=\nContent-Type: multipart/mixed; "
                         "boundary=b\n\n--b\n"
                         "Content-Type: image/png; name=\"=?utf-8?Q?=1B]0;x=07?=\"\n\nx\n--b--\n",
                         "Subject: ^[[31mred?\n\nAttachment: ^[]0;x^G, image/png, 1 octet\n"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_show_message(release, tmp_path, name):
    message, expected = MESSAGES[name]
    text = show(release, tmp_path, message)
    # there is an empty line after the envelope in any case
    assert text == expected.removeprefix("\n")


def test_all_of_them_with_sanitizers(smtpd, tmp_path):
    """In one session, one after the other; each is a process of its own."""
    with Session(showing(smtpd), tmp_path) as session:
        session.deadline += 4 * PATIENCE
        session.begin("EHLO")
        for message, _ in MESSAGES.values():
            assert session.send_message(on_the_wire(message)) == SHOWN, message
        assert session.end() == 0
        assert len(shown(session.err())) == len(MESSAGES)


def test_depth(release, tmp_path):
    """Parts in parts, more than anybody has: what is deep is listed."""
    n = 500
    message = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n"
                      for i in range(n)) + "Content-Type: text/plain\n\ndeep\n"
    text = show(release, tmp_path, ("Subject: x\n" + message).encode())
    assert text.startswith("Subject: x\n") and "multipart/mixed" in text
    inner = "Content-Type: message/rfc822\n\n" * n + "Subject: deep\n\nx\n"
    assert "attached message" in show(release, tmp_path, inner.encode())


def test_tags_without_an_end(release, tmp_path):
    """None is looked for again and again."""
    page = b"Subject: x\nContent-Type: text/html\n\n" + b"<a" * 1_000_000 + b"\n"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    text = show(release, tmp_path, page)
    assert text.count("<a") == 1_000_000
    # of the processor; it had 30 and then no end
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10


def holiday():
    message = email.message.EmailMessage()
    message["Subject"] = "Holiday"
    message.set_content("Look!\n")
    message.add_attachment(os.urandom(5_000_000), maintype="image", subtype="jpeg",
                           filename="beach.jpg")
    return message.as_bytes()


HOLIDAY = "Subject: Holiday\n\nLook!\n\nAttachment: beach.jpg, image/jpeg, 5000000 octets\n"


def test_large_attachment(release, tmp_path):
    """5 MB, which nobody wants to see."""
    assert show(release, tmp_path, holiday()) == HOLIDAY


def test_show_many_recipients(release, tmp_path):
    with Session(showing(release), tmp_path) as session:
        session.begin("EHLO")
        session.expect((b"MAIL FROM:<>", b"250 "),
                       *[(b"RCPT TO:<%d@example.com>" % i, b"250 ") for i in range(3)],
                       (b"DATA", b"354 "))
        session.say(b"Subject: x\r\n\r\nx\r\n.\r\n")
        assert session.reply() == SHOWN and session.end() == 0
        assert shown(
            session.err())[0][0] == "<> to <0@example.com>, <1@example.com>, <2@example.com>"


# --- on a terminal --------------------------------------------------------------------------------


class Screen:
    """A real pseudo-terminal, and all that is written to it."""

    def __enter__(self):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.said = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        return self

    def read(self):
        with contextlib.suppress(OSError):  # EIO: all have closed it
            while octets := os.read(self.master, 65536):
                self.said.append(octets)

    def __exit__(self, *_):
        os.close(self.slave)
        self.reader.join(PATIENCE)
        os.close(self.master)

    def file(self):
        return open(self.slave, "wb", 0, closefd=False)


def test_on_a_terminal(smtpd, tmp_path):
    """All of them, and one with 5 MB attached: as in a file, and the terminal obeys nothing."""
    with Screen() as screen:
        with screen.file() as err, Session(showing(smtpd), tmp_path, err=err) as session:
            session.deadline += 4 * PATIENCE
            session.begin("EHLO")
            for message in [*(message for message, _ in MESSAGES.values()), holiday()]:
                assert session.send_message(on_the_wire(message)) == SHOWN, message
            assert session.end() == 0
    said = b"".join(screen.said)
    texts = [text for _, _, text in shown(said)]
    assert texts == [*(text.removeprefix("\n") for _, text in MESSAGES.values()), HOLIDAY]
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", said)
