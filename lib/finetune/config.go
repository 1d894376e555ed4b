package finetune

import (
	"encoding/json"
	"fmt"
	"strconv"

	"hpcbert/lib/bert"
)

// configOf returns the shape with what Hugging Face reads of a model for a task: its class, and the names of the classes.
func configOf(cfg *bert.Config, head Head, labels []string) (*bert.Config, error) {
	c := cfg.Clone()
	if c.Other == nil {
		c.Other = map[string]json.RawMessage{}
	}
	if head.Kind == Span {
		return c, set(c, "architectures", []string{"BertForQuestionAnswering"})
	}
	if labels != nil && len(labels) != head.Outputs {
		return nil, fmt.Errorf("%d labels of %d classes", len(labels), head.Outputs)
	}
	names, numbers := map[string]string{}, map[string]int{}
	for i := range head.Outputs {
		label := fmt.Sprintf("LABEL_%d", i)
		if labels != nil {
			label = labels[i]
		}
		names[strconv.Itoa(i)], numbers[label] = label, i
	}
	problem := "single_label_classification"
	if head.Kind == Regression {
		problem = "regression"
	}
	for _, key := range []struct {
		name  string
		value any
	}{{"architectures", []string{"BertForSequenceClassification"}}, {"id2label", names}, {"label2id", numbers}, {"problem_type", problem}} {
		if err := set(c, key.name, key.value); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func set(c *bert.Config, key string, value any) error {
	text, err := json.Marshal(value)
	c.Other[key] = text
	return err
}
