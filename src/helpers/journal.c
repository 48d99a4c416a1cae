/* SPDX-License-Identifier: MIT */
/* helpers/journal.c - smtpd-journal: the message on standard input becomes one entry in the systemd
 * journal.
 *
 * A program under the contract of smtpd-exec(7), run by strategy journal. The only user of
 * libsystemd. Its fields are described in smtpd(8), "Journal entries"; MESSAGE_ID has an entry in
 * the message catalog.
 *
 * We speak the native journal protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL) ourselves, as
 * sd_journal_sendv(3) returns 0 also when nobody listens, and when only a part of a large entry
 * could be written. journald may still drop what it was sent, and hang: where we may read the
 * journal we answer 250 only when the entry has been read back from it, whole, and an alarm ends
 * us.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "helpers/contract.h"
#include "helpers/journal_read.h"
#include "io/deadline.h"
#include "smtp/trace.h"

#ifndef MFD_EXEC /* both since Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif

enum {
        TEXT_MAX = 64 * 1024 * 1024, /* octets of a message; larger ones are refused, not cut */
        /* octets of an entry that journald takes of others than root, since version 260 */
        ENTRY_MAX = 32 * 1024 * 1024,
        /* with a field of their own; journald takes 1,024 fields in all */
        RECIPIENTS_MAX = 256,
        FIELDS_MAX = RECIPIENTS_MAX + 32,
        SECONDS_MAX = 20, /* for all of it */
        SEND_SECONDS = 5,
};

/* As it is sent: each field is its name, a line's end, the length of its value (64 bits,
 * little-endian), the value, which may be any octets, and a line's end. */
struct entry {
        /* the text is the last one: journald keeps the first ones if memory runs out */
        struct iovec fields[FIELDS_MAX];
        size_t n, size;
        struct iovec text; /* value of SMTPD_TEXT */
};

/* --- fields ----------------------------------------------------------------------------------- */

/* Adds a field. Returns where its value, of n octets, is to be written. */
static char *add_field(struct entry *e, const char *name, size_t n) {
        size_t n_name = strlen(name), size = n_name + 1 + sizeof(uint64_t) + n + 1;
        char *field = e->n < FIELDS_MAX ? malloc(size) : NULL, *value;

        if (!field)
                exit(contract_reply("451 4.3.0 out of memory, try again later", EX_TEMPFAIL));
        value = mempcpy(mempcpy(field, name, n_name), "\n", 1);
        value = mempcpy(value, &(uint64_t) { htole64(n) }, sizeof(uint64_t));
        value[n] = '\n';
        e->fields[e->n++] = (struct iovec) { field, size };
        e->size += size;
        return value;
}

static void add(struct entry *e, const char *name, const char *value, size_t n) {
        memcpy(add_field(e, name, n), value, n);
}

static void add_text(struct entry *e, const char *name, const char *value) {
        add(e, name, value, strlen(value));
}

/* One SMTPD_RCPT_TO for each recipient; those for which there is no room share SMTPD_RCPT_TO_MORE.
 */
static unsigned add_recipients(struct entry *e, const char *list) {
        unsigned n = 0;

        for (const char *p = list; *p; n++) {
                size_t length = strcspn(p, "\n");

                if (n == RECIPIENTS_MAX)
                        add_text(e, "SMTPD_RCPT_TO_MORE", p);
                if (n < RECIPIENTS_MAX)
                        add(e, "SMTPD_RCPT_TO", p, length);
                p += length + (p[length] == '\n');
        }
        return n;
}

/* "alice@example.org to bob@example.net and 2 more" */
static void add_summary(struct entry *e, const char *recipients, unsigned n) {
        char summary[4096], more[32] = "";

        if (n > 1)
                snprintf(more, sizeof(more), " and %u more", n - 1);
        snprintf(summary, sizeof(summary), "mail from <%.1024s> to <%.*s>%s, %s octets",
                 contract_variable("SMTPD_MAIL_FROM"), (int) strcspn(recipients, "\n"), recipients,
                 more, contract_variable("SMTPD_SIZE"));
        add_text(e, "MESSAGE", summary);
}

