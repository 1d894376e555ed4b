// Package kernels is the only door to arithmetic: devices, their memory, and one method for each operation of BERT's training step.
//
// Every operation is a method of Stream. The first error of a stream stays (Err, Synchronize), later operations do nothing; so a model is
// written as a plain list of calls. The operations themselves are described in ops.h and in the file of their name.
package kernels

/*
#cgo CFLAGS: -O3 -std=gnu11 -Wno-psabi
#cgo LDFLAGS: -lm -lpthread -ldl
#include <stdlib.h>
#include "backend.h"
#include "cpu.h"

static int dev_stream_create(const struct hpcbert_ops *o, struct hpcbert_stream **s, int device, int threads) { return o->stream_create(s, device, threads); }
static int dev_stream_destroy(const struct hpcbert_ops *o, struct hpcbert_stream *s) { return o->stream_destroy(s); }
static int dev_alloc(const struct hpcbert_ops *o, void **p, size_t n, int device) { return o->alloc(p, n, device); }
static int dev_release(const struct hpcbert_ops *o, void *p, size_t n) { return o->release(p, n); }
static int dev_upload(const struct hpcbert_ops *o, void *d, const void *h, size_t n, struct hpcbert_stream *s) { return o->upload(d, h, n, s); }
static int dev_download(const struct hpcbert_ops *o, void *h, const void *d, size_t n, struct hpcbert_stream *s) { return o->download(h, d, n, s); }
static int dev_copy(const struct hpcbert_ops *o, void *d, const void *p, size_t n, struct hpcbert_stream *s) { return o->copy(d, p, n, s); }
static int dev_zero(const struct hpcbert_ops *o, void *d, size_t n, struct hpcbert_stream *s) { return o->zero(d, n, s); }
static int dev_synchronize(const struct hpcbert_ops *o, struct hpcbert_stream *s) { return o->synchronize(s); }
static const char *dev_error_text(const struct hpcbert_ops *o, struct hpcbert_stream *s) { return o->error_text(s); }
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"hpcbert/lib/fault"
)

// Options chooses how a device works.
type Options struct {
	Threads int    // CPU threads; at least 1
	Pin     []int  // CPU of each thread but the first, which is the caller's and stays free; nil = the system places them
	Crowded bool   // there are more threads than cores: one that waits sleeps at once
	ISA     string // CPU instruction set: "avx512bf16", "avx512", "avx2", "neon", "plain", or "" for the best one here
	Device  int    // number of the GPU
	Library string // file of the backend "cuda" or "cudahost"; "" for libhpcbert_NAME.so in ../build or ../lib, seen from the program
}

// Device is an opened backend.
type Device struct {
	ops *C.struct_hpcbert_ops
	opt Options
	cpu bool // memory is the host's
}

// ErrUnsupported is the error of an operation that the device lacks.
var ErrUnsupported = errors.New("not supported by this device")

// Open opens a backend: "cpu", "cuda", "cudahost" (the CUDA kernels run on the CPU, for tests), or "auto" for the best one here that has every
// operation.
func Open(backend string, opt Options) (*Device, error) {
	if opt.Threads < 1 {
		return nil, fault.Usagef("open device: %d threads", opt.Threads)
	}
	switch backend {
	case "cpu":
		return openCPU(opt)
	case "cuda", "cudahost":
		dev, _, err := openLibrary(backend, opt)
		return dev, err
	case "auto":
		if dev, missing, err := openLibrary("cuda", opt); err == nil && missing == 0 {
			return dev, nil
		}
		return openCPU(opt)
	}
	return nil, fault.Usagef("open device %q: it is none of cpu, cuda, cudahost, auto", backend)
}

// openLibrary opens a backend that is a library of its own, and counts the operations it lacks.
func openLibrary(backend string, opt Options) (*Device, int, error) {
	file := opt.Library
	if file == "" {
		file = besideProgram("libhpcbert_" + backend + ".so")
	}
	name := C.CString(file)
	defer C.free(unsafe.Pointer(name))
	var reason *C.char
	var missing C.int
	ops := C.backend_open(name, &missing, &reason)
	if ops == nil {
		err := fmt.Errorf("open device %q: %s: %s", backend, file, C.GoString(reason))
		return nil, 0, fault.WithHint(err, "the device \"cpu\" works everywhere")
	}
	return &Device{ops: ops, opt: opt}, int(missing), nil
}

// besideProgram finds a library in the build tree or the installation that the program belongs to; its bare name lets the system search.
func besideProgram(library string) string {
	program, err := os.Executable()
	if err != nil {
		return library
	}
	for _, folder := range []string{"build", "lib"} {
		file := filepath.Join(filepath.Dir(program), "..", folder, library)
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return library
}

func openCPU(opt Options) (*Device, error) {
	name := C.CString(opt.ISA)
	defer C.free(unsafe.Pointer(name))
	var reason *C.char
	ops := C.cpu_ops(name, &reason)
	if ops == nil {
		return nil, fault.Usagef("instruction set %q: %s", opt.ISA, C.GoString(reason))
	}
	return &Device{ops: ops, opt: opt, cpu: true}, nil
}

// Name returns the backend and instruction set, "cpu-avx2".
func (d *Device) Name() string { return C.GoString(d.ops.name) }

// Threads returns the threads of each stream.
func (d *Device) Threads() int { return d.opt.Threads }

// OnHost tells whether the device's memory is the host's.
func (d *Device) OnHost() bool { return d.cpu }

// StreamBytes returns how much of the host's memory the scratch of a stream takes once its operations have used all of it.
func (d *Device) StreamBytes() int64 {
	if !d.cpu {
		return 0
	}
	return int64(d.opt.Threads)*C.THREAD_SCRATCH + C.SHARED_SCRATCH
}

// Alloc returns n zeroed elements, aligned to 64 bytes. Release them with Free.
func (d *Device) Alloc(dtype DType, n int) (Tensor, error) {
	var p unsafe.Pointer
	bytes := n * dtype.Size()
	if err := opError("alloc", C.dev_alloc(d.ops, &p, C.size_t(bytes), C.int(d.opt.Device)), nil); err != nil {
		return Tensor{}, fmt.Errorf("%w (%d bytes)", err, bytes)
	}
	return Tensor{p, n, dtype, d.cpu}, nil
}

// Free releases what Alloc returned.
func (d *Device) Free(t Tensor) {
	if t.ptr != nil {
		C.dev_release(d.ops, t.ptr, C.size_t(t.n*t.dtype.Size()))
	}
}

// Stream is a queue of operations, carried out in order. It belongs to one goroutine at a time.
type Stream struct {
	dev *Device
	ops *C.struct_hpcbert_ops
	s   *C.struct_hpcbert_stream
	err error
}

// NewStream makes a stream; on the CPU it owns the pool of threads. End it with Close.
func (d *Device) NewStream() (*Stream, error) {
	s := &Stream{dev: d, ops: d.ops}
	rc := C.dev_stream_create(d.ops, &s.s, C.int(d.opt.Device), C.int(d.opt.Threads))
	if err := opError("stream_create", rc, nil); err != nil {
		return nil, err
	}
	if d.cpu {
		s.place(d.opt)
	}
	return s, nil
}

// place tells the pool where its threads run and how to wait.
func (s *Stream) place(opt Options) {
	cpus := make([]C.int, opt.Threads)
	for i := range cpus {
		cpus[i] = -1
		if i < len(opt.Pin) {
			cpus[i] = C.int(opt.Pin[i])
		}
	}
	var crowded C.int
	if opt.Crowded {
		crowded = 1
	}
	C.cpu_stream_place(s.s, &cpus[0], crowded)
}

// Close ends the stream.
func (s *Stream) Close() { C.dev_stream_destroy(s.ops, s.s) }

// Err returns the first error of the stream.
func (s *Stream) Err() error { return s.err }

// Synchronize waits until all is done and returns the first error of the stream.
func (s *Stream) Synchronize() error {
	if s.err == nil {
		s.did("synchronize", C.dev_synchronize(s.ops, s.s))
	}
	return s.err
}

// Upload copies host memory to the device.
func Upload[E Element](s *Stream, dst Tensor, src []E) {
	if s.ok("upload", sized("dst", dst, len(src))) && len(src) > 0 {
		s.did("upload", C.dev_upload(s.ops, dst.ptr, unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src)*dst.dtype.Size()), s.s))
	}
}

// Download copies device memory to the host and waits for it.
func Download[E Element](s *Stream, dst []E, src Tensor) {
	if s.ok("download", sized("src", src, len(dst))) && len(dst) > 0 {
		s.did("download", C.dev_download(s.ops, unsafe.Pointer(unsafe.SliceData(dst)), src.ptr, C.size_t(len(dst)*src.dtype.Size()), s.s))
	}
}

// Copy copies src to dst, of the same type.
func (s *Stream) Copy(dst, src Tensor) {
	if s.ok("copy", sized("dst", dst, src.n)) && src.n > 0 {
		s.did("copy", C.dev_copy(s.ops, dst.ptr, src.ptr, C.size_t(src.n*src.dtype.Size()), s.s))
	}
}

// Zero clears t.
func (s *Stream) Zero(t Tensor) {
	if s.ok("zero") && t.n > 0 {
		s.did("zero", C.dev_zero(s.ops, t.ptr, C.size_t(t.n*t.dtype.Size()), s.s))
	}
}

// need is a tensor argument, the elements the operation will touch, and their type where only one will do.
type need struct {
	name  string
	t     Tensor
	n     int
	typed bool
	dtype DType
}

func sized(name string, t Tensor, n int) need { return need{name: name, t: t, n: n} }

func (a need) of(dtype DType) need {
	a.typed, a.dtype = true, dtype
	return a
}

// ok checks the arguments of an operation; false when it must not run.
func (s *Stream) ok(op string, needs ...need) bool {
	if s.err != nil {
		return false
	}
	for _, a := range needs {
		if a.t.n < a.n {
			s.err = fmt.Errorf("%s: %s has %d elements, needs %d", op, a.name, a.t.n, a.n)
			return false
		}
		if a.typed && a.n > 0 && a.t.dtype != a.dtype {
			s.err = fmt.Errorf("%s: %s is %s, needs %s", op, a.name, a.t.dtype, a.dtype)
			return false
		}
	}
	return true
}

// did keeps the error of an operation that ran.
func (s *Stream) did(op string, rc C.int) {
	if rc != 0 && s.err == nil {
		s.err = opError(op, rc, s)
	}
}

func opError(op string, rc C.int, s *Stream) error {
	switch rc {
	case C.HPCBERT_OK:
		return nil
	case C.HPCBERT_BAD_ARGUMENT:
		return errors.New(op + ": bad argument")
	case C.HPCBERT_UNSUPPORTED:
		return fmt.Errorf("%s: %w", op, ErrUnsupported)
	case C.HPCBERT_NO_MEMORY:
		return errors.New(op + ": out of memory")
	}
	if s != nil {
		return fmt.Errorf("%s: %s", op, C.GoString(C.dev_error_text(s.ops, s.s)))
	}
	return fmt.Errorf("%s: device error %d", op, int(rc))
}

func floats(t Tensor) *C.float   { return (*C.float)(t.ptr) }
func int32s(t Tensor) *C.int32_t { return (*C.int32_t)(t.ptr) }
