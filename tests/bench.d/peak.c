/* SPDX-License-Identifier: MIT */
/* peak.c - the peak memory of a program, in KiB.
 *
 *   peak PROGRAM [ARGUMENT...]
 *
 * The program keeps our descriptors 0 to 2; the number goes to descriptor 3. A process inherits the
 * peak of the one it was forked from (of all of it after a vfork), so this is a small program, to
 * be started anew for each measurement.
 */
#include <err.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
        struct rusage usage;
        int status;
        pid_t pid;

        if (argc < 2)
                errx(1, "usage: peak PROGRAM [ARGUMENT...]");
        pid = fork();
        if (pid == 0) {
                close(3);
                execv(argv[1], argv + 1);
                _exit(127);
        }
        if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || status != 0)
                errx(1, "%s failed", argv[1]);
        dprintf(3, "%ld\n", usage.ru_maxrss);
        return 0;
}
