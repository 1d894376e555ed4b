package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// attentionScale is the factor of one attention probability: 0 dropped, 1/(1-p) kept; ops.h says how it is drawn.
func attentionScale[F number](d Dropout, sample int32, head, query, key int) F {
	if d.P == 0 {
		return 1
	}
	words := philoxBlock([4]uint32{uint32(key / 8), uint32(head*65536 + query), uint32(sample), d.Step*4096 + d.Site}, [2]uint32{uint32(d.Seed), uint32(d.Seed >> 32)})
	draw := words[key%8/2] >> (key % 2 * 16) & 0xffff
	if float64(draw) < math.RoundToEven(float64(d.P*65536)) {
		return 0
	}
	return F(1 / (1 - d.P))
}

// attentionBatch is the shape of a batch: sequences of given lengths one after the other, with or without a limit on each one's keys.
type attentionBatch struct {
	lengths, keys []int32 // keys nil: all
	samples       []int32
	heads, d      int
	drop          Dropout
}

func (a attentionBatch) hidden() int { return a.heads * a.d }

func (a attentionBatch) starts() []int32 {
	starts := []int32{0}
	for _, n := range a.lengths {
		starts = append(starts, starts[len(starts)-1]+n)
	}
	return starts
}

func (a attentionBatch) tokens() int { return int(a.starts()[len(a.lengths)]) }

// each calls f for every query row of every head with its sequence's first row and number of keys.
func (a attentionBatch) each(f func(head, first, query, keys int, sample int32)) {
	for b, first := range a.starts()[:len(a.lengths)] {
		keys := int(a.lengths[b])
		if a.keys != nil {
			keys = min(keys, int(a.keys[b]))
		}
		for head := range a.heads {
			for query := range int(a.lengths[b]) {
				f(head, int(first), query, keys, a.samples[b])
			}
		}
	}
}

// qkvRow returns the query (part 0), key (1) or value (2) of a head at a row.
func qkvRow[F number](a attentionBatch, qkv []F, part, row, head int) []F {
	i := row*3*a.hidden() + part*a.hidden() + head*a.d
	return qkv[i : i+a.d]
}

// attentionPart returns all queries (part 0), keys (1) or values (2).
func attentionPart[F number](a attentionBatch, qkv []F, part int) []F {
	var x []F
	for row := range a.tokens() {
		for head := range a.heads {
			x = append(x, qkvRow(a, qkv, part, row, head)...)
		}
	}
	return x
}

func ctxRow[F number](a attentionBatch, ctx []F, row, head int) []F {
	return ctx[row*a.hidden()+head*a.d:][:a.d]
}

// attentionScores are one query's scores, and the log of the sum of their exponentials.
func attentionScores[F number](a attentionBatch, qkv []F, head, first, query, keys int) (scores []F, lse F) {
	scores = make([]F, keys)
	for k := range scores {
		scores[k] = dot(qkvRow(a, qkv, 0, first+query, head), qkvRow(a, qkv, 1, first+k, head)) / F(math.Sqrt(float64(a.d)))
	}
	if keys == 0 {
		return scores, F(math.Inf(-1))
	}
	top := slices.Max(scores)
	var sum F
	for _, s := range scores {
		sum += F(math.Exp(float64(s - top)))
	}
	return scores, top + F(math.Log(float64(sum)))
}

// attention is the forward pass as the formula says.
func attention[F number](a attentionBatch, qkv []F) (ctx, lse []F) {
	ctx, lse = make([]F, a.tokens()*a.hidden()), make([]F, a.heads*a.tokens())
	a.each(func(head, first, query, keys int, sample int32) {
		scores, l := attentionScores(a, qkv, head, first, query, keys)
		lse[head*a.tokens()+first+query] = l
		out := ctxRow(a, ctx, first+query, head)
		for k, s := range scores {
			p := F(math.Exp(float64(s-l))) * attentionScale[F](a.drop, sample, head, query, k)
			for c, v := range qkvRow(a, qkv, 2, first+k, head) {
				out[c] += p * v
			}
		}
	})
	return ctx, lse
}

