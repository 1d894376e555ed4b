package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// matmul is D (+)= epilogue(A·B + bias) with A and B dense: [M,K], [K,N].
func matmul[F number](d, pre, a, b, bias []F, m, n, k int, e Epilogue, accumulate bool) {
	sums := make([]F, n)
	for i := range m {
		clear(sums)
		for l := range k {
			for j := range n {
				sums[j] += a[i*k+l] * b[l*n+j]
			}
		}
		for j, sum := range sums {
			if bias != nil {
				sum += bias[j]
			}
			at := i*n + j
			switch {
			case e == ThenGELU:
				pre[at], d[at] = sum, gelu(sum)
			case e == ThenGELUGradient:
				d[at] = sum * geluGradient(pre[at])
			case accumulate:
				d[at] += sum
			default:
				d[at] = sum
			}
		}
	}
}

// gemmCase is one product; pad is what its rows are longer than dense.
type gemmCase struct {
	m, n, k, pad     int
	transposed       bool
	layout           BLayout
	epilogue         Epilogue
	bias, accumulate bool
	rowSums          bool
	dtype            DType // of A, B, Pre
	wide             bool  // D is float32 whatever dtype is
}

func (c gemmCase) String() string {
	return fmt.Sprintf("%dx%dx%d+%d %s transposed %v layout %d epilogue %d bias %v accumulate %v sums %v wide %v",
		c.m, c.n, c.k, c.pad, c.dtype, c.transposed, c.layout, c.epilogue, c.bias, c.accumulate, c.rowSums, c.wide)
}

// dDType is the type of D.
func (c gemmCase) dDType() DType {
	if c.wide {
		return Float32
	}
	return c.dtype
}

// gemmCases are the sizes around tiles and blocks, each in every use that the model makes of products.
func gemmCases() []gemmCase {
	uses := []gemmCase{
		{layout: BPacked, bias: true},
		{layout: BPacked, bias: true, epilogue: ThenGELU},
		{layout: BPacked, epilogue: ThenGELUGradient},
		{layout: BPacked, accumulate: true, pad: 3},
		{layout: BKN, transposed: true, accumulate: true, rowSums: true, wide: true},
		{layout: BKN, pad: 5, bias: true, accumulate: true},
		{layout: BNK, pad: 1, rowSums: true},
		{layout: BNK, transposed: true, pad: 2, epilogue: ThenGELU},
	}
	sizes := [][3]int{
		{1, 1, 1}, {1, 2, 64}, {2, 3, 5}, {5, 15, 7}, {6, 16, 8}, {7, 17, 9}, {13, 31, 383}, {4, 33, 384}, {12, 8, 385},
		{143, 63, 31}, {145, 65, 33}, {151, 127, 61}, {290, 10, 770}, {3, 257, 1153}, {37, 192, 192}, {9, 40, 2051},
	}
	var cases []gemmCase
	for _, dtype := range storages {
		for _, u := range uses {
			for _, s := range sizes {
				u.m, u.n, u.k, u.dtype = s[0], s[1], s[2], dtype
				cases = append(cases, u)
			}
		}
	}
	return cases
}

// transpose returns x [rows,columns] as [columns,rows].
func transpose(x []float32, rows, columns int) []float32 {
	y := make([]float32, len(x))
	for i := range rows {
		for j := range columns {
			y[j*rows+i] = x[i*columns+j]
		}
	}
	return y
}

// spread returns x [rows,columns] with rows of ld elements; what is between them is NaN, which must have no effect.
func spread(x []float32, rows, columns, ld int) []float32 {
	y := slices.Repeat([]float32{float32(math.NaN())}, rows*ld)
	for i := range rows {
		copy(y[i*ld:], x[i*columns:(i+1)*columns])
	}
	return y
}

// gathered undoes spread; it fails when the elements between the rows were written.
func gathered(t *testing.T, what string, y []float32, rows, columns, ld int) []float32 {
	t.Helper()
	var x []float32
	for i := range rows {
		x = append(x, y[i*ld:i*ld+columns]...)
		for _, v := range y[i*ld+columns : (i+1)*ld] {
			if v == v {
				t.Fatalf("%s: row %d: written beyond column %d", what, i, columns)
			}
		}
	}
	return x
}

// gemmData are the dense operands of a case.
type gemmData struct{ d, pre, a, b, bias, sums []float32 }

