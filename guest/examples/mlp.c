/* A small classifier in a guest: handwritten digits of 8x8 pixels, weights and images in the
 * guest's own memory, all images of a batch at once on the device.
 *
 *   hidden = relu(first_weights * pixels + first_bias)         [HIDDEN, images]
 *   scores = second_weights * hidden + second_bias             [10, images]
 *   answer = argmax(scores)                                    [images]
 *
 * Weights are halves, which the device takes as they are. guest/train/train_mlp.py made them. */
#include <driftwood_helpers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mlp_digits.h"

enum { PIXELS = 64, DIGITS = 10 };

static DW_ALIGNED uint16_t w1[HIDDEN * PIXELS];
static DW_ALIGNED uint16_t w2[DIGITS * HIDDEN];
static DW_ALIGNED float b1[HIDDEN];
static DW_ALIGNED float b2[DIGITS];
static DW_ALIGNED float input[IMAGES][PIXELS];
static DW_ALIGNED float chances[IMAGES][DIGITS];
static DW_ALIGNED int32_t answers[IMAGES];

static int32_t tensor(int32_t graph, int32_t type, uint32_t ne0, uint32_t ne1, const void *data)
{
    return dw_must(dw_graph_tensor(graph, type, (uint32_t[4]){ne0, ne1, 1, 1}, data), "a tensor");
}

static int32_t op(int32_t graph, int32_t kind, int32_t a, int32_t b)
{
    return dw_must(dw_graph_op(graph, kind, (int32_t[4]){a, b, 0, 0}, NULL), "an operation");
}

static int32_t describe(void)
{
    int32_t graph = dw_must(dw_graph_create(), "a graph");
    int32_t pixels_in = tensor(graph, DW_F32, PIXELS, IMAGES, input);
    int32_t hidden = op(graph, DW_OP_MATMUL, tensor(graph, DW_F16, PIXELS, HIDDEN, w1), pixels_in);
    hidden = op(graph, DW_OP_ADD, hidden, tensor(graph, DW_F32, HIDDEN, 1, b1));
    hidden = op(graph, DW_OP_RELU, hidden, 0);
    int32_t scores = op(graph, DW_OP_MATMUL, tensor(graph, DW_F16, HIDDEN, DIGITS, w2), hidden);
    scores = op(graph, DW_OP_ADD, scores, tensor(graph, DW_F32, DIGITS, 1, b2));
    dw_must(dw_graph_output(graph, op(graph, DW_OP_SOFTMAX, scores, 0), chances), "an output");
    dw_must(dw_graph_output(graph, op(graph, DW_OP_ARGMAX, scores, 0), answers), "an output");
    dw_must(dw_graph_build(graph), "building");
    return graph;
}

static void unpack(void)
{
    memcpy(w1, first_weights, sizeof w1);
    memcpy(w2, second_weights, sizeof w2);
    memcpy(b1, first_bias, sizeof b1);
    memcpy(b2, second_bias, sizeof b2);
    float *to = &input[0][0];
    for (int i = 0; i < IMAGES * PIXELS / 2; i++) {
        to[2 * i] = (float)(pixels[i] & 15) / 15.0f;
        to[2 * i + 1] = (float)(pixels[i] >> 4) / 15.0f;
    }
}

static void draw(int image)
{
    static const char levels[] = " .:-=+*#";
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 8; x++) {
            char level = levels[(int)(input[image][y * 8 + x] * 7.0f)];
            printf("%c%c", level, level);
        }
        if (y == 4) {
            printf("  is a %d (%.1f %% sure)", (int)answers[image],
                   (double)(100 * chances[image][answers[image]]));
        }
        putchar('\n');
    }
}

int main(void)
{
    unpack();
    int32_t graph = describe();
    dw_must(dw_graph_run(graph), "running");
    uint64_t start = dw_clock_ns();
    dw_must(dw_graph_run(graph), "running");
    uint64_t took = dw_clock_ns() - start;
    int right = 0;
    for (int i = 0; i < IMAGES; i++) {
        right += answers[i] == labels[i];
    }
    draw(0);
    printf("%d of %d held-out digits right (%.1f %%), %.1f us for all, "
           "%llu bytes copied by the host\n",
           right, IMAGES, 100.0 * right / IMAGES, (double)took / 1000,
           (unsigned long long)dw_host_copied_bytes());
    return right * 100 >= IMAGES * 95 ? 0 : 1;
}
