/* SPDX-License-Identifier: MIT */
/* deliver.c - a program for strategy exec that does what it should: the message, with its envelope,
 * becomes a file, all at once.
 *
 *   deliver FOLDER [refuse]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEMPORARY = 75 };

static char text[1024 * 1024];

int main(int argc, char **argv) {
        char new[4096], name[4096];
        size_t n = 0;
        ssize_t k;
        FILE *file;

        if (argc < 2)
                return TEMPORARY;
        while ((k = read(STDIN_FILENO, text + n, sizeof(text) - n)) > 0)
                n += (size_t) k;
        if (k < 0 || n == sizeof(text) || argc > 2)
                return TEMPORARY;
        snprintf(new, sizeof(new), "%s/new.%d", argv[1], (int) getpid());
        snprintf(name, sizeof(name), "%s/message.%s.%d", argv[1], getenv("SMTPD_ID"),
                 (int) getpid());
        file = fopen(new, "wx");
        if (!file)
                return TEMPORARY;
        fprintf(file, "%s\n<%s>\n%s\n\n", getenv("SMTPD_HELO"), getenv("SMTPD_MAIL_FROM"),
                getenv("SMTPD_RCPT_TO"));
        if (fwrite(text, 1, n, file) != n || fclose(file) != 0 || rename(new, name) < 0)
                return TEMPORARY;
        puts("250 2.0.0 kept");
        return 0;
}