static void add_envelope(struct entry *e) {
        static const char *const names[] = { "SMTPD_ID",
                                             "SMTPD_PEER",
                                             "SMTPD_PEER_PORT",
                                             "SMTPD_HELO",
                                             "SMTPD_PROTOCOL",
                                             "SMTPD_HOSTNAME",
                                             "SMTPD_MAIL_FROM",
                                             "SMTPD_MAIL_OPTIONS",
                                             "SMTPD_SIZE",
                                             "SMTPD_TLS",
                                             "SMTPD_TLS_CIPHER",
                                             "SMTPD_TLS_SNI",
                                             "SMTPD_TLS_CLIENT_FINGERPRINT",
                                             "SMTPD_TLS_CLIENT_VERIFY",
                                             "SMTPD_AUTH" };
        const char *recipients = contract_variable("SMTPD_RCPT_TO");
        char count[16];
        unsigned n;

        add_text(e, "MESSAGE_ID", MESSAGE_ID);
        add_text(e, "PRIORITY", "6");
        add_text(e, "SYSLOG_IDENTIFIER", PROGRAM);
        add_text(e, "SYSLOG_FACILITY", "2"); /* mail */
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                add_text(e, names[i], contract_variable(names[i]));
        n = add_recipients(e, recipients);
        snprintf(count, sizeof(count), "%u", n);
        add_text(e, "SMTPD_RECIPIENTS", count);
        add_summary(e, recipients, n);
}

/* The text, with X-Peer as its last header if that is wanted. */
static void add_message(struct entry *e, const char *text, size_t n, bool has_x_peer) {
        struct header_scan header = { 0 };
        char x_peer[128] = "", *value;

        if (has_x_peer)
                snprintf(x_peer, sizeof(x_peer), "X-Peer: %.100s\n",
                         contract_variable("SMTPD_PEER"));
        header_scan(&header, text, n);
        value = add_field(e, "SMTPD_TEXT", n + strlen(x_peer));
        e->text = (struct iovec) { value, n + strlen(x_peer) };
        value = mempcpy(mempcpy(value, text, header.n_header), x_peer, strlen(x_peer));
        memcpy(value, text + header.n_header, n - header.n_header);
}

/* --- journald --------------------------------------------------------------------------------- */

/* A datagram socket to journald, or -1 where there is none. */
static int connect_journald(void) {
        const struct sockaddr_un name = { .sun_family = AF_UNIX,
                                          .sun_path = "/run/systemd/journal/socket" };
        const struct timeval patience = { .tv_sec = SEND_SECONDS };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
                        connect(fd, (const struct sockaddr *) &name, sizeof(name)) < 0)) {
                close(fd);
                fd = -1;
        }
        return fd;
}

/* All n octets. 0 or a negative errno. */
static int write_all(int fd, const char *data, size_t n) {
        while (n > 0) {
                ssize_t k = write(fd, data, n);

                if (k < 0 && errno != EINTR)
                        return -errno;
                if (k > 0) {
                        data += k;
                        n -= (size_t) k;
                }
        }
        return 0;
}

/* Where files in memory must not be executable (sysctl vm.memfd_noexec) journald refuses them
 * before version 254, and says so to nobody: there we send none unless we see what becomes of it.
 */
