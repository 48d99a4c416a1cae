/* SPDX-License-Identifier: MIT */
/* base/array.h - the number of elements of an array (not of a pointer). */
#pragma once

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
