/* fibers.cc: runs the threads of a CUDA block as fibers (cuda_runtime.h beside this file says what for). */
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <sys/mman.h>
#include <vector>

/* A suspended fiber, and how to change to another one. */
#if defined(__x86_64__) && !defined(CUDAHOST_UCONTEXT)

/* The stack pointer tells all: the registers that a function must keep lie on the stack. Some 5 ns, where swapcontext makes system calls. */
typedef void *context;

extern "C" void cudahost_switch(context *from, context to);
asm(R"(
	.text
	.globl cudahost_switch
	.hidden cudahost_switch
	.type cudahost_switch, @function
cudahost_switch:
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, (%rdi)
	mov %rsi, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	ret
	.size cudahost_switch, .-cudahost_switch
)");

static void change(context *from, context *to)
{
	cudahost_switch(from, *to);
}

static void make_context(context *c, char *stack, size_t bytes, void (*entry)())
{
	void **top = (void **)(stack + bytes);
	*--top = nullptr; /* where entry would return to; also leaves the stack aligned as after a call */
	*--top = (void *)entry;
	for (int i = 0; i < 6; i++)
		*--top = nullptr;
	*c = top;
}

#else

#include <ucontext.h>

typedef ucontext_t context;

static void change(context *from, context *to)
{
	swapcontext(from, to);
}

static void make_context(context *c, char *stack, size_t bytes, void (*entry)())
{
	getcontext(c);
	c->uc_stack.ss_sp = stack;
	c->uc_stack.ss_size = bytes;
	c->uc_link = nullptr;
	makecontext(c, entry, 0);
}

#endif

namespace cudahost {

enum state : unsigned char { READY, AT_WARP_BARRIER, AT_BLOCK_BARRIER, DONE };

struct fiber {
	context at;
	state what;
	unsigned char turn; /* which set of slots its next shuffle uses */
};

struct warp {
	unsigned live, arrived; /* lanes not done; lanes at the warp's barrier */
	uint64_t slots[2][WARP];
};

enum { STACK = 64 << 10 };

/* The block that this thread of the host is running, and what is kept from one block to the next. */
struct runner {
	const std::function<void()> *thread;
	context scheduler;
	std::vector<fiber> fibers;
	std::vector<warp> warps;
	unsigned running; /* index of the running fiber */
	unsigned live, arrived;
	std::vector<unsigned char> shared;
	char *stacks = nullptr;
	size_t stacks_count = 0;
	bool reverse;

	~runner()
	{
		if (stacks)
			munmap(stacks, stacks_count * STACK);
	}
};

thread_local place here;
static thread_local runner now;

unsigned lane()
{
	return now.running % WARP;
}

uint64_t *exchange_slots()
{
	fiber &f = now.fibers[now.running];
	f.turn ^= 1;
	return now.warps[now.running / WARP].slots[f.turn];
}

void *dynamic_shared()
{
	uintptr_t start = (uintptr_t)now.shared.data();
	return (void *)((start + 15) / 16 * 16);
}

static void suspend(state why)
{
	fiber &f = now.fibers[now.running];
	f.what = why;
	change(&f.at, &now.scheduler);
}

void warp_barrier()
{
	now.warps[now.running / WARP].arrived++;
	suspend(AT_WARP_BARRIER);
}

void block_barrier()
{
	now.arrived++;
	suspend(AT_BLOCK_BARRIER);
}

static void run_thread()
{
	(*now.thread)();
	now.live--;
	now.warps[now.running / WARP].live--;
	suspend(DONE);
}

static void release(unsigned begin, unsigned end, state from)
{
	for (unsigned i = begin; i < end; i++)
		if (now.fibers[i].what == from)
			now.fibers[i].what = READY;
}

static void resume(unsigned i)
{
	unsigned w = here.block_size.x, h = here.block_size.y;
	now.running = i;
	here.thread = {i % w, i / w % h, i / w / h};
	change(&now.scheduler, &now.fibers[i].at);
}

/* Runs a warp until its lanes wait for other warps or are done; tells whether any ran. */
static bool run_warp(unsigned w)
{
	unsigned begin = w * WARP, end = std::min<unsigned>(begin + WARP, now.fibers.size());
	warp &mine = now.warps[w];
	for (bool ran = false;; ran = true) {
		bool any = false;
		for (unsigned k = 0; k < end - begin; k++) {
			unsigned i = now.reverse ? end - 1 - k : begin + k;
			if (now.fibers[i].what != READY)
				continue;
			any = true;
			resume(i);
		}
		if (!any)
			return ran;
		if (mine.arrived && mine.arrived == mine.live) {
			mine.arrived = 0;
			release(begin, end, AT_WARP_BARRIER);
		}
	}
}

static void run_block()
{
	unsigned threads = now.fibers.size(), warps = now.warps.size();
	std::fill(now.shared.begin(), now.shared.end(), 0xff);
	for (unsigned i = 0; i < threads; i++) {
		make_context(&now.fibers[i].at, now.stacks + (size_t)i * STACK, STACK, run_thread);
		now.fibers[i].what = READY;
		now.fibers[i].turn = 0;
	}
	for (unsigned w = 0; w < warps; w++)
		now.warps[w] = {std::min<unsigned>(WARP, threads - w * WARP), 0, {}};
	now.live = threads;
	now.arrived = 0;
	while (now.live) {
		bool ran = false;
		for (unsigned w = 0; w < warps; w++)
			ran |= run_warp(now.reverse ? warps - 1 - w : w);
		if (now.arrived && now.arrived == now.live) {
			now.arrived = 0;
			release(0, threads, AT_BLOCK_BARRIER);
		} else if (!ran) {
			fprintf(stderr, "cudahost: error: block (%u,%u,%u): %u of %u threads wait for a barrier that the others do not reach\n",
			        here.block.x, here.block.y, here.block.z, now.live, threads);
			abort();
		}
	}
}

static void need_stacks(size_t threads)
{
	if (threads <= now.stacks_count)
		return;
	if (now.stacks)
		munmap(now.stacks, now.stacks_count * STACK);
	void *p = mmap(nullptr, threads * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		throw std::bad_alloc();
	now.stacks = (char *)p;
	now.stacks_count = threads;
}

void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread)
{
	size_t threads = (size_t)block.x * block.y * block.z, blocks = (size_t)grid.x * grid.y * grid.z;
	need_stacks(threads);
	now.thread = &thread;
	now.fibers.resize(threads);
	now.warps.resize((threads + WARP - 1) / WARP);
	now.shared.resize(shared_bytes + 16);
	now.reverse = getenv("CUDAHOST_REVERSE") != nullptr;
	here.block_size = block;
	here.grid = grid;
	for (size_t k = 0; k < blocks; k++) {
		size_t i = now.reverse ? blocks - 1 - k : k;
		here.block = {(unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y), (unsigned)(i / grid.x / grid.y)};
		run_block();
	}
}

} /* namespace cudahost */
