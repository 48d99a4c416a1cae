/* SPDX-License-Identifier: MIT */
/* base/array.h - the number of elements of an array whose declaration is in sight. */
#pragma once

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
