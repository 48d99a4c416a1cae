/* SPDX-License-Identifier: MIT */
/* test-relay.c - helpers/tls_relay: octets both ways, with a cipher that does what TLS may do. */
#include "helpers/tls_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cipher.h"
#include "io/deadline.h"
#include "unit.h"

/* --- a relay, and both its ends -----------------------------------------------------------------
 */

struct ends {
        int peer, session;
        int connection, clear; /* the relay's own, to look at what it leaves there */
        pid_t pid;
};

static struct ends start(struct cipher c) {
        int connection[2], clear[2];
        struct ends e;

        ck_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, connection) == 0);
        ck_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, clear) == 0);
        e.pid = fork();
        if (e.pid == 0) {
                const struct relay_cipher cipher = { &c, cipher_read, cipher_write, cipher_end,
                                                     cipher_has_more };

                close(connection[0]);
                close(clear[0]);
                c.connection = connection[1];
                alarm(UNIT_PATIENCE);
                _exit(STATUS + relay_run(&cipher, connection[1], clear[1]));
        }
        e.peer = connection[0];
        e.session = clear[0];
        e.connection = connection[1];
        e.clear = clear[1];
        return e;
}

static struct ends start_with(struct cipher c) {
        struct ends e = start(c);

        close(e.connection);
        close(e.clear);
        return e;
}

static int result_of(const struct ends *e) {
        int status;

        ck_assert(waitpid(e->pid, &status, 0) == e->pid);
        ck_assert(WIFEXITED(status));
        return WEXITSTATUS(status) - STATUS;
}

static char octet_at(size_t i) {
        return (char) (i * 2654435761u >> 13);
}

/* A process that writes much, and then says that it has ended. */
static pid_t write_much(int fd, bool is_enciphered) {
        pid_t pid = fork();
        static char data[MUCH];

        if (pid != 0)
                return pid;
        for (size_t i = 0; i < MUCH; i++)
                data[i] = octet_at(i);
        if (is_enciphered)
                encipher(data, MUCH);
        for (size_t at = 0; at < MUCH;) {
                ssize_t k = send(fd, data + at, MUCH - at, MSG_NOSIGNAL);

                if (k <= 0)
                        _exit(EXIT_FAILURE);
                at += (size_t) k;
        }
        shutdown(fd, SHUT_WR);
        _exit(EXIT_SUCCESS);
}

/* All that comes, and then the end; `n_more` octets of a farewell are NULs. */
static void read_much(int fd, bool is_enciphered, size_t n_more) {
        static char data[65536];
        size_t at = 0;
        ssize_t k;

        while ((k = recv(fd, data, sizeof(data), 0)) > 0) {
                if (is_enciphered)
                        encipher(data, (size_t) k);
                for (ssize_t i = 0; i < k; i++, at++)
                        ck_assert_int_eq(data[i], at < MUCH ? octet_at(at) : 0);
        }
        ck_assert_int_eq(k, 0);
        ck_assert_uint_eq(at, MUCH + n_more);
}

static void expect(int fd, const char *text, size_t n) {
        char data[100];

        ck_assert_int_eq(recv(fd, data, n ? n : 1, MSG_WAITALL), (intmax_t) n);
        ck_assert_mem_eq(data, text, n);
}

START_TEST(much_goes_both_ways_at_once) {
        struct ends e = start_with((struct cipher) { .is_odd = _i == 1, .is_ahead = _i == 2 });
        pid_t writers[] = { write_much(e.peer, true), write_much(e.session, false) }, reader;

        reader = fork();
        if (reader == 0) {
                read_much(e.peer, true, 1);
                _exit(EXIT_SUCCESS);
        }
        read_much(e.session, false, 0);
        for (size_t i = 0; i < 3; i++) {
                int status = -1;

                ck_assert(waitpid(i < 2 ? writers[i] : reader, &status, 0) > 0);
                ck_assert_int_eq(status, 0);
        }
        ck_assert_int_eq(result_of(&e), RELAY_ENDED);
}
END_TEST

/* As much as goes in, and nothing any more for a good while: a busy machine lets the relay wait. */
static size_t fill(int fd) {
        static char data[65536];
        unsigned n_full = 0;
        size_t n = 0;

        while (n_full < 100) {
                ssize_t k = send(fd, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);

                if (k > 0) {
                        n += (size_t) k;
                        n_full = 0;
                } else {
                        n_full++;
                        usleep(5000);
                }
        }
        return n;
}