static int memory_file(bool is_read_back) {
        int fd = memfd_create("smtpd-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

        if (fd < 0 && errno == EINVAL)
                fd = memfd_create("smtpd-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 && errno == EACCES && is_read_back)
                fd = memfd_create("smtpd-journal",
                                  MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
        return fd < 0 ? -errno : fd;
}

/* A file with the whole entry, which nobody can change any more; or a negative errno. */
static int entry_file(const struct entry *e, bool is_read_back) {
        int fd = memory_file(is_read_back), r = 0;

        if (fd < 0)
                return fd;
        for (size_t i = 0; i < e->n && r == 0; i++)
                r = write_all(fd, e->fields[i].iov_base, e->fields[i].iov_len);
        if (r == 0 &&
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
                r = -errno;
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}

/* The descriptor is all there is in its datagram. 0 or a negative errno. */
static int send_file(int journald, int file) {
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(file))] = { 0 };
        const struct msghdr message = { .msg_control = control, .msg_controllen = sizeof(control) };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        *header = (struct cmsghdr) { .cmsg_len = CMSG_LEN(sizeof(file)),
                                     .cmsg_level = SOL_SOCKET,
                                     .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(header), &file, sizeof(file));
        return sendmsg(journald, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* As one datagram, or in a file where it is too large for that. 0; or a negative errno, and then
 * journald has nothing. */
static int send_entry(int journald, struct entry *e, bool is_read_back) {
        const struct msghdr message = { .msg_iov = e->fields, .msg_iovlen = e->n };
        int file, r;

        if (sendmsg(journald, &message, MSG_NOSIGNAL) >= 0)
                return 0;
        if (errno != EMSGSIZE && errno != ENOBUFS)
                return -errno;
        if ((file = entry_file(e, is_read_back)) < 0)
                return file;
        r = send_file(journald, file);
        close(file);
        return r;
}

/* An entry of nothing, which journald ignores. */
static bool send_mark(int journald) {
        return send(journald, "\n", 1, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* Waits until journald has taken what was sent to it. 0 or a negative errno. A mark stands behind
 * it in the queue. The kernel counts both as ours (SIOCOUTQ) until they are read; or until nobody
 * listens any more, but then no other mark can be sent. */
static int wait_until_taken(int journald) {
        int64_t deadline = deadline_after(JOURNAL_STORE_SECONDS);
        bool is_marked = false;
        int n_waiting;

        for (useconds_t pause = JOURNAL_PAUSE_MIN; deadline_left(deadline) > 0;
             pause = journal_pause_after(pause)) {
                if (!is_marked && !(is_marked = send_mark(journald)) && errno != EAGAIN)
                        return -errno;
                if (is_marked && ioctl(journald, SIOCOUTQ, &n_waiting) == 0 && n_waiting == 0)
                        return send_mark(journald) || errno == EAGAIN ? 0 : -errno;
                usleep(pause);
        }
        return -ETIME;
}

static int not_stored(const char *what, int error) {
        fprintf(stderr, "%s: %s\n", what, strerror(-error));
        return contract_reply("451 4.3.0 the journal did not store the message, try again later",
                              EX_TEMPFAIL);
}

static int store(struct entry *e) {
        int journald = connect_journald(), is_readable = journal_may_be_read(), r;
        struct journal_files files = { .n = 0 };

        if (journald < 0)
                return contract_reply("451 4.3.0 the journal is not available, try again later",
                                      EX_TEMPFAIL);
        if (is_readable < 0)
                return not_stored("cannot look into /run/log/journal or /var/log/journal",
                                  is_readable);
        if (is_readable)
                journal_files_open(&files);
        if ((r = send_entry(journald, e, is_readable)) < 0)
                return not_stored("cannot write to the journal", r == -EAGAIN ? -ETIMEDOUT : r);
        if (is_readable) {
                r = journal_read_back(&files, contract_variable("SMTPD_ID"), &e->text);
                if (r == -ETIME)
                        return not_stored("duplicate possible: the entry is not in the journal (is "
                                          "its storage full, or journald stuck?)",
                                          r);
                if (r < 0)
                        return not_stored("duplicate possible: the entry cannot be read back from "
                                          "the journal",
                                          r);
                return contract_reply("250 2.0.0 stored in the journal", EX_OK);
        }
        if ((r = wait_until_taken(journald)) < 0)
                return not_stored("duplicate possible: journald did not confirm the entry", r);
        return contract_reply("250 2.0.0 accepted by the journal", EX_OK);
}

int main(int argc, char **argv) {
        static struct entry entry;
        bool has_x_peer = argc > 1 && strcmp(argv[1], "--x-peer") == 0;
        struct stat status;
        const char *text = "";

        alarm(SECONDS_MAX);
        signal(SIGXFSZ, SIG_IGN); /* write(2) says it, too */
        if (fstat(STDIN_FILENO, &status) < 0)
                return contract_reply("451 4.3.0 the message cannot be read, try again later",
                                      EX_TEMPFAIL);
        if (status.st_size > TEXT_MAX)
                return contract_reply("552 5.3.4 too big for the journal: at most 64 MiB",
                                      EX_DATAERR);
        if (status.st_size > 0)
                text = mmap(NULL, (size_t) status.st_size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
        if (text == MAP_FAILED)
                return contract_reply("451 4.3.0 the message cannot be read, try again later",
                                      EX_TEMPFAIL);
        add_envelope(&entry);
        add_message(&entry, text, (size_t) status.st_size, has_x_peer);
        if (getuid() != 0 && entry.size > ENTRY_MAX)
                return contract_reply(
                        "552 5.3.4 too big for the journal: at most 32 MiB with the envelope",
                        EX_DATAERR);
        return store(&entry);
}
