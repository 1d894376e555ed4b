/* cuda.cuh: what the CUDA operations share: the stream with its scratch, and the operations' declarations. */
#ifndef HPCBERT_CUDA_CUH
#define HPCBERT_CUDA_CUH

#include "launch.cuh"
#include "ops.h"

#include <type_traits>

enum {
	WARP_LANES = 32,
	CUDA_SCRATCH = 64 << 20, /* bytes of device memory that the operations of a stream share */
};

struct hpcbert_stream {
	cudaStream_t queue;
	int device;
	void *scratch;
	cudaError_t error; /* the one that HPCBERT_DEVICE spoke of */
	char text[256];
};

/* Keeps an error of the runtime for error_text and turns it into the table's number. */
inline int cuda_result(hpcbert_stream *s, cudaError_t error)
{
	if (error == cudaSuccess)
		return HPCBERT_OK;
	s->error = error;
	return HPCBERT_DEVICE;
}

/* Makes the stream's device current: the caller may come on another thread each time. */
inline int cuda_begin(hpcbert_stream *s)
{
	return cuda_result(s, cudaSetDevice(s->device));
}

/* What the launches since cuda_begin answered. */
inline int cuda_launched(hpcbert_stream *s)
{
	return cuda_result(s, cudaGetLastError());
}

inline unsigned cuda_blocks(int64_t n, int64_t size)
{
	return (unsigned)((n + size - 1) / size);
}

/* An operation has the type of its entry in the table. */
#define CUDA_OPERATION(name) std::remove_pointer_t<decltype(hpcbert_ops::name)> name
CUDA_OPERATION(layernorm_forward);
CUDA_OPERATION(layernorm_backward);
CUDA_OPERATION(dropout_residual_layernorm_forward);
CUDA_OPERATION(dropout_residual_layernorm_backward);

#endif
