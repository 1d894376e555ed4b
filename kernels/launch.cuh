/* launch.cuh: one spelling of kernel launches and of dynamic shared memory for nvcc and for CUDA on the host (host/cuda_runtime.h).
 *
 *   LAUNCH(kernel, grid, block, shared_bytes, stream)(arguments);    a template's name goes in parentheses: LAUNCH((sum<float>), ...)
 *   DYNAMIC_SHARED(float, tile);                                     declares float *tile of the launch's shared_bytes
 */
#ifndef HPCBERT_LAUNCH_CUH
#define HPCBERT_LAUNCH_CUH

#include <cuda_runtime.h>

#ifdef __CUDACC__
#define LAUNCH(kernel, grid, block, shared_bytes, stream) kernel<<<grid, block, shared_bytes, stream>>>
#define DYNAMIC_SHARED(T, name)                                       \
	extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[]; \
	T *name = reinterpret_cast<T *>(dynamic_shared_bytes)
#else
#define LAUNCH(kernel, grid, block, shared_bytes, stream) cudahost::prepare(kernel, grid, block, shared_bytes, stream)
#define DYNAMIC_SHARED(T, name) T *name = static_cast<T *>(cudahost::dynamic_shared())
#endif

#endif