// attentionGradient is its gradient by the chain rule through the softmax: dS = P * (dP - sum(P * dP)).
func attentionGradient[F number](a attentionBatch, dctx, qkv []F) []F {
	dqkv := make([]F, len(qkv))
	scale := 1 / F(math.Sqrt(float64(a.d)))
	a.each(func(head, first, query, keys int, sample int32) {
		scores, lse := attentionScores(a, qkv, head, first, query, keys)
		out, q := ctxRow(a, dctx, first+query, head), qkvRow(a, qkv, 0, first+query, head)
		p, dp := make([]F, keys), make([]F, keys)
		for k, s := range scores {
			keep := attentionScale[F](a.drop, sample, head, query, k)
			p[k] = F(math.Exp(float64(s - lse)))
			dp[k] = keep * dot(out, qkvRow(a, qkv, 2, first+k, head))
			dv := qkvRow(a, dqkv, 2, first+k, head)
			for c := range dv {
				dv[c] += keep * p[k] * out[c]
			}
		}
		mean := dot(p, dp)
		dq := qkvRow(a, dqkv, 0, first+query, head)
		for k := range p {
			ds := p[k] * (dp[k] - mean) * scale
			key, dk := qkvRow(a, qkv, 1, first+k, head), qkvRow(a, dqkv, 1, first+k, head)
			for c := range key {
				dq[c] += ds * key[c]
				dk[c] += ds * q[c]
			}
		}
	})
	return dqkv
}

func TestAttentionOracle(t *testing.T) {
	a := attentionBatch{lengths: []int32{3, 1, 10}, keys: []int32{2, 1, 9}, samples: []int32{7, 8, 9}, heads: 2, d: 3,
		drop: Dropout{Seed: 11, Step: 1, P: 0.3}}
	r := rand.New(rand.NewPCG(1, 0))
	qkv, dctx := convert[float64](normal(r, a.tokens()*3*a.hidden(), 0, 1)), convert[float64](normal(r, a.tokens()*a.hidden(), 0, 1))
	loss := func() float64 {
		ctx, _ := attention(a, qkv)
		return dot(ctx, dctx)
	}
	agree(t, "dqkv", attentionGradient(a, dctx, qkv), gradient(qkv, loss))
}

// runAttention runs both passes on a machine.
func runAttention(t *testing.T, m machine, dtype DType, a attentionBatch, qkv, dctx []float32) (ctx, lse, dqkv []float32) {
	t.Helper()
	tokens, h := a.tokens(), a.hidden()
	ctxT, lseT := activation(t, m, dtype, make([]float32, tokens*h)), tensor(t, m, make([]float32, a.heads*tokens))
	qkvT, dctxT, dqkvT := activation(t, m, dtype, qkv), activation(t, m, dtype, dctx), activation(t, m, dtype, make([]float32, len(qkv)))
	starts, samples := tensor(t, m, a.starts()), tensor(t, m, a.samples)
	var keys Tensor
	if a.keys != nil {
		keys = tensor(t, m, a.keys)
	}
	b := len(a.lengths)
	m.AttentionForward(ctxT, lseT, qkvT, starts, keys, samples, a.drop, b, tokens, a.heads, h)
	m.AttentionBackward(dqkvT, dctxT, ctxT, lseT, qkvT, starts, keys, samples, a.drop, b, tokens, a.heads, h)
	return read(t, m, ctxT), values[float32](t, m, lseT), read(t, m, dqkvT)
}

func upTo(n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = int32(i + 3)
	}
	return s
}

