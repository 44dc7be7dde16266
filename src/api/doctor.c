#include "api/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "base/utf8.h"
#include "device/device_run.h"
#include "device/device_view.h"
#include "wasm/guest_instance.h"

#define MIB ((size_t)1 << 20)
#define BIG_BYTES (16 * MIB)
#define RSS_SLACK_MB 0.03
#define RSS_ROUNDS 6
#define GEMM_RUNS 50
#define GUEST_CALLS 1000000.0

typedef struct doctor {
    dw_doctor_report *report;
    dw_engine *engine;
    dw_device *device; /* the links are checked on a device of their own */
    const char *guest_path;
} doctor;

static dw_doctor_check *add(doctor *d, const char *link, const char *name, const char *what)
{
    DW_ASSERT(d->report->check_count < DW_DOCTOR_CHECKS_MAX);
    dw_doctor_check *check = &d->report->checks[d->report->check_count++];
    *check = (dw_doctor_check){.link = link, .name = name, .what = what, .unit = ""};
    return check;
}

static void settle(doctor *d, dw_doctor_check *check, bool ok, double value, const char *unit,
                   const char *goal)
{
    check->ok = ok;
    check->value = value;
    check->unit = unit;
    check->goal = goal;
    d->report->ok = d->report->ok && ok;
}

/* A check that could not even be made: it has failed, with the reason as its note. */
static void broken(doctor *d, dw_doctor_check *check, const char *goal, const dw_error *error)
{
    settle(d, check, false, -1, "", goal);
    (void)snprintf(check->note, sizeof check->note, "%.120s", error->message);
    dw_text_mend(check->note);
}

static double megabytes(double bytes)
{
    return bytes / 1e6;
}

/* ---- link 1: region --------------------------------------------------------------------- */

static double distance(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)a;
    uintptr_t right = (uintptr_t)b;
    return left > right ? (double)(left - right) : (double)(right - left);
}

static void check_region(doctor *d)
{
    static const char link[] = "link 1";
    size_t page = dw_os_page_bytes();
    dw_doctor_check *aligned =
        add(d, link, "region_alignment", "a region's base lies on a page boundary");
    dw_region *region = NULL;
    dw_region_options options = {
        .reserve_bytes = (size_t)4 << 30, .commit_bytes = page, .label = "doctor"};
    dw_error error;
    if (dw_region_create(&region, &options, &error) != DW_OK) {
        broken(d, aligned, "0", &error);
        return;
    }
    unsigned char *base = dw_region_base(region);
    size_t off = (uintptr_t)base & (page - 1);
    settle(d, aligned, off == 0, (double)off, "bytes off", "0");
    (void)snprintf(aligned->note, sizeof aligned->note, "pages of %zu bytes", page);

    dw_doctor_check *stable =
        add(d, link, "region_growth", "growing to 64 MiB moves no byte and keeps what was written");
    base[0] = 0x5a;
    if (dw_region_commit(region, 64 * MIB, &error) != DW_OK) {
        broken(d, stable, "0", &error);
    } else {
        double moved = distance(base, dw_region_base(region));
        base[64 * MIB - 1] = 1; /* the last byte is there */
        settle(d, stable, moved == 0 && base[0] == 0x5a && base[page] == 0, moved, "bytes moved",
               "0");
    }
    dw_region_destroy(region);
}

/* ---- link 2: linear memory on a region -------------------------------------------------- */

