package train

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"hpcbert/lib/comm"
	"hpcbert/lib/fault"
)

// SameOnAllRanks refuses ranks that would train different things: other options, data, model shape, update or weights than rank 0's, as when
// the nodes do not share a folder. All ranks call it before Run.
func (t *Trainer) SameOnAllRanks() error {
	mine, err := t.fingerprint()
	if err := comm.Together(t.comm, err); err != nil {
		return err
	}
	first := slices.Clone(mine)
	if err := t.comm.Bcast(first, 0); err != nil {
		return err
	}
	if !bytes.Equal(first, mine) {
		err = fault.WithHint(fmt.Errorf("rank %d on %s is at step %d with other options, data, model shape or weights than rank 0", t.comm.Rank(), t.comm.Host(), t.step),
			"give all ranks the same command, and folders that all nodes share")
	}
	return comm.Together(t.comm, err)
}

// fingerprint is a hash of all that ranks must have in common.
func (t *Trainer) fingerprint() ([]byte, error) {
	text, err := json.Marshal(t.state())
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	h.Write(text)
	o := t.opt // what of it decides when ranks meet, what they bring, and what the moments are
	fmt.Fprintln(h, t.end(), o.SaveEvery, o.SaveNothing, o.LogEvery, o.MicroBatch, o.Reduction, o.Scaling, o.VerifyEvery, o.ResetMoments)
	h.Write(t.model.Config.JSON())
	for _, p := range t.model.Params {
		for part := range slices.Chunk(t.host(t.model.Weight(p.Name)), 1<<16) {
			binary.Write(h, binary.LittleEndian, part)
		}
	}
	return h.Sum(nil), t.stream.Err()
}
