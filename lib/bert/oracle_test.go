package bert

import (
	"math"

	"hpcbert/lib/philox"
)

// number is what the oracle computes in: float64 for the truth, float32 for the plainest implementation in the models' precision.
type number interface{ float32 | float64 }

// matrix is values and, after the backward pass, their gradient.
type matrix[N number] struct {
	rows, columns int
	v, d          []N
}

func newMatrix[N number](rows, columns int) *matrix[N] {
	return &matrix[N]{rows, columns, make([]N, rows*columns), make([]N, rows*columns)}
}

// oracle is BERT written down naively: loops over single sequences, each operation with its gradient beside it on a tape. Products are rounded,
// by N(...), before they are added: some machines would fuse the two, and the plainest implementation is the same everywhere.
type oracle[N number] struct {
	c    *Config
	w    map[string]*matrix[N]
	tape []func()
	o    Objective
	// What activations and their gradients are stored as, and products read weights as: the plainest implementation in that precision. nil: as they are.
	store func(float32) float32
	task  Head // in the place of the pre-training heads
}

func newOracle[N number](c *Config, params []Param, weights func(p Param) []float32) *oracle[N] {
	o := &oracle[N]{c: c, w: map[string]*matrix[N]{}}
	for _, p := range params {
		rows := 1
		if len(p.Shape) == 2 {
			rows = p.Shape[0]
		}
		m := newMatrix[N](rows, p.Len/rows)
		for i, v := range weights(p) {
			m.v[i] = N(v)
		}
		o.w[p.Name] = m
	}
	return o
}

// taskLoss is that of the head of a task, as its formulas are written down.
func (o *oracle[N]) taskLoss(b *Batch, i int, hidden, pooled *matrix[N]) N {
	scale := N(o.o.TaskScale)
	switch o.task.Kind {
	case Span:
		logits := o.transposed(o.exact(hidden, "qa_outputs"))
		return o.crossEntropy(logits, []int32{b.Starts[i], b.Ends[i]}, scale/2)
	case Classifier:
		return o.crossEntropy(o.exact(o.dropout(pooled, b.Samples[i], 4094), "classifier"), b.Classes[i:i+1], scale)
	}
	z := o.exact(o.dropout(pooled, b.Samples[i], 4094), "classifier")
	difference := z.v[0] - N(b.Values[i])
	o.tape = append(o.tape, func() { z.d[0] = o.round(2 * difference * scale) })
	return difference * difference * scale
}

// exact is a dense layer whose output is not rounded; its gradient is.
func (o *oracle[N]) exact(x *matrix[N], name string) *matrix[N] {
	store := o.store
	o.store = nil
	w := o.w[name+".weight"]
	stored := &matrix[N]{w.rows, w.columns, make([]N, len(w.v)), w.d}
	o.store = store
	copy(stored.v, o.rounded(w.v))
	o.store = nil
	y := o.product(x, stored, o.w[name+".bias"])
	o.store = store
	o.tape = append(o.tape, func() { y.d = o.rounded(y.d) })
	return y
}

func (o *oracle[N]) transposed(x *matrix[N]) *matrix[N] {
	y := newMatrix[N](x.columns, x.rows)
	at := func(i int) int { return i%x.rows*x.columns + i/x.rows }
	for i := range y.v {
		y.v[i] = x.v[at(i)]
	}
	o.tape = append(o.tape, func() {
		for i, d := range y.d {
			x.d[at(i)] += d
		}
	})
	return y
}

// lossOf returns MLMScale * sum of MLM losses + NSPScale * sum of NSP losses and leaves the gradients in w.
func (o *oracle[N]) lossOf(b *Batch, objective Objective) N {
	o.o = objective
	o.tape = nil
	for _, m := range o.w {
		clear(m.d)
	}
	var loss N
	for i := range b.Samples {
		loss += o.sequence(b, i)
	}
	for i := len(o.tape) - 1; i >= 0; i-- {
		o.tape[i]()
	}
	return loss
}

