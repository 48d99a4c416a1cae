/* SPDX-License-Identifier: MIT */
/* accept/equipment.c - what sessions get that must be obtained before we switch the user. */
#include "accept/equipment.h"

void equipment_init(struct equipment *ret) {
        engine_init(&ret->for_clients, ENGINE_FOR_CLIENTS);
        engine_init(&ret->for_upstreams, ENGINE_FOR_UPSTREAMS);
        password_init(&ret->password);
}

int equipment_start(struct equipment *e, const struct config *c, const struct listeners *l) {
        int status = engine_start(&e->for_clients, c, l);

        if (status == 0)
                status = engine_start(&e->for_upstreams, c, l);
        return status == 0 ? password_read(&e->password, c) : status;
}

bool equipment_reload(struct equipment *e, const struct config *c, const struct listeners *l) {
        return engine_reload(&e->for_clients, c, l) && engine_reload(&e->for_upstreams, c, l) &&
               password_read_again(&e->password, c);
}

void equipment_pass_on(const struct equipment *e, struct spawn *s) {
        spawn_pass_on(s, SPAWN_TLS, e->for_clients.requests);
        spawn_pass_on(s, SPAWN_UPSTREAM_TLS, e->for_upstreams.requests);
        spawn_pass_on(s, SPAWN_PASSWORD, e->password.fd);
}

void equipment_keep(struct equipment *e) {
        engine_keep(&e->for_clients);
        engine_keep(&e->for_upstreams);
}

void equipment_stop(struct equipment *e) {
        engine_stop(&e->for_clients);
        engine_stop(&e->for_upstreams);
}
