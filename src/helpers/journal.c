/* helpers/journal.c - smtpd-journal: the message on standard input becomes one entry in the systemd journal.
 *
 * A program under the contract of smtpd-exec(7), run by strategy journal. The only user of libsystemd. Its fields are
 * described in smtpd(8), "Journal entries"; MESSAGE_ID has an entry in the message catalog.
 *
 * sd_journal_sendv(3) returns 0 also when nobody listens, when only a part of a large entry could be written, when journald
 * drops the entry, and blocks when journald hangs. So: we look whether journald is there, an alarm ends us when it hangs, and
 * where we may read the journal we answer 250 only when the entry has been read back from it, whole.
 */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <errno.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "smtp/trace.h"

enum {
        TEXT_MAX = 64 * 1024 * 1024, /* octets of a message; larger ones are refused, not cut */
        RECIPIENTS_MAX = 256,        /* with a field of their own: an entry takes some 500 fields in all */
        FIELDS_MAX = RECIPIENTS_MAX + 32,
        SECONDS_MAX = 20,            /* for all of it */
        READ_BACK_SECONDS = 10,
};

struct entry {
        struct iovec fields[FIELDS_MAX];
        int n;
};

static int verdict(const char *reply, int status) {
        puts(reply);
        fflush(stdout);
        return status;
}

static const char *variable(const char *name) {
        const char *value = getenv(name);

        return value ? value : "";
}

/* --- fields ------------------------------------------------------------------------------------------------ */

/* Adds a field of n octets, which stays ours no more. */
static void add_field(struct entry *e, char *field, size_t n) {
        if (!field || e->n == FIELDS_MAX)
                exit(verdict("451 4.3.0 out of memory, try again later", EX_TEMPFAIL));
        e->fields[e->n++] = (struct iovec) { field, n };
}

/* Adds "NAME=" and the n octets of value. */
static void add(struct entry *e, const char *name, const char *value, size_t n) {
        size_t n_name = strlen(name);
        char *field = malloc(n_name + 1 + n);

        if (field) {
                memcpy(mempcpy(field, name, n_name), "=", 1);
                memcpy(field + n_name + 1, value, n);
        }
        add_field(e, field, n_name + 1 + n);
}

static void add_text(struct entry *e, const char *name, const char *value) {
        add(e, name, value, strlen(value));
}

/* One SMTPD_RCPT_TO for each recipient; those for which there is no room share SMTPD_RCPT_TO_MORE. */
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
        snprintf(summary, sizeof(summary), "mail from <%.1024s> to <%.*s>%s, %s octets", variable("SMTPD_MAIL_FROM"),
                 (int) strcspn(recipients, "\n"), recipients, more, variable("SMTPD_SIZE"));
        add_text(e, "MESSAGE", summary);
}

static void add_envelope(struct entry *e) {
        static const char *const names[] = { "SMTPD_ID",       "SMTPD_PEER",     "SMTPD_PEER_PORT", "SMTPD_HELO",
                                             "SMTPD_PROTOCOL", "SMTPD_HOSTNAME", "SMTPD_MAIL_FROM", "SMTPD_MAIL_OPTIONS",
                                             "SMTPD_SIZE" };
        const char *recipients = variable("SMTPD_RCPT_TO");
        char count[16];
        unsigned n;

        add_text(e, "MESSAGE_ID", MESSAGE_ID);
        add_text(e, "PRIORITY", "6");
        add_text(e, "SYSLOG_IDENTIFIER", "smtpd");
        add_text(e, "SYSLOG_FACILITY", "2"); /* mail */
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                add_text(e, names[i], variable(names[i]));
        n = add_recipients(e, recipients);
        snprintf(count, sizeof(count), "%u", n);
        add_text(e, "SMTPD_RECIPIENTS", count);
        add_summary(e, recipients, n);
}

/* The text, with X-Peer as its last header if that is wanted. */
static void add_message(struct entry *e, const char *text, size_t n, bool has_x_peer) {
        struct header_scan header = { 0 };
        char x_peer[128] = "", *field, *end;
        size_t room;

        if (has_x_peer)
                snprintf(x_peer, sizeof(x_peer), "X-Peer: %.100s\n", variable("SMTPD_PEER"));
        header_scan(&header, text, n);
        room = strlen("SMTPD_TEXT=") + n + strlen(x_peer) + 1;
        end = field = malloc(room);
        if (field) {
                end = mempcpy(stpcpy(end, "SMTPD_TEXT="), text, header.n_header);
                end = mempcpy(stpcpy(end, x_peer), text + header.n_header, n - header.n_header);
        }
        add_field(e, field, (size_t) (end - field));
}

/* --- journald ---------------------------------------------------------------------------------------------- */

/* A datagram socket to journald, or -1 where there is none. */
static int connect_journald(void) {
        const struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd >= 0 && connect(fd, (const struct sockaddr *) &name, sizeof(name)) < 0) {
                close(fd);
                fd = -1;
        }
        return fd;
}

/* Whether journald takes what is sent to it. An entry of nothing, which it ignores, stands behind ours in its queue; the
 * kernel counts it as ours (SIOCOUTQ) until it is read. */
