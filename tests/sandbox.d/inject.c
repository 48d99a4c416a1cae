/* SPDX-License-Identifier: MIT */
/* inject.c - makes a process that waits in poll(2) perform one system call of our choice, as an
 * intruder in it could.
 *
 *   inject PID [int80|x32] NUMBER [ARGUMENT...]
 *
 * An argument is a number; or text behind "=", or octets in hexadecimal behind ":", of which the
 * address is passed. What came of it is the one line of output: "returned N" or "killed SIGNAL".
 * Afterwards the process waits again as before. Children that it made are killed. The exit status
 * is 77 where this cannot be done: no x86-64, no permission, no 32-bit system calls.
 *
 * The process is stopped behind a syscall instruction, to which it is set back with other
 * registers.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __x86_64__

#include <asm/unistd.h>

enum { MISSING = 77, RED_ZONE = 128, ARGUMENTS = 6, X32_BIT = 0x40000000 };

static pid_t pid;
static uint64_t stack; /* grows down */

static long trace(int request, void *address, void *data) {
        long r;

        errno = 0;
        r = ptrace(request, pid, address, data);
        if (errno)
                err(errno == EPERM ? MISSING : 1, "ptrace request %d", request);
        return r;
}

/* The next time that it stops. Ends us if it is over. */
static int wait_for_stop(void) {
        int status;

        if (waitpid(pid, &status, __WALL) != pid)
                err(1, "waitpid");
        if (WIFSTOPPED(status))
                return status;
        printf("killed %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        exit(0);
}

/* A new process, which belongs to us from its first instruction. */
static void kill_child(void) {
        pid_t child;
        unsigned long n;

        trace(PTRACE_GETEVENTMSG, NULL, &n);
        child = (pid_t) n;
        kill(child, SIGKILL);
        waitpid(child, NULL, __WALL);
}

/* Lets it go on to the beginning or the end of a system call. */
static void go_to_system_call(void) {
        int status, sig = 0;

        for (;;) {
                trace(PTRACE_SYSCALL, NULL, (void *) (intptr_t) sig);
                status = wait_for_stop();
                sig = WSTOPSIG(status);
                if (sig == (SIGTRAP | 0x80))
                        return;
                if (status >> 16 == PTRACE_EVENT_FORK || status >> 16 == PTRACE_EVENT_VFORK ||
                    status >> 16 == PTRACE_EVENT_CLONE)
                        kill_child();
                if (status >> 16)
                        sig = 0;
        }
}

static void seize(void) {
        const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                             PTRACE_O_TRACECLONE;

        trace(PTRACE_SEIZE, NULL, (void *) options);
        for (int i = 0; i < 1000; i++) {
                static const struct timespec a_moment = { .tv_nsec = 5000000 };
                struct user_regs_struct r;

                trace(PTRACE_INTERRUPT, NULL, NULL);
                while (wait_for_stop() >> 16 != PTRACE_EVENT_STOP)
                        trace(PTRACE_CONT, NULL, NULL);
                trace(PTRACE_GETREGS, NULL, &r);
                /* the latter: it was interrupted before */
                if (r.orig_rax == __NR_poll || r.orig_rax == __NR_restart_syscall)
                        return;
                trace(PTRACE_CONT, NULL, NULL);
                nanosleep(&a_moment, NULL);
        }
        errx(1, "it does not wait in poll(2)");
}

/* Puts octets onto its stack, with a NUL behind them. */
static uint64_t poke(const char *octets, size_t n) {
        size_t n_words = n / sizeof(long) + 1;

        stack -= n_words * sizeof(long);
        for (size_t i = 0; i < n_words; i++) {
                size_t part = n - i * sizeof(long);
                long word = 0;

                memcpy(&word, octets + i * sizeof(long), part < sizeof(long) ? part : sizeof(long));
                trace(PTRACE_POKEDATA, (void *) (stack + i * sizeof(long)), (void *) word);
        }
        return stack;
}

static uint64_t argument(const char *s) {
        char octets[256];
        size_t n = 0;

        if (*s == '=')
                return poke(s + 1, strlen(s + 1));
        if (*s != ':')
                return strtoull(s, NULL, 0);
        for (unsigned octet; n < sizeof(octets) && sscanf(s + 1 + 2 * n, "%2x", &octet) == 1; n++)
                octets[n] = (char) octet;
        return poke(octets, n);
}

/* The registers of a system call: the 32-bit one has others. */
static struct user_regs_struct registers_of(struct user_regs_struct r, uint64_t number,
                                            const uint64_t *a, int is_32_bit) {
        r.rip -= 2; /* the length of syscall and of int $0x80 */
        r.rax = number;
        r.orig_rax = -1ULL; /* that it was in a system call is forgotten */
        if (is_32_bit) {
                r.rbx = a[0], r.rcx = a[1], r.rdx = a[2], r.rsi = a[3], r.rdi = a[4], r.rbp = a[5];
        } else {
                r.rdi = a[0], r.rsi = a[1], r.rdx = a[2], r.r10 = a[3], r.r8 = a[4], r.r9 = a[5];
        }
        return r;
}

/* Whether this machine's kernel has 32-bit system calls: where it has not, the instruction is a
 * fault. */
static int has_int80(void) {
        int status;
        pid_t child = fork();

        if (child == 0) {
                long r = 20; /* getpid */

                __asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
                _exit(r != getpid());
        }
        return waitpid(child, &status, 0) == child && status == 0;
}

static int inject(int is_32_bit, uint64_t number, char **arguments) {
        struct user_regs_struct before, r;
        uint64_t a[ARGUMENTS] = { 0 };
        void *instruction;
        long code;

        seize();
        trace(PTRACE_GETREGS, NULL, &before);
        instruction = (void *) (before.rip - 2);
        code = trace(PTRACE_PEEKTEXT, instruction, NULL);
        stack = (before.rsp - RED_ZONE) & ~15ULL;
        for (int i = 0; i < ARGUMENTS && arguments[i]; i++)
                a[i] = argument(arguments[i]);
        if (is_32_bit)
                trace(PTRACE_POKETEXT, instruction, (void *) ((code & ~0xffffL) | 0x80cd));
        r = registers_of(before, number, a, is_32_bit);
        trace(PTRACE_SETREGS, NULL, &r);
        go_to_system_call();
        go_to_system_call();
        trace(PTRACE_GETREGS, NULL, &r);
        trace(PTRACE_POKETEXT, instruction, (void *) code);
        before.rip -= 2; /* poll(2) once more */
        before.rax = before.orig_rax;
        before.orig_rax = -1ULL;
        trace(PTRACE_SETREGS, NULL, &before);
        go_to_system_call(); /* or it is over: a call that kills comes to its end before */
        trace(PTRACE_DETACH, NULL, NULL);
        printf("returned %ld\n", is_32_bit ? (long) (int) r.rax : (long) r.rax);
        return 0;
}

int main(int argc, char **argv) {
        char **p = argv + 2;
        int is_32_bit, is_x32;

        if (argc < 3)
                errx(1, "usage: inject PID [int80|x32] NUMBER [ARGUMENT...]");
        pid = (pid_t) atoi(argv[1]);
        is_32_bit = strcmp(*p, "int80") == 0;
        is_x32 = strcmp(*p, "x32") == 0;
        p += is_32_bit || is_x32;
        if (!*p || (is_32_bit && !has_int80()))
                errx(MISSING, "no 32-bit system calls here");
        return inject(is_32_bit, strtoull(*p, NULL, 0) | (is_x32 ? X32_BIT : 0), p + 1);
}

#else

int main(void) {
        errx(77, "only x86-64 is known here");
}

#endif
