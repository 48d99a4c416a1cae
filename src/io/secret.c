/* SPDX-License-Identifier: MIT */
/* io/secret.c - a password, or a token: the first line of a file. */
#include "io/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int secret_open(const char *path) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

        return fd < 0 ? -errno : fd;
}

static int cut(char *text, size_t n) {
        size_t length;

        text[n] = '\0';
        length = strcspn(text, "\r\n");
        if (length > SECRET_MAX)
                return -EMSGSIZE;
        if (length < n && text[length] == '\0')
                return -EILSEQ;
        text[length] = '\0';
        return length == 0 ? -ENODATA : 0;
}

int secret_read(int fd, char ret[static SECRET_MAX + 1]) {
        char octets[SECRET_MAX + 2];
        struct stat st;
        ssize_t n;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        n = pread(fd, octets, sizeof(octets) - 1, 0);
        r = n < 0 ? -errno : cut(octets, (size_t) n);
        if (r == 0)
                strcpy(ret, octets);
        explicit_bzero(octets, sizeof(octets));
        return r;
}

/* The whole of a secret, sealed. */
static int copy(const char *text) {
        static const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
        int fd = memfd_create("password", MFD_CLOEXEC | MFD_ALLOW_SEALING), error;
        size_t n = strlen(text);

        if (fd < 0)
                return -errno;
        if (write(fd, text, n) == (ssize_t) n && fcntl(fd, F_ADD_SEALS, seals) == 0)
                return fd;
        error = errno;
        close(fd);
        return -error;
}

int secret_seal(const char *path) {
        char secret[SECRET_MAX + 1];
        int fd = secret_open(path), r = fd < 0 ? fd : secret_read(fd, secret);

        if (fd >= 0)
                close(fd);
        if (r == 0)
                r = copy(secret);
        explicit_bzero(secret, sizeof(secret));
        return r;
}

const char *secret_reason(int error) {
        switch (-error) {
        case EINVAL: return "it is not a file";
        case ENODATA: return "its first line is empty";
        case EILSEQ: return "its first line has a NUL";
        case EMSGSIZE: return "its first line is longer than 8192 octets";
        default: return strerror(-error);
        }
}
