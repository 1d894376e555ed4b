package bert

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"hpcbert/lib/ckpt"
)

// Set gives a key that this package does not know its value in config.json.
func (c *Config) Set(key string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings and numbers
	}
	if c.Other == nil {
		c.Other = map[string]json.RawMessage{}
	}
	c.Other[key] = text
}

// SetClass says which of Hugging Face's classes the model is of.
func (c *Config) SetClass(class string) { c.Set("architectures", []string{class}) }

// SetLabels names the outputs of a classifier.
func (c *Config) SetLabels(labels []string) {
	names, numbers := map[string]string{}, map[string]int{}
	for i, label := range labels {
		names[strconv.Itoa(i)], numbers[label] = label, i
	}
	c.Set("id2label", names)
	c.Set("label2id", numbers)
}

// Numbered are the names of outputs that nobody has named.
func Numbered(outputs int) []string {
	labels := make([]string, outputs)
	for i := range labels {
		labels[i] = fmt.Sprintf("LABEL_%d", i)
	}
	return labels
}

// classes are Hugging Face's by the tensor that only they have.
var classes = []struct{ tensor, class string }{
	{"qa_outputs.weight", "BertForQuestionAnswering"},
	{"classifier.weight", "BertForSequenceClassification"},
	{"cls.seq_relationship.weight", "BertForPreTraining"},
	{"cls.predictions.bias", "BertForMaskedLM"},
}

// Describe says of which class a checkpoint's tensors are, and how many labels they tell apart where the shape names none.
func (c *Config) Describe(s *ckpt.Source) {
	class := "BertModel"
	if i := slices.IndexFunc(classes, func(c struct{ tensor, class string }) bool { return s.Tensor(c.tensor) != nil }); i >= 0 {
		class = classes[i].class
	}
	c.SetClass(class)
	if t := s.Tensor("classifier.weight"); t != nil && len(t.Shape) == 2 && c.Other["id2label"] == nil {
		c.SetLabels(Numbered(t.Shape[0]))
	}
}
