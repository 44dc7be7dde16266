/* JSON counted before it is parsed: what is within the bounds parses to no more values, and no
 * deeper, than these say; of what is not the place is told. What is mended has no more to mend. */
#include <stdint.h>
#include <string.h>

#include <jansson.h>

#include "base/alloc.h"
#include "base/json_bounds.h"
#include "base/json_mend.h"
#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OBJECT_VALUES 5U

/* Values and depth of what was parsed; nothing is nested deeper than the bounds allow. */
static uint64_t count(const json_t *value, uint32_t depth, const dw_json_bounds *most)
{
    const char *key;
    json_t *item;
    size_t index;
    uint64_t values = 1;
    if (json_is_object(value)) {
        DW_ASSERT(depth < most->depth);
        values += OBJECT_VALUES;
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            values += count(item, depth + 1, most);
        }
    } else if (json_is_array(value)) {
        DW_ASSERT(depth < most->depth);
        json_array_foreach(value, index, item)
        {
            values += count(item, depth + 1, most);
        }
    }
    return values;
}

static void mend(const char *text, size_t size)
{
    size_t count = 0;
    size_t again = 0;
    char *mended = dw_json_mend(text, size, &count);
    DW_ASSERT(mended == NULL || dw_json_mend(mended, count, &again) == NULL);
    dw_free(mended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const dw_json_bounds most = {4096, 60, 7, OBJECT_VALUES};
    dw_json_excess excess = {0};
    const char *text = size > 0 ? (const char *)data : "";
    mend(text, size);
    if (!dw_json_within(text, size, &most, &excess)) {
        DW_ASSERT(excess.what != NULL && excess.at <= size);
        return 0;
    }
    json_t *value = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    /* The first item of a list and the first member of an object have no comma. */
    DW_ASSERT(value == NULL || count(value, 0, &most) <= 2 * most.values);
    json_decref(value);
    return 0;
}