func (o *oracle[N]) sequence(b *Batch, i int) N {
	hidden, pooled := o.encoder(b, i)
	if o.task.Kind != 0 {
		return o.taskLoss(b, i, hidden, pooled)
	}
	var rows, targets []int32
	for j, row := range b.MaskedRows {
		if row >= b.CuSeqlens[i] && row < b.CuSeqlens[i+1] {
			rows, targets = append(rows, row-b.CuSeqlens[i]), append(targets, b.MaskedIDs[j])
		}
	}
	transformed := o.norm(o.gelu(o.dense(o.gather(hidden, rows), "cls.predictions.transform.dense")), "cls.predictions.transform.LayerNorm")
	logits := o.product(transformed, o.w["bert.embeddings.word_embeddings.weight"], o.w["cls.predictions.bias"])
	loss := o.crossEntropy(logits, targets, N(o.o.MLMScale))
	return loss + o.crossEntropy(o.dense(pooled, "cls.seq_relationship"), b.NextSentence[i:i+1], N(o.o.NSPScale))
}

func (o *oracle[N]) encoder(b *Batch, i int) (hidden, pooled *matrix[N]) {
	first, end := b.CuSeqlens[i], b.CuSeqlens[i+1]
	keys := int(end - first)
	if b.KeyLengths != nil {
		keys = int(b.KeyLengths[i])
	}
	e := "bert.embeddings."
	x := o.add(o.add(o.gather(o.w[e+"word_embeddings.weight"], b.IDs[first:end]), o.gather(o.w[e+"position_embeddings.weight"], b.Positions[first:end])),
		o.gather(o.w[e+"token_type_embeddings.weight"], b.Segments[first:end]))
	x = o.dropout(o.norm(x, e+"LayerNorm"), b.Samples[i], 4095)
	for l := range o.c.NumHiddenLayers {
		n := layerName(l)
		q, k, v := o.dense(x, n+"attention.self.query"), o.dense(x, n+"attention.self.key"), o.dense(x, n+"attention.self.value")
		a := o.dense(o.attention(q, k, v, keys, b.Samples[i], uint32(4*l)), n+"attention.output.dense")
		x = o.norm(o.add(o.dropout(a, b.Samples[i], uint32(4*l+1)), x), n+"attention.output.LayerNorm")
		f := o.dense(o.gelu(o.dense(x, n+"intermediate.dense")), n+"output.dense")
		x = o.norm(o.add(o.dropout(f, b.Samples[i], uint32(4*l+2)), x), n+"output.LayerNorm")
	}
	return x, o.tanh(o.dense(o.gather(x, []int32{0}), "bert.pooler.dense"))
}

// nearestBFloat16 and nearestHalf round to the nearest value of the type, to even between two.
func nearestBFloat16(x float32) float32 {
	bits := math.Float32bits(x)
	return math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
}

func nearestHalf(x float32) float32 {
	exponent := -14
	if size := math.Abs(float64(x)); size >= 0x1p-14 {
		exponent = math.Ilogb(size)
	}
	y := math.Ldexp(math.RoundToEven(math.Ldexp(float64(x), 10-exponent)), exponent-10)
	if math.Abs(y) > 65504 {
		y = math.Copysign(math.Inf(1), y)
	}
	return float32(y)
}

// round rounds to what is stored.
func (o *oracle[N]) round(x N) N {
	if o.store == nil {
		return x
	}
	return N(o.store(float32(x)))
}

func (o *oracle[N]) rounded(values []N) []N {
	if o.store == nil {
		return values
	}
	out := make([]N, len(values))
	for i, v := range values {
		out[i] = o.round(v)
	}
	return out
}

// stored rounds the values of what an operation made, and their gradient before the operation reads it.
func (o *oracle[N]) stored(x *matrix[N]) *matrix[N] {
	x.v = o.rounded(x.v)
	o.tape = append(o.tape, func() { x.d = o.rounded(x.d) })
	return x
}

func (o *oracle[N]) dense(x *matrix[N], name string) *matrix[N] {
	return o.product(x, o.w[name+".weight"], o.w[name+".bias"])
}

// product is x·Wᵀ + bias.
func (o *oracle[N]) product(x, w, bias *matrix[N]) *matrix[N] {
	y, rounded := newMatrix[N](x.rows, w.rows), o.rounded(w.v)
	each := func(f func(r, n int)) {
		for r := range x.rows {
			for n := range w.rows {
				f(r, n)
			}
		}
	}
	each(func(r, n int) {
		sum := bias.v[n]
		for k := range x.columns {
			sum += N(x.v[r*x.columns+k] * rounded[n*x.columns+k])
		}
		y.v[r*w.rows+n] = sum
	})
	o.tape = append(o.tape, func() {
		each(func(r, n int) {
			d := y.d[r*w.rows+n]
			bias.d[n] += d
			for k := range x.columns {
				x.d[r*x.columns+k] += N(d * rounded[n*x.columns+k])
				w.d[n*x.columns+k] += N(d * x.v[r*x.columns+k])
			}
		})
	})
	return o.stored(y)
}

