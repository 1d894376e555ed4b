package bert

// HeadKind says what a head computes from the encoder's output, and its loss.
type HeadKind int

// The heads of tasks, with the names and shapes of Hugging Face.
const (
	Span       HeadKind = iota + 1 // qa_outputs [2, H] on every row of the last layer: start and end logits; cross-entropy over the positions of a sequence, mean of both
	Classifier                     // pooled vector, dropout, classifier [Outputs, H]; cross-entropy
	Regression                     // the same with one output; squared error
)

// Head is what a model for a task has behind its encoder.
type Head struct {
	Kind    HeadKind
	Outputs int // classes of a Classifier; a Span has 2, a Regression 1
}