static void check_linear_memory(doctor *d, dw_instance *guest)
{
    static const char link[] = "link 2";
    dw_doctor_check *identity =
        add(d, link, "memory_on_region",
            "the guest's offset 0 is the region's base, as reported by Wasmtime");
    double off = distance(dw_instance_memory(guest), dw_region_base(dw_instance_region(guest)));
    settle(d, identity, off == 0, off, "bytes apart", "0");

    dw_doctor_check *written =
        add(d, link, "memory_is_shared", "what the guest writes stands at region base + offset");
    int32_t address = 0;
    int32_t status = 0;
    dw_error error;
    if (dw_instance_call(guest, "chain_poison", &status, &error) != DW_OK ||
        dw_instance_call(guest, "chain_address_result", &address, &error) != DW_OK) {
        broken(d, written, "0", &error);
    } else {
        float seen = 0;
        memcpy(&seen,
               (unsigned char *)dw_region_base(dw_instance_region(guest)) + (uint32_t)address,
               sizeof seen);
        int wrong = seen != -12345.0f;
        settle(d, written, wrong == 0, wrong, "values wrong", "0");
    }

    dw_doctor_check *grown =
        add(d, link, "memory_grow_stays", "memory.grow moves no byte of the guest's memory");
    void *before = dw_instance_memory(guest);
    size_t bytes_before = dw_instance_memory_bytes(guest);
    if (dw_instance_call(guest, "chain_grow", &status, &error) != DW_OK) {
        broken(d, grown, "0", &error);
        return;
    }
    double moved = distance(before, dw_instance_memory(guest));
    size_t bytes_after = dw_instance_memory_bytes(guest);
    settle(d, grown, status == 0 && moved == 0 && bytes_after > bytes_before, moved, "bytes moved",
           "0");
    (void)snprintf(grown->note, sizeof grown->note, "%zu to %zu bytes", bytes_before, bytes_after);
}

/* ---- link 3: the device's buffer on a region -------------------------------------------- */

/* y = x * 2 + 1 over a whole region, by the device, in place of the host's bytes. */
static dw_status scale_on_device(doctor *d, dw_device_view *view, float *x, float *y, int64_t count,
                                 dw_error *err)
{
    struct ggml_init_params params = {.mem_size = ggml_tensor_overhead() * 4 +
                                                  ggml_graph_overhead_custom(4, false),
                                      .no_alloc = true};
    struct ggml_context *context = ggml_init(params);
    if (context == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph of two tensors");
    }
    struct ggml_tensor *from = ggml_new_tensor_1d(context, GGML_TYPE_F32, count);
    struct ggml_tensor *to = ggml_scale_bias(context, from, 2.0f, 1.0f);
    struct ggml_cgraph *graph = ggml_new_graph_custom(context, 4, false);
    ggml_build_forward_expand(graph, to);
    dw_status status = dw_device_view_place(view, from, x, err);
    if (status == DW_OK) {
        status = dw_device_view_place(view, to, y, err);
    }
    if (status == DW_OK) {
        status = dw_device_check_graph(d->device, graph, err);
    }
    if (status == DW_OK) {
        status = dw_device_run(d->device, graph, &(dw_device_run_options){.view = view}, err);
    }
    ggml_free(context);
    return status;
}

static size_t count_wrong(const float *y, size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        wrong += y[i] != (float)(i % 1000) * 2.0f + 1.0f;
    }
    return wrong;
}

static void check_device_view(doctor *d, dw_region *region)
{
    static const char link[] = "link 3";
    static const char what_in_place[] = "the device reads and writes the region's own bytes";
    dw_doctor_check *identity =
        add(d, link, "device_on_region", "the device is given the region's own address");
    dw_device_view *view = NULL;
    dw_error error;
    if (dw_device_view_create(&view, d->device, region, DW_VIEW_STAGEABLE, &error) != DW_OK) {
        broken(d, identity, "0", &error);
        return;
    }
    bool same = false;
    double off = distance(dw_device_view_base(view, &same), dw_region_base(region));
    settle(d, identity, true, same ? off : 0, "bytes apart", "0");
    (void)snprintf(identity->note, sizeof identity->note, "%s%s", dw_device_view_kind(view),
                   same ? ""
                        : "; this backend numbers its buffers itself: identity is shown by what it "
                          "reads and writes");

    dw_doctor_check *in_place = add(d, link, "device_in_place", what_in_place);
    size_t count = BIG_BYTES / 4 / sizeof(float);
    float *x = dw_region_base(region);
    float *y = x + count;
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)(i % 1000);
        y[i] = -1.0f;
    }
    if (scale_on_device(d, view, x, y, (int64_t)count, &error) != DW_OK) {
        broken(d, in_place, "0", &error);
    } else {
        size_t wrong = count_wrong(y, count);
        settle(d, in_place, wrong == 0, (double)wrong, "values wrong", "0");
    }

    dw_doctor_check *follows = add(d, link, "device_after_growth",
                                   "pages that the region has grown by are the device's too");
    if (dw_region_commit(region, BIG_BYTES, &error) != DW_OK ||
        scale_on_device(d, view, x, y + count, (int64_t)count, &error) != DW_OK) {
        broken(d, follows, "0", &error);
    } else {
        size_t wrong = count_wrong(y + count, count);
        settle(d, follows, wrong == 0, (double)wrong, "values wrong", "0");
    }
    dw_device_view_destroy(view);
}