static bool is_taken(int fd) {
        time_t end = time(NULL) + READ_BACK_SECONDS;
        int n_waiting = 1;

        if (send(fd, "\n", 1, 0) < 0)
                return false;
        for (useconds_t pause = 500; ioctl(fd, SIOCOUTQ, &n_waiting) == 0 && n_waiting > 0 && time(NULL) < end;) {
                usleep(pause);
                pause = pause < 100 * 1000 ? pause * 2 : pause;
        }
        return n_waiting == 0;
}

/* Whether we may read what journald writes: as root, or as one of its group, who sees the system's files. */
static bool may_read_journal(void) {
        sd_journal *j = NULL;
        uint64_t usage = 0;

        if (geteuid() == 0)
                return true;
        if (sd_journal_open_namespace(&j, NULL, SD_JOURNAL_ALL_NAMESPACES | SD_JOURNAL_SYSTEM) < 0)
                return false;
        sd_journal_get_usage(j, &usage);
        sd_journal_close(j);
        return usage > 0;
}

/* The journal, with our entry as all there is to see; NULL where it cannot be read. */
static sd_journal *open_journal(void) {
        sd_journal *j = NULL;
        char match[128];

        snprintf(match, sizeof(match), "SMTPD_ID=%.100s", variable("SMTPD_ID"));
        if (!may_read_journal() || sd_journal_open_namespace(&j, NULL, SD_JOURNAL_ALL_NAMESPACES) < 0)
                return NULL;
        if (sd_journal_add_match(j, match, 0) < 0 || sd_journal_get_fd(j) < 0) {
                sd_journal_close(j);
                return NULL;
        }
        return j;
}

/* Whether the entry that the journal has is ours to its last octet. 0 or a negative errno. */
static int compare(sd_journal *j, const struct iovec *text) {
        const void *data;
        size_t n;
        int r;

        if ((r = sd_journal_set_data_threshold(j, 0)) < 0 || (r = sd_journal_get_data(j, "SMTPD_TEXT", &data, &n)) < 0)
                return r;
        return n == text->iov_len && memcmp(data, text->iov_base, n) == 0 ? 0 : -EBADMSG;
}

/* Reads the entry back. 0 or a negative errno. journald announces what it has written a quarter of a second later; we look more
 * often at first. */
static int read_back(sd_journal *j, const struct iovec *text) {
        time_t end = time(NULL) + READ_BACK_SECONDS;

        for (uint64_t pause = 500;; pause = pause < 250 * 1000UL ? pause * 2 : pause) { /* microseconds */
                int r = sd_journal_seek_head(j);

                if (r >= 0 && (r = sd_journal_next(j)) > 0)
                        return compare(j, text);
                if (time(NULL) >= end) /* until then a failure may come of a file that journald is just changing */
                        return r < 0 ? r : -ETIME;
                if ((r = sd_journal_wait(j, pause)) < 0)
                        return r;
        }
}

/* The text is the last field. */
static int store(struct entry *e) {
        int fd = connect_journald(), r;
        bool is_sent, is_read_back;
        sd_journal *j;

        if (fd < 0)
                return verdict("451 4.3.0 the journal is not available, try again later", EX_TEMPFAIL);
        j = open_journal();
        is_read_back = j != NULL;
        r = sd_journal_sendv(e->fields, e->n);
        is_sent = r >= 0;
        if (is_sent)
                r = j ? read_back(j, &e->fields[e->n - 1]) : is_taken(fd) ? 0 : -ETIME;
        sd_journal_close(j);
        close(fd);
        if (r < 0) {
                fprintf(stderr, "%s: %s\n",
                        !is_sent      ? "cannot write to the journal"
                        : r == -ETIME ? "duplicate possible: is the storage of journald full, or is it stuck"
                                      : "duplicate possible: the entry cannot be read back from the journal",
                        strerror(-r));
                return verdict("451 4.3.0 the journal did not store the message, try again later", EX_TEMPFAIL);
        }
        return verdict(is_read_back ? "250 2.0.0 stored in the journal" : "250 2.0.0 taken by the journal", EX_OK);
}

int main(int argc, char **argv) {
        static struct entry entry;
        bool has_x_peer = argc > 1 && strcmp(argv[1], "--x-peer") == 0;
        struct stat status;
        const char *text = "";

        alarm(SECONDS_MAX);
        if (fstat(STDIN_FILENO, &status) < 0)
                return verdict("451 4.3.0 the message cannot be read, try again later", EX_TEMPFAIL);
        if (status.st_size > TEXT_MAX)
                return verdict("552 5.3.4 too big for the journal: at most 64 MiB", EX_DATAERR);
        if (status.st_size > 0)
                text = mmap(NULL, (size_t) status.st_size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
        if (text == MAP_FAILED)
                return verdict("451 4.3.0 the message cannot be read, try again later", EX_TEMPFAIL);
        add_envelope(&entry);
        add_message(&entry, text, (size_t) status.st_size, has_x_peer);
        return store(&entry);
}
