package ckpt

import (
	"regexp"
	"strings"
)

// names turns, one line after the other, the names that other programs give BERT's tensors into Hugging Face's.
var names = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`^module\.`), ""}, // PyTorch's DistributedDataParallel
	{regexp.MustCompile(`\bdense_act\.`), "dense."},
	{regexp.MustCompile(`\bLayerNorm\.gamma$`), "LayerNorm.weight"},
	{regexp.MustCompile(`\bLayerNorm\.beta$`), "LayerNorm.bias"},
	{regexp.MustCompile(`^(embeddings|encoder|pooler)\.`), "bert.$1."}, // a BertModel without heads

	{regexp.MustCompile(`/layer_(\d+)/`), "/layer/$1/"}, // from here on Google's
	{regexp.MustCompile(`^cls/squad/`), "qa_outputs/"},
	{regexp.MustCompile(`/(kernel|gamma|output_weights)$`), "/weight"},
	{regexp.MustCompile(`/(beta|output_bias)$`), "/bias"},
	{regexp.MustCompile(`^(.*/.*_embeddings)$`), "$1/weight"},
}

// canonical returns Hugging Face's name for a tensor's.
func canonical(name string) string {
	for _, n := range names {
		name = n.pattern.ReplaceAllString(name, n.name)
	}
	return strings.ReplaceAll(name, "/", ".")
}

// IsCopy tells of tensors that files hold beside the parameter that they are a copy of, or that count positions.
func IsCopy(name string) bool {
	switch name {
	case "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.embeddings.position_ids":
		return true
	}
	return false
}

// ofVocabulary tells of tensors that have a row for each token.
func ofVocabulary(name string) bool {
	switch strings.TrimPrefix(strings.TrimPrefix(name, FirstMoment), SecondMoment) {
	case "bert.embeddings.word_embeddings.weight", "cls.predictions.bias", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias":
		return true
	}
	return false
}

// Decays tells whether weight decay and a trust ratio apply to a parameter: which of the two groups of NVIDIA's optimiser it is in.
func Decays(name string) bool {
	for _, part := range []string{"bias", "gamma", "beta", "LayerNorm"} {
		if strings.Contains(name, part) {
			return false
		}
	}
	return true
}