static size_t drain(int fd) {
        static char data[65536];
        size_t n = 0;
        ssize_t k;

        while ((k = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
                n += (size_t) k;
        return n;
}

/* Each octet is in the one socket or in the other, and none in the relay alone: killed, it has
 * taken nothing along. */
START_TEST(what_was_not_taken_is_still_there) {
        struct ends e = start((struct cipher) { .is_odd = _i == 1 });
        int small = 4096, status, n_queued = 0;
        size_t n;

        setsockopt(e.connection, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
        n = fill(e.session);
        ck_assert(ioctl(e.session, TIOCOUTQ, &n_queued) == 0 && n_queued > 0);
        ck_assert(ioctl(e.connection, TIOCOUTQ, &n_queued) == 0 && n_queued > 0);
        kill(e.pid, SIGKILL);
        ck_assert(waitpid(e.pid, &status, 0) == e.pid);
        ck_assert_uint_eq(drain(e.peer) + drain(e.clear), n);
}
END_TEST

START_TEST(each_side_ends_by_itself) {
        struct ends e = start_with(plain);
        char said[] = "word", nul = KEY;

        shutdown(_i == 0 ? e.session : e.peer, SHUT_WR);
        if (_i == 0) { /* the peer still talks */
                expect(e.peer, &nul, 1);
                expect(e.peer, "", 0);
                encipher(said, 4);
                ck_assert_int_eq(send(e.peer, said, 4, 0), 4);
                expect(e.session, "word", 4);
                close(e.peer);
                expect(e.session, "", 0);
        } else {
                expect(e.session, "", 0);
                ck_assert_int_eq(send(e.session, said, 4, 0), 4);
                encipher(said, 4);
                expect(e.peer, said, 4);
                close(e.session);
                expect(e.peer, &nul, 1);
                expect(e.peer, "", 0);
        }
        ck_assert_int_eq(result_of(&e), RELAY_ENDED);
}
END_TEST

/* Its session is gone, and what comes is for nobody: until the peer has heard that, but no longer.
 */
START_TEST(session_is_gone) {
        struct ends e = start_with(plain);
        int64_t begun = deadline_now();
        char data[1000] = "";

        close(e.session);
        if (_i == 0) {
                for (unsigned i = 0; i < 1000; i++)
                        send(e.peer, data, sizeof(data), MSG_NOSIGNAL);
                shutdown(e.peer, SHUT_WR);
                ck_assert_int_eq(result_of(&e), RELAY_ENDED);
                ck_assert_int_ge(begun + RELAY_LINGER - 1, deadline_now());
        } else {
                ck_assert_int_eq(result_of(&e), RELAY_ENDED);
                ck_assert_int_ge(deadline_now(), begun + RELAY_LINGER - 100);
        }
}
END_TEST

/* A peer that takes nothing any more does not keep us. */
START_TEST(peer_is_stuck) {
        struct ends e = start_with(plain);

        fill(e.session);
        close(e.session);
        ck_assert_int_eq(result_of(&e), RELAY_ENDED);
}
END_TEST

static const int ends_of_cipher[] = { RELAY_LOST, RELAY_BROKEN };

START_TEST(cipher_gives_up) {
        struct ends e = start_with((struct cipher) { .reads_as = ends_of_cipher[_i] });

        ck_assert_int_eq(result_of(&e), ends_of_cipher[_i]);
        expect(e.session, "", 0);
}
END_TEST

/* What came before is there, of the same read of the connection. */
START_TEST(cipher_gives_up_later) {
        struct ends e = start_with((struct cipher) { .is_ahead = true, .n_good = GOOD });
        char said[3 * RECORD] = "", heard[3 * RECORD];

        encipher(said, sizeof(said));
        ck_assert_int_eq(send(e.peer, said, sizeof(said), 0), sizeof(said));
        ck_assert_int_eq(recv(e.session, heard, sizeof(heard), MSG_WAITALL), GOOD);
        ck_assert_int_eq(result_of(&e), RELAY_BROKEN);
}
END_TEST

/* While nothing is to be read of it, as the session does not take what there is. */
START_TEST(peer_resets_meanwhile) {
        struct ends e = start_with(plain);

        fill(e.peer);
        ck_assert_int_eq(send(e.session, "x", 1, 0), 1);
        usleep(50000);
        close(e.peer); /* with something unread */
        ck_assert_int_eq(result_of(&e), RELAY_LOST);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("relay");
        TCase *tcase = unit_tcase(suite, "relay");

        tcase_add_loop_test(tcase, much_goes_both_ways_at_once, 0, 3);
        tcase_add_loop_test(tcase, what_was_not_taken_is_still_there, 0, 2);
        tcase_add_loop_test(tcase, each_side_ends_by_itself, 0, 2);
        tcase_add_loop_test(tcase, session_is_gone, 0, 2);
        tcase_add_test(tcase, peer_is_stuck);
        UNIT_TABLE(tcase, cipher_gives_up, ends_of_cipher);
        tcase_add_test(tcase, cipher_gives_up_later);
        tcase_add_test(tcase, peer_resets_meanwhile);
        return unit_run(suite);
}
