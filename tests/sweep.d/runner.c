/* SPDX-License-Identifier: MIT */
/* runner.c - runs smtpd again and again, each time with one thing that goes wrong, and tells what
 * became of it.
 *
 *   runner FOLDER CONNECTION UPSTREAM PROGRAM [ARGUMENT...]
 *
 * FOLDER has the file "session" (client.c), and "spool", the program's $TMPDIR. CONNECTION is "tcp"
 * or "local"; UPSTREAM "smtp" or "lmtp", in capitals one that refuses. In the arguments @UPSTREAM@
 * and @MAILMAN@ stand for where the servers are. Runs are asked for by lines on standard input:
 *
 *   TOKEN FAULT CHILD CALL NUMBER ARGUMENT VALUE  WHO AT HOW IS_EAGER IS_GONE  ALLOCATION (see
 * sweep.h)
 *
 * and each is answered on standard output by a line "REACHED HUNG LEAKED STATUS MS MS_LEFT" and the
 * octets of three reports: "N M K\n" and as many octets of what the world saw, the program's
 * standard error, and its calls.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sweep.h"

#define ENGINE "SMTPD_UPSTREAM_TLS_FD"

enum { WORDS = 64, LEAK_MS = 4000 };

static const char *folder;
static bool is_tcp;
static char *words[WORDS + 1];
static struct report *report;

long now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- the program ------------------------------------------------------------------------------ */

static char *put_names(const char *word, char names[N_SERVERS][128]) {
        static const char *const marks[N_SERVERS] = { "@UPSTREAM@", "@MAILMAN@" };
        char *text = strdup(word);

        for (int i = 0; i < N_SERVERS; i++) {
                char *mark = strstr(text, marks[i]), *with;

                if (!mark)
                        continue;
                if (asprintf(&with, "%.*s%s%s", (int) (mark - text), text, names[i],
                             mark + strlen(marks[i])) < 0)
                        err(1, "asprintf");
                free(text);
                text = with;
        }
        return text;
}

