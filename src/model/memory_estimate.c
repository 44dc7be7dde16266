#include "model/memory_estimate.h"

#include <stdio.h>

/* Bits a weight, of whole files as llama.cpp's converter mixes types in them (its README's table of
 * Llama 3.1 8B); small models have a little more, for their vocabulary is kept finer. */
typedef struct quantisation {
    const char *name;
    double bits;
} quantisation;

static const quantisation quantisations[] = {
    {"BF16", 16.0},  {"Q8_0", 8.5}, {"Q6_K", 6.6},   {"Q5_K_M", 5.7},
    {"Q4_K_M", 4.9}, {"Q4_0", 4.6}, {"Q3_K_M", 4.0}, {"Q2_K", 3.2},
};

const char *dw_memory_estimate_quantisation(const dw_memory_estimate *fit, uint64_t *bytes)
{
    for (size_t i = 0; i < sizeof quantisations / sizeof quantisations[0]; i++) {
        double wanted = (double)fit->parameter_count * quantisations[i].bits / 8.0;
        *bytes = (uint64_t)wanted;
        if (*bytes < fit->needed_bytes && fit->room_bytes <= fit->free_bytes &&
            *bytes <= fit->free_bytes - fit->room_bytes) {
            return quantisations[i].name;
        }
    }
    *bytes = 0;
    return NULL;
}

/* "1.5 GB", "900 KB" */
static void write_bytes(char *text, size_t capacity, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KB", "MB", "GB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000.0 && unit < 3) {
        value /= 1000.0;
        unit++;
    }
    (void)snprintf(text, capacity, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

dw_status dw_memory_estimate_check(const dw_memory_estimate *fit, dw_error *err)
{
    if (fit->needed_bytes <= fit->free_bytes) {
        return DW_OK;
    }
    char needed[24];
    char unused[24];
    char missing[24];
    char other[24];
    uint64_t other_bytes;
    const char *name = dw_memory_estimate_quantisation(fit, &other_bytes);
    write_bytes(needed, sizeof needed, fit->needed_bytes);
    write_bytes(unused, sizeof unused, fit->free_bytes);
    write_bytes(missing, sizeof missing, fit->needed_bytes - fit->free_bytes);
    write_bytes(other, sizeof other, other_bytes);
    if (name == NULL) {
        return dw_fail(err, DW_E_MEMORY,
                       "%s: the weights need %s, %s are free, %s are missing; no quantisation of "
                       "this model fits",
                       fit->device, needed, unused, missing);
    }
    return dw_fail(err, DW_E_MEMORY,
                   "%s: the weights need %s, %s are free, %s are missing; quantised to %s (about "
                   "%s) they fit",
                   fit->device, needed, unused, missing, name, other);
}
