/* SPDX-License-Identifier: MIT */
/* registers.h - what the tracer has to know of the architecture: where a system call's number,
 * arguments and result are, and what a breakpoint is. */
#pragma once

#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#include <linux/ptrace.h>

#if defined(__x86_64__)
typedef struct user_regs_struct registers;
#elif defined(__aarch64__)
typedef struct user_pt_regs registers;
#else
#error "this machine's registers are not known here"
#endif

void get_registers(pid_t pid, registers *ret);
void set_registers(pid_t pid, registers *r);
void set_number(pid_t pid, registers *r, long number);
void set_argument(registers *r, int i, long value);
void restore_argument(registers *r, int i, long value);
void set_result(registers *r, long value);

/* At the program's entry point; there is at most one. */
void set_breakpoint(pid_t pid);
bool is_breakpoint(pid_t pid, int signal);
void forget_breakpoint(void);
