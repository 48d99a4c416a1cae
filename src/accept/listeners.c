/* SPDX-License-Identifier: MIT */
/* accept/listeners.c - the listening sockets. */
#include "accept/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/text.h"
#include "deliver/delivery.h"
#include "io/inherited.h"
#include "io/log.h"

/* Names are separated by colons. */
static void next_name(const char **names, char ret[static LISTEN_NAME_MAX + 1]) {
        size_t n = strcspn(*names, ":");

        text_format(ret, LISTEN_NAME_MAX + 1, "%.*s", (int) n, *names);
        *names += n + ((*names)[n] == ':');
}

bool listeners_take_passed(struct listeners *ret) {
        const char *names = getenv("LISTEN_FDNAMES");
        int n_fds = inherited_count();
        char name[LISTEN_NAME_MAX + 1];

        names = names ? names : "";
        for (int i = 0; i < n_fds && ret->n < LISTENERS_MAX; i++) {
                next_name(&names, name);
                if (!listen_adopt(LISTEN_PASSED + i, name, ret->items + ret->n))
                        continue;
                ret->items[ret->n].is_tls = strncmp(name, "tls", 3) == 0;
                ret->n++;
        }
        if (ret->n == 0 && listen_adopt(STDIN_FILENO, "", ret->items) &&
            open("/dev/null", O_RDWR) == STDIN_FILENO)
                ret->n = 1;
        return ret->n > 0;
}

static const char *advice_on_path(int error) {
        switch (error) {
        case -EADDRINUSE: return "; another program uses it: stop it, or remove the socket it left";
        case -EACCES: return "; let this user write to its directory";
        case -ENOENT:
        case -ENOTDIR: return "; create its directory";
        default: return "";
        }
}

static const char *advice_on_port(int error) {
        switch (error) {
        case -EADDRINUSE: return "; another program uses it: stop it, or choose another address";
        case -EACCES:
                return "; ports below 1024 need root: start as root (user= names the user to "
                       "switch to), or choose another";
        default: return "";
        }
}

/* Returns 0 or an exit status. */
static int open_at(struct listeners *l, const char *endpoint, bool is_tls) {
        const char *why;
        int n = listen_at(endpoint, l->items + l->n, LISTENERS_MAX - l->n, &why);

        if (n < 0 && l->n == LISTENERS_MAX)
                log_say(LOG_ERR, "cannot listen on %s: %s; at most %d are possible", endpoint, why,
                        LISTENERS_MAX);
        else if (n < 0)
                log_say(LOG_ERR, "cannot listen on %s: %s%s", endpoint, why,
                        *endpoint == '/' ? advice_on_path(n) : advice_on_port(n));
        if (n < 0)
                return n == -EINVAL ? EX_CONFIG : EX_TEMPFAIL;
        for (; n > 0; n--)
                l->items[l->n++].is_tls = is_tls;
        return 0;
}

int listeners_open(struct listeners *l, const struct config *c) {
        int status = 0, r;

        for (size_t i = 0; i < c->listen.n + c->listen_tls.n; i++) {
                bool is_tls = i >= c->listen.n;

                r = open_at(l, is_tls ? c->listen_tls.items[i - c->listen.n] : c->listen.items[i],
                            is_tls);
                status = r != 0 ? r : status;
        }
        return status;
}

void listeners_say(const struct listeners *l, const struct config *c) {
        for (size_t i = 0; i < l->n; i++) {
                struct log_line line;

                log_start(&line, "listening");
                log_field(&line, "address", "%s", l->items[i].address);
                if (*l->items[i].name)
                        log_field(&line, "name", "%s", l->items[i].name);
                log_field(&line, "strategy", "%s", c->strategy->name);
                log_field(&line, "config", "%s", c->file ? c->file : "none");
                if (c->tls > TLS_NO || l->items[i].is_tls)
                        log_field(&line, "tls", "%s",
                                  config_tls_word(l->items[i].is_tls ? TLS_IMPLICIT : c->tls));
                log_send(&line, LOG_NOTICE);
        }
}

void listeners_close(struct listeners *l) {
        for (size_t i = 0; i < l->n; i++)
                listen_close(l->items + i);
}
