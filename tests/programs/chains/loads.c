/*
 * Programs whose call chains lead through shared libraries.
 *
 *     cc -O2 -fomit-frame-pointer -shared -fPIC -Wl,-z,lazy -o libchains.so library.c
 *     cc -O2 -fomit-frame-pointer -o chain-loads loads.c -L. -lchains -Wl,-z,lazy -Wl,-rpath,'$ORIGIN'
 *
 * Runs until it is ended, under the name chain-MODE.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "work.h"

uint64_t little(uint64_t value);
uint64_t less(uint64_t value);

/* plt: a loop of calls through the procedure linkage table. */

OWN_FRAME void hammer(void)
{
    uint64_t value = sink;
    for (int at = 0; at < 1000; at++)
        value = less(little(value));
    sink = value;
}

/* dlopen: a library comes, is called, and goes. */

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, dlerror());
    exit(1);
}

OWN_FRAME void come_and_go(const char *path)
{
    void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (library == NULL)
        fail(path);
    void (*visit)(void) = (void (*)(void))dlsym(library, "visit");
    if (visit == NULL)
        fail("visit");
    for (int at = 0; at < 20; at++)
        visit();
    dlclose(library);
}

/* digest, cipher: the assembly of OpenSSL's library. */

typedef unsigned char *digest_function(const unsigned char *, size_t, unsigned char *);

static unsigned char bytes[1 << 16];

OWN_FRAME void digest(digest_function *sha256)
{
    unsigned char into[32];
    sha256(bytes, sizeof bytes, into);
    sink += into[0];
}

typedef int update_function(void *, unsigned char *, int *, const unsigned char *, int);

OWN_FRAME void cipher(update_function *update, void *context)
{
    static unsigned char into[sizeof bytes + 32];
    int length = 0;
    if (update(context, into, &length, bytes, sizeof bytes) != 1)
        fail("EVP_EncryptUpdate");
    sink += into[0];
}

static void *function(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL)
        fail(name);
    return found;
}

int main(int argc, char **argv)
{
    const char *mode = argc >= 2 ? argv[1] : "";
    char name[16];
    snprintf(name, sizeof name, "chain-%.9s", mode);
    prctl(PR_SET_NAME, name);
    if (strcmp(mode, "plt") == 0)
        for (;;)
            hammer();
    if (strcmp(mode, "dlopen") == 0 && argc == 3)
        for (;;)
            come_and_go(argv[2]);
    void *crypto = dlopen("libcrypto.so.3", RTLD_NOW);
    if (strcmp(mode, "digest") == 0 && crypto != NULL) {
        digest_function *sha256 = (digest_function *)function(crypto, "SHA256");
        for (;;)
            digest(sha256);
    }
    if (strcmp(mode, "cipher") == 0 && crypto != NULL) {
        void *context = ((void *(*)(void))function(crypto, "EVP_CIPHER_CTX_new"))();
        const void *aes = ((const void *(*)(void))function(crypto, "EVP_aes_256_ctr"))();
        static const unsigned char key[32], start[16];
        int (*init)(void *, const void *, void *, const unsigned char *, const unsigned char *) =
            (int (*)(void *, const void *, void *, const unsigned char *, const unsigned char *))function(crypto, "EVP_EncryptInit_ex");
        if (init(context, aes, NULL, key, start) != 1)
            fail("EVP_EncryptInit_ex");
        update_function *update = (update_function *)function(crypto, "EVP_EncryptUpdate");
        for (;;)
            cipher(update, context);
    }
    fprintf(stderr, "usage: %s plt|digest|cipher, or %s dlopen LIBRARY\n", argv[0], argv[0]);
    return 2;
}
