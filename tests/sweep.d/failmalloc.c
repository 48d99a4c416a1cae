/* SPDX-License-Identifier: MIT */
/* failmalloc.c - a library for LD_PRELOAD that lets an allocation fail: $FAILMALLOC is "PID NUMBER
 * FILE", the process it is meant for, which allocation (from 1), with "+" behind the number that
 * and all later ones, and a file where the number of allocations so far is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n), *__libc_calloc(size_t n, size_t size),
        *__libc_realloc(void *old, size_t n);

static long *count; /* NULL: not in this process */
static long number;
static bool is_onward;

/* Called before anything else of the program. */
__attribute__((constructor)) static void start(void) {
        const char *text = getenv("FAILMALLOC");
        int pid = 0, fd;
        char path[4096];
        void *page;

        if (!text || sscanf(text, "%d %ld", &pid, &number) != 2 || pid != getpid())
                return;
        is_onward = strchr(text, '+') != NULL;
        snprintf(path, sizeof(path), "%s", strrchr(text, ' ') + 1);
        unsetenv("LD_PRELOAD"); /* the programs that this one runs are left alone */
        unsetenv("FAILMALLOC");
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, 4096) < 0)
                _exit(99);
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (page == MAP_FAILED)
                _exit(99);
        count = page;
}

static bool is_to_fail(void) {
        if (!count || (++*count != number && !(is_onward && *count > number)))
                return false;
        errno = ENOMEM;
        return true;
}

void *malloc(size_t n) {
        return is_to_fail() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
        return is_to_fail() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t n) {
        return is_to_fail() ? NULL : __libc_realloc(old, n);
}
