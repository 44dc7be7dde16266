/* What imports that run forward steps share. Private to src/guest_abi. Thread: the guest's. */
#ifndef DW_GUEST_ABI_GUEST_STEPS_H
#define DW_GUEST_ABI_GUEST_STEPS_H

#include "driftwood_abi.h"
#include "inference/embeddings.h"
#include "wasm/guest_instance.h"

/* A handle for a new context, charged to the guest by who calls (DW_PART_KV); else a negative
 * status with dw_instance_error filled: DW_E_LIMIT (as many as it may have are open, more tokens
 * than it may have), those of dw_context_create. */
int32_t dw__open_context(dw_instance *instance, dw_model *model, uint32_t tokens_max);
/* text [bytes], a grammar, or a JSON Schema that becomes one; 0 bytes: none. Errors: DW_E_LIMIT,
 * those of dw_sampler_set_grammar and dw_json_grammar_make_for. */
dw_status dw__hold_to(dw_instance *instance, dw_guest_sampler *sampler, const char *text,
                      size_t bytes, bool is_schema, dw_error *err);
/* dw_embed as work of the device (dw_instance_compute). */
typedef struct dw__embed_work {
    dw_model *model;
    dw_embed_step step;
} dw__embed_work;
dw_status dw__do_embed(void *work, dw_error *err);
/* A step of the guest's: whom it counts for, who may stop it, who is told how far it is. */
dw_step dw__step_of(dw_instance *instance);
/* Where the choice->top_count likeliest tokens of the context's model are to go;
 * `log_probabilities` 0: not wanted. Errors: DW_E_LIMIT, DW_E_RANGE, DW_E_ALIGN. */
dw_status dw__top_ranges(dw_instance *instance, const dw_context *context, uint32_t tokens,
                         uint32_t log_probabilities, dw_choice *choice, dw_error *err);
/* What a step reads or writes of the guest's memory; a count of 0: it does not. */
typedef struct dw__range {
    const char *name;
    uint32_t at;
    uint64_t count;
    uint32_t unit; /* bytes of one, of which the address is a multiple */
    bool written;
} dw__range;

/* Errors: dw_instance_range's. */
dw_status dw__find_range(dw_instance *instance, const dw__range *range, void **place,
                         dw_error *err);
/* Whether they have a byte in common that one of them writes. */
bool dw__ranges_clash(const dw__range *a, const dw__range *b);
/* The three of a tree of `token_count` tokens behind the context. */
void dw__tree_ranges(const dw_context *context, const dw_tree_shape *shape, uint32_t token_count,
                     dw__range ranges[3]);
/* The tree whose three these are. Errors: dw_instance_range's. */
dw_status dw__find_tree(dw_instance *instance, const dw__range ranges[3], dw_tree *tree,
                        dw_error *err);
/* Whether [a, a + a_bytes) and [b, b + b_bytes) have a byte in common. */
bool dw__ranges_meet(uint32_t a, uint64_t a_bytes, uint32_t b, uint64_t b_bytes);
/* Let the context's window slide, where it has one, for a step of `count` tokens that was checked.
 * Errors: dw_context_slide's, dw_context_shift's. */
dw_status dw__make_window(dw_instance *instance, dw_context *context, uint32_t count,
                          dw_error *err);
/* dw_context_tree_begin, which takes memory for the guest. Errors: its own. */
dw_status dw__hang_tree(dw_instance *instance, dw_context *context, dw_step *step,
                        const dw_tree *tree, dw_error *err);
/* Errors: DW_E_ARG (it chooses among another number of tokens than the context's model has). */
dw_status dw__check_sampler_fits(const dw_sampler *sampler, const dw_context *context,
                                 dw_error *err);

#endif
