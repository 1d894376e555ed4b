package bert

import (
	"fmt"
	"math"

	"hpcbert/lib/ckpt"
)

// Align is what offsets in an arena are multiples of, in elements: one cache line of float32.
const Align = 16

// InitForm says what a parameter starts as.
type InitForm int

// The forms of initial values.
const (
	InitZero    InitForm = iota
	InitOne              // LayerNorm weights
	InitNormal           // N(0, Scale²)
	InitUniform          // uniform in ±Scale
)

// Init is the distribution of a parameter's initial values.
type Init struct {
	Form  InitForm
	Scale float64
}

// Param is one tensor of the model: a stretch of the arenas.
type Param struct {
	Name   string
	Shape  []int // as Hugging Face stores it: [out, in] for a dense layer
	Offset int   // into the arena, a multiple of Align
	Len    int
	Decay  bool // weight decay and trust ratio apply
	Init   Init // as the reference does it
}

// EncoderParams lists the parameters of embeddings, layers and pooler in the model's order.
func (c *Config) EncoderParams() []Param {
	return c.encoderParams().params
}

// Params lists the parameters of the model with its pre-training heads. The decoder of the MLM head is the word embeddings.
func (c *Config) Params() []Param {
	l := c.encoderParams()
	l.add("cls.predictions.bias", Init{}, c.VocabSize)
	l.fused("cls.predictions.transform.dense", c.HiddenSize, c.HiddenSize)
	l.norm("cls.predictions.transform.LayerNorm", c.HiddenSize)
	l.dense("cls.seq_relationship", 2, c.HiddenSize)
	return l.params
}

func (c *Config) encoderParams() *paramList {
	h := c.HiddenSize
	l := &paramList{normal: Init{InitNormal, c.InitializerRange}}
	l.add("bert.embeddings.word_embeddings.weight", l.normal, c.VocabSize, h)
	l.add("bert.embeddings.position_embeddings.weight", l.normal, c.MaxPositionEmbeddings, h)
	l.add("bert.embeddings.token_type_embeddings.weight", l.normal, c.TypeVocabSize, h)
	l.norm("bert.embeddings.LayerNorm", h)
	for i := range c.NumHiddenLayers {
		layer := layerName(i)
		for _, name := range []string{"self.query", "self.key", "self.value", "output.dense"} {
			l.dense(layer+"attention."+name, h, h)
		}
		l.norm(layer+"attention.output.LayerNorm", h)
		l.fused(layer+"intermediate.dense", c.IntermediateSize, h)
		l.dense(layer+"output.dense", h, c.IntermediateSize)
		l.norm(layer+"output.LayerNorm", h)
	}
	l.fused("bert.pooler.dense", h, h)
	return l
}

// ArenaLen returns the elements of an arena for Params.
func (c *Config) ArenaLen() int { return ArenaLen(c.Params()) }

// ArenaLen returns the elements of an arena for these parameters.
func ArenaLen(params []Param) int {
	if len(params) == 0 {
		return 0
	}
	last := params[len(params)-1]
	return aligned(last.Offset + last.Len)
}

func aligned(n int) int { return (n + Align - 1) / Align * Align }

func layerName(i int) string { return fmt.Sprintf("bert.encoder.layer.%d.", i) }

// paramList grows in the model's order.
type paramList struct {
	params []Param
	normal Init
}

func (l *paramList) add(name string, init Init, shape ...int) {
	n := 1
	for _, s := range shape {
		n *= s
	}
	l.params = append(l.params, Param{Name: name, Shape: shape, Offset: ArenaLen(l.params), Len: n, Decay: ckpt.Decays(name), Init: init})
}

// dense adds a dense layer whose bias starts at 0.
func (l *paramList) dense(name string, out, in int) {
	l.add(name+".weight", l.normal, out, in)
	l.add(name+".bias", Init{}, out)
}

// fused adds a dense layer that the reference fuses with its activation: its initialisation does not reach such a layer, which keeps the
// framework's uniform weights and biases. Published losses come from that.
func (l *paramList) fused(name string, out, in int) {
	uniform := Init{InitUniform, 1 / math.Sqrt(float64(in))}
	l.add(name+".weight", uniform, out, in)
	l.add(name+".bias", uniform, out)
}

func (l *paramList) norm(name string, h int) {
	one := Init{Form: InitOne}
	l.add(name+".weight", one, h)
	l.add(name+".bias", Init{}, h)
}
