package ckpt

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// momentParts are the files of the moments in our own directories.
const momentParts = "optimizer-*.safetensors"

// training is what a file of PyTorch's has beside the weights: the keys that NVIDIA's program writes.
type training struct {
	optimizer *dict
	masters   *list
}

// stateKeys are where programs put the weights when they save more.
var stateKeys = []string{"model", "state_dict", "model_state_dict"}

// addTorch adds the tensors of an unpickled object: the dictionary of weights, or whatever tensors it holds under names joined with dots.
func (s *Source) addTorch(top any, size int64) error {
	d, ok := top.(*dict)
	if !ok {
		what := "something else"
		if o, ok := top.(*opaque); ok {
			what = o.what
		}
		return fault.WithHint(fmt.Errorf("not a dictionary of tensors, but %s", what), "save model.state_dict() instead of the model")
	}
	var found []named
	for _, key := range stateKeys {
		if weights, ok := d.get(key).(*dict); ok && len(found) == 0 {
			found = directly(weights)
			s.readTraining(d)
		}
	}
	if len(found) == 0 {
		found = directly(d)
	}
	if len(found) == 0 {
		w := walker{seen: map[any]bool{}}
		w.walk("", d, 0)
		found = w.found
	}
	if len(found) == 0 {
		return fault.WithHint(errors.New("no tensors"), "save model.state_dict() instead of the model")
	}
	for _, n := range found {
		t := *n.tensor // one object may have several names
		t.Stored = n.name
		if err := s.add(&t, size); err != nil {
			return err
		}
	}
	return nil
}

type named struct {
	name   string
	tensor *Tensor
}

// directly returns the tensors of a dictionary, the last one of a name.
func directly(d *dict) []named {
	var found []named
	at := map[string]int{}
	for _, i := range d.items {
		name, one := i.key.(string)
		t, two := i.value.(*Tensor)
		if !one || !two {
			continue
		}
		if old, twice := at[name]; twice {
			found[old].tensor = t
			continue
		}
		at[name] = len(found)
		found = append(found, named{name, t})
	}
	return found
}

// walker finds tensors at any depth; a container that is there twice is walked once.
type walker struct {
	seen  map[any]bool
	found []named
}

const maxDepth = 16

func (w *walker) walk(name string, v any, depth int) {
	if t, ok := v.(*Tensor); ok {
		w.found = append(w.found, named{strings.TrimPrefix(name, "."), t})
		return
	}
	var items []item
	switch c := v.(type) {
	case *dict:
		items = c.items
	case *list:
		for i, value := range c.items {
			items = append(items, item{int64(i), value})
		}
	default:
		return
	}
	if w.seen[v] || depth == maxDepth {
		return
	}
	w.seen[v] = true
	for _, i := range items {
		switch i.key.(type) {
		case string, int64:
			w.walk(fmt.Sprintf("%s.%v", name, i.key), i.value, depth+1)
		}
	}
}

func (s *Source) readTraining(d *dict) {
	s.torch.optimizer, _ = d.get("optimizer").(*dict)
	s.torch.masters, _ = d.get("master params").(*list)
	s.State.Epoch, _ = d.get("epoch").(int64)
	if s.torch.optimizer == nil {
		return
	}
	s.State.Known = true
	groups, _ := s.torch.optimizer.get("param_groups").(*list)
	if groups == nil || len(groups.items) == 0 {
		return
	}
	if group, ok := groups.items[0].(*dict); ok {
		s.State.Step = whole(group.get("step"))
		s.State.LearningRate, _ = group.get("lr").(float64)
	}
	states, _ := s.torch.optimizer.get("state").(*dict)
	if states == nil || len(states.items) == 0 {
		return
	}
	first, ok := states.items[0].value.(*dict)
	if !ok {
		return
	}
	var kept []string
	for _, i := range first.items {
		if key, ok := i.key.(string); ok && key != "step" {
			kept = append(kept, key)
		}
	}
	s.State.Optimizer = strings.Join(kept, ", ")
	if s.State.Step == 0 {
		s.State.Step = whole(first.get("step"))
	}
}

// whole reads a count, which some versions keep as a tensor.
func whole(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}

// OpenMoments opens the moments of a checkpoint, under the names of their parameters behind FirstMoment and SecondMoment. The error is
// fs.ErrNotExist where there are none.
func OpenMoments(path string) (*Source, error) {
	file, err := Find(path)
	if err != nil {
		return nil, err
	}
	parts, err := stream.InFolder(filepath.Dir(file), momentParts)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		s, err := Open(file)
		if err != nil {
			return nil, err
		}
		if err := s.toMoments(); err != nil {
			s.Close()
			return nil, fmt.Errorf("read %s: %w", s.Name, err)
		}
		return s, nil
	}
	s := &Source{Name: parts[0], tensors: map[string]*Tensor{}}
	for _, part := range parts {
		if err := s.open(part); err != nil {
			s.Close()
			return nil, fmt.Errorf("read %s: %w", part, err)
		}
	}
	return s, nil
}

