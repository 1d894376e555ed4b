package kernels

/*
#include "ops.h"
*/
import "C"

// Dropout names the draws of one dropout layer: each is a pure function of these, the token's sample and position, and the column
// (ops.h, struct hpcbert_dropout). So masks are the same on every device and for every packing, and the backward pass makes them again.
type Dropout struct {
	Seed uint64
	Step uint32
	Site uint32  // 4 * layer + 0 attention, 1 attention output, 2 feed-forward output; 4095 embeddings
	P    float32 // the part that is dropped, in [0,1); 0 keeps everything
}

func (d Dropout) c() C.struct_hpcbert_dropout {
	return C.struct_hpcbert_dropout{seed: C.uint64_t(d.Seed), step: C.uint32_t(d.Step), site: C.uint32_t(d.Site), p: C.float(d.P)}
}
