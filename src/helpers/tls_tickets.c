/* SPDX-License-Identifier: MIT */
/* helpers/tls_tickets.c - tickets for clients that come back (RFC 5077, RFC 8446 section 4.6.1). */
#include "helpers/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "io/deadline.h"

enum { SECONDS = 12 * 60 * 60, KEY = 32, NAME = 16 };

struct ticket_key {
        unsigned char name[NAME], cipher[KEY], mac[KEY];
        int64_t until; /* a new one is made; 0: there is none */
};

static struct {
        struct ticket_key now, last;
} keys;

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *key) {
        OSSL_PARAM params[] = {
                OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, KEY),
                OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]) { "SHA256" }, 0),
                OSSL_PARAM_construct_end(),
        };

        return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* For SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
static int seal(unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
        memcpy(name, keys.now.name, NAME);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1 ||
            EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, keys.now.cipher, iv) != 1 ||
            !set_mac(mac, &keys.now))
                return -1;
        return 1;
}

/* 0: it is of no use, and the client shakes hands as if it had none; 2: it gets a new one. */
static int open_sealed(const unsigned char *name, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac) {
        bool is_now = memcmp(name, keys.now.name, NAME) == 0;
        struct ticket_key *key = is_now ? &keys.now : &keys.last;

        if (key->until == 0 || memcmp(name, key->name, NAME) != 0)
                return 0;
        if (!set_mac(mac, key) ||
            EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) != 1)
                return -1;
        return is_now ? 1 : 2;
}

static int choose_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int is_sealing) {
        (void) ssl;
        return is_sealing ? seal(name, iv, cipher, mac) : open_sealed(name, iv, cipher, mac);
}

void tls_tickets_offer(SSL_CTX *context) {
        tls_tickets_renew();
        SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(context, 1);
        SSL_CTX_set_timeout(context, SECONDS);
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, choose_key);
}

void tls_tickets_renew(void) {
        struct ticket_key new = { .until = deadline_after(SECONDS) };

        if (keys.now.until > deadline_now())
                return;
        if (RAND_bytes(new.name, NAME) != 1 || RAND_priv_bytes(new.cipher, KEY) != 1 ||
            RAND_priv_bytes(new.mac, KEY) != 1)
                return; /* the last one goes on */
        keys.last = keys.now;
        keys.now = new;
        OPENSSL_cleanse(&new, sizeof(new));
}
