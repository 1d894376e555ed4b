package optim

import (
	"errors"
	"fmt"
	"math"

	"hpcbert/kernels"
	"hpcbert/lib/fault"
)

// ErrNotFinite is the error of a step whose gradients hold an infinity or NaN; nothing was updated.
var ErrNotFinite = errors.New("the gradient's norm is not finite")

// Tensors tells how an arena is divided.
type Tensors struct {
	Offsets []int64 // [n+1] start of each tensor, and the arena's length
	Decay   []bool  // [n] weight decay and trust ratio apply
}

// Options are the optimiser's constants.
type Options struct {
	Beta1, Beta2, Epsilon float64
	WeightDecay           float64
	MaxGradNorm           float64 // gradients with a larger global norm are scaled down to it; 0: never
	NoTrustRatio          bool    // all tensors move by the learning rate alone: AdamW
	NoBiasCorrection      bool    // with NoTrustRatio: BertAdam
}

// Defaults returns the constants of the reference.
func Defaults() Options {
	return Options{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-6, WeightDecay: 0.01, MaxGradNorm: 1}
}

// LAMB is layer-wise adaptive Adam (You et al. 2020, "Large Batch Optimization for Deep Learning") as the reference runs it: epsilon outside
// the square root, bias correction, the trust ratio only for tensors with weight decay, no bound on it. Without trust ratio it is AdamW
// (Loshchilov, Hutter 2019, "Decoupled Weight Decay Regularization").
type LAMB struct {
	Moments1, Moments2 kernels.Tensor // arenas of the first and second moments, for checkpoints

	options Options
	dev     *kernels.Device
	s       *kernels.Stream

	n                  int
	offsets            kernels.Tensor
	decay              kernels.Tensor // [n] weight decay
	sums, wSums, uSums kernels.Tensor // float64 [n]
	hostSums           []float64
}

// NewLAMB makes an optimiser for arenas so divided; the moments are 0.
func NewLAMB(dev *kernels.Device, s *kernels.Stream, t Tensors, o Options) (*LAMB, error) {
	n := len(t.Decay)
	if n == 0 || len(t.Offsets) != n+1 {
		return nil, fmt.Errorf("optimiser: %d offsets for %d tensors", len(t.Offsets), n)
	}
	l := &LAMB{options: o, dev: dev, s: s, n: n, hostSums: make([]float64, n)}
	for _, a := range l.buffers(int(t.Offsets[n]), n) {
		var err error
		if *a.t, err = dev.Alloc(a.dtype, a.n); err != nil {
			l.Close()
			return nil, fmt.Errorf("optimiser: %w", err)
		}
	}
	rates := make([]float32, n)
	for i, decays := range t.Decay {
		if decays {
			rates[i] = float32(o.WeightDecay)
		}
	}
	kernels.Upload(s, l.offsets, t.Offsets)
	kernels.Upload(s, l.decay, rates)
	return l, s.Synchronize()
}

// buffer is memory that the optimiser takes.
type buffer struct {
	t     *kernels.Tensor
	dtype kernels.DType
	n     int
}

// buffers are all, for n tensors in arenas of so many elements.
func (l *LAMB) buffers(elements, n int) []buffer {
	return []buffer{
		{&l.Moments1, kernels.Float32, elements}, {&l.Moments2, kernels.Float32, elements},
		{&l.offsets, kernels.Int64, n + 1}, {&l.decay, kernels.Float32, n},
		{&l.sums, kernels.Float64, n}, {&l.wSums, kernels.Float64, n}, {&l.uSums, kernels.Float64, n},
	}
}

// Bytes returns what NewLAMB takes, for n tensors in arenas of so many elements.
func Bytes(elements, n int) int64 {
	var total int64
	for _, a := range new(LAMB).buffers(elements, n) {
		total += int64(a.n * a.dtype.Size())
	}
	return total
}

// Close releases the optimiser's memory.
func (l *LAMB) Close() {
	for _, t := range []kernels.Tensor{l.Moments1, l.Moments2, l.offsets, l.decay, l.sums, l.wSums, l.uSums} {
		l.dev.Free(t)
	}
}

// Norm returns the norm of all gradients together, which are multiplied by scale.
func (l *LAMB) Norm(gradients kernels.Tensor, scale float64) (float64, error) {
	l.s.SquaredSums(l.sums, gradients, l.offsets, l.n)
	kernels.Download(l.s, l.hostSums, l.sums)
	if err := l.s.Synchronize(); err != nil {
		return 0, err
	}
	var total float64
	for _, sum := range l.hostSums {
		total += sum
	}
	return scale * math.Sqrt(total), nil
}

// Step applies an update, counted from 1, to the weights and returns the norm of the gradients before clipping. Gradients are multiplied by
// scale first (1 / loss scale); afterwards their arena may hold the update's direction, so clear it. When the norm is not finite the error is
// ErrNotFinite and weights and moments are as before.
func (l *LAMB) Step(weights, gradients kernels.Tensor, update int, rate, scale float64) (norm float64, err error) {
	if update < 1 {
		return 0, fmt.Errorf("optimiser: update %d; updates count from 1", update)
	}
	if norm, err = l.Norm(gradients, scale); err != nil {
		return 0, fmt.Errorf("update %d: %w", update, err)
	}
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return norm, fault.WithHint(fmt.Errorf("update %d: %w", update, ErrNotFinite), "training has diverged: a lower learning rate or a longer warm-up may hold it")
	}
	o := l.options
	if o.MaxGradNorm > 0 && norm > o.MaxGradNorm {
		scale *= o.MaxGradNorm / norm
	}
	k := kernels.Lamb{
		LearningRate: float32(rate), Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Epsilon: float32(o.Epsilon),
		Correction1: 1, Correction2: 1, GradientScale: float32(scale),
	}
	if !o.NoBiasCorrection {
		k.Correction1, k.Correction2 = correction(o.Beta1, update), correction(o.Beta2, update)
	}
	if o.NoTrustRatio {
		l.s.AdamW(weights, l.Moments1, l.Moments2, gradients, l.offsets, l.decay, l.n, k)
	} else {
		l.s.LambDirection(gradients, l.Moments1, l.Moments2, l.wSums, l.uSums, weights, l.offsets, l.decay, l.n, k)
		l.s.LambApply(weights, gradients, l.wSums, l.uSums, l.offsets, l.decay, l.n, k)
	}
	if err := l.s.Synchronize(); err != nil {
		return norm, fmt.Errorf("update %d: %w", update, err)
	}
	return norm, nil
}

// correction returns 1 - beta^update.
func correction(beta float64, update int) float32 {
	return float32(-math.Expm1(float64(update) * math.Log(beta)))
}
