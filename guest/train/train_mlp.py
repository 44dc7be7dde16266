#!/usr/bin/env python3
"""Train the classifier of guest/examples/mlp.c and write guest/examples/mlp_digits.h.

Data: "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; UCI Machine Learning
Repository, CC BY 4.0), the 1,797 images of 8x8 that scikit-learn ships as digits.csv.gz.
360 of them, drawn at random, are held out: they are never trained on, and the guest is judged by
240 of them. (Held out in the file's order, the last 360 come from other writers: 93 %.)

    python3 guest/train/train_mlp.py digits.csv.gz > guest/examples/mlp_digits.h  (needs numpy)
"""
import gzip
import sys

import numpy as np

HIDDEN, HELD_OUT, SHOWN, EPOCHS, BATCH = 32, 360, 240, 200, 32


def load(path):
    rows = np.array([[int(float(v)) for v in line.split(",")]
                     for line in gzip.open(path, "rt") if line.strip()])
    # 17 grey levels become 16, so that two pixels fit in a byte; trained on as well.
    return np.minimum(rows[:, :64], 15), rows[:, 64]


def vary(batch, rng):
    """Shift each image by up to a pixel each way and shake its levels: 1,437 images are few."""
    images = np.zeros((len(batch), 10, 10), np.float32)
    for i, (down, right) in enumerate(rng.integers(0, 3, (len(batch), 2))):
        keep = rng.random() < 0.5
        down, right = (1, 1) if keep else (down, right)
        images[i, down:down + 8, right:right + 8] = batch[i].reshape(8, 8)
    images = images[:, 1:9, 1:9].reshape(-1, 64)
    return np.clip(images + rng.normal(0, 0.08, images.shape), 0, 1).astype(np.float32)


def train(images, labels, rng):
    x = images.astype(np.float32) / 15
    w1 = rng.normal(0, (2 / 64) ** 0.5, (HIDDEN, 64)).astype(np.float32)
    w2 = rng.normal(0, (1 / HIDDEN) ** 0.5, (10, HIDDEN)).astype(np.float32)
    weights = [w1, np.zeros(HIDDEN, np.float32), w2, np.zeros(10, np.float32)]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    step = 0
    for epoch in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            pick = order[start:start + BATCH]
            a, b, c, d = weights
            noisy = vary(x[pick], rng)
            pre = noisy @ a.T + b
            hidden = np.maximum(pre, 0)
            scores = hidden @ c.T + d
            scores = np.exp(scores - scores.max(1, keepdims=True))
            scores /= scores.sum(1, keepdims=True)
            scores[np.arange(len(pick)), labels[pick]] -= 1
            scores /= len(pick)
            back = (scores @ c) * (pre > 0)
            grads = [back.T @ noisy + 1e-4 * a, back.sum(0), scores.T @ hidden + 1e-4 * c,
                     scores.sum(0)]
            step += 1
            rate = 3e-3 * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
            for i, grad in enumerate(grads):
                first[i] = 0.9 * first[i] + 0.1 * grad
                second[i] = 0.999 * second[i] + 0.001 * grad * grad
                weights[i] = weights[i] - rate * (first[i] / (1 - 0.9 ** step)) / (
                    np.sqrt(second[i] / (1 - 0.999 ** step)) + 1e-8)
    return [w.astype(np.float32) for w in weights]


def accuracy(weights, images, labels):
    a, b, c, d = weights
    hidden = np.maximum(images.astype(np.float32) / 15 @ a.T + b, 0)
    return np.mean((hidden @ c.T + d).argmax(1) == labels)


def array(kind, name, values, form, per_line):
    print(f"static const {kind} {name}[{len(values)}] = {{")
    for i in range(0, len(values), per_line):
        print("    " + ", ".join(form(v) for v in values[i:i + per_line]) + ",")
    print("};\n")


def main():
    images, labels = load(sys.argv[1])
    rng = np.random.default_rng(1)
    order = rng.permutation(len(images))
    images, labels = images[order], labels[order]
    split = len(images) - HELD_OUT
    weights = train(images[:split], labels[:split], rng)
    halves = [weights[0].astype(np.float16), weights[1], weights[2].astype(np.float16), weights[3]]
    held = accuracy([w.astype(np.float32) for w in halves], images[split:], labels[split:])
    print(f"trained {accuracy(weights, images[:split], labels[:split]):.4f}, "
          f"held out {held:.4f}", file=sys.stderr)
    print("/* Made by guest/train/train_mlp.py; see there for the data's source (CC BY 4.0). */")
    print("#ifndef MLP_DIGITS_H\n#define MLP_DIGITS_H\n\n#include <stdint.h>\n")
    print(f"enum {{ HIDDEN = {HIDDEN}, IMAGES = {SHOWN} }};\n")
    hexed = lambda v: f"0x{int(v):04x}"
    print("/* IEEE halves. */")
    array("uint16_t", "first_weights", halves[0].ravel().view(np.uint16), hexed, 12)
    array("uint16_t", "second_weights", halves[2].ravel().view(np.uint16), hexed, 12)
    number = lambda v: f"{v:.6g}f" if "." in f"{v:.6g}" or "e" in f"{v:.6g}" else f"{v:.6g}.0f"
    array("float", "first_bias", weights[1], number, 7)
    array("float", "second_bias", weights[3], number, 7)
    shown = images[split:split + SHOWN]
    packed = (shown[:, 0::2] | shown[:, 1::2] << 4).ravel()
    print("/* Held-out images, two pixels of 16 grey levels a byte, the left one low. */")
    array("uint8_t", "pixels", packed, lambda v: str(int(v)), 20)
    array("uint8_t", "labels", labels[split:split + SHOWN], lambda v: str(int(v)), 30)
    print("#endif")


main()
