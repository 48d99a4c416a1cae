/* SPDX-License-Identifier: MIT */
/* helpers/maildir_text.c - a file of a Maildir: its name, and what is in it. */
#include "helpers/maildir_text.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "helpers/contract.h"
#include "smtp/address.h"
#include "smtp/trace.h"

enum { PIECE = 64 * 1024, LINE_ROOM = ADDRESS_MAX + 64 };

void maildir_name(const struct maildir_origin *o, char ret[static MAILDIR_NAME_MAX]) {
        const char *hostname = o->hostname;
        size_t n = text_format(ret, MAILDIR_NAME_MAX, "%lld.M%uP%d", (long long) o->time.tv_sec,
                               (unsigned) (o->time.tv_nsec / 1000), (int) o->pid);

        if (o->inode != 0)
                n += text_format(ret + n, MAILDIR_NAME_MAX - n, "I%llx",
                                 (unsigned long long) o->inode);
        ret[n++] = '.';
        for (; *hostname && n + sizeof("\\057:2,RSFTD") < MAILDIR_NAME_MAX; hostname++)
                if (*hostname == '/' || *hostname == ':')
                        n += text_format(ret + n, MAILDIR_NAME_MAX - n, "%s",
                                         *hostname == '/' ? "\\057" : "\\072");
                else
                        ret[n++] = *hostname;
        ret[n] = '\0';
}

/* --- what is added ---------------------------------------------------------------------------- */

/* One writes to it, until something fails. */
struct file {
        int fd, error; /* negative errno */
};

static void put(struct file *f, const char *data, size_t n) {
        while (n > 0 && f->error == 0) {
                ssize_t k = write(f->fd, data, n);

                if (k < 0 && errno != EINTR)
                        f->error = -errno;
                if (k > 0) {
                        data += k;
                        n -= (size_t) k;
                }
        }
}

/* A field with an address of n octets: nothing in it ends the line. */
static void put_address(struct file *f, const char *before, const char *address, size_t n,
                        const char *after) {
        char line[LINE_ROOM];
        size_t n_line = text_format(line, sizeof(line), "%s%.*s%s\n", before,
                                    (int) (n < ADDRESS_MAX ? n : ADDRESS_MAX), address, after);

        for (size_t i = 0; i + 1 < n_line; i++)
                if ((unsigned char) line[i] < ' ' || line[i] == 0x7f)
                        line[i] = '?';
        put(f, line, n_line);
}

/* Returns the number of recipients. */
static size_t put_envelope(struct file *f) {
        const char *sender = contract_variable("SMTPD_MAIL_FROM");
        size_t n = 0, n_address;

        put_address(f, "Return-Path: <", sender, strlen(sender), ">");
        for (const char *p = contract_variable("SMTPD_RCPT_TO"); *p; p += n_address, n++) {
                n_address = strcspn(p, "\n");
                put_address(f, "Delivered-To: ", p, n_address, "");
                n_address += p[n_address] == '\n';
        }
        return n;
}

static void put_received(struct file *f, size_t n_recipients) {
        const struct received received = {
                .helo = contract_variable("SMTPD_HELO"),
                .address = contract_variable("SMTPD_PEER"),
                .hostname = contract_variable("SMTPD_HOSTNAME"),
                .protocol = contract_variable("SMTPD_PROTOCOL"),
                .tls = contract_variable("SMTPD_TLS"),
                .id = contract_variable("SMTPD_ID"),
                .recipient = n_recipients == 1 ? contract_variable("SMTPD_RCPT_TO") : "",
                .time = time(NULL),
        };
        char text[RECEIVED_MAX];
        size_t n = received_format(&received, text);

        put(f, text, n);
}

/* X-Peer, and an empty line before a line that is no field. */
static void put_end(struct file *f, const struct header_scan *h, bool has_x_peer) {
        if (has_x_peer) {
                char line[128];
                size_t n = text_format(line, sizeof(line), "X-Peer: %s\n",
                                       contract_variable("SMTPD_PEER"));

                put(f, line, n);
        }
        if (h->n_fields < h->n_header)
                put(f, "\n", 1);
}

/* --- the message ------------------------------------------------------------------------------ */

static char piece[PIECE];

/* The next piece at `from`. Returns its octets, 0 at the end, or a negative errno. */
static ssize_t read_piece(uint64_t from) {
        ssize_t n;

        do
                n = pread(STDIN_FILENO, piece, sizeof(piece), (off_t) from);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

static int scan(struct header_scan *h) {
        ssize_t n = 1;

        for (uint64_t at = 0; n > 0 && !h->is_over; at += (uint64_t) n)
                if ((n = read_piece(at)) > 0)
                        header_scan(h, piece, (size_t) n);
        return n < 0 ? (int) n : 0;
}

/* From one octet to before another, or to the end. */
static void put_part(struct file *f, uint64_t from, uint64_t to) {
        while (from < to && f->error == 0) {
                ssize_t n = read_piece(from);

                if (n == 0 && to == UINT64_MAX)
                        break;
                if (n <= 0)
                        f->error = n < 0 ? (int) n : -EIO; /* it became shorter */
                else {
                        put(f, piece, (uint64_t) n < to - from ? (size_t) n : (size_t) (to - from));
                        from += (uint64_t) n;
                }
        }
}

int maildir_write(int fd, bool has_x_peer) {
        struct file f = { .fd = fd };
        struct header_scan h = { 0 };

        f.error = scan(&h);
        put_received(&f, put_envelope(&f));
        if (h.is_mbox)
                put(&f, "X-Mailbox-Line: ", strlen("X-Mailbox-Line: "));
        put_part(&f, 0, h.n_fields);
        put_end(&f, &h, has_x_peer);
        put_part(&f, h.n_fields, UINT64_MAX);
        return f.error;
}