func newGEMMData(c gemmCase, seed uint64) gemmData {
	r := rand.New(rand.NewPCG(seed, 0))
	x := gemmData{d: asStored(c.dDType(), normal(r, c.m*c.n, 0, 1)), pre: asStored(c.dtype, normal(r, c.m*c.n, 0, 1)),
		a: asStored(c.dtype, normal(r, c.m*c.k, 0, 1)), b: asStored(c.dtype, normal(r, c.k*c.n, 0, 1/math.Sqrt(float64(c.k)))), sums: normal(r, c.m, 0, 1)}
	if c.bias {
		x.bias = normal(r, c.n, 0, 1)
	}
	return x
}

// run computes a case on the device; the results are dense.
func (x gemmData) run(t *testing.T, m machine, c gemmCase) (d, pre, sums []float32) {
	t.Helper()
	g := GEMM{M: c.m, N: c.n, K: c.k, LDD: c.n + c.pad, LDA: c.k + c.pad, LDB: c.n + c.pad, ATransposed: c.transposed, BLayout: c.layout,
		Epilogue: c.epilogue, Accumulate: c.accumulate}
	a, b := x.a, x.b
	rows, columns := c.m, c.k
	if c.transposed {
		a, rows, columns = transpose(a, c.m, c.k), c.k, c.m
	}
	g.LDA = columns + c.pad
	g.A = activation(t, m, c.dtype, spread(a, rows, columns, g.LDA))
	rows, columns = c.k, c.n
	if c.layout != BKN {
		b, rows, columns = transpose(b, c.k, c.n), c.n, c.k
	}
	g.LDB = columns + c.pad
	if c.layout == BPacked {
		g.B = activation(t, m, c.dtype, make([]float32, m.dev.PackedLen(c.n, c.k, c.dtype)))
		m.PackGEMM(g.B, tensor(t, m, spread(b, rows, columns, g.LDB)), BNK, g.LDB, c.n, c.k, 0, c.n, 0, c.k)
		g.LDB = 0
	} else {
		g.B = activation(t, m, c.dtype, spread(b, rows, columns, g.LDB))
	}
	g.D, g.Pre = activation(t, m, c.dDType(), spread(x.d, c.m, c.n, g.LDD)), activation(t, m, c.dtype, spread(x.pre, c.m, c.n, g.LDD))
	if c.bias {
		g.Bias = tensor(t, m, x.bias)
	}
	if c.rowSums {
		g.ASums = tensor(t, m, x.sums)
	}
	m.GEMM(g)
	d = gathered(t, c.String()+": d", read(t, m, g.D), c.m, c.n, g.LDD)
	pre = gathered(t, c.String()+": pre", read(t, m, g.Pre), c.m, c.n, g.LDD)
	if c.rowSums {
		sums = values[float32](t, m, g.ASums)
	}
	return d, pre, sums
}

// oracle computes a case in the precision F.
func gemmOracle[F number](c gemmCase, x gemmData) (d, pre, sums []F) {
	d, pre = convert[F](x.d), convert[F](x.pre)
	var bias []F
	if c.bias {
		bias = convert[F](x.bias)
	}
	a := convert[F](x.a)
	matmul(d, pre, a, convert[F](x.b), bias, c.m, c.n, c.k, c.epilogue, c.accumulate)
	sums = convert[F](x.sums)
	for i := range c.m {
		for _, v := range a[i*c.k : (i+1)*c.k] {
			sums[i] += v
		}
	}
	return d, pre, sums
}

// check compares a case with its oracle; small ones over many draws, since errors are compared by root mean square.
func (c gemmCase) check(t *testing.T, m machine, seed uint64) {
	t.Helper()
	var d, pre, sums, plainD, plainPre, plainSums []float32
	var trueD, truePre, trueSums []float64
	for draw := uint64(0); len(d) < 1000 && draw < 100; draw++ {
		x := newGEMMData(c, seed<<32+draw)
		d1, pre1, sums1 := x.run(t, m, c)
		d, pre, sums = append(d, d1...), append(pre, pre1...), append(sums, sums1...)
		plainD1, plainPre1, plainSums1 := gemmOracle[float32](c, x)
		plainD, plainPre = append(plainD, asStored(c.dDType(), plainD1)...), append(plainPre, asStored(c.dtype, plainPre1)...)
		plainSums = append(plainSums, plainSums1...)
		trueD1, truePre1, trueSums1 := gemmOracle[float64](c, x)
		trueD, truePre, trueSums = append(trueD, trueD1...), append(truePre, truePre1...), append(trueSums, trueSums1...)
	}
	compare(t, c.String()+": d", d, plainD, trueD)
	compare(t, c.String()+": pre", pre, plainPre, truePre)
	if c.rowSums {
		compare(t, c.String()+": row sums", sums, plainSums, trueSums)
	}
}

