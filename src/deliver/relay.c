/* SPDX-License-Identifier: MIT */
/* deliver/relay.c - who may relay through us, and to whom. */
#include "deliver/relay.h"

#include <string.h>

#include "base/ascii.h"
#include "base/text.h"
#include "smtp/address.h"

/* "example.org", or ".example.org" with all its subdomains. It goes as deep as the configured name
 * has dots in front; a peer's have no part in that. NOLINTNEXTLINE(misc-no-recursion) */
static bool is_in_domain(const char *domain, const char *listed) {
        size_t n = strlen(domain), n_listed = strlen(listed);

        if (*listed != '.')
                return n == n_listed && ascii_is_equal(domain, listed, n);
        return is_in_domain(domain, listed + 1) ||
               (n > n_listed && ascii_is_equal(domain + n - n_listed, listed, n_listed));
}

static bool is_listed_domain(const struct list *relay_to, const char *domain) {
        for (size_t i = 0; i < relay_to->n; i++)
                if (is_in_domain(domain, relay_to->items[i]))
                        return true;
        return false;
}

static bool is_usual_client(const struct peer *p) {
        char network[sizeof(RELAY_FROM_DEFAULT)];

        for (const char *s = RELAY_FROM_DEFAULT; *s;) {
                size_t n = strcspn(s, ",");

                text_format(network, sizeof(network), "%.*s", (int) n, s);
                if (peer_is_in(p, network))
                        return true;
                s += s[n] ? n + 1 : n;
        }
        return false;
}

static bool is_listed_client(const struct list *relay_from, const struct peer *p) {
        if (relay_from->n == 0)
                return is_usual_client(p);
        for (size_t i = 0; i < relay_from->n; i++)
                if (peer_is_in(p, relay_from->items[i]))
                        return true;
        return false;
}

/* An address that tells the next host where to go from there: user%elsewhere@here,
 * elsewhere!user@here, "user@elsewhere"@here, <@elsewhere:user@here>. */
static bool is_routed(const struct address *a) {
        for (size_t i = 0; i < a->n_local; i++)
                if (strchr("%!@", a->text[i]))
                        return true;
        return a->has_route;
}

bool relay_check(const struct config *c, const struct peer *p, bool is_authenticated,
                 const struct recipient *r, struct reply *ret_verdict) {
        const char *domain = address_domain(&r->address);

        if (is_routed(&r->address)) {
                reply_set(ret_verdict, 550, "5.7.1", "sender-specified routing is not allowed");
                return false;
        }
        if (*domain == '\0' || is_authenticated || is_listed_client(&c->relay_from, p) ||
            is_listed_domain(&c->relay_to, domain))
                return true; /* without a domain it is Postmaster */
        reply_set(ret_verdict, 550, "5.7.1", "relaying denied");
        return false;
}
