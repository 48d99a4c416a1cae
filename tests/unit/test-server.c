/* SPDX-License-Identifier: MIT */
/* test-server.c - smtp/server: which events come, and in which order, in whole sessions. */
#include "session-log.h"

static const struct {
        const char *in;
        size_t n;
        const char *log;
        int flags;
        const char *answers;
        struct server_rules rules; /* 0: something generous */
} sessions[] = {
        /* the usual */
        { TEXT(""), .log = "R220" },
        { TEXT("QUIT\r\n"), .log = "R220 R221 X C" },
        { TEXT("QUIT\r\nNOOP\r\n"), .log = "R220 R221 X C" },
        { TEXT(READY "DATA\r\na\r\n..b\r\n.\r\nQUIT\r\n"),
          .log = READY_LOG " D R354 B(a|.b|) E0:7 R250 X R221 X C" },
        { TEXT(READY "DATA\r\n.\r\n"), .log = READY_LOG " D R354 E0:0 R250 X" },
        { TEXT(READY "DATA\r\n.\r\n" ENVELOPE "DATA\r\na\r\n.\r\n"),
          .log = READY_LOG " D R354 E0:0 R250 X S(a@b) R250 T(d@e) R250 D R354 B(a|) E0:3 R250 X" },
        { TEXT(READY "DATA\r\na\r\n.\r\n"), .log = READY_LOG " D R354 B(a|) E0:3 R550 X",
          .answers = "250 250 354 550" },
        { TEXT(READY "DATA\r\na\r\n.\r\nDATA\r\n"),
          .log = READY_LOG " D R354 B(a|) E0:3 R250 X R503" },
        { TEXT(READY "DATA\r\nQUIT\r\n.\r\n"), .log = READY_LOG " D R354 B(QUIT|) E0:6 R250 X" },
        { TEXT("EHLO c\r\nMAIL FROM:<>\r\n" TO("postmaster")),
          .log = "R220 H(c) R250 S() R250 T(postmaster) R250" },

        /* verbs */
        { TEXT("noop\r\nNoOp x y\r\nNOOP \t \r\n"), .log = "R220 R250 R250 R250" },
        { TEXT("NOOPX\r\nNOO\r\n NOOP\r\n\r\n"), .log = "R220 R500 R500 R500 R500" },
        { TEXT("NOOP\0\r\nQUIT\0\r\n\0\r\n"), .log = "R220 R500 R500 R500" },
        { TEXT("NOOP \0\r\nVRFY a\0b\r\nNOOP\r\n"), .log = "R220 R500 R500 R250" },
        { TEXT("QUIT x\r\nRSET x\r\n"), .log = "R220 R501 R501" },
        { TEXT("VRFY\r\nVRFY a\r\nEXPN\r\nEXPN a\r\nHELP\r\nHELP x\r\n"),
          .log = "R220 R501 R252 R502 R502 R214 R214" },
        { TEXT("EHLO\r\nHELO  \r\nEHLO  c\r\nHELO d\r\n"),
          .log = "R220 R501 R501 H(c) R250 H(d) R250" },
        { TEXT("EHLO c\x01\r\nEHLO c\x7f\r\nEHLO c\td\r\nEHLO \xc3\xa9\r\n"),
          .log = "R220 R501 R501 R501 H(\xc3\xa9) R250" },
        { TEXT("LHLO c\r\n"), .log = "R220 R500" },
        { TEXT("HELO c\r\nEHLO c\r\nLHLO c\r\n"), .log = "R220 R500 R500 H(c) R250",
          .flags = LMTP },

        /* order, judged before syntax */
        { TEXT(MAIL TO("d@e") "DATA\r\n"), .log = "R220 R503 R503 R503" },
        { TEXT("MAIL nonsense\r\nRCPT nonsense\r\nDATA nonsense\r\n"),
          .log = "R220 R503 R503 R503" },
        { TEXT("EHLO c\r\n" TO("d@e") "DATA\r\n" MAIL "DATA\r\n" MAIL "MAIL\r\n"),
          .log = "R220 H(c) R250 R503 R503 S(a@b) R250 R503 R503 R503" },
        { TEXT("EHLO c\r\nMAIL nonsense\r\n" MAIL "RCPT nonsense\r\n"),
          .log = "R220 H(c) R250 R501 S(a@b) R250 R501" },
        { TEXT("HELO c\r\nMAIL FROM:<a@b> SIZE=1\r\n" MAIL),
          .log = "R220 H(c) R250 R501s S(a@b) R250" },

        /* the end of a transaction */
        { TEXT("RSET\r\n"), .log = "R220 R250 X" },
        { TEXT(READY "RSET\r\nDATA\r\n" MAIL), .log = READY_LOG " R250 X R503 S(a@b) R250" },
        { TEXT(READY "EHLO x\r\nDATA\r\n" MAIL), .log = READY_LOG " H(x) R250 R503 S(a@b) R250" },
        { TEXT(READY "HELO x\r\n" TO("d@e")), .log = READY_LOG " H(x) R250 R503" },
        { TEXT(READY "EHLO\r\nEHLO \x01\r\nNOOP\r\nDATA\r\n.\r\n"),
          .log = READY_LOG " R501 R501 R250 D R354 E0:0 R250 X" },
        { TEXT(READY "QUIT\r\n"), .log = READY_LOG " R221 X C" },

        /* verdicts */
        { TEXT("EHLO c\r\n" ENVELOPE MAIL), .log = "R220 H(c) R250 S(a@b) R550 R503 S(a@b) R250",
          .answers = "550" },
        { TEXT("EHLO c\r\n" ENVELOPE), .log = "R220 H(c) R250 S(a@b) R451 R503", .answers = "451" },
        { TEXT(READY "DATA\r\n" TO("f@g") "DATA\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 R503 T(f@g) R251 D R354",
          .answers = "250 550 251" },
        { TEXT("EHLO c\r\n" MAIL "NOOP\r\n"), .log = "R220 H(c) R250 S(a@b) R421 X C",
          .answers = "421" },
        { TEXT(READY "NOOP\r\n"), .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R421 X C",
          .answers = "250 421" },
        { TEXT(READY "DATA\r\na\r\n.\r\n"), .log = READY_LOG " D R421 X C",
          .answers = "250 250 421" },
        { TEXT(READY "DATA\r\na\r\n.\r\nNOOP\r\n"), .log = READY_LOG " D R354 B(a|) E0:3 R421 X C",
          .answers = "250 250 354 421" },

        /* LMTP: a verdict for each accepted recipient */
        { TEXT("LHLO c\r\n" MAIL TO("d@e") TO("f@g") TO("h@i") "DATA\r\na\r\n.\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R550 T(h@i) R250 D R354 B(a|) "
                 "E0:3 R250 E1:3 R452 X R250",
          .flags = LMTP, .answers = "250 250 550 250 354 250 452" },
        { TEXT("LHLO c\r\n" ENVELOPE "DATA\r\n.\r\n" MAIL TO("d@e") TO("f@g") "DATA\r\n.\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 D R354 E0:0 R250 X "
                 "S(a@b) R250 T(d@e) R250 T(f@g) R250 D R354 E0:0 R250 E1:0 R250 X",
          .flags = LMTP },
        { TEXT("LHLO c\r\n" MAIL TO("d@e") TO("f@g") "DATA\r\n.\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 D R354 E0:0 R421 E1:0 R250 X "
                 "C",
          .flags = LMTP, .answers = "250 250 250 354 421" },
        { TEXT("LHLO c\r\n" MAIL TO("d@e") TO("f@g") "DATA\r\nabcd\r\n.\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 D R354 R552m R552 X R250",
          .flags = LMTP | LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("f@g") "DATA\r\n.\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 D R354 E0:0 R250 X" },

        /* where a refused client may go on with its message */
        { TEXT(READY "DATA\r\nNOOP\r\n" TO("d@e") MAIL),
          .log = READY_LOG " D R451 X R250 R503 S(a@b) R250", .answers = "250 250 451" },
        { TEXT(READY "DATA x\r\nDATA\r\n"), .log = READY_LOG " R501 R554 X C" },
        { TEXT(READY "DATA\t\r\n"), .log = READY_LOG " D R354" },

        /* chunks: DATA is asked for once, and a chunk that is lost ends its transaction */
        { TEXT("BDAT 4 LAST\r\nNOOPNOOP\r\n"), .log = "R220 R503 R250" },
        { TEXT("BDAT 4x LAST\r\nNOOP"), .log = "R220 R501 X C" },
        { TEXT(READY "BDAT 3\r\na\r\nBDAT 0\r\nBDAT 4 LAST\r\n..\r\nQUIT\r\n"),
          .log = READY_LOG " D B(a|) R250 R250 B(..|) E0:7 R250 X R221 X C" },
        { TEXT(READY "BDAT 3\r\na\r\n"), .log = READY_LOG " D B(a|) R250" },
        { TEXT(READY "BDAT 6 LAST\r\n.\r\nQUI"), .log = READY_LOG " D B(.|QUI|) E0:8 R250 X" },
        { TEXT(READY "BDAT 2\r\na\rBDAT 1 LAST\r\n\nNOOP\r\n"),
          .log = READY_LOG " D B(a) R250 B(|) E0:3 R250 X R250" },
        { TEXT(READY "BDAT 0 LAST\r\nNOOP\r\n"), .log = READY_LOG " D E0:0 R250 X R250" },
        { TEXT(READY "BDAT 2\r\na\nBDAT 6\r\nQUIT\r\nNOOP\r\n" MAIL),
          .log = READY_LOG " D R554m X R503 R250 S(a@b) R250", .flags = LOST_BODY },
        { TEXT(READY "BDAT 2\r\na\rBDAT 0 LAST\r\nNOOP\r\n"),
          .log = READY_LOG " D B(a) R250 R554m X R250" },
        { TEXT(READY "BDAT 2 LAST\r\na\rNOOP\r\n"), .log = READY_LOG " D B(a) R554m X R250" },
        { TEXT(READY "BDAT 4\r\nNOOPBDAT 4 LAST\r\nRSETNOOP\r\n"),
          .log = READY_LOG " D R451 X R503 R250", .answers = "250 250 451" },
        { TEXT(READY "BDAT 4\r\nNOOPNOOP\r\n"), .log = READY_LOG " D R421 X C",
          .answers = "250 250 421" },
        { TEXT("EHLO c\r\n" ENVELOPE "BDAT 4\r\nNOOP" TO("f@g") "BDAT 4 LAST\r\nRSETNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 R503 X R503 R503 R250",
          .answers = "250 550" },
        { TEXT(READY "BDAT 3\r\na\r\n" TO("f@g") "DATA\r\nBDAT 0\r\n"),
          .log = READY_LOG " D B(a|) R250 R503 R503 R554 X C" },
        { TEXT(READY "BDAT 3\r\na\r\nRSET\r\nBDAT 4\r\nNOOP" ENVELOPE "DATA\r\n..\r\n.\r\n"),
          .log = READY_LOG
          " D B(a|) R250 R250 X R503 S(a@b) R250 T(d@e) R250 D R354 B(.|) E0:3 R250 X" },
        { TEXT(READY "BDAT 4 LAST\r\na\n.\n"), .log = READY_LOG " D B(a|.|) E0:6 R250 X",
          .flags = TRANSCRIPT },
        { TEXT(READY "BDAT 3\r\na\r\nBDAT 3\r\nb\r\nBDAT 4\r\nNOOPNOOP\r\n"),
          .log = READY_LOG " D R250 R552m X R503 R250", .flags = LOST_BODY,
          .rules = { .max_size = 5 } },
        { TEXT(READY "BDAT 4 LAST\r\nabcdNOOP\r\n"), .log = READY_LOG " D R552m X R250",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT(READY "BDAT 8\r\nabcdef\n\nNOOP\r\n"), .log = READY_LOG " D R554m X R250",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT("LHLO c\r\n" MAIL TO("d@e") TO("f@g") "BDAT 1\r\naBDAT 0 LAST\r\n" MAIL TO("d@e")
                       TO("f@g") "BDAT 1 LAST\r\n\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 D B(a) R250 B(|) E0:3 R250 "
                 "E1:3 R250 X "
                 "S(a@b) R250 T(d@e) R250 T(f@g) R250 D R554m R554 X R250",
          .flags = LMTP },
        { TEXT("EHLO c\r\nBDAT 1\r\naBDAT 1\r\naBDAT 1\r\naNOOP\r\n"),
          .log = "R220 H(c) R250 R503 R503 R421 X C", .rules = { .max_errors = 2 } },
        { TEXT(READY "BDAT 0\r\nBDAT 0\r\n"), .log = READY_LOG " D R250 R421 X C",
          .rules = { .max_commands = 4 } },

        /* SMTPUTF8 is one transaction's */
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n" TO("\xc3\xa9@e") "RSET\r\n" MAIL TO(
                  "\xc3\xa9@e")),
          .log = "R220 H(c) R250 S(a@b) R250 T(\xc3\xa9@e) R250 R250 X S(a@b) R250 R553r" },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n" TO("d@e") "DATA\r\n.\r\n" MAIL TO(
                  "\xc3\xa9@e")),
          .log = READY_LOG " D R354 E0:0 R250 X S(a@b) R250 R553r" },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n" MAIL TO("\xc3\xa9@e")),
          .log = "R220 H(c) R250 S(a@b) R550 S(a@b) R250 R553r", .answers = "550" },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nEHLO c\r\n" MAIL TO("\xc3\xa9@e")),
          .log = "R220 H(c) R250 S(a@b) R250 H(c) R250 S(a@b) R250 R553r" },

        /* line ends */
        { TEXT("NOOP\nNOOP\r\n"), .log = "R220 R554 X C" },
        { TEXT("\n"), .log = "R220 R554 X C" },
        { TEXT("NO\rOP\r\nNOOP\r\n"), .log = "R220 R554 X C" },
        { TEXT("NOOP\r\r\n"), .log = "R220 R554 X C" },
        { TEXT("\rNOOP\r\n"), .log = "R220 R554 X C" },
        { TEXT("NOOP\r\nNOOP\r\n\rNOOP"), .log = "R220 R250 R250 R554 X C" },
        { TEXT("NOOP\r"), .log = "R220" },
        { TEXT("NOOP\nNOOP\r\n\nQUIT\n"), .log = "R220 R250 R250 R500 R221 X C",
          .flags = TRANSCRIPT },
        { TEXT("NO\rOP\n"), .log = "R220 R554 X C", .flags = TRANSCRIPT },
        { TEXT(READY "DATA\r\na\n.\r\n"), .log = READY_LOG " D R354 R554 X C", .flags = LOST_BODY },
        { TEXT(READY "DATA\r\na\r\n.\nNOOP\r\n"), .log = READY_LOG " D R354 R554 X C",
          .flags = LOST_BODY },
        { TEXT(READY "DATA\r\na\r.\r\n"), .log = READY_LOG " D R354 R554 X C", .flags = LOST_BODY },
        { TEXT(READY "DATA\r\n.\r\r\n"), .log = READY_LOG " D R354 R554 X C" },
        { TEXT(READY "DATA\n.\r\n"), .log = READY_LOG " R554 X C" },
        { TEXT("EHLO c\nMAIL FROM:<a@b>\n" TO("d@e") "DATA\na\r\n..b\n.\nQUIT\n"),
          .log = READY_LOG " D R354 B(a|.b|) E0:7 R250 X R221 X C", .flags = TRANSCRIPT },

        /* no SMTP at all */
        { TEXT("GET / HTTP/1.1\r\nHost: x\r\n"), .log = "R220 R554 X C" },
        { TEXT("post /\r\n"), .log = "R220 R554 X C" },
        { TEXT("CONNECT x:25 HTTP/1.1\r\n"), .log = "R220 R554 X C" },
        { TEXT("PRI * HTTP/2.0\r\n"), .log = "R220 R554 X C" },
        { TEXT("GETX\r\nGET /\r\n"), .log = "R220 R500 R500" },
        { TEXT("\x16\x03\x01\x02"), .log = "R220 R554 X C" },
        { TEXT("NOOP\r\n\x16\r\n"), .log = "R220 R250 R500" },
        { TEXT("N\x16\r\n"), .log = "R220 R500" },

        /* TLS */
        { TEXT("EHLO c\r\nSTARTTLS\r\nNOOP\r\n" MAIL "HELO d\r\n" MAIL),
          .log = "R220 H(c) R250 L R220 Z R250 R503 H(d) R250 S(a@b) R250",
          .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("STARTTLS\r\nEHLO c\r\nSTARTTLS x\r\n" MAIL "STARTTLS\r\nSTARTTLS x\r\n"),
          .log = "R220 R503 H(c) R250 R501 S(a@b) R250 R503 R503",
          .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("EHLO c\r\nSTARTTLS\r\nSTARTTLS\r\nEHLO c\r\nSTARTTLS\r\nSTARTTLS x\r\n"),
          .log = "R220 H(c) R250 L R220 Z R503 H(c) R250 R503 R503",
          .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("EHLO c\r\nSTARTTLS\r\n" MAIL), .log = "R220 H(c) R250 L R454 S(a@b) R250",
          .answers = "454", .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("EHLO c\r\nSTARTTLS\r\n" MAIL), .log = "R220 H(c) R250 L R421 X C", .answers = "421",
          .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("STARTTLS\r\nEHLO c\r\nSTARTTLS\r\nSTARTTLS x\r\n"),
          .log = "R220 R502 H(c) R250 R502 R502" },
        { TEXT(MAIL "DATA\r\nEHLO c\r\n" MAIL "MAIL x\r\nVRFY\r\nNOOP\r\nRSET\r\n"
                    "STARTTLS\r\nEHLO c\r\n" ENVELOPE),
          .log = "R220 R530s R530 H(c) R250 R530s R530 R530 R250 R250 X "
                 "L R220 Z H(c) R250 S(a@b) R250 T(d@e) R250",
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        /* whatever else it may be, it comes after TLS */
        { TEXT("AUTH PLAIN\r\nNOOP\r\n"), .log = "R220 R530 R250",
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        { TEXT("DATA\r\na\r\n"), .log = "R220 R530 R554 X C",
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        { TEXT("BDAT 1\r\naNOOP\r\n"), .log = "R220 R530 R250",
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        { TEXT(READY "DATA\r\nSTARTTLS\r\n"), .log = READY_LOG " D R451 X R554 X C",
          .answers = "250 250 451", .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("LHLO c\r\n" MAIL "STARTTLS\r\nLHLO c\r\n" MAIL),
          .log = "R220 H(c) R250 R530s L R220 Z H(c) R250 S(a@b) R250", .flags = LMTP,
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        { TEXT("X\r\nEHLO c\r\nX\r\nSTARTTLS\r\nX\r\n"),
          .log = "R220 R500 H(c) R250 R500 L R220 Z R421 X C",
          .rules = { .tls = SERVER_TLS_OFFERED, .max_errors = 2 } },
        { TEXT("EHLO c\r\nSTARTTLS\r\nNOOP\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 L R220 Z R250 R421 X C",
          .rules = { .tls = SERVER_TLS_OFFERED, .max_commands = 3 } },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nRSET\r\nSTARTTLS\r\nHELO c\r\nMAIL "
               "FROM:<a@b> SIZE=1\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 R250 X L R220 Z H(c) R250 R501s",
          .rules = { .tls = SERVER_TLS_OFFERED } },

        /* limits */
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("f@g") TO("h@i") "DATA\r\n.\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 R452r D R354 E0:0 R250 X",
          .rules = { .max_recipients = 2 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("f@g") TO("h@i") TO("j@k")),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 T(f@g) R250 R452r R452r",
          .answers = "250 550", .rules = { .max_recipients = 2 } },
        { TEXT("EHLO c\r\n" ENVELOPE "RSET\r\n" ENVELOPE TO("d@e")),
          .log = READY_LOG " R250 X S(a@b) R250 T(d@e) R250 R452r",
          .rules = { .max_recipients = 1 } },
        { TEXT("NOOP\r\nX\r\nNOOP\r\nNOOP\r\nNOOP\r\n"), .log = "R220 R250 R500 R250 R421 X C",
          .rules = { .max_commands = 3 } },
        { TEXT("NOOP\r\nNOOP\r\nNOOP\r\n"), .log = "R220 R250 R250 R250",
          .rules = { .max_commands = 3 } },
        { TEXT("X\r\nNOOP\r\nEHLO\r\nNOOP\r\nX\r\nNOOP\r\n"),
          .log = "R220 R500 R250 R501 R250 R421 X C", .rules = { .max_errors = 2 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("d@e") TO("d@e") "RSET\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 T(d@e) R550 T(d@e) R550 R250 X R421 X C",
          .answers = "250 550 550 550", .rules = { .max_errors = 2 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("d@e") TO("d@e") TO("f@g") "RSET\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 T(d@e) R550 T(d@e) R550 T(f@g) R250 R250 "
                 "X R250",
          .answers = "250 550 550 550 250", .rules = { .max_errors = 2 } },
        { TEXT(READY "DATA\r\n.\r\n"
                     "NOOP\r\nNOOP\r\nX\r\nNOOP\r\nNOOP\r\nNOOP\r\n"),
          .log = READY_LOG " D R354 E0:0 R250 X R250 R250 R500 R250 R250 R421 X C",
          .rules = { .max_commands = 5 } },
        { TEXT("X\r\nEHLO c\r\n" ENVELOPE "DATA\r\n.\r\nX\r\nX\r\n"),
          .log = "R220 R500 H(c) R250 S(a@b) R250 T(d@e) R250 D R354 E0:0 R250 X R500 R421 X C",
          .rules = { .max_errors = 1 } },
        { TEXT(READY "DATA\r\n.\r\n" ENVELOPE "DATA\r\n.\r\n" ENVELOPE "DATA\r\n.\r\nNOOP\r\n"),
          .log = READY_LOG
          " D R354 E0:0 R550 X S(a@b) R250 T(d@e) R250 D R354 E0:0 R450 X S(a@b) R250 "
          "T(d@e) R250 D R354 E0:0 R550 X R421 X C",
          .answers = "250 250 354 550 250 250 354 450 250 250 354 550",
          .rules = { .max_errors = 1 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("d@e") TO("d@e")),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R450 T(d@e) R450 T(d@e) R450",
          .answers = "250 450 450 450", .rules = { .max_errors = 2 } },
        { TEXT("EHLO c\r\nMAIL FROM:<a\r\nMAIL FROM:<a\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 R501 R421 X C", .rules = { .max_errors = 1 } },
        { TEXT("DATA\r\nDATA\r\nNOOP\r\n"), .log = "R220 R503 R554 X C",
          .rules = { .max_errors = 1 } },
        { TEXT(READY "DATA\r\nabc\r\n.\r\n"), .log = READY_LOG " D R354 B(abc|) E0:5 R250 X",
          .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\nabcd\r\n.\r\n"), .log = READY_LOG " D R354 R552m X",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\n..bc\r\n.\r\n"), .log = READY_LOG " D R354 B(.bc|) E0:5 R250 X",
          .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\n\r\n\r\n\r\n.\r\n"), .log = READY_LOG " D R354 R552m X",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\nabcdef\r\n.\r\nDATA\r\n" ENVELOPE "DATA\r\nabc\r\n.\r\n"),
          .log = READY_LOG " D R354 R552m X R503 S(a@b) R250 T(d@e) R250 D R354 E0:5 R250 X",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\nabcdef\r\n\n"), .log = READY_LOG " D R354 R554 X C",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SIZE=6\r\nMAIL FROM:<a@b> SIZE=5\r\n"),
          .log = "R220 H(c) R250 R552s S(a@b) R250", .rules = { .max_size = 5 } },
};

static void start_session(struct session *s, int i) {
        struct server_rules rules = sessions[i].rules;

        rules.is_lmtp = sessions[i].flags & LMTP;
        rules.lf_is_line_end = sessions[i].flags & TRANSCRIPT;
        start(s, &rules, sessions[i].answers);
        s->is_body_told = !(sessions[i].flags & LOST_BODY);
}

/* The same events however the input is cut. */
START_TEST(says) {
        static struct session s;

        for (size_t piece = sessions[_i].n + 1; piece > 0; piece--) {
                start_session(&s, _i);
                feed(&s, sessions[_i].in, sessions[_i].n, piece);
                ck_assert_str_eq(s.log, sessions[_i].log);
        }
}
END_TEST

/* Closed from outside after any step, answered or not: the reply, the reset, the end; and no octet
 * more is used. */
START_TEST(is_closed_from_outside) {
        static const char want[] = "R421 X C C";
        static struct session s;
        size_t n = sessions[_i].n, used;

        for (int n_steps = 0; n_steps < STEPS_MAX; n_steps++) {
                enum event_kind kind = SERVER_MORE;
                size_t at = 0;

                start_session(&s, _i);
                for (int i = 0; i < n_steps; i++) {
                        kind = step(&s, sessions[_i].in + at, n - at, &used);
                        at += used;
                        if (kind == SERVER_CLOSE || (kind == SERVER_MORE && at == n))
                                return;
                        if (i + 1 < n_steps || n_steps % 2 == 0)
                                answer(&s, kind);
                }
                server_close(&s.server, 421, "4.3.2", "going down");
                s.n_log = 0;
                for (int i = 0; i < 4; i++) {
                        step(&s, sessions[_i].in + at, n - at, &used);
                        ck_assert_uint_eq(used, 0);
                }
                ck_assert_str_eq(s.log, want);
                ck_assert_str_eq(s.server.reply.text, "going down");
                ck_assert_str_eq(s.server.reply.enhanced, "4.3.2");
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("server");
        TCase *tcase = unit_tcase(suite, "sessions");

        UNIT_TABLE(tcase, says, sessions);
        UNIT_TABLE(tcase, is_closed_from_outside, sessions);
        return unit_run(suite);
}