func (o *oracle[N]) gather(x *matrix[N], rows []int32) *matrix[N] {
	y := newMatrix[N](len(rows), x.columns)
	for i, r := range rows {
		copy(y.v[i*x.columns:(i+1)*x.columns], x.v[int(r)*x.columns:])
	}
	o.tape = append(o.tape, func() {
		for i, r := range rows {
			for c := range x.columns {
				x.d[int(r)*x.columns+c] += y.d[i*x.columns+c]
			}
		}
	})
	return y
}

func (o *oracle[N]) add(a, b *matrix[N]) *matrix[N] {
	y := newMatrix[N](a.rows, a.columns)
	for i := range y.v {
		y.v[i] = a.v[i] + b.v[i]
	}
	o.tape = append(o.tape, func() {
		for i, d := range y.d {
			a.d[i] += d
			b.d[i] += d
		}
	})
	return o.stored(y)
}

// each applies a function with its derivative.
func (o *oracle[N]) each(x *matrix[N], f, derivative func(float64) float64) *matrix[N] {
	y := newMatrix[N](x.rows, x.columns)
	for i, v := range x.v {
		y.v[i] = N(f(float64(v)))
	}
	o.tape = append(o.tape, func() {
		for i, v := range x.v {
			x.d[i] += N(y.d[i] * N(derivative(float64(v))))
		}
	})
	return o.stored(y)
}

func (o *oracle[N]) gelu(x *matrix[N]) *matrix[N] {
	cdf := func(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }
	return o.each(x, func(x float64) float64 { return x * cdf(x) },
		func(x float64) float64 { return cdf(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi) })
}

func (o *oracle[N]) tanh(x *matrix[N]) *matrix[N] {
	return o.each(x, math.Tanh, func(x float64) float64 { return 1 - math.Tanh(x)*math.Tanh(x) })
}

func (o *oracle[N]) norm(x *matrix[N], name string) *matrix[N] {
	gamma, beta, h := o.w[name+".weight"], o.w[name+".bias"], x.columns
	y, normal, rstd := newMatrix[N](x.rows, h), make([]N, x.rows*h), make([]N, x.rows)
	for r := range x.rows {
		row := x.v[r*h : (r+1)*h]
		var mean, variance N
		for _, v := range row {
			mean += v / N(h)
		}
		for _, v := range row {
			variance += (v - mean) * (v - mean) / N(h)
		}
		rstd[r] = N(1 / math.Sqrt(float64(variance)+o.c.LayerNormEps))
		for c, v := range row {
			normal[r*h+c] = (v - mean) * rstd[r]
			y.v[r*h+c] = N(normal[r*h+c]*gamma.v[c]) + beta.v[c]
		}
	}
	o.tape = append(o.tape, func() {
		for r := range x.rows {
			var mean, product N
			for c := range h {
				g := y.d[r*h+c] * gamma.v[c]
				mean += g / N(h)
				product += g * normal[r*h+c] / N(h)
				gamma.d[c] += N(y.d[r*h+c] * normal[r*h+c])
				beta.d[c] += y.d[r*h+c]
			}
			for c := range h {
				x.d[r*h+c] += N(rstd[r] * (N(y.d[r*h+c]*gamma.v[c]) - mean - N(normal[r*h+c]*product)))
			}
		}
	})
	return o.stored(y)
}

// keep is the factor of a dropout draw, from the layout of the counters as it is documented.
func (o *oracle[N]) keep(p float64, sample int32, site, row uint32, column int) N {
	if !o.o.Dropout || p == 0 {
		return 1
	}
	words := philox.Block([4]uint32{uint32(column / 8), row, uint32(sample), o.o.Step*4096 + site}, o.o.Seed)
	draw := words[column%8/2] >> (16 * (column % 2)) & 0xffff
	if draw < uint32(math.Round(p*65536)) {
		return 0
	}
	return N(1 / (1 - p))
}

func (o *oracle[N]) dropout(x *matrix[N], sample int32, site uint32) *matrix[N] {
	y, mask := newMatrix[N](x.rows, x.columns), make([]N, len(x.v))
	for i, v := range x.v {
		mask[i] = o.keep(o.c.HiddenDropoutProb, sample, site, uint32(i/x.columns), i%x.columns)
		y.v[i] = v * mask[i]
	}
	o.tape = append(o.tape, func() {
		for i, d := range y.d {
			x.d[i] += N(d * mask[i])
		}
	})
	return o.stored(y)
}