func TestGEMM(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		for i, c := range gemmCases() {
			c.check(t, m, uint64(i))
		}
	})
}

// checkExact compares a case in small integers, whose sums are exact: one wrong, missing or doubled term shows, whatever the tolerance.
func (c gemmCase) checkExact(t *testing.T, m machine) {
	t.Helper()
	x := newGEMMData(c, 1)
	for _, v := range [][]float32{x.d, x.a, x.b, x.bias, x.sums} {
		for j := range v {
			v[j] = float32(j*7%13 - 6)
		}
	}
	d, _, sums := x.run(t, m, c)
	trueD, _, trueSums := gemmOracle[float32](c, x)
	if !slices.Equal(d, asStored(c.dDType(), trueD)) {
		t.Errorf("%s: d differs", c)
	}
	if c.rowSums && !slices.Equal(sums, trueSums) {
		t.Errorf("%s: row sums differ", c)
	}
}

func TestGEMMIntegers(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		for _, c := range gemmCases() {
			if c.epilogue == Linear {
				c.checkExact(t, m)
			}
		}
	})
}

// Queries, keys and values as one operand: blocks that begin within a panel, in any order, from both layouts and by columns or rows.
func TestPackGEMM(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		for _, h := range []int{2, 6, 24, 40, 100} { // even: in a type of 16 bits a block begins at an even row
			n, k := 3*h, 2*h+1
			b := normal(rand.New(rand.NewPCG(1, uint64(h))), n*k, 0, 1) // [N,K]
			packed := func(pack func(packed Tensor)) []float32 {
				x := activation(t, m, dtype, make([]float32, m.dev.PackedLen(n, k, dtype)))
				pack(x)
				return read(t, m, x)
			}
			want := packed(func(x Tensor) { m.PackGEMM(x, tensor(t, m, b), BNK, 0, n, k, 0, n, 0, k) })
			byColumns := packed(func(x Tensor) {
				for _, block := range []int{1, 2, 0} {
					m.PackGEMM(x, tensor(t, m, b[block*h*k:(block+1)*h*k]), BNK, 0, n, k, block*h, h, 0, k)
				}
			})
			byRows := packed(func(x Tensor) {
				stored := tensor(t, m, transpose(b, n, k)) // [K,N]
				m.PackGEMM(x, stored.Slice(h*n, k*n), BKN, 0, n, k, 0, n, h, k-h)
				m.PackGEMM(x, stored.Slice(h, h*n), BKN, n, n, k, h, n-h, 0, h)
				m.PackGEMM(x, stored, BKN, n, n, k, 0, h, 0, h)
			})
			if !slices.Equal(byColumns, want) {
				t.Errorf("h %d: three blocks of columns do not pack as the whole", h)
			}
			if !slices.Equal(byRows, want) {
				t.Errorf("h %d: blocks of [K,N] do not pack as the whole [N,K]", h)
			}
		}
	})
}

// B longer or wider than the scratch is packed in parts.
func TestGEMMLargeB(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		gemmCase{m: 1, n: 300, k: 56000, layout: BKN, transposed: true, accumulate: true, rowSums: true}.checkExact(t, m)
		gemmCase{m: 2, n: 47000, k: 10, layout: BNK, bias: true, rowSums: true}.checkExact(t, m)
	})
}

// What a sequence gives must not depend on which others share its batch.
func TestGEMMRowsAreWhatTheyAreAlone(t *testing.T) {
	inEveryStorage(t, func(t *testing.T, m machine, dtype DType) {
		const most, n, k = 40, 70, 1700 // several chunks
		r := rand.New(rand.NewPCG(5, 5))
		a, b := activation(t, m, dtype, normal(r, most*k, 0, 1)), activation(t, m, dtype, normal(r, n*k, 0, 1))
		rows := func(count int) []float32 {
			d := activation(t, m, dtype, make([]float32, count*n))
			m.GEMM(GEMM{D: d, A: a, B: b, BLayout: BNK, M: count, N: n, K: k})
			return read(t, m, d)
		}
		all := rows(most)
		for count := 1; count < most; count++ {
			if !slices.Equal(rows(count), all[:count*n]) {
				t.Errorf("%d rows differ from the first ones of %d", count, most)
			}
		}
	})
}

