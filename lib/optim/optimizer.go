package optim

import (
	"fmt"
	"math"

	"hpcbert/kernels"
	"hpcbert/lib/fault"
)

// NotFinite is the error of a step whose gradients hold an infinity or NaN; nothing was updated.
type NotFinite struct {
	Tensor int // the first that does, in the arena's order
}

func (e *NotFinite) Error() string {
	return fmt.Sprintf("the gradient of tensor %d is not finite", e.Tensor)
}

// Tensors tells how an arena is divided.
type Tensors struct {
	Offsets []int64 // [n+1] start of each tensor, and the arena's length
	Decay   []bool  // [n] weight decay and LAMB's trust ratio apply
}

// Part is the stretch of the arenas that one rank of many updates; it may begin and end inside a tensor.
type Part struct {
	First, End int                   // elements
	Sum        func([]float64) error // sums values over the ranks, in place
}

// Options are the optimiser's name and constants.
type Options struct {
	Name        string  `json:"name"` // a key of rules
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Epsilon     float64 `json:"epsilon"`
	WeightDecay float64 `json:"weight_decay"`
	MaxGradNorm float64 `json:"max_gradient_norm"` // gradients with a larger global norm are scaled down to it; 0: never
}

// Defaults returns LAMB with the constants of the reference; they are those of its other optimisers too.
func Defaults() Options {
	return Options{Name: "lamb", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-6, WeightDecay: 0.01, MaxGradNorm: 1}
}

func (o Options) String() string {
	return fmt.Sprintf("%s (betas %g and %g, epsilon %g, weight decay %g, largest gradient norm %g)", o.Name, o.Beta1, o.Beta2, o.Epsilon, o.WeightDecay, o.MaxGradNorm)
}

// rule is in what the optimisers differ.
type rule struct {
	trust      bool // tensors with weight decay move by the learning rate times |w|/|u|
	trustAll   bool // so do all others
	correction bool // of the moments' bias towards their start
}

var rules = map[string]rule{
	"lamb":     {trust: true, correction: true},
	"nvlamb":   {trust: true, trustAll: true, correction: true},
	"adamw":    {correction: true},
	"bertadam": {},
}

// Check tells what is wrong with options.
func (o Options) Check() error {
	_, known := rules[o.Name]
	switch {
	case !known:
		return fault.Usagef("optimizer %q: it is none of lamb, nvlamb, adamw, bertadam", o.Name)
	case !(o.Beta1 >= 0 && o.Beta1 < 1) || !(o.Beta2 >= 0 && o.Beta2 < 1):
		return fault.Usagef("optimizer: betas %g and %g must be from 0 to below 1", o.Beta1, o.Beta2)
	case !(o.Epsilon > 0 && o.Epsilon <= math.MaxFloat32):
		return fault.Usagef("optimizer: epsilon %g must be above 0", o.Epsilon)
	case !(o.WeightDecay >= 0 && o.WeightDecay <= math.MaxFloat32):
		return fault.Usagef("optimizer: weight decay %g must not be negative", o.WeightDecay)
	case !(o.MaxGradNorm >= 0):
		return fault.Usagef("optimizer: largest gradient norm %g must not be negative", o.MaxGradNorm)
	}
	return nil
}

// Optimizer is layer-wise adaptive Adam or one of its relatives.
//
// LAMB (You et al. 2020, "Large Batch Optimization for Deep Learning") is as the reference runs it: epsilon outside the square root, bias
// correction, the trust ratio only for tensors with weight decay, no bound on it. NVLAMB has the trust ratio for every tensor, AdamW
// (Loshchilov, Hutter 2019, "Decoupled Weight Decay Regularization") for none, BertAdam no bias correction either.
type Optimizer struct {
	Moments1, Moments2 kernels.Tensor // first and second moments of the part, for checkpoints

	options Options
	rule    rule
	part    Part
	tensors []int // number of the tensor that each piece of the part belongs to
	all     int   // number of tensors
	dev     *kernels.Device
	s       *kernels.Stream

	squares      *Squares       // of the part's pieces
	decay, trust kernels.Tensor // [pieces] weight decay; not 0 where the trust ratio applies
	wSums, uSums kernels.Tensor // float64 [pieces]
}

// New makes an optimiser for arenas so divided; the moments are 0.
func New(dev *kernels.Device, s *kernels.Stream, t Tensors, o Options) (*Optimizer, error) {
	return NewPart(dev, s, t, o, Part{End: int(t.Offsets[len(t.Offsets)-1])})
}

// NewPart makes an optimiser that updates a part of the arenas and has the moments of that part alone. All ranks call its Step together.
func NewPart(dev *kernels.Device, s *kernels.Stream, t Tensors, o Options, part Part) (*Optimizer, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	offsets, tensors := pieces(t.Offsets, part)
	n := len(tensors)
	if n == 0 || len(t.Offsets) != len(t.Decay)+1 {
		return nil, fmt.Errorf("optimizer: %d offsets for %d tensors, of which %d are in elements %d to %d", len(t.Offsets), len(t.Decay), n, part.First, part.End)
	}
	l := &Optimizer{options: o, rule: rules[o.Name], part: part, tensors: tensors, all: len(t.Decay), dev: dev, s: s}
	for _, a := range l.buffers(part.End-part.First, n) {
		var err error
		if *a.t, err = dev.Alloc(a.dtype, a.n); err != nil {
			l.Close()
			return nil, fmt.Errorf("optimizer: %w", err)
		}
	}
	var err error
	if l.squares, err = NewSquares(dev, s, offsets); err != nil {
		l.Close()
		return nil, err
	}
	rates, trust := make([]float32, n), make([]float32, n)
	for i, tensor := range tensors {
		if t.Decay[tensor] {
			rates[i] = float32(o.WeightDecay)
		}
		if trust[i] = rates[i]; l.rule.trustAll {
			trust[i] = 1
		}
	}
	kernels.Upload(s, l.decay, rates)
	kernels.Upload(s, l.trust, trust)
	return l, s.Synchronize()
}

