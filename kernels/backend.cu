/* backend.cu: the table of the CUDA library: device, memory and copies through the CUDA runtime, and the operations written so far. Entries
 * left NULL are answered with HPCBERT_UNSUPPORTED by the caller (backend.c). */
#include "cuda.cuh"

#include <cstdio>
#include <new>
#include <unistd.h>

static int cuda_stream_destroy(hpcbert_stream *s)
{
	cudaSetDevice(s->device);
	cudaFree(s->scratch);
	cudaStreamDestroy(s->queue);
	delete s;
	return HPCBERT_OK;
}

static int cuda_stream_create(hpcbert_stream **out, int device, int threads)
{
	(void)threads;
	int count = 0;
	if (cudaGetDeviceCount(&count) != cudaSuccess || device < 0 || device >= count)
		return HPCBERT_BAD_ARGUMENT;
	hpcbert_stream *s = new (std::nothrow) hpcbert_stream{};
	if (!s)
		return HPCBERT_NO_MEMORY;
	s->device = device;
	if (cudaSetDevice(device) != cudaSuccess || cudaStreamCreate(&s->queue) != cudaSuccess) {
		delete s;
		return HPCBERT_DEVICE;
	}
	if (cudaMalloc(&s->scratch, CUDA_SCRATCH) != cudaSuccess) {
		cudaStreamDestroy(s->queue);
		delete s;
		return HPCBERT_NO_MEMORY;
	}
	*out = s;
	return HPCBERT_OK;
}

static int cuda_alloc(void **p, size_t bytes, int device)
{
	if (cudaSetDevice(device) != cudaSuccess)
		return HPCBERT_BAD_ARGUMENT;
	if (cudaMalloc(p, bytes ? bytes : 1) != cudaSuccess) {
		cudaGetLastError(); /* not sticky: the next launch is not to blame */
		return HPCBERT_NO_MEMORY;
	}
	return cudaMemset(*p, 0, bytes) == cudaSuccess ? HPCBERT_OK : HPCBERT_DEVICE;
}

static int cuda_release(void *p, size_t bytes)
{
	(void)bytes;
	return cudaFree(p) == cudaSuccess ? HPCBERT_OK : HPCBERT_BAD_ARGUMENT;
}

static int move(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, hpcbert_stream *s)
{
	int rc = cuda_begin(s);
	return rc ? rc : cuda_result(s, cudaMemcpyAsync(dst, src, bytes, kind, s->queue));
}

static int cuda_synchronize(hpcbert_stream *s)
{
	int rc = cuda_begin(s);
	return rc ? rc : cuda_result(s, cudaStreamSynchronize(s->queue));
}

/* Waits: the host's memory belongs to the caller again when this returns. */
static int cuda_upload(void *dst, const void *host, size_t bytes, hpcbert_stream *s)
{
	int rc = move(dst, host, bytes, cudaMemcpyHostToDevice, s);
	return rc ? rc : cuda_synchronize(s);
}

static int cuda_download(void *host, const void *src, size_t bytes, hpcbert_stream *s)
{
	int rc = move(host, src, bytes, cudaMemcpyDeviceToHost, s);
	return rc ? rc : cuda_synchronize(s);
}

static int cuda_copy(void *dst, const void *src, size_t bytes, hpcbert_stream *s)
{
	return move(dst, src, bytes, cudaMemcpyDeviceToDevice, s);
}

static int cuda_zero(void *dst, size_t bytes, hpcbert_stream *s)
{
	int rc = cuda_begin(s);
	return rc ? rc : cuda_result(s, cudaMemsetAsync(dst, 0, bytes, s->queue));
}

/* Names the host and the device: one of a thousand may be broken. */
static const char *cuda_error_text(hpcbert_stream *s)
{
	char host[64] = "";
	gethostname(host, sizeof host - 1);
	snprintf(s->text, sizeof s->text, "%s: CUDA device %d: %s", host, s->device, cudaGetErrorString(s->error));
	return s->text;
}

static const hpcbert_ops *cuda_table()
{
	static hpcbert_ops t = {};
	t.abi = HPCBERT_ABI;
#ifdef __CUDACC__
	t.name = "cuda";
#else
	t.name = "cudahost";
#endif
	t.stream_create = cuda_stream_create;
	t.stream_destroy = cuda_stream_destroy;
	t.alloc = cuda_alloc;
	t.release = cuda_release;
	t.upload = cuda_upload;
	t.download = cuda_download;
	t.copy = cuda_copy;
	t.zero = cuda_zero;
	t.synchronize = cuda_synchronize;
	t.error_text = cuda_error_text;
	t.layernorm_forward = layernorm_forward;
	t.layernorm_backward = layernorm_backward;
	t.dropout_residual_layernorm_forward = dropout_residual_layernorm_forward;
	t.dropout_residual_layernorm_backward = dropout_residual_layernorm_backward;
	return &t;
}

extern "C" __attribute__((visibility("default"))) const hpcbert_ops *hpcbert_open(const char **reason)
{
	int count = 0;
	cudaError_t error = cudaGetDeviceCount(&count);
	if (error != cudaSuccess || count == 0) {
		*reason = error != cudaSuccess ? cudaGetErrorString(error) : "no device";
		return nullptr;
	}
	static const hpcbert_ops *table = cuda_table();
	return table;
}