func TestGEMMThreads(t *testing.T) {
	for i, epilogue := range slices.Repeat([]Epilogue{Linear, ThenGELU}, len(storages)) {
		c := gemmCase{m: 431, n: 300, k: 1500, layout: BKN, transposed: true, accumulate: epilogue == Linear, rowSums: true, epilogue: epilogue, dtype: storages[i/2]}
		x := newGEMMData(c, 1)
		var first [3][]float32
		for threads := 1; threads <= 5; threads++ {
			on := onThreads(t, threads)
			d, pre, sums := x.run(t, on, c)
			if threads == 1 {
				first = [3][]float32{d, pre, sums}
				continue
			}
			for i, got := range [][]float32{d, pre, sums} {
				if !slices.EqualFunc(got, first[i], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
					t.Errorf("%s: result %d of %d threads differs from that of one", c, i, threads)
				}
			}
		}
	}
}

func TestGEMMRefuses(t *testing.T) {
	onEveryDevice(t, func(t *testing.T, m machine) {
		x, half := tensor(t, m, make([]float32, 100)), activation(t, m, BFloat16, make([]float32, 100))
		for name, g := range map[string]GEMM{
			"no inner size":              {D: x, A: x, B: x, M: 2, N: 2},
			"D too small":                {D: x.Slice(0, 3), A: x, B: x, M: 2, N: 2, K: 2},
			"rows shorter than N":        {D: x, A: x, B: x, M: 2, N: 2, K: 2, LDD: 1},
			"rows of B shorter than N":   {D: x, A: x, B: x, M: 2, N: 2, K: 2, LDB: 1},
			"packed B too small":         {D: x, A: x, B: x.Slice(0, 3), M: 2, N: 2, K: 2, BLayout: BPacked},
			"GELU without Pre":           {D: x, A: x, B: x, M: 2, N: 2, K: 2, Epilogue: ThenGELU},
			"GELU added to D":            {D: x, A: x, B: x, Pre: x, M: 2, N: 2, K: 2, Epilogue: ThenGELU, Accumulate: true},
			"layout that does not exist": {D: x, A: x, B: x, M: 2, N: 2, K: 2, BLayout: 7},
			"row sums longer than ASums": {D: x, A: x, B: x, ASums: x.Slice(0, 1), M: 2, N: 2, K: 2},
			"negative number of rows":    {D: x, A: x, B: x, M: -2, N: 2, K: 2},
			"B of another type than A":   {D: x, A: x, B: half, M: 2, N: 2, K: 2},
			"D narrower than A":          {D: half, A: x, B: x, M: 2, N: 2, K: 2},
			"GELU widened":               {D: x, A: half, B: half, Pre: half, M: 2, N: 2, K: 2, Epilogue: ThenGELU},
		} {
			m.err = nil
			if m.GEMM(g); m.err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		m.err = nil
		if m.GEMM(GEMM{K: 3}); m.err != nil {
			t.Errorf("an empty product is legal: %v", m.err)
		}
	})
}

func TestGEMMOracle(t *testing.T) {
	const m, n, k = 3, 2, 4
	r := rand.New(rand.NewPCG(9, 0))
	a, b, bias := convert[float64](normal(r, m*k, 0, 1)), convert[float64](normal(r, k*n, 0, 1)), convert[float64](normal(r, n, 0, 1))
	dy := convert[float64](normal(r, m*n, 0, 1))
	pre, y := make([]float64, m*n), make([]float64, m*n)
	loss := func() float64 {
		matmul(y, pre, a, b, bias, m, n, k, ThenGELU, false)
		sum := 0.0
		for i := range y {
			sum += y[i] * dy[i]
		}
		return sum
	}
	wantA, wantB := gradient(a, loss), gradient(b, loss)
	loss()
	dz := make([]float64, m*n)
	identity := []float64{1, 0, 0, 1}
	matmul(dz, pre, dy, identity, nil, m, n, n, ThenGELUGradient, false)
	da, db := make([]float64, m*k), make([]float64, k*n)
	for i := range m {
		for j := range n {
			for l := range k {
				da[i*k+l] += dz[i*n+j] * b[l*n+j]
				db[l*n+j] += a[i*k+l] * dz[i*n+j]
			}
		}
	}
	agree(t, "da", da, wantA)
	agree(t, "db", db, wantB)
}