// pieces cuts a part where tensors begin: the pieces' offsets from the part's first element, and the tensor of each.
func pieces(offsets []int64, part Part) (cuts []int64, tensors []int) {
	for i := range len(offsets) - 1 {
		first, end := max(offsets[i], int64(part.First)), min(offsets[i+1], int64(part.End))
		if first < end {
			cuts = append(cuts, first-int64(part.First))
			tensors = append(tensors, i)
		}
	}
	return append(cuts, int64(part.End-part.First)), tensors
}

// buffer is memory that the optimiser takes.
type buffer struct {
	t     *kernels.Tensor
	dtype kernels.DType
	n     int
}

// buffers are all but those of squares, for n pieces of so many elements.
func (l *Optimizer) buffers(elements, n int) []buffer {
	return []buffer{
		{&l.Moments1, kernels.Float32, elements}, {&l.Moments2, kernels.Float32, elements},
		{&l.decay, kernels.Float32, n}, {&l.trust, kernels.Float32, n},
		{&l.wSums, kernels.Float64, n}, {&l.uSums, kernels.Float64, n},
	}
}

// Bytes returns at most what NewPart takes, for n tensors in a part of so many elements.
func Bytes(elements, n int) int64 {
	total := SquaresBytes(n)
	for _, a := range new(Optimizer).buffers(elements, n) {
		total += int64(a.n * a.dtype.Size())
	}
	return total
}

// Close releases the optimiser's memory.
func (l *Optimizer) Close() {
	for _, t := range []kernels.Tensor{l.Moments1, l.Moments2, l.decay, l.trust, l.wSums, l.uSums} {
		l.dev.Free(t)
	}
	l.squares.Close()
}

// norm returns the norm of all gradients together, which are multiplied by scale.
func (l *Optimizer) norm(gradients kernels.Tensor, scale float64) (float64, error) {
	own, err := l.squares.Of(gradients, 0, len(l.tensors))
	if err != nil {
		return 0, err
	}
	sums := make([]float64, l.all)
	for i, tensor := range l.tensors {
		sums[tensor] = own[i]
	}
	if err := l.sum(sums); err != nil {
		return 0, err
	}
	if bad := FirstNotFinite(sums); bad >= 0 {
		return math.NaN(), &NotFinite{bad}
	}
	var total float64
	for _, sum := range sums {
		total += sum
	}
	return scale * math.Sqrt(total), nil
}

// sum adds the other ranks' values.
func (l *Optimizer) sum(values []float64) error {
	if l.part.Sum == nil {
		return nil
	}
	return l.part.Sum(values)
}

// Step applies an update, counted from 1, to the part of the weights and returns the norm of the gradients before clipping. Gradients are
// multiplied by scale first (1 / loss scale); afterwards their arena may hold the update's direction, so clear it. When a gradient is not
// finite the error is a NotFinite, on all ranks, and weights and moments are as before.
func (l *Optimizer) Step(weights, gradients kernels.Tensor, update int, rate, scale float64) (norm float64, err error) {
	if update < 1 {
		return 0, fmt.Errorf("optimizer: update %d; updates count from 1", update)
	}
	w, g := weights.Slice(l.part.First, l.part.End), gradients.Slice(l.part.First, l.part.End)
	if norm, err = l.norm(g, scale); err != nil {
		return norm, err
	}
	o := l.options
	if o.MaxGradNorm > 0 && norm > o.MaxGradNorm {
		scale *= o.MaxGradNorm / norm
	}
	k := kernels.Lamb{
		LearningRate: float32(rate), Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Epsilon: float32(o.Epsilon),
		Correction1: 1, Correction2: 1, GradientScale: float32(scale),
	}
	if l.rule.correction {
		k.Correction1, k.Correction2 = correction(o.Beta1, update), correction(o.Beta2, update)
	}
	n, offsets := len(l.tensors), l.squares.offsets
	if !l.rule.trust {
		l.s.AdamW(w, l.Moments1, l.Moments2, g, offsets, l.decay, n, k)
		return norm, l.s.Synchronize()
	}
	l.s.LambDirection(g, l.Moments1, l.Moments2, l.wSums, l.uSums, w, offsets, l.decay, n, k)
	if err := l.shareNorms(); err != nil {
		return norm, err
	}
	l.s.LambApply(w, g, l.wSums, l.uSums, offsets, l.trust, n, k)
	return norm, l.s.Synchronize()
}

// shareNorms makes the sums of squares of the pieces those of the whole tensors.
func (l *Optimizer) shareNorms() error {
	if l.part.Sum == nil {
		return nil
	}
	n := len(l.tensors)
	w, u, all := make([]float64, n), make([]float64, n), make([]float64, 2*l.all)
	kernels.Download(l.s, w, l.wSums)
	kernels.Download(l.s, u, l.uSums)
	if err := l.s.Synchronize(); err != nil {
		return err
	}
	for i, tensor := range l.tensors {
		all[tensor], all[l.all+tensor] = w[i], u[i]
	}
	if err := l.sum(all); err != nil {
		return err
	}
	for i, tensor := range l.tensors {
		w[i], u[i] = all[tensor], all[l.all+tensor]
	}
	kernels.Upload(l.s, l.wSums, w)
	kernels.Upload(l.s, l.uSums, u)
	return nil
}

// correction returns 1 - beta^update.
func correction(beta float64, update int) float32 {
	return float32(-math.Expm1(float64(update) * math.Log(beta)))
}
