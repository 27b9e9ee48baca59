/*
 * For LD_PRELOAD: answers for kernels that do not say how many instructions their verifier walked.
 *
 * Kernels from 5.16 on say it in `bpf_prog_info.verified_insns` (kernel commit aba64c7da983). Older ones say it only in the
 * verifier's log ("processed N insns"), and only while the program is loaded. This library asks each BPF_PROG_LOAD that
 * asks for no log for its statistics (BPF_LOG_STATS, since 5.2), remembers the number by the program's descriptor, and
 * writes it into what BPF_OBJ_GET_INFO_BY_FD returns where the kernel left it empty. What the kernel says itself is left
 * as it is, and a number that differs from the log's is an error that ends the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

/* kernel: include/linux/bpf_verifier.h, BPF_LOG_STATS */
#define LOG_STATS 4
#define LOG_SIZE (64 * 1024)
#define DESCRIPTORS 4096
#define ATTR_SIZE 1024
#define PROCESSED "processed "
#define HAS(size, field) ((size) >= offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))

static unsigned int walked[DESCRIPTORS];
static char text[LOG_SIZE];
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

typedef long (*syscall_fn)(long, ...);

static syscall_fn next_syscall(void)
{
	static syscall_fn next;

	if (!next)
		next = (syscall_fn)dlsym(RTLD_NEXT, "syscall");
	if (!next)
		abort();
	return next;
}

static long load(const union bpf_attr *asked, unsigned long size)
{
	/* The caller's may be longer than that of the headers here. */
	union {
		union bpf_attr attr;
		char bytes[ATTR_SIZE];
	} copy = {0};
	const char *line, *found = text;
	long fd;

	if (!HAS(size, log_buf) || size > sizeof(copy)) {
		fprintf(stderr, "a program is loaded with attributes of %lu bytes\n", size);
		abort();
	}
	if (asked->log_level)
		return next_syscall()(SYS_bpf, BPF_PROG_LOAD, asked, size);
	memcpy(&copy, asked, size);
	pthread_mutex_lock(&loading);
	text[0] = 0;
	copy.attr.log_level = LOG_STATS;
	copy.attr.log_size = sizeof(text);
	copy.attr.log_buf = (unsigned long)text;
	fd = next_syscall()(SYS_bpf, BPF_PROG_LOAD, &copy, size);
	/* The last: newer kernels say it of each global function, too. */
	for (line = NULL; fd >= 0 && (found = strstr(found, PROCESSED)); line = found)
		found += strlen(PROCESSED);
	if (fd >= 0 && fd < DESCRIPTORS)
		walked[fd] = line ? strtoul(line, NULL, 10) : 0;
	pthread_mutex_unlock(&loading);
	return fd;
}

static long info(union bpf_attr *attr, unsigned long size)
{
	unsigned int room = attr->info.info_len;
	unsigned int fd = attr->info.bpf_fd;
	long result = next_syscall()(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, attr, size);
	struct bpf_prog_info *answer = (struct bpf_prog_info *)(unsigned long)attr->info.info;

	if (result || fd >= DESCRIPTORS || !walked[fd])
		return result;
	/* Descriptors are used again, also for maps, whose answers are shorter. */
	if (room < sizeof(*answer))
		return result;
	if (!answer->verified_insns) {
		answer->verified_insns = walked[fd];
		attr->info.info_len = sizeof(*answer);
	} else if (answer->verified_insns != walked[fd]) {
		fprintf(stderr, "%.15s", answer->name);
		fprintf(stderr, ": the verifier's log says %u instructions, the kernel %u\n", walked[fd], answer->verified_insns);
		abort();
	}
	return result;
}

long syscall(long number, ...)
{
	unsigned long arguments[6];
	va_list list;

	va_start(list, number);
	for (int at = 0; at < 6; at++)
		arguments[at] = va_arg(list, unsigned long);
	va_end(list);
	if (number == SYS_bpf && arguments[0] == BPF_PROG_LOAD)
		return load((const union bpf_attr *)arguments[1], arguments[2]);
	if (number == SYS_bpf && arguments[0] == BPF_OBJ_GET_INFO_BY_FD)
		return info((union bpf_attr *)arguments[1], arguments[2]);
	return next_syscall()(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
