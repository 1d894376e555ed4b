package finetune

import (
	"fmt"

	"hpcbert/lib/bert"
)

// configOf returns the shape with what Hugging Face reads of a model for a task: its class, and the names of the classes.
func configOf(cfg *bert.Config, head Head, labels []string) (*bert.Config, error) {
	c := cfg.Clone()
	if head.Kind == Span {
		c.SetClass("BertForQuestionAnswering")
		return c, nil
	}
	if labels == nil {
		labels = bert.Numbered(head.Outputs)
	}
	if len(labels) != head.Outputs {
		return nil, fmt.Errorf("%d labels of %d classes", len(labels), head.Outputs)
	}
	c.SetClass("BertForSequenceClassification")
	c.SetLabels(labels)
	problem := "single_label_classification"
	if head.Kind == Regression {
		problem = "regression"
	}
	c.Set("problem_type", problem)
	return c, nil
}
