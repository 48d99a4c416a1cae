/* SPDX-License-Identifier: MIT */
/* helpers/show.c - smtpd-show: the message on standard input, as a person reads it.
 *
 *     smtpd-show SECONDS
 *
 * A program under the contract of smtpd-exec(7), run by strategy show; descriptor 3 is the output
 * (io/output.h). The page is made before the output is locked, and written as one piece. GMime
 * reads what strangers have written: this process can do nothing but write that page
 * (show_confine.h).
 */
#include <errno.h>
#include <gmime/gmime.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/text.h"
#include "helpers/contract.h"
#include "helpers/show_charsets.h"
#include "helpers/show_confine.h"
#include "helpers/show_message.h"
#include "helpers/show_page.h"
#include "io/deadline.h"
#include "io/output.h"

enum { OUTPUT = 3, SECONDS_MAX = 3600, SECONDS_USUAL = 300 };

/* --- the message ------------------------------------------------------------------------------ */

/* All of it, and a NUL. NULL: it cannot be read. */
static char *read_message(size_t *ret_n) {
        struct stat st;
        char *text;
        size_t n = 0;

        if (fstat(STDIN_FILENO, &st) < 0 || !(text = malloc((size_t) st.st_size + 1)))
                return NULL;
        while (n < (size_t) st.st_size) {
                ssize_t k = pread(STDIN_FILENO, text + n, (size_t) st.st_size - n, (off_t) n);

                if (k == 0 || (k < 0 && errno != EINTR)) {
                        free(text);
                        return NULL;
                }
                n += k > 0 ? (size_t) k : 0;
        }
        text[n] = '\0';
        *ret_n = n;
        return text;
}

/* --- the page --------------------------------------------------------------------------------- */

/* "<alice@example.org> to <bob@example.net>, <carol@example.net>" */
static char *envelope_line(void) {
        GString *line = g_string_new(NULL);
        const char *separator = " to ";

        g_string_append_printf(line, "<%s>", contract_variable("SMTPD_MAIL_FROM"));
        for (const char *p = contract_variable("SMTPD_RCPT_TO"); *p; separator = ", ") {
                int n = (int) strcspn(p, "\n");

                g_string_append_printf(line, "%s<%.*s>", separator, n, p);
                p += n + (p[n] == '\n');
        }
        return g_string_free(line, FALSE);
}

/* "192.0.2.1 (client.example), ESMTPS TLSv1.3" */
static char *client_line(void) {
        const char *tls = contract_variable("SMTPD_TLS");

        return g_strdup_printf("%s (%s), %s%s%s", contract_variable("SMTPD_PEER"),
                               contract_variable("SMTPD_HELO"), contract_variable("SMTPD_PROTOCOL"),
                               *tls ? " " : "", tls);
}

static GString *make_page(const char *text, size_t n) {
        GString *page = g_string_new("---------- MESSAGE ----------\n");
        char *envelope = envelope_line(), *client = client_line();

        page_field(page, "Envelope", envelope);
        page_field(page, "Client", client);
        g_string_append_c(page, '\n');
        message_show(page, text, n);
        g_string_append(page, "-------- END MESSAGE --------\n");
        g_free(envelope);
        g_free(client);
        return page;
}

/* --- the output ------------------------------------------------------------------------------- */

/* At SIGTERM the broker's patience is over: a message that is begun is taken back. */
static void wait_for_signals(struct patience *p) {
        sigset_t stop;

        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN);
        sigemptyset(&stop);
        sigaddset(&stop, SIGTERM);
        sigprocmask(SIG_BLOCK, &stop, NULL);
        patience_init(p, signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK), -1);
        p->stage = PATIENCE_ASKING; /* it ends a wait at once */
}

/* 0 or a negative errno. */
static int write_page(const GString *page, struct patience *p, int64_t deadline) {
        output_begin(p, deadline);
        output_show(page->str, page->len);
        return output_end(0);
}

static int64_t deadline_of(const char *seconds) {
        uint64_t n;

        if (!seconds || !ascii_parse_number(seconds, SECONDS_MAX, &n))
                n = SECONDS_USUAL;
        return deadline_after(n);
}

static int fail(const char *what, int error) {
        char reply[256];

        text_format(reply, sizeof(reply), "451 4.3.0 %s: %s, try again later", what,
                    strerror(error));
        return contract_reply(reply, EX_TEMPFAIL);
}

int main(int argc, char **argv) {
        int64_t deadline = deadline_of(argc > 1 ? argv[1] : NULL);
        struct patience patience;
        size_t n = 0;
        GString *page;
        char *text;
        int r;

        wait_for_signals(&patience);
        output_set(OUTPUT, "the output");
        if (!(text = read_message(&n)))
                return fail("cannot read the message", errno ? errno : EIO);
        g_mime_init();
        charsets_load(text, n);
        confine_show();
        page = make_page(text, n);
        free(text);
        r = write_page(page, &patience, deadline);
        g_string_free(page, TRUE);
        if (r < 0)
                return fail("cannot write to the output", -r);
        return contract_reply("250 2.0.0 shown", EX_OK);
}
