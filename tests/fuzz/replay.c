/* SPDX-License-Identifier: MIT */
/* fuzz/replay.c - gives a fuzz target what it was given before, without a fuzzer: regressions show
 * in each run of the tests, with any compiler.
 *
 * Usage: fuzz-TARGET FILE|DIRECTORY...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static unsigned n_inputs;

static void give_up(const char *path) {
        perror(path);
        exit(EXIT_FAILURE);
}

/* In memory of exactly its size. */
static void replay_file(const char *path) {
        static uint8_t room[1 << 20];
        FILE *f = fopen(path, "re");
        uint8_t *data;
        size_t n;

        if (!f)
                give_up(path);
        n = fread(room, 1, sizeof(room), f);
        data = malloc(n > 0 ? n : 1);
        if (ferror(f) || !data)
                give_up(path);
        fclose(f);
        memcpy(data, room, n);
        puts(path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, n);
        free(data);
        n_inputs++;
}

static int is_visible(const struct dirent *entry) {
        return entry->d_name[0] != '.';
}

static void replay_directory(const char *path) {
        struct dirent **entries;
        int n = scandir(path, &entries, is_visible, alphasort);

        if (n < 0) {
                replay_file(path);
                return;
        }
        for (int i = 0; i < n; i++) {
                char name[4096];

                snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
                replay_file(name);
                free(entries[i]);
        }
        free(entries);
}

int main(int argc, char **argv) {
        if (LLVMFuzzerInitialize)
                LLVMFuzzerInitialize(&argc, &argv);
        for (int i = 1; i < argc; i++)
                replay_directory(argv[i]);
        printf("%u inputs\n", n_inputs);
        return n_inputs == 0; /* nothing was tested */
}