/* Both ends of a connection: the client's, the program's. */
static void connect_pair(int ret[static 2]) {
        static int listener = -1;
        static struct sockaddr_in a = { .sin_family = AF_INET };
        socklen_t n = sizeof(a);
        int on = 1;

        if (!is_tcp) {
                if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) < 0)
                        err(1, "socketpair");
                return;
        }
        if (listener < 0) {
                a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (bind(listener, (struct sockaddr *) &a, n) < 0 || listen(listener, 8) < 0)
                        err(1, "listen");
                getsockname(listener, (struct sockaddr *) &a, &n);
        }
        ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(ret[0], (struct sockaddr *) &a, n) < 0 ||
            (ret[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
                err(1, "connect");
        setsockopt(ret[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(ret[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void set_environment(const struct run *r) {
        char text[4096];

        snprintf(text, sizeof(text), "%s/spool", folder);
        setenv("TMPDIR", text, 1);
        if (strcmp(r->alloc, "-") == 0)
                return;
        snprintf(text, sizeof(text), "%d %s %s/allocations", (int) getpid(), r->alloc, folder);
        setenv("FAILMALLOC", text, 1);
        setenv("LD_PRELOAD", getenv("FAILMALLOC_SO"), 1);
}

/* The engine for upstreams, if there is one: as an acceptor's sessions have it. */
static void leave_engine(void) {
        const char *number = getenv(ENGINE);

        if (!number) {
                close_range(3, ~0U, 0);
                return;
        }
        dup2(atoi(number), 3);
        close_range(4, ~0U, 0);
        setenv(ENGINE, "3", 1);
}

static pid_t start_program(const struct run *r, int connection, int log) {
        const struct rlimit no_core = { 0, 0 };
        pid_t pid = fork();

        if (pid != 0)
                return pid;
        set_environment(r);
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(connection, STDIN_FILENO);
        dup2(connection, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        leave_engine();
        signal(SIGPIPE, SIG_DFL);
        if (r->fault.kind != FAULT_NONE) {
                if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
                        _exit(126);
                raise(SIGSTOP);
        }
        execv(words[0], words);
        _exit(127);
}

/* --- what it leaves behind -------------------------------------------------------------------- */

static void kill_children(pid_t except) {
        char path[64];
        FILE *file;
        int pid;

        snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) getpid());
        file = fopen(path, "re");
        while (file && fscanf(file, "%d", &pid) == 1)
                if (pid != except)
                        kill(pid, SIGKILL);
        if (file)
                fclose(file);
}

/* We are the reaper of what the program started. Whether there is anything that does not end. */
static bool has_leaked(pid_t world) {
        long end = now() + LEAK_MS;
        bool is_leak = false;

        for (;;) {
                siginfo_t info = { 0 };
                bool is_none = true;
                char path[64];
                FILE *file;
                int pid;

                while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 &&
                       info.si_pid > 0 && info.si_pid != world) {
                        waitpid(info.si_pid, NULL, __WALL);
                        info.si_pid = 0;
                }
                snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) getpid());
                file = fopen(path, "re");
                while (file && fscanf(file, "%d", &pid) == 1)
                        is_none &= pid == world;
                if (file)
                        fclose(file);
                if (is_none)
                        return is_leak;
                if (now() > end) {
                        is_leak = true;
                        kill_children(world);
                }
                usleep(300);
        }
}

/* --- a run ------------------------------------------------------------------------------------ */

static void write_all(const char *data, size_t n) {
        while (n > 0) {
                ssize_t k = write(STDOUT_FILENO, data, n);

                if (k < 0 && errno != EINTR)
                        err(1, "write");
                if (k > 0)
                        data += k, n -= (size_t) k;
        }
}

static void answer(const struct run *r, int log, const char *list, size_t n_list) {
        struct stat st;
        char line[256], *text;

        fstat(log, &st);
        text = malloc((size_t) st.st_size + 1);
        if (pread(log, text, (size_t) st.st_size, 0) != st.st_size)
                err(1, "pread");
        snprintf(line, sizeof(line), "%d %d %d %d %ld %ld\n%zu %zu %zu\n", r->is_reached,
                 r->is_hung, r->has_leaked, r->wait_status, r->ms, r->ms_left, report->n,
                 (size_t) st.st_size, n_list);
        write_all(line, strlen(line));
        write_all(report->text, report->n);
        write_all(text, (size_t) st.st_size);
        write_all(list, n_list);
        free(text);
}

static pid_t start_world(const struct run *r, int client, const int over[static 2], int event) {
        pid_t pid = fork();

        if (pid != 0)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(over[1]);
        world_play(r, client, over[0], event, report);
        _exit(0);
}

static void play(struct run *r) {
        int pair[2], over[2], log = memfd_create("log", MFD_CLOEXEC),
                              event = eventfd(0, EFD_CLOEXEC);
        char *list = NULL;
        size_t n_list = 0;
        long began = now();
        pid_t pid, world;

        if (log < 0 || event < 0 || pipe2(over, O_CLOEXEC) < 0)
                err(1, "pipe2");
        fcntl(log, F_SETFL, O_APPEND);
        connect_pair(pair);
        report->n = 0;
        report->is_sending = report->at_wait = 0;
        pid = start_program(r, pair[1], log);
        close(pair[1]);
        world = start_world(r, pair[0], over, event);
        close(pair[0]);
        close(over[0]);
        trace_run(r, pid, event, report, &list, &n_list);
        r->has_leaked = has_leaked(world);
        close(over[1]);
        waitpid(world, NULL, 0);
        r->ms = now() - began;
        answer(r, log, list ? list : "", n_list);
        free(list);
        close(event);
        close(log);
}

int main(int argc, char **argv) {
        char names[N_SERVERS][128], line[512], path[4096];

        if (argc < 5 || argc - 4 > WORDS)
                errx(1, "usage: runner FOLDER CONNECTION UPSTREAM PROGRAM [ARGUMENT...]");
        folder = argv[1];
        is_tcp = strcmp(argv[2], "tcp") == 0;
        world_listen(folder, argv[3], names);
        for (int i = 4; i < argc; i++)
                words[i - 4] = put_names(argv[i], names);
        snprintf(path, sizeof(path), "%s/session", folder);
        world_load(path);
        report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (report == MAP_FAILED)
                err(1, "mmap");
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        signal(SIGPIPE, SIG_IGN);
        while (fgets(line, sizeof(line), stdin)) {
                struct run r = { 0 };
                int is_eager, is_gone;
                char kind, how;

                if (sscanf(line, "%lu %c %d %ld %ld %d %ld %c %ld %c %d %d %31s", &r.token, &kind,
                           &r.fault.child, &r.fault.call, &r.fault.number, &r.fault.argument,
                           &r.fault.value, &r.cut.who, &r.cut.at, &how, &is_eager, &is_gone,
                           r.alloc) != 13)
                        errx(1, "what? %s", line);
                r.fault.kind = (enum fault_kind) kind;
                r.cut.how = how;
                r.cut.is_eager = is_eager;
                r.cut.is_gone = is_gone;
                play(&r);
        }
        return 0;
}
