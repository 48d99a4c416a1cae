/* io/output.c - the output: where messages are shown. */
#include "io/output.h"

#include <unistd.h>

static struct {
        int fd;
        const char *name;
} output = { STDERR_FILENO, "standard error" };

void output_set(int fd, const char *name) {
        output.fd = fd;
        output.name = name;
}

int output_fd(void) {
        return output.fd;
}

const char *output_name(void) {
        return output.name;
}
