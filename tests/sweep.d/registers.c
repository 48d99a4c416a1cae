/* SPDX-License-Identifier: MIT */
/* registers.c - a traced process's registers, and a breakpoint in it. */
#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "registers.h"

/* --- registers -------------------------------------------------------------------------------- */

#if defined(__x86_64__)
void set_number(pid_t pid, registers *r, long number) {
        (void) pid;
        r->orig_rax = (unsigned long long) number;
}

void set_argument(registers *r, int i, long value) {
        unsigned long long *const arguments[] = { &r->rdi, &r->rsi, &r->rdx, &r->r10 };

        *arguments[i] = (unsigned long long) value;
}

void restore_argument(registers *r, int i, long value) {
        set_argument(r, i, value);
}

void set_result(registers *r, long value) {
        r->rax = (unsigned long long) value;
}
#elif defined(__aarch64__)
void set_number(pid_t pid, registers *r, long number) {
        int n = (int) number;
        struct iovec v = { &n, sizeof(n) };

        (void) r;
        ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &v);
}

void set_argument(registers *r, int i, long value) {
        r->regs[i] = (unsigned long long) value;
}

/* The first argument's register has the result. */
void restore_argument(registers *r, int i, long value) {
        if (i > 0)
                set_argument(r, i, value);
}

void set_result(registers *r, long value) {
        r->regs[0] = (unsigned long long) value;
}
#endif

void get_registers(pid_t pid, registers *ret) {
        struct iovec v = { ret, sizeof(*ret) };

        ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v);
}

void set_registers(pid_t pid, registers *r) {
        struct iovec v = { r, sizeof(*r) };

        ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
}

/* --- a breakpoint ----------------------------------------------------------------------------- */

static unsigned long entry_point(pid_t pid) {
        char path[64];
        Elf64_auxv_t v;
        unsigned long entry = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/auxv", (int) pid);
        file = fopen(path, "re");
        while (file && fread(&v, sizeof(v), 1, file) == 1)
                if (v.a_type == AT_ENTRY)
                        entry = v.a_un.a_val;
        if (file)
                fclose(file);
        return entry;
}

/* The dynamic loader ends where the program's first instruction is: a breakpoint there tells which
 * calls are the loader's. */
static struct {
        unsigned long at;
        long word;
} breakpoint;

void set_breakpoint(pid_t pid) {
        static const unsigned char instruction[] =
#if defined(__x86_64__)
                { 0xcc };
#else
                { 0x00, 0x00, 0x20, 0xd4 };
#endif
        long word;

        breakpoint.at = entry_point(pid);
        breakpoint.word = word = ptrace(PTRACE_PEEKTEXT, pid, breakpoint.at, 0);
        memcpy(&word, instruction, sizeof(instruction));
        ptrace(PTRACE_POKETEXT, pid, breakpoint.at, word);
}

bool is_breakpoint(pid_t pid, int signal) {
        registers r;

        if (signal != SIGTRAP || !breakpoint.at)
                return false;
        ptrace(PTRACE_POKETEXT, pid, breakpoint.at, breakpoint.word);
        get_registers(pid, &r);
#if defined(__x86_64__)
        r.rip = breakpoint.at;
#endif
        set_registers(pid, &r);
        breakpoint.at = 0;
        return true;
}

void forget_breakpoint(void) {
        breakpoint.at = 0;
}
