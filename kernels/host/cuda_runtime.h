/* cuda_runtime.h: CUDA on the host, for testing and debugging .cu files without a GPU. g++ finds this file instead of NVIDIA's.
 *
 * The threads of a block run as fibers on one thread of the host, one at a time; they change at barriers and shuffles. Blocks run one after
 * the other. Every call has ended when it returns. A barrier that not all threads reach ends the program with a report instead of a hang.
 * CUDAHOST_REVERSE=1 in the environment runs blocks, warps and lanes backwards: what differs then depends on an order that a GPU does not
 * promise. Dynamic shared memory is filled with NaN before each block.
 *
 * Here is what the suite's kernels use, no more; what differs from CUDA: shuffles take all lanes of a warp, memory has no types of its own.
 */
#ifndef HPCBERT_HOST_CUDA_RUNTIME_H
#define HPCBERT_HOST_CUDA_RUNTIME_H

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)

struct uint3 {
	unsigned x, y, z;
};

struct dim3 {
	unsigned x, y, z;
	dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

typedef struct cudahost_stream *cudaStream_t;

namespace cudahost {

enum { WARP = 32 };

/* Where the running fiber is. */
struct place {
	uint3 thread, block;
	dim3 block_size, grid;
};
extern thread_local place here;

void block_barrier();
void warp_barrier();
void *dynamic_shared();

/* The slots through which the lanes of the running warp exchange values: two sets in turn, so that a lane may write its next value before
 * a slower one has read this one. Returns the set of the running lane's turn. */
uint64_t *exchange_slots();
unsigned lane();

template <class T> T shuffle(T value, unsigned source)
{
	static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most 8 bytes");
	uint64_t *slots = exchange_slots();
	memcpy(&slots[lane()], &value, sizeof value);
	warp_barrier();
	memcpy(&value, &slots[source % WARP], sizeof value);
	return value;
}

/* Runs the grid; returns when all is done. */
void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread);

/* A kernel with its launch configuration, to be called with its arguments. */
template <class... P> struct launch {
	void (*kernel)(P...);
	dim3 grid, block;
	size_t shared_bytes;
	void operator()(P... arguments) const
	{
		run(grid, block, shared_bytes, [&] { kernel(arguments...); });
	}
};

template <class... P> launch<P...> prepare(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t)
{
	return {kernel, grid, block, shared_bytes};
}

} /* namespace cudahost */

#define threadIdx (cudahost::here.thread)
#define blockIdx (cudahost::here.block)
#define blockDim (cudahost::here.block_size)
#define gridDim (cudahost::here.grid)

inline void __syncthreads()
{
	cudahost::block_barrier();
}

inline void __syncwarp(unsigned = 0xffffffffu)
{
	cudahost::warp_barrier();
}

template <class T> T __shfl_xor_sync(unsigned, T value, int lanes)
{
	return cudahost::shuffle(value, cudahost::lane() ^ (unsigned)lanes);
}

inline unsigned __umulhi(unsigned a, unsigned b)
{
	return (unsigned)((uint64_t)a * b >> 32);
}

/* The runtime's functions. Nothing here can fail but memory. */
enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };

inline cudaError_t cudaGetDeviceCount(int *count)
{
	*count = 1;
	return cudaSuccess;
}

inline cudaError_t cudaSetDevice(int)
{
	return cudaSuccess;
}

inline cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
	*stream = nullptr;
	return cudaSuccess;
}

inline cudaError_t cudaStreamDestroy(cudaStream_t)
{
	return cudaSuccess;
}

inline cudaError_t cudaStreamSynchronize(cudaStream_t)
{
	return cudaSuccess;
}

inline cudaError_t cudaMalloc(void **p, size_t bytes)
{
	*p = aligned_alloc(256, (bytes / 256 + 1) * 256);
	return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

inline cudaError_t cudaFree(void *p)
{
	free(p);
	return cudaSuccess;
}

inline cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
	memset(p, value, bytes);
	return cudaSuccess;
}

inline cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t)
{
	return cudaMemset(p, value, bytes);
}

inline cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind, cudaStream_t)
{
	memmove(dst, src, bytes);
	return cudaSuccess;
}

inline cudaError_t cudaGetLastError()
{
	return cudaSuccess;
}

inline const char *cudaGetErrorString(cudaError_t error)
{
	return error == cudaErrorMemoryAllocation ? "out of memory" : "no error";
}

#endif
