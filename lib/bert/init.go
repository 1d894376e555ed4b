package bert

import (
	"hash/fnv"
	"math"
	"sync"

	"hpcbert/kernels"
	"hpcbert/lib/philox"
)

// Init sets all weights to their initial values as the reference does: dense layers that it fuses with their activation start uniform in
// ±1/sqrt(fan in), weight and bias, the others normal. A value is a pure function of the seed, its parameter's name and its index.
func (m *Model) Init(seed uint64) {
	for _, p := range m.Params {
		w := m.Weights.Slice(p.Offset, p.Offset+p.Len)
		values := kernels.Host[float32](w)
		if values == nil {
			values = make([]float32, p.Len)
		}
		fillParallel(values, p.Init, seed, p.Name, m.dev.Threads())
		kernels.Upload(m.s, w, values)
	}
	m.Refresh()
}

// fillParallel splits values among threads at whole blocks of draws.
func fillParallel(values []float32, init Init, seed uint64, name string, threads int) {
	part := (len(values)/threads/4 + 1) * 4
	var wait sync.WaitGroup
	for start := 0; start < len(values); start += part {
		wait.Go(func() { fill(values[start:min(start+part, len(values))], start, init, seed, name) })
	}
	wait.Wait()
}

// initDomain is the last word of the counters of initial values. As a dropout counter it would be the embeddings' site in step 2^20-1.
const initDomain = math.MaxUint32

// fill writes the values first, first+1, … of a parameter; first is a multiple of 4.
func fill(values []float32, first int, init Init, seed uint64, name string) {
	switch init.Form {
	case InitZero:
		clear(values)
		return
	case InitOne:
		for i := range values {
			values[i] = 1
		}
		return
	}
	hash := fnv.New32a()
	hash.Write([]byte(name))
	for i := 0; i < len(values); i += 4 {
		block := uint64(first+i) / 4
		bits := philox.Block([4]uint32{uint32(block), uint32(block >> 32), hash.Sum32(), initDomain}, seed)
		draws := uniforms(bits, init.Scale)
		if init.Form == InitNormal {
			draws = normals(bits, init.Scale)
		}
		copy(values[i:], draws[:])
	}
}

// uniforms makes four draws in (-scale, scale).
func uniforms(bits [4]uint32, scale float64) (draws [4]float32) {
	for i, b := range bits {
		draws[i] = float32((2*unit(b) - 1) * scale)
	}
	return draws
}

// normals makes four draws of N(0, deviation²) (Box and Muller 1958).
func normals(bits [4]uint32, deviation float64) (draws [4]float32) {
	for i := 0; i < 4; i += 2 {
		radius := deviation * math.Sqrt(-2*math.Log(unit(bits[i])))
		sin, cos := math.Sincos(2 * math.Pi * unit(bits[i+1]))
		draws[i], draws[i+1] = float32(radius*cos), float32(radius*sin)
	}
	return draws
}

// unit maps 32 bits into the open interval (0, 1).
func unit(b uint32) float64 { return (float64(b) + 0.5) * 0x1p-32 }
