/* SPDX-License-Identifier: MIT */
/* helpers/show_confine.h - confines smtpd-show before it reads the message. */
#pragma once

/* Allows no files, sockets, programs or other processes, 30 seconds of processor time and 1 GiB of
 * memory. Without filters (filter.h) only the limits apply. */
void confine_show(void);
