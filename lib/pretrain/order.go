package pretrain

import "sync"

// Order says which row of the set the g-th sample of training is: a pure function of g, whatever the number of ranks.
type Order interface {
	At(g int64) (file, row int, epoch int)
}

// fileOrder takes the rows in file order, again and again.
type fileOrder struct {
	rows  []int
	total int64
}

// NewFileOrder returns the order of files with so many rows themselves, wrapping.
func NewFileOrder(rows []int) Order { return &fileOrder{rows, total(rows)} }

func total(rows []int) (sum int64) {
	for _, n := range rows {
		sum += int64(n)
	}
	return sum
}

func (o *fileOrder) At(g int64) (file, row int, epoch int) {
	rest := int(g % o.total)
	for rest >= o.rows[file] {
		rest -= o.rows[file]
		file++
	}
	return file, rest, int(g / o.total)
}

// shuffledOrder permutes the files by (seed, epoch) and the rows of each by (seed, epoch, file). The permutations in use are kept,
// so that neighbouring samples cost little; what they are depends on the seed alone.
type shuffledOrder struct {
	rows  []int
	total int64
	seed  uint64

	mu    sync.Mutex
	files map[uint64][]int32 // by epoch
	perms map[[2]uint64][]int32
}

// NewShuffledOrder returns an order in which each epoch takes every row exactly once, file after file in an order of the epoch's own,
// the rows of a file shuffled.
func NewShuffledOrder(rows []int, seed uint64) Order {
	return &shuffledOrder{rows: rows, total: total(rows), seed: seed, files: map[uint64][]int32{}, perms: map[[2]uint64][]int32{}}
}

func (o *shuffledOrder) At(g int64) (file, row int, epoch int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := uint64(g / o.total)
	rest := int(g % o.total)
	for _, f := range o.fileOrder(e) {
		if rest < o.rows[f] {
			return int(f), int(o.rowOrder(e, uint64(f))[rest]), int(e)
		}
		rest -= o.rows[f]
	}
	panic("unreachable: the files hold all rows")
}

const keptPermutations = 3 // the file before, this one and the one read ahead

func (o *shuffledOrder) fileOrder(epoch uint64) []int32 {
	p, ok := o.files[epoch]
	if !ok {
		if len(o.files) >= keptPermutations {
			clear(o.files)
		}
		p = permutation(len(o.rows), o.seed, epoch, 0)
		o.files[epoch] = p
	}
	return p
}

func (o *shuffledOrder) rowOrder(epoch, file uint64) []int32 {
	key := [2]uint64{epoch, file}
	p, ok := o.perms[key]
	if !ok {
		if len(o.perms) >= keptPermutations {
			clear(o.perms)
		}
		p = permutation(o.rows[file], o.seed, epoch, file+1)
		o.perms[key] = p
	}
	return p
}

// permutation returns 0..n-1 in an order that the three numbers choose.
func permutation(n int, seed, epoch, site uint64) []int32 {
	g := splitmix(mix(mix(mix(seed)^epoch) ^ site))
	p := make([]int32, n)
	for i := range p {
		j := g.below(uint64(i) + 1)
		p[i] = p[j]
		p[j] = int32(i)
	}
	return p
}

// splitmix is Steele, Lea and Flood's generator: small, and fixed for ever, as a resumed training needs it.
type splitmix uint64

func (g *splitmix) next() uint64 {
	*g += 0x9e3779b97f4a7c15
	return mix(uint64(*g))
}

// below returns a number in [0, n) without bias.
func (g *splitmix) below(n uint64) uint64 {
	limit := -n % n // the lowest 2^64 mod n outcomes are drawn again
	for {
		if r := g.next(); r >= limit {
			return r % n
		}
	}
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
