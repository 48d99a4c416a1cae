/* SPDX-License-Identifier: MIT */
/* floor.c - a program that does nothing: what any program linked to libc costs. */
int main(void) {
        return 0;
}
