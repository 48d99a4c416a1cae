/* SPDX-License-Identifier: MIT */
/* fuzz/world.c - all that is outside of a session: the client, and connections to servers. */
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker.h"
#include "world_server.h"

int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);

/* Of the sanitizers, where there are any. */
__attribute__((weak)) void __sanitizer_set_report_fd(void *fd);

/* In place of libc's: what assert() has to say must be seen. */
_Noreturn void __assert_fail(const char *what, const char *file, unsigned line,
                             const char *function);

enum { REPEATED_MAX = 64 * 1024 };

static struct {
        struct world_rules rules;
        const char *pieces, *end;
        const char *at_client, *at_server; /* next piece to look at */
        int client;                        /* our end */
        bool is_program_over;              /* it has closed, or hung up */
        struct server_end servers[SERVERS_MAX];
        size_t n_servers;
        int err, real_err, stop;
        struct services services;
        bool has_broker;
} w = { .err = -1 };

struct world world;

_Noreturn void world_fail(const char *file, int line, const char *what) {
        const char *err;
        size_t n;

        if (w.err >= 0) {
                n = world_stderr(&err);
                dup2(w.real_err, STDERR_FILENO);
                fprintf(stderr,
                        "--- standard error of the program\n%.*s--- what the client "
                        "heard\n%.*s---\n",
                        (int) n, err, (int) world.client_heard.n,
                        world.client_heard.n ? world.client_heard.data : "");
        }
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
        abort();
}

_Noreturn void __assert_fail(const char *what, const char *file, unsigned line,
                             const char *function) {
        (void) function;
        world_fail(file, (int) line, what);
}

/* --- pieces ----------------------------------------------------------------------------------- */

static bool is_mark(char c) {
        return (unsigned char) c >= SAY_MANY && (unsigned char) c <= CLIENT_SAYS;
}

static bool is_clients(unsigned char kind) {
        return kind == CLIENT_SAYS || kind == SAY_MANY;
}

/* The piece at p, or false at the end. */
static bool piece_at(const char *p, struct piece *ret) {
        const char *end = p + 1;

        if (p >= w.end)
                return false;
        while (end < w.end && !is_mark(*end))
                end++;
        *ret = (struct piece) { is_mark(*p) ? (unsigned char) *p : CLIENT_SAYS,
                                is_mark(*p) ? p + 1 : p, 0 };
        ret->n = (size_t) (end - ret->text);
        return true;
}

/* The next one of a client or a server; it is not taken yet. */
static bool next_piece(const char **at, bool of_client, struct piece *ret) {
        while (piece_at(*at, ret)) {
                if (is_clients(ret->kind) == of_client)
                        return true;
                *at = ret->text + ret->n;
        }
        return false;
}

bool world_next_of_server(struct piece *ret) {
        return next_piece(&w.at_server, false, ret);
}

void world_take_of_server(const struct piece *p) {
        w.at_server = p->text + p->n;
}

void world_send(int fd, const char *text, size_t n) {
        while (n > 0) {
                ssize_t k = send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);

                /* there is room for what we say at once */
                must(k > 0 || errno == EPIPE || errno == ECONNRESET);
                if (k <= 0)
                        return;
                text += k;
                n -= (size_t) k;
        }
}