// toMoments puts the moments in the place of the weights.
func (s *Source) toMoments() error {
	if s.torch.optimizer == nil {
		return fmt.Errorf("optimizer state: %w", fs.ErrNotExist)
	}
	params, ids, err := s.optimizerOrder()
	if err != nil {
		return err
	}
	states := map[int64]*dict{}
	if all, ok := s.torch.optimizer.get("state").(*dict); ok {
		for _, i := range all.items {
			id, _ := i.key.(int64)
			states[id], _ = i.value.(*dict)
		}
	}
	s.tensors, s.order = map[string]*Tensor{}, nil
	size, err := s.size()
	if err != nil {
		return err
	}
	for i, p := range params {
		state := states[ids[i]]
		for _, prefix := range []string{FirstMoment, SecondMoment} {
			key := strings.TrimSuffix(prefix, ".")
			if state == nil || state.get(key) == nil {
				return fmt.Errorf("optimizer state: no %s of %s", key, p.Name)
			}
			if err := s.addFor(p, prefix, state.get(key), size); err != nil {
				return fmt.Errorf("optimizer state: %s of %s: %w", key, p.Name, err)
			}
		}
	}
	return nil
}

// addFor adds a value that has to be a tensor of the shape of a parameter.
func (s *Source) addFor(p *Tensor, prefix string, v any, size int64) error {
	t, ok := v.(*Tensor)
	if !ok {
		return errors.New("not a tensor")
	}
	if !slices.Equal(t.Shape, p.Shape) {
		return fmt.Errorf("shape %v, the parameter has %v", t.Shape, p.Shape)
	}
	own := *t
	own.Stored = prefix + p.Name
	return s.add(&own, size)
}

func (s *Source) size() (int64, error) {
	info, err := s.files[0].Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// optimizerOrder returns the parameters in the order of the optimiser and what it calls them. NVIDIA's program has two groups, those that
// decay and then the others, each in the model's order.
func (s *Source) optimizerOrder() (params []*Tensor, ids []int64, err error) {
	groups, _ := s.torch.optimizer.get("param_groups").(*list)
	if groups == nil || len(groups.items) != 2 {
		return nil, nil, errors.New("optimizer: known are two groups of parameters, with and without weight decay")
	}
	for g, v := range groups.items {
		before := len(params)
		for _, t := range s.order {
			if t.Floating() && !IsCopy(t.Name) && Decays(t.Name) == (g == 0) {
				params = append(params, t)
			}
		}
		group, _ := v.(*dict)
		if group == nil {
			return nil, nil, fmt.Errorf("optimizer: group %d is no dictionary", g)
		}
		members, _ := group.get("params").(*list)
		if members == nil || len(members.items) != len(params)-before {
			return nil, nil, fmt.Errorf("optimizer: group %d has not the %d parameters that the model has for it", g, len(params)-before)
		}
		for _, m := range members.items {
			id, ok := m.(int64)
			if !ok {
				return nil, nil, fmt.Errorf("optimizer: group %d: a parameter has no number", g)
			}
			ids = append(ids, id)
		}
	}
	return params, ids, nil
}

// UseMasters puts the float32 masters of a training in half precision in the place of the weights, and tells whether there were any.
func (s *Source) UseMasters() (bool, error) {
	if s.torch.masters == nil || s.torch.optimizer == nil {
		return false, nil
	}
	err := s.useMasters()
	if err != nil {
		err = fmt.Errorf("read %s: master params: %w", s.Name, err)
	}
	return err == nil, err
}

func (s *Source) useMasters() error {
	params, _, err := s.optimizerOrder()
	if err != nil {
		return err
	}
	if len(params) != len(s.torch.masters.items) {
		return fmt.Errorf("%d tensors for %d parameters", len(s.torch.masters.items), len(params))
	}
	size, err := s.size()
	if err != nil {
		return err
	}
	masters := Source{tensors: map[string]*Tensor{}}
	for i, p := range params {
		if err := masters.addFor(p, "", s.torch.masters.items[i], size); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	for i, t := range s.order {
		if m := masters.tensors[t.Name]; m != nil {
			s.order[i], s.tensors[t.Name] = m, m
		}
	}
	return nil
}
