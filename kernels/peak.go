package kernels

/*
#include "ops.h"
static int op_peak_gflops(const struct hpcbert_ops *o, double *gflops, int32_t dtype, struct hpcbert_stream *s) { return o->peak_gflops ? o->peak_gflops(gflops, dtype, s) : HPCBERT_UNSUPPORTED; }
*/
import "C"

// PeakGFLOPS measures in about 50 ms the rate at which all threads together multiply and add in registers, in 10⁹ operations of the type a
// second: the ceiling of every product, and the denominator of model FLOPs utilisation. Other work on the machine lowers it.
func (s *Stream) PeakGFLOPS(dtype DType) float64 {
	var gflops C.double
	if s.ok("peak_gflops") {
		s.did("peak_gflops", C.op_peak_gflops(s.ops, &gflops, C.int32_t(dtype), s.s))
	}
	return float64(gflops)
}

// PeakGFLOPS is Stream.PeakGFLOPS on a stream of its own.
func (d *Device) PeakGFLOPS(dtype DType) (float64, error) {
	s, err := d.NewStream()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	return s.PeakGFLOPS(dtype), s.Err()
}
