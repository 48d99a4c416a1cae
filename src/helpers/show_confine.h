/* SPDX-License-Identifier: MIT */
/* helpers/show_confine.h - what smtpd-show gives up before it reads a stranger's words. */
#pragma once

/* No file, socket, program or process of others; 30 seconds of processor time, and 1 GiB of memory.
 * What has no filter here (filter.h) has the limits. */
void confine_show(void);
