/* user.c - from root to a user without privileges. */
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int user_drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
        struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = { 0 };

        if (syscall(SYS_capget, &header, now) == 0 && memcmp(now, none, sizeof(now)) == 0)
                return 0; /* where a sandbox does not even let us say so */
        return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int user_become(const char *name) {
        const struct passwd *user;

        errno = 0;
        user = getpwnam(name);
        if (!user)
                return errno ? -errno : -ENOENT;
        if (setgroups(0, NULL) < 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
            setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
                return -errno;
        setenv("HOME", user->pw_dir, 1);
        setenv("USER", user->pw_name, 1);
        setenv("LOGNAME", user->pw_name, 1);
        return user_drop_capabilities(); /* setresuid(2) leaves what was inherited */
}