static void check_device(doctor *d)
{
    dw_region *region = NULL;
    dw_region_options options = {
        .reserve_bytes = 2 * BIG_BYTES, .commit_bytes = BIG_BYTES / 2, .label = "doctor"};
    dw_error error;
    if (dw_region_create(&region, &options, &error) != DW_OK) {
        broken(d, add(d, "link 3", "device_on_region", "a region for the device"), "0", &error);
        return;
    }
    check_device_view(d, region);
    dw_region_destroy(region);
}

/* ---- the whole chain -------------------------------------------------------------------- */

/* Call guest functions in order; a negative answer is the guest's failure. The last one's answer
 * goes to *value. */
static dw_status call_all(dw_instance *guest, const char *const *names, size_t count,
                          int32_t *value, dw_error *err)
{
    for (size_t i = 0; i < count; i++) {
        dw_status status = dw_instance_call(guest, names[i], value, err);
        if (status != DW_OK) {
            return status;
        }
        if (*value < 0) {
            return dw_fail(err, DW_E_STATE, "%s: %.180s", names[i],
                           dw_instance_error(guest)->message);
        }
    }
    return DW_OK;
}

static void check_gemm(doctor *d, dw_instance *guest, const char *name, const char *what,
                       const char *first)
{
    dw_doctor_check *check = add(d, "chain", name, what);
    const char *const steps[] = {first, "chain_poison", "chain_run", "chain_wrong"};
    int32_t wrong = 0;
    dw_error error;
    if (call_all(guest, steps, sizeof steps / sizeof steps[0], &wrong, &error) != DW_OK) {
        broken(d, check, "0", &error);
        return;
    }
    settle(d, check, wrong == 0, wrong, "of 16384 wrong", "0");
}

static void check_identity(doctor *d, dw_instance *guest)
{
    dw_doctor_check *check = add(d, "chain", "pointer_identity",
                                 "guest offset 0 == region base == what the device is given");
    dw_device_view *view = NULL;
    dw_error error;
    if (dw_instance_view(guest, &view, &error) != DW_OK) {
        broken(d, check, "0", &error);
        return;
    }
    bool same = false;
    void *device_base = dw_device_view_base(view, &same);
    void *region_base = dw_region_base(dw_instance_region(guest));
    double apart = distance(dw_instance_memory(guest), region_base);
    if (same) {
        apart += distance(device_base, region_base);
    }
    settle(d, check, apart == 0, apart, "bytes apart", "0");
    (void)snprintf(check->note, sizeof check->note, "%p, %s%s", region_base,
                   dw_device_view_kind(view),
                   same ? "" : "; the device's own number for it differs, its bytes do not");
}

/* What the same 16 MiB cost when they are copied, as a system without the chain would. */
static void measure_copy(doctor *d, dw_instance *guest)
{
    dw_doctor_check *check = add(d, "chain", "explicit_copy_rss",
                                 "for comparison: resident memory that one explicit copy adds");
    size_t before = dw_os_rss_bytes();
    unsigned char *memory = dw_instance_memory(guest);
    unsigned char *copy = malloc(BIG_BYTES);
    if (copy == NULL) {
        settle(d, check, true, 0, "MB", NULL);
        return;
    }
    uint64_t start = dw_os_clock_ns();
    memcpy(copy, memory + dw_instance_memory_bytes(guest) - BIG_BYTES, BIG_BYTES);
    uint64_t took = dw_os_clock_ns() - start;
    double grown = (double)dw_os_rss_bytes() - (double)before;
    /* Read it back, so that no compiler thinks the copy idle. */
    (void)snprintf(check->note, sizeof check->note, "%.2f ms; last byte %u", (double)took / 1e6,
                   copy[BIG_BYTES - 1]);
    free(copy);
    settle(d, check, true, megabytes(grown), "MB", NULL);
}