// attentionCases are sequences around the widths of tiles and blocks, all head dimensions in use and odd ones, masked keys and large scores.
var attentionCases = []struct {
	name      string
	batch     attentionBatch
	deviation float64
}{
	{"nearly all dropped", attentionBatch{lengths: []int32{40}, heads: 1, d: 8, drop: Dropout{Seed: 2, P: 0.99}}, 1},
	{"one token", attentionBatch{lengths: []int32{1}, heads: 1, d: 1}, 1},
	{"lengths around the tiles", attentionBatch{lengths: []int32{2, 3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47, 49, 63}, heads: 1, d: 64}, 1},
	{"lengths around the blocks", attentionBatch{lengths: []int32{66, 67, 87, 89, 131, 132, 133, 191, 192, 193, 199}, heads: 1, d: 16, drop: Dropout{Seed: 2, P: 0.1}}, 1},
	{"lengths of one batch", attentionBatch{lengths: []int32{1, 7, 8, 9, 64, 65}, heads: 2, d: 64}, 1},
	{"dropout", attentionBatch{lengths: []int32{1, 7, 8, 9, 64, 65}, heads: 3, d: 64, drop: Dropout{Seed: 1<<40 + 5, Step: 3, Site: 8, P: 0.1}}, 1},
	{"head of 8", attentionBatch{lengths: []int32{127, 128, 5}, heads: 4, d: 8, drop: Dropout{Seed: 2, P: 0.1}}, 1},
	{"head of 32", attentionBatch{lengths: []int32{59, 60, 61, 62}, heads: 2, d: 32, drop: Dropout{Seed: 2, P: 0.5}}, 1},
	{"head of 5", attentionBatch{lengths: []int32{6, 31, 33}, heads: 3, d: 5, drop: Dropout{Seed: 2, P: 0.1}}, 1},
	{"head of 128", attentionBatch{lengths: []int32{128, 3}, heads: 1, d: 128, drop: Dropout{Seed: 2, P: 0.1}}, 1},
	{"head of 67", attentionBatch{lengths: []int32{17}, heads: 2, d: 67}, 1},
	{"long", attentionBatch{lengths: []int32{512, 1, 300}, heads: 1, d: 64, drop: Dropout{Seed: 9, P: 0.1}}, 1},
	{"longer than 512", attentionBatch{lengths: []int32{1024}, heads: 1, d: 16, drop: Dropout{Seed: 9, P: 0.1}}, 1},
	{"masked keys", attentionBatch{lengths: []int32{64, 64, 64, 64, 64}, keys: []int32{64, 63, 17, 1, 90}, heads: 2, d: 32, drop: Dropout{Seed: 2, P: 0.1}}, 1},
	{"masked keys of long sequences", attentionBatch{lengths: []int32{200, 140, 300}, keys: []int32{193, 10, 120}, heads: 1, d: 64, drop: Dropout{Seed: 2, P: 0.1}}, 1},
	{"no keys", attentionBatch{lengths: []int32{9, 8}, keys: []int32{0, 5}, heads: 2, d: 16}, 1},
	{"an empty sequence", attentionBatch{lengths: []int32{3, 0, 4}, heads: 2, d: 16}, 1},
	{"large scores, of so many heads that no single tie decides", attentionBatch{lengths: []int32{33, 20}, heads: 24, d: 64, drop: Dropout{Seed: 2, P: 0.1}}, 30},
	{"scores that differ little, as in a new model", attentionBatch{lengths: []int32{128, 5}, heads: 2, d: 64}, 0.02},
	{"only one-token sequences", attentionBatch{lengths: []int32{1, 1, 1}, heads: 2, d: 64, drop: Dropout{Seed: 2, P: 0.1}}, 1},
	{"equal scores", attentionBatch{lengths: []int32{33}, heads: 2, d: 64}, 0},
}

func TestAttention(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for i, c := range attentionCases {
			a := c.batch
			a.samples = upTo(len(a.lengths))
			r := rand.New(rand.NewPCG(2, uint64(i)))
			qkv := asStored(dtype, normal(r, a.tokens()*3*a.hidden(), 0.1, c.deviation))
			dctx := asStored(dtype, normal(r, a.tokens()*a.hidden(), 0, 1))
			ctx, lse, dqkv := runAttention(t, m, dtype, a, qkv, dctx)
			plain, plainLSE := attention(a, qkv)
			truth, truthLSE := attention(a, convert[float64](qkv))
			compare(t, c.name+": ctx", ctx, asStored(dtype, plain), truth)
			if !slices.Contains(a.keys, 0) {
				compare(t, c.name+": lse", lse, plainLSE, truthLSE)
			}
			plainGradient, truthGradient := asStored(dtype, attentionGradient(a, dctx, qkv)), attentionGradient(a, convert[float64](dctx), convert[float64](qkv))
			for part, name := range []string{"dQ", "dK", "dV"} {
				compare(t, c.name+": "+name, attentionPart(a, dqkv, part), attentionPart(a, plainGradient, part), attentionPart(a, truthGradient, part))
			}
		}
	})
}