// attention is that of one sequence; keys from the keys-th on are masked out.
func (o *oracle[N]) attention(q, k, v *matrix[N], keys int, sample int32, site uint32) *matrix[N] {
	ctx, h, heads := newMatrix[N](q.rows, q.columns), q.columns, o.c.NumAttentionHeads
	size := h / heads
	scale := N(1 / math.Sqrt(float64(size)))
	for head := range heads {
		at := func(r int) int { return r*h + head*size }
		for i := range q.rows {
			p, mask, total := make([]N, keys), make([]N, keys), N(0)
			largest := N(math.Inf(-1))
			for j := range keys {
				for c := range size {
					p[j] += N(q.v[at(i)+c] * k.v[at(j)+c])
				}
				p[j] *= scale
				largest = max(largest, p[j])
			}
			for j := range p {
				p[j] = N(math.Exp(float64(p[j] - largest)))
				total += p[j]
			}
			for j := range p {
				p[j] /= total
				mask[j] = o.keep(o.c.AttentionProbsDropoutProb, sample, site, uint32(head*65536+i), j)
				for c := range size {
					ctx.v[at(i)+c] += N(o.round(p[j]*mask[j]) * v.v[at(j)+c])
				}
			}
			o.tape = append(o.tape, func() {
				dp, mean := make([]N, keys), N(0)
				for j := range p {
					for c := range size {
						dp[j] += N(ctx.d[at(i)+c] * mask[j] * v.v[at(j)+c])
						v.d[at(j)+c] += N(ctx.d[at(i)+c] * o.round(p[j]*mask[j]))
					}
					mean += N(p[j] * dp[j])
				}
				for j := range p {
					ds := o.round(p[j] * (dp[j] - mean) * scale)
					for c := range size {
						q.d[at(i)+c] += N(ds * k.v[at(j)+c])
						k.d[at(j)+c] += N(ds * q.v[at(i)+c])
					}
				}
			})
		}
	}
	return o.stored(ctx)
}

// crossEntropy returns scale times the sum over the rows that have a target.
func (o *oracle[N]) crossEntropy(logits *matrix[N], targets []int32, scale N) N {
	var loss N
	for r, target := range targets {
		if target < 0 {
			continue
		}
		row := logits.v[r*logits.columns : (r+1)*logits.columns]
		largest := row[0]
		for _, v := range row {
			largest = max(largest, v)
		}
		var total N
		for _, v := range row {
			total += N(math.Exp(float64(v - largest)))
		}
		loss += N(scale * (N(math.Log(float64(total))) + largest - row[target]))
		o.tape = append(o.tape, func() {
			d := logits.d[r*logits.columns:]
			for c, v := range row {
				d[c] += scale * N(math.Exp(float64(v-largest))) / total
			}
			d[target] -= scale
		})
	}
	return loss
}

// lamb is one update of all weights, the formula as it is published; it returns the gradients' norm.
func (o *oracle[N]) lamb(params []Param, moments map[string][2][]N, update int, rate float64) N {
	var total float64
	for _, m := range o.w {
		for _, d := range m.d {
			total += float64(d) * float64(d)
		}
	}
	norm := math.Sqrt(total)
	clip := N(max(norm, 1))
	c1, c2 := N(1-math.Pow(0.9, float64(update))), N(1-math.Pow(0.999, float64(update)))
	for _, p := range params {
		w := o.w[p.Name]
		if moments[p.Name][0] == nil {
			moments[p.Name] = [2][]N{make([]N, p.Len), make([]N, p.Len)}
		}
		m, v, decay := moments[p.Name][0], moments[p.Name][1], N(0)
		if p.Decay {
			decay = 0.01
		}
		u := make([]N, p.Len)
		var wSum, uSum N
		for i, d := range w.d {
			g := d / clip
			m[i] = N(0.9*m[i]) + N(0.1*g)
			v[i] = N(0.999*v[i]) + N(0.001*g*g)
			u[i] = m[i]/c1/(N(math.Sqrt(float64(v[i]/c2)))+1e-6) + N(decay*w.v[i])
			wSum += N(w.v[i] * w.v[i])
			uSum += N(u[i] * u[i])
		}
		r := N(rate)
		if p.Decay && wSum != 0 && uSum != 0 {
			r *= N(math.Sqrt(float64(wSum)) / math.Sqrt(float64(uSum)))
		}
		for i := range u {
			w.v[i] -= N(r * u[i])
		}
	}
	return N(norm)
}
