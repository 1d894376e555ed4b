package train

import (
	"fmt"

	"hpcbert/lib/bert"
	"hpcbert/lib/fault"
	"hpcbert/lib/pretrain"
)

// ReadShape reads the shape of a model that is to be trained on a set; where it has no vocabulary size, that of the set is taken.
func ReadShape(name string, set *pretrain.Set) (*bert.Config, error) {
	cfg, err := bert.ReadConfig(name)
	if err != nil || cfg.VocabSize > 0 {
		return cfg, err
	}
	if cfg.VocabSize = set.VocabSize; cfg.VocabSize == 0 {
		return nil, fault.WithHint(fmt.Errorf("%s has no vocab.txt and %s no vocab_size", set.Dir, name), "give --vocab FILE, the vocabulary that the shards were made with")
	}
	return cfg, nil
}