/* Resident memory beyond 16 MiB of fresh pages that the guest writes and the device reads, in MB;
 * `*wrong` is 0 if the device's sum of them is right. */
static dw_status measure_rss(dw_instance *guest, double *beyond, int32_t *wrong, dw_error *err)
{
    const char *const steps[] = {"chain_big_prepare", "chain_big_write", "chain_big_wrong"};
    dw_device_view *view = NULL;
    size_t before = dw_os_rss_bytes();
    dw_status status = call_all(guest, steps, 1, wrong, err);
    if (status == DW_OK) {
        status = dw_instance_view(guest, &view, err);
    }
    if (status != DW_OK) {
        return status;
    }
    /* Registering pins pages, which makes them resident before anybody touches them. */
    bool pinned = strcmp(dw_device_view_kind(view), "registered") == 0;
    before = pinned ? before : dw_os_rss_bytes();
    status = call_all(guest, steps + 1, 2, wrong, err);
    *beyond = megabytes((double)dw_os_rss_bytes() - (double)before - (double)BIG_BYTES);
    return status;
}

/* The first round brings in code and bookkeeping, and the kernel may take pages of code away and
 * give them back at any time; a copy of the payload would show in every round. */
static void check_rss(doctor *d, dw_instance *guest)
{
    dw_doctor_check *check =
        add(d, "chain", "rss_growth_16mib",
            "16 MiB written by the guest and read by the device: resident memory beyond them");
    double least = 1e9;
    int32_t wrong_sums = 0;
    int rounds = 0;
    dw_error error;
    while (rounds < RSS_ROUNDS && (rounds < 2 || least > RSS_SLACK_MB)) {
        double beyond = 0;
        int32_t wrong = 0;
        if (measure_rss(guest, &beyond, &wrong, &error) != DW_OK) {
            broken(d, check, "<= 0.03", &error);
            return;
        }
        wrong_sums += wrong;
        least = rounds > 0 && beyond < least ? beyond : least;
        rounds++;
    }
    settle(d, check, wrong_sums == 0 && dw_os_rss_bytes() != 0 && least <= RSS_SLACK_MB, least,
           "MB", "<= 0.03");
    (void)snprintf(check->note, sizeof check->note, "the least of %d rounds after the first%s",
                   rounds - 1, wrong_sums == 0 ? "" : "; the device's sum is wrong");
}

static void measure_times(doctor *d, dw_instance *guest)
{
    dw_doctor_check *calls = add(d, "chain", "guest_to_host_call", "one call from guest to host");
    int32_t value = 0;
    dw_error error;
    uint64_t start = dw_os_clock_ns();
    if (dw_instance_call(guest, "chain_call_loop", &value, &error) != DW_OK) {
        broken(d, calls, NULL, &error);
    } else {
        double ns = (double)(dw_os_clock_ns() - start) / GUEST_CALLS;
        settle(d, calls, value == 0, ns, "ns", NULL);
    }
    dw_doctor_check *gemm =
        add(d, "chain", "gemm_latency", "one 128x128 product from the guest, best of 50");
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < GEMM_RUNS; i++) {
        start = dw_os_clock_ns();
        if (dw_instance_call(guest, "chain_run", &value, &error) != DW_OK || value < 0) {
            broken(d, gemm, NULL, value < 0 ? dw_instance_error(guest) : &error);
            return;
        }
        uint64_t took = dw_os_clock_ns() - start;
        best = took < best ? took : best;
    }
    settle(d, gemm, true, (double)best / 1e3, "us", NULL);
}

/* What cannot be registered is copied: that works, and is not what Driftwood is for. */
static void check_staged(doctor *d, dw_instance *guest)
{
    dw_doctor_check *check =
        add(d, "chain", "device_staged_bytes",
            "bytes copied because the device could not be given the guest's pages");
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_instance_get_stats(guest, &stats);
    const char *why = dw_instance_staging(guest);
    settle(d, check, stats.device_staged_bytes == 0 && why == NULL,
           (double)stats.device_staged_bytes, "bytes", "0");
    (void)snprintf(check->note, sizeof check->note, "%s", why != NULL ? why : "");
}

