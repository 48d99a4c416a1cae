/* SPDX-License-Identifier: MIT */
/* user.c - from root to a user without privileges. */
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/ascii.h"
#include "config/config.h"
#include "io/log.h"

/* Returns 0 or a negative errno. */
static int drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
        struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = { 0 };

        if (syscall(SYS_capget, &header, now) == 0 && memcmp(now, none, sizeof(now)) == 0)
                return 0; /* where a sandbox does not even let us say so */
        return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

const char *user_default(void) {
        return getpwnam(PROGRAM) ? PROGRAM : "nobody";
}

/* What is known of a user: by its name, or else by its number only. */
struct user {
        uid_t uid;
        gid_t gid;
        const struct passwd *entry; /* NULL: there is none */
};

static int find(const char *name, struct user *ret) {
        uint64_t number = 0;
        bool is_number = ascii_parse_number(name, USER_NUMBER_MAX, &number);

        *ret = (struct user) { .uid = (uid_t) number, .gid = (gid_t) number };
        if (is_number && ret->uid == geteuid())
                return 0; /* nothing else is asked of it */
        errno = 0;
        ret->entry = is_number ? getpwuid(ret->uid) : getpwnam(name);
        if (!ret->entry)
                return is_number ? 0 : errno ? -errno : -ENOENT;
        ret->uid = ret->entry->pw_uid;
        ret->gid = ret->entry->pw_gid;
        return 0;
}

static void complain_of_absence(const char *option, const char *name) {
        log_say(LOG_ERR, "%s=%s: no such user; name one that exists", option, name);
}

int user_check(const char *option, const char *name) {
        struct user u;

        if (!*name || find(name, &u) != -ENOENT)
                return 0;
        complain_of_absence(option, name);
        return EX_CONFIG;
}

bool user_is_root(const char *name) {
        struct user u;

        return find(name, &u) == 0 && u.uid == 0;
}

static void set_environment(const struct passwd *entry) {
        setenv("HOME", entry ? entry->pw_dir : "/", 1);
        if (entry) {
                setenv("USER", entry->pw_name, 1);
                setenv("LOGNAME", entry->pw_name, 1);
        } else {
                unsetenv("USER");
                unsetenv("LOGNAME");
        }
}

int user_become(const char *name) {
        struct user u;
        int r = find(name, &u);

        if (r < 0 || u.uid == geteuid())
                return r;
        if (setgroups(0, NULL) < 0 || setresgid(u.gid, u.gid, u.gid) < 0 ||
            setresuid(u.uid, u.uid, u.uid) < 0)
                return -errno;
        set_environment(u.entry);
        return drop_capabilities(); /* setresuid(2) leaves what was inherited */
}

int user_give_up_root(const char *name) {
        int r;

        if (geteuid() != 0)
                return 0;
        name = *name ? name : user_default();
        r = user_become(name);
        if (r == -ENOENT)
                complain_of_absence("user", name);
        else if (r < 0)
                log_say(LOG_ERR, "user=%s: cannot switch to this user: %s", name, strerror(-r));
        return r == -ENOENT ? EX_CONFIG : r < 0 ? EX_TEMPFAIL : 0;
}

int user_give_up_privileges(const char *name) {
        int r;

        if (geteuid() == 0)
                return user_give_up_root(name);
        r = drop_capabilities();
        if (r < 0)
                log_say(LOG_ERR, "cannot give up capabilities: %s", strerror(-r));
        return r < 0 ? EX_TEMPFAIL : 0;
}