bool world_receive(int fd, struct text *into) {
        char buffer[16 * 1024];
        ssize_t n;

        while ((n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
                text_add(into, buffer, (size_t) n);
        return n < 0 && errno == EAGAIN;
}

/* --- the client ------------------------------------------------------------------------------- */

/* All at once: a socket has room for some hundred small packets only. */
static void client_says(const char *text, size_t n, size_t times) {
        size_t before = world.client_said.n;

        while (n > 0 && times-- > 0 && world.client_said.n - before + n <= REPEATED_MAX)
                text_add(&world.client_said, text, n);
        if (world.client_said.n > before)
                world_send(w.client, world.client_said.data + before, world.client_said.n - before);
}

/* The program waits for the client. false if nothing will come. */
static bool client_moves(struct pollfd *stop) {
        struct piece p;

        if (next_piece(&w.at_client, true, &p)) {
                w.at_client = p.text + p.n;
                if (p.kind == CLIENT_SAYS)
                        client_says(p.text, p.n, 1);
                else if (p.n > 0)
                        client_says(p.text + 1, p.n - 1, 16 * (size_t) (unsigned char) *p.text);
                return true;
        }
        world_listen();
        world.is_client_over |= !w.is_program_over;
        if (w.rules.ending == ENDING_EOF)
                shutdown(w.client, SHUT_WR);
        else if (w.rules.ending == ENDING_STOP && stop)
                stop->revents = POLLIN;
        return w.rules.ending == ENDING_EOF;
}

/* --- in place of the kernel ------------------------------------------------------------------- */

static struct server_end *server_of(int fd) {
        for (size_t i = w.n_servers; i > 0; i--)
                if (w.servers[i - 1].theirs == fd)
                        return w.servers + i - 1;
        return NULL;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout) {
        int r = __real_poll(fds, n, 0);
        struct server_end *s = n > 0 ? server_of(fds[0].fd) : NULL;
        bool is_input = n > 0 && fds[0].events & POLLIN;

        /* patience_check() does not wait */
        if (w.err < 0 || r != 0 || (n > 0 && fds[0].fd == w.stop))
                return r;
        if (n == 0) { /* it waits until we have heard it */
                world_listen();
                return 0;
        }
        if (!is_input)
                world_listen(); /* makes room */
        else if (s && timeout == 0)
                world_server_interrupt(s);
        else if (s ? !world_server_move(s) : !client_moves(n > 1 ? fds + 1 : NULL))
                return n > 1 && fds[1].revents ? 1 : 0;
        r = __real_poll(fds, n, 0);
        must(r > 0 || timeout == 0 || is_input); /* there is always room */
        return r > 0 || timeout == 0 ? r : __wrap_poll(fds, n, timeout);
}

int broker_start(const struct services *s) {
        w.services = *s;
        w.has_broker = true;
        return 0;
}

int broker_socket(void) {
        return w.has_broker ? w.stop : -1;
}

void broker_stop(void) {
        w.has_broker = false;
}

/* No strategy of the target runs programs. */
void broker_tell_peer(const char *client) {
        (void) client;
}

void broker_run(const struct request *r, const char *variables, int message, struct patience *p,
                struct answer *ret, char ret_output[static ANSWER_TEXT_MAX]) {
        (void) r, (void) variables, (void) message, (void) p, (void) ret, (void) ret_output;
        must(false);
}

bool broker_start_tls(const struct passed *p, struct answer *ret) {
        (void) p, (void) ret;
        must(false);
        return false;
}

void broker_find_list(const struct address *a, enum request_purpose purpose, struct patience *p,
                      struct answer *ret) {
        (void) a, (void) purpose, (void) p, (void) ret;
        must(false);
}

int broker_connect(unsigned index, uint64_t milliseconds, struct patience *p,
                   struct prologue_result *ret, const char **ret_why) {
        struct server_end *s = w.servers + w.n_servers;
        const char *port, *endpoint = request_endpoint(&w.services, index, &port);
        int pair[2];

        (void) milliseconds, (void) p;
        must(endpoint && w.has_broker);
        *ret = (struct prologue_result) { 0 };
        *ret_why = "it is not there";
        if (w.n_servers == SERVERS_MAX ||
            (w.n_servers < 8 && w.rules.failures & 1U << w.n_servers)) {
                /* it fails once */
                w.rules.failures &= (uint8_t) ~(w.n_servers < 8 ? 1U << w.n_servers : 0);
                return -ECONNREFUSED;
        }
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        *s = (struct server_end) { .ours = pair[0], .theirs = pair[1], .handover = -1 };
        w.n_servers++;
        s->is_mailman = strcmp(endpoint, WORLD_MAILMAN) == 0;
        s->is_lmtp = s->is_mailman || w.rules.is_upstream_lmtp;
        s->extensions = w.rules.extensions;
        world_server_begin(s);
        return pair[1];
}

/* --- the whole -------------------------------------------------------------------------------- */

void world_init(void) {
        w.real_err = dup(STDERR_FILENO);
        w.err = memfd_create("stderr", MFD_CLOEXEC);
        w.stop = eventfd(0, EFD_CLOEXEC); /* never readable, but where poll() says so */
        if (__sanitizer_set_report_fd)
                __sanitizer_set_report_fd((void *) (intptr_t) w.real_err);
}

static void open_stderr(void) {
        must(ftruncate(w.err, 0) == 0 && lseek(w.err, 0, SEEK_SET) == 0);
        dup2(w.err, STDERR_FILENO);
}

void world_hear_no_more(void) {
        dup2(w.real_err, STDERR_FILENO);
}

size_t world_stderr(const char **ret) {
        static struct text text;
        off_t n = lseek(w.err, 0, SEEK_CUR);

        text.n = 0;
        text_add(&text, "", 0);
        if (text.size < (size_t) n + 1) {
                text.data = realloc(text.data, (size_t) n + 1);
                text.size = (size_t) n + 1;
        }
        *ret = text.data;
        return pread(w.err, text.data, (size_t) n, 0) == n ? (size_t) n : 0;
}

void world_listen(void) {
        w.is_program_over |= !world_receive(w.client, &world.client_heard);
        for (size_t i = 0; i < w.n_servers; i++)
                world_server_listen(w.servers + i);
}

void world_start(const char *pieces, size_t n, const struct world_rules *rules) {
        int pair[2];

        open_stderr();
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        w.rules = *rules;
        w.pieces = w.at_client = w.at_server = pieces;
        w.end = pieces + n;
        w.client = pair[0];
        w.is_program_over = false;
        memset(&world, 0, sizeof(world));
        world.client = pair[1];
        world.stop = w.stop;
}

void world_end(void) {
        world_listen();
        for (size_t i = 0; i < w.n_servers; i++)
                world_server_forget(w.servers + i);
        for (size_t i = 0; i < world.n_handovers; i++) {
                text_clear(&world.handovers[i].sender);
                text_clear(&world.handovers[i].recipients);
                text_clear(&world.handovers[i].content);
        }
        free(world.handovers);
        text_clear(&world.client_said);
        text_clear(&world.client_heard);
        close(w.client);
        close(world.client);
        w.n_servers = 0;
}