static void check_chain(doctor *d, dw_instance *guest)
{
    check_gemm(d, guest, "gemm",
               "128x128 product: the guest fills, the device computes, the guest checks",
               "chain_prepare");
    check_gemm(d, guest, "gemm_after_grow", "the same graph after memory.grow", "chain_grow");
    check_gemm(d, guest, "gemm_in_new_pages", "the same in pages that memory.grow has made",
               "chain_move_to_new_pages");
    check_identity(d, guest);
    check_rss(d, guest);
    measure_copy(d, guest);
    measure_times(d, guest);
    check_staged(d, guest);
}

static dw_status examine(doctor *d, dw_error *err)
{
    dw_module *module = NULL;
    dw_instance *guest = NULL;
    dw_status status = dw_module_open(&module, d->engine, d->guest_path, err);
    if (status == DW_OK) {
        status = dw_instance_create(&guest, module, NULL, err);
    }
    if (status == DW_OK) {
        check_region(d);
        check_linear_memory(d, guest);
        check_device(d);
        check_chain(d, guest);
    }
    dw_instance_destroy(guest);
    dw_module_unref(module);
    return status;
}

static dw_status examine_device(dw_doctor_report *report, const char *device,
                                const char *guest_path, dw_error *err)
{
    doctor d = {.report = report, .guest_path = guest_path};
    dw_engine_options options = {.struct_bytes = sizeof options, .device = device};
    dw_status status = dw_engine_create(&d.engine, &options, err);
    if (status == DW_OK) {
        dw_engine_get_device_info(d.engine, &report->device);
        status = dw_device_open(&d.device, report->device.name, 0, err);
    }
    for (size_t i = 0; status == DW_OK && i < dw_device_count(); i++) {
        dw_device_info info = {.struct_bytes = sizeof info};
        status = dw_device_get_info(i, &info, err);
        report->has_gpu = report->has_gpu || (status == DW_OK && info.kind != DW_DEVICE_CPU);
    }
    if (status == DW_OK) {
        status = examine(&d, err);
    }
    dw_device_close(d.device);
    dw_engine_destroy(d.engine);
    return status;
}

dw_status dw_doctor_examine(dw_doctor_report **out, const char *device, const char *guest_path,
                            dw_error *err)
{
    *out = NULL;
    dw_doctor_report *report = dw_alloc(1, sizeof *report);
    if (report == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the doctor's report");
    }
    report->ok = true;
    report->device.struct_bytes = sizeof report->device;
    dw_status status = examine_device(report, device, guest_path, err);
    if (status != DW_OK) {
        dw_free(report);
        return status;
    }
    *out = report;
    return DW_OK;
}

void dw_doctor_report_destroy(dw_doctor_report *report)
{
    dw_free(report);
}

dw_status dw_doctor_get_info(const dw_doctor_report *report, dw_doctor_info *info)
{
    dw_doctor_info own = {
        .ok = report->ok, .has_gpu = report->has_gpu, .check_count = report->check_count};
    (void)snprintf(own.device, sizeof own.device, "%s", report->device.name);
    return dw_struct_fill(info, &own, sizeof own, "dw_doctor_info");
}

dw_status dw_doctor_get_check(const dw_doctor_report *report, size_t index,
                              dw_doctor_check_info *check, dw_error *err)
{
    dw_status status = dw_struct_check(check, "dw_doctor_check_info", err);
    if (status != DW_OK) {
        return status;
    }
    if (index >= report->check_count) {
        return dw_fail(err, DW_E_RANGE, "check %zu: there are %zu", index, report->check_count);
    }
    const dw_doctor_check *found = &report->checks[index];
    const dw_doctor_check_info own = {
        .link = found->link,
        .name = found->name,
        .what = found->what,
        .ok = found->ok,
        .value = found->value,
        .unit = found->unit,
        .goal = found->goal,
        .note = found->note,
    };
    dw_struct_write(check, &own, sizeof own);
    return DW_OK;
}
