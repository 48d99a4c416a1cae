/* SPDX-License-Identifier: MIT */
/* accept/reload.c - the configuration in use, and its replacement at SIGHUP. */
#include "accept/reload.h"

#include <stdint.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/text.h"
#include "deliver/delivery.h"
#include "io/log.h"
#include "io/notify.h"
#include "io/peer.h"
#include "risks.h"

/* Whether a session could be opened with it: found out now, and not by the first client. */
static bool can_serve(const struct config *c) {
        struct delivery *d;
        struct peer nobody;
        int r;

        peer_local(&nobody);
        r = delivery_open(c->strategy, &(const struct delivery_context) { c, &nobody, NULL, "" },
                          &d);
        if (r == 0 && c->strategy->close)
                c->strategy->close(d);
        return r == 0;
}

static void warn(const char *option, const char *what) {
        log_say(LOG_WARNING, "warning: %s: %s", option, what);
}

/* Returns 0 or a negative errno. */
static int take(const struct reload *r, const struct config *c) {
        int error;

        if ((error = sessions_make_room(r->sessions, (size_t) c->max_connections)) < 0 ||
            (error = spawn_set_config(r->spawn, c)) < 0)
                return error;
        risks_warn(c, false, warn);
        return 0;
}

int reload_first(struct reload *r) {
        int error = take(r, r->config);

        if (error < 0) {
                log_say(LOG_ERR, "cannot accept connections: %s", strerror(-error));
                return EX_TEMPFAIL;
        }
        return can_serve(r->config) ? 0 : EX_CONFIG;
}

static void say_reloading(void) {
        char text[80];
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        text_format(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
                    (unsigned long long) t.tv_sec * 1000000 +
                            (unsigned long long) t.tv_nsec / 1000);
        notify_state(text);
}

bool reload_again(struct reload *r) {
        struct config *old = r->config;
        bool is_new;

        say_reloading();
        is_new = r->load(r->context, r->spare) && can_serve(r->spare) &&
                 equipment_reload(r->equipment, r->spare, r->listeners) && take(r, r->spare) == 0;
        equipment_pass_on(r->equipment, r->spawn);
        if (is_new) {
                log_say(LOG_NOTICE, "reloaded: new sessions use the new configuration (listen, "
                                    "listen-tls, user and tls-user need a restart)");
                r->config = r->spare;
                r->spare = old;
        } else
                log_say(LOG_ERR, "not reloaded: new sessions still use the old configuration");
        config_free(r->spare);
        notify_state("READY=1");
        return is_new;
}
