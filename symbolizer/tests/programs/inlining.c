/* Functions that are inlined into each other, in plain C: small enough for any libc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline unsigned mix(unsigned value) {
    value ^= value >> 15;
    value *= 0x2c1b3c6dU;
    return value ^ value >> 12;
}

static inline unsigned twice(unsigned value) { return mix(mix(value)); }

struct node {
    struct node *left, *right;
    unsigned key;
};

static struct node *insert(struct node *tree, unsigned key) {
    if (!tree) {
        tree = calloc(1, sizeof *tree);
        if (!tree) abort();
        tree->key = key;
    } else if (key < tree->key) {
        tree->left = insert(tree->left, key);
    } else if (key > tree->key) {
        tree->right = insert(tree->right, key);
    }
    return tree;
}

static unsigned depth(const struct node *tree) {
    if (!tree) return 0;
    unsigned left = depth(tree->left), right = depth(tree->right);
    return 1 + (left > right ? left : right);
}

int main(int count, char **words) {
    struct node *tree = NULL;
    for (int index = 1; index < count; ++index) {
        unsigned key = 0;
        for (const char *letter = words[index]; *letter; ++letter) key = twice(key * 31 + (unsigned char)*letter);
        tree = insert(tree, key);
    }
    printf("%u\n", depth(tree));
    return 0;
}
