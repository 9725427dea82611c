// OpenBLAS as a contestant of the matrix product benchmark. The protocol is described in package peer and peer.go.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

// Declared here so that no particular header's place is asked for.
enum { RowMajor = 101, NoTrans = 111, Trans = 112 };
extern void cblas_sgemm(int order, int transA, int transB, int m, int n, int k, float alpha, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc);
extern void openblas_set_num_threads(int n);
extern char *openblas_get_config(void);
extern char *openblas_get_corename(void);

// memory is that of the largest product so far, filled with random numbers; the others lie in it.
struct memory {
	float *p;
	long n;
};

static float *matrix(struct memory *x, long n) {
	if (n <= x->n)
		return x->p;
	free(x->p);
	size_t bytes = ((size_t)n * 4 + (2 << 20) - 1) & ~(size_t)((2 << 20) - 1);
	float *p = aligned_alloc(2 << 20, bytes);
	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	madvise(p, bytes, MADV_HUGEPAGE);
	const long distinct = (1 << 20) - 3; // then they repeat
	unsigned s = 1;
	for (long i = 0; i < n && i < distinct; i++) {
		s = s * 1664525u + 1013904223u;
		p[i] = (float)(s >> 8) / (1 << 23) - 1;
	}
	for (long i = distinct; i < n; i += distinct)
		memcpy(p + i, p, 4 * (n - i < distinct ? n - i : distinct));
	x->p = p;
	x->n = n;
	return p;
}

int main(void) {
	char line[256];
	int m = 0, n = 0, k = 0, ta = 0, tb = 0, threads = 1;
	float *a = NULL, *b = NULL, *c = NULL;
	struct memory am = {0}, bm = {0}, cm = {0};
	char version[64] = "";
	sscanf(openblas_get_config(), "OpenBLAS %63s", version);
	printf("OpenBLAS %s (%s)\n", version, openblas_get_corename());
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		long reps;
		if (sscanf(line, "shape %d %d %d %d %d %d", &m, &n, &k, &ta, &tb, &threads) == 6) {
			a = matrix(&am, (long)m * k);
			b = matrix(&bm, (long)k * n);
			c = matrix(&cm, (long)m * n);
			openblas_set_num_threads(threads);
			cblas_sgemm(RowMajor, ta ? Trans : NoTrans, tb ? Trans : NoTrans, m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0, c, n);
			printf("ok\n");
		} else if (sscanf(line, "time %ld", &reps) == 1) {
			struct timespec s, e;
			clock_gettime(CLOCK_MONOTONIC, &s);
			for (long i = 0; i < reps; i++)
				cblas_sgemm(RowMajor, ta ? Trans : NoTrans, tb ? Trans : NoTrans, m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0, c, n);
			clock_gettime(CLOCK_MONOTONIC, &e);
			printf("%ld\n", (e.tv_sec - s.tv_sec) * 1000000000L + e.tv_nsec - s.tv_nsec);
		} else {
			printf("what is %s", line);
		}
		fflush(stdout);
	}
	return 0;
}