// A padded batch gives the real rows the same bits as the packed one; what the padding holds does not matter.
func TestAttentionPaddedIsPacked(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		const padded = 70
		packed := attentionBatch{lengths: []int32{1, 13, 64, 70, 31}, samples: upTo(5), heads: 2, d: 32, drop: Dropout{Seed: 4, P: 0.1}}
		wide := packed
		wide.keys, wide.lengths = packed.lengths, []int32{padded, padded, padded, padded, padded}
		h, starts := packed.hidden(), packed.starts()
		r := rand.New(rand.NewPCG(3, 0))
		qkv, dctx := normal(r, packed.tokens()*3*h, 0, 1), normal(r, packed.tokens()*h, 0, 1)
		wideQKV, wideDctx := normal(r, wide.tokens()*3*h, 5, 9), make([]float32, wide.tokens()*h) // padding has no gradient
		for b, n := range packed.lengths {
			copy(wideQKV[b*padded*3*h:], qkv[int(starts[b])*3*h:][:int(n)*3*h])
			copy(wideDctx[b*padded*h:], dctx[int(starts[b])*h:][:int(n)*h])
		}
		ctx, _, dqkv := runAttention(t, m, dtype, packed, qkv, dctx)
		wideCtx, _, wideDqkv := runAttention(t, m, dtype, wide, wideQKV, wideDctx)
		for b, n := range packed.lengths {
			first, count := int(starts[b])*h, int(n)*h
			if !slices.Equal(ctx[first:first+count], wideCtx[b*padded*h:][:count]) {
				t.Errorf("ctx of sequence %d of %d tokens differs between the packed and the padded batch", b, n)
			}
			if !slices.Equal(dqkv[3*first:3*(first+count)], wideDqkv[b*padded*3*h:][:3*count]) {
				t.Errorf("dqkv of sequence %d of %d tokens differs between the packed and the padded batch", b, n)
			}
		}
	})
}

func TestAttentionThreads(t *testing.T) {
	a := attentionBatch{lengths: []int32{65, 1, 128, 40, 7, 200}, samples: upTo(6), heads: 3, d: 32, drop: Dropout{Seed: 4, P: 0.1}}
	r := rand.New(rand.NewPCG(4, 0))
	qkv, dctx := normal(r, a.tokens()*3*a.hidden(), 0, 1), normal(r, a.tokens()*a.hidden(), 0, 1)
	for _, dtype := range storages {
		sameForAnyThreads(t, func(t *testing.T, m machine) []float32 {
			ctx, lse, dqkv := runAttention(t, m, dtype, a, qkv, dctx)
			return slices.Concat(ctx, lse, dqkv)
		})
	}
}

// Wrong sizes are errors of the stream, not of memory.
func TestAttentionRefuses(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		for _, c := range []struct {
			what    string
			starts  []int32
			tokens  int
			heads   int
			h       int
			dropout float32
		}{
			{"heads that do not divide h", []int32{0, 4}, 4, 3, 16, 0},
			{"no heads", []int32{0, 4}, 4, 0, 16, 0},
			{"starts beyond the tokens", []int32{0, 5}, 4, 2, 16, 0},
			{"a negative length", []int32{0, 4, 2}, 4, 2, 16, 0},
			{"a sequence beyond the scratch", []int32{0, 40000}, 40000, 1, 64, 0},
			{"starts before the first token", []int32{-1, 4}, 4, 2, 16, 0},
			{"dropout without samples", []int32{0, 4}, 4, 2, 16, 0.1},
			{"a negative dropout", []int32{0, 4}, 4, 2, 16, -0.1},
		} {
			ctx, lse := tensor(t, m, make([]float32, c.tokens*c.h)), tensor(t, m, make([]float32, c.heads*c.tokens))
			m.AttentionForward(ctx, lse, tensor(t, m, make([]float32, 3*c.tokens*c.h)), tensor(t, m, c.starts), Tensor{}, Tensor{}, Dropout{P: c.dropout},
				len(c.starts)-1, c.tokens, c.heads, c.h)
			if m.Err() == nil {
				t.Errorf("%s: accepted", c.what)
			}
			m.err = nil
		}
	})
}
