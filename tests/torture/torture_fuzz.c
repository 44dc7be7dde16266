/* A fuzz target (fuzz/) with input of chance: seeds that are cut, joined and changed, and bytes from
 * nowhere. No coverage leads it, but it needs no compiler of its own, and sanitizers work as
 * everywhere. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "support.h"
#include "torture.h"

#define INPUT_MAX ((size_t)1 << 16)
#define SEEDS_MAX 256
#define INPUTS_PER_ROUND 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    char *bytes[SEEDS_MAX]; /* of the process */
    size_t sizes[SEEDS_MAX];
    size_t count;
    bool read;
} seeds;
static uint64_t inputs;

static void read_seeds(void)
{
    DIR *names = opendir(DW_TORTURE_SEEDS);
    seeds.read = true;
    for (struct dirent *entry = NULL; names != NULL && (entry = readdir(names)) != NULL;) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", DW_TORTURE_SEEDS, entry->d_name);
        if (entry->d_name[0] != '.' && seeds.count < SEEDS_MAX &&
            dw_os_read_file(path, INPUT_MAX, &seeds.bytes[seeds.count], &seeds.sizes[seeds.count],
                            NULL) == DW_OK) {
            seeds.count++;
        }
    }
    if (names != NULL) {
        (void)closedir(names);
    }
}

/* A piece of a seed, or bytes of chance. */
static size_t add_piece(torture *t, uint8_t *input, size_t size)
{
    size_t room = INPUT_MAX - size;
    if (seeds.count > 0 && torture_below(t, 4) > 0) {
        size_t which = torture_below(t, seeds.count);
        size_t length = seeds.sizes[which];
        size_t from = length > 0 && torture_below(t, 2) == 0 ? torture_below(t, length) : 0;
        length -= from;
        length = length > room ? room : length;
        memcpy(input + size, seeds.bytes[which] + from, length);
        return size + length;
    }
    size_t length = torture_below(t, 512);
    length = length > room ? room : length;
    for (size_t i = 0; i < length; i++) {
        input[size + i] = (uint8_t)torture_random(t);
    }
    return size + length;
}

static void change(torture *t, uint8_t *input, size_t size)
{
    static const uint8_t extremes[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '[', '-', '9'};
    size_t at = torture_below(t, size);
    switch (torture_below(t, 4)) {
    case 0:
        input[at] ^= (uint8_t)(1u << torture_below(t, 8));
        break;
    case 1:
        input[at] = extremes[torture_below(t, sizeof extremes)];
        break;
    case 2:
        input[at] = (uint8_t)torture_random(t);
        break;
    default: {
        size_t from = torture_below(t, size);
        size_t length = torture_below(t, 1 + (size - (at > from ? at : from)));
        memmove(input + at, input + from, length);
    }
    }
}

static void run(torture *t)
{
    static uint8_t input[INPUT_MAX];
    if (!seeds.read) {
        read_seeds();
    }
    for (int i = 0; i < INPUTS_PER_ROUND; i++) {
        size_t size = 0;
        for (uint64_t pieces = 1 + torture_below(t, 3); pieces > 0; pieces--) {
            size = add_piece(t, input, size);
        }
        for (uint64_t changes = torture_below(t, 16); size > 0 && changes > 0; changes--) {
            change(t, input, size);
        }
        uint8_t *exact = malloc(size > 0 ? size : 1); /* so that sanitizers see where it ends */
        assert_non_null(exact);
        memcpy(exact, input, size);
        (void)LLVMFuzzerTestOneInput(exact, size);
        free(exact);
        inputs++;
    }
}

static void tell(void)
{
    (void)printf("%s: %llu inputs\n", DW_TORTURE_NAME, (unsigned long long)inputs);
}

int main(void)
{
    const torture_options options = {
        .name = DW_TORTURE_NAME, .run = run, .tell = tell, .seconds = 5, .round_seconds = 300};
    return torture_main(&options);
}
