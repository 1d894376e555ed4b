package hdf5

import (
	"bytes"
	"slices"
)

// root reads the links of the root group. The superblock may hold copies of the addresses of its B-tree and heap.
func (m *metadata) root(header, tree, heap uint64) error {
	messages, _, err := m.header(header)
	if err != nil {
		return err
	}
	m.links = map[string]uint64{}
	symbols := false
	for _, message := range messages {
		f := message.fields
		switch message.kind {
		case symbolsMessage:
			t, h := f.uint(8), f.uint(8)
			if f.short || symbols || tree != undefined && (tree != t || heap != h) {
				return damagedf("root group: two B-trees")
			}
			symbols = true
			err = m.symbols(t, h)
		case linkInfoMessage:
			err = m.linkInfo(&f)
		case linkMessage:
			err = m.link(&f)
		case dataspaceMessage, datatypeMessage, layoutMessage:
			err = damagedf("the root is not a group")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *metadata) linkInfo(f *fields) error {
	version, flags := f.uint(1), f.uint(1)
	if flags&1 != 0 {
		f.take(8)
	}
	m.dense = f.uint(8) != undefined
	f.take(8)
	if f.short || version != 0 || flags > 3 {
		return damagedf("root group: wrong link information")
	}
	return nil
}

func (m *metadata) link(f *fields) error {
	version, flags := f.uint(1), f.uint(1)
	kind := uint64(0)
	if flags&8 != 0 {
		kind = f.uint(1)
	}
	if flags&4 != 0 {
		f.take(8)
	}
	if flags&16 != 0 {
		f.take(1)
	}
	name := string(f.take(f.uint(1 << (flags & 3))))
	addr := uint64(softLink)
	if kind == 0 {
		addr = f.uint(8)
	}
	if f.short || version != 1 || flags > 31 || name == "" {
		return damagedf("root group: wrong link")
	}
	return m.add(name, addr)
}

func (m *metadata) add(name string, addr uint64) error {
	if _, twice := m.links[name]; twice {
		return damagedf("root group: two objects of the name %q", name)
	}
	m.links[name] = addr
	return nil
}

// bTree describes a B-tree of version 1.
type bTree struct {
	kind       byte
	k, keySize int
	key        func(key []byte) error               // for each key of a node, one more than there are children
	child      func(key []byte, child uint64) error // for each child of a leaf, in order
}

// walk visits a node of a tree and those below it. The level of the root is any, a negative number.
func (m *metadata) walk(t *bTree, addr uint64, level int) error {
	const what = "node of a B-tree"
	f, err := m.read(what, addr, uint64(24+2*t.k*8+(2*t.k+1)*t.keySize))
	if err != nil {
		return err
	}
	mark, kind, own, entries := string(f.take(4)), byte(f.uint(1)), int(f.uint(1)), int(f.uint(2))
	f.take(16)
	if mark != "TREE" || kind != t.kind || level >= 0 && own != level || entries > 2*t.k || own > 0 && entries == 0 {
		return damagedf("%s at %d: %q, kind %d, level %d, %d entries", what, addr, mark, kind, own, entries)
	}
	for range entries {
		key, child := f.take(uint64(t.keySize)), f.uint(8)
		if err = t.key(key); err == nil && own > 0 {
			err = m.walk(t, child, own-1)
		} else if err == nil {
			err = t.child(key, child)
		}
		if err != nil {
			return err
		}
	}
	return t.key(f.take(uint64(t.keySize)))
}

// symbols reads the links of a group of the old kind.
func (m *metadata) symbols(tree, heap uint64) error {
	names, err := m.heap(heap)
	if err != nil {
		return err
	}
	last := ""
	nodes := &bTree{kind: 0, k: m.groupK, keySize: 8}
	nodes.key = func(key []byte) error {
		_, err := nameAt(names, key)
		return err
	}
	nodes.child = func(_ []byte, child uint64) error { return m.symbolNode(child, names, &last) }
	return m.walk(nodes, tree, -1)
}

// symbolNode reads a node of links, whose names come in order and after last.
func (m *metadata) symbolNode(addr uint64, names []byte, last *string) error {
	const what = "symbol table node"
	f, err := m.read(what, addr, uint64(8+2*m.leafK*40))
	if err != nil {
		return err
	}
	mark, version, entries := string(f.take(4)), f.uint(2), int(f.uint(2))
	if mark != "SNOD" || version != 1 || entries > 2*m.leafK {
		return damagedf("%s at %d: %q, version %d, %d entries", what, addr, mark, version, entries)
	}
	for range entries {
		name, err := nameAt(names, f.take(8))
		if err != nil {
			return err
		}
		header, cache, _, scratch := f.uint(8), f.uint(4), f.uint(4), f.take(16)
		if cache == 2 { // a soft link: where its path begins
			header = softLink
			_, err = nameAt(names, append(scratch[:4:4], 0, 0, 0, 0))
		}
		if cache > 2 || name <= *last || err != nil {
			return damagedf("%s at %d: wrong entry %q", what, addr, name)
		}
		*last = name
		if err := m.add(name, header); err != nil {
			return err
		}
	}
	return nil
}

// nameAt returns the name that begins at an offset of a heap.
func nameAt(names, offset []byte) (string, error) {
	at := (&fields{rest: offset}).uint(8)
	if at < uint64(len(names)) {
		if n := bytes.IndexByte(names[at:], 0); n >= 0 {
			return string(names[at:][:n]), nil
		}
	}
	return "", damagedf("the name at %d of a heap has no end", at)
}

// heap reads the names of a group of the old kind.
func (m *metadata) heap(addr uint64) ([]byte, error) {
	const what, lastFree = "heap", 1
	f, err := m.read(what, addr, 32)
	if err != nil {
		return nil, err
	}
	mark, version, size, free, data := string(f.take(4)), f.uint(4), f.uint(8), f.uint(8), f.uint(8)
	if mark != "HEAP" || version&0xff != 0 {
		return nil, damagedf("%s at %d: %q, version %d", what, addr, mark, version&0xff)
	}
	if f, err = m.read(what, data, size); err != nil {
		return nil, err
	}
	names := f.rest
	var blocks []extent // those that are free
	for free != lastFree {
		if free > size || size-free < 16 {
			return nil, damagedf("%s at %d: free space beyond its end", what, addr)
		}
		block := fields{rest: names[free:]}
		next, n := block.uint(8), block.uint(8)
		if n < 16 || n > size-free || uint64(len(blocks)) > size/16 {
			return nil, damagedf("%s at %d: wrong free space", what, addr)
		}
		blocks = append(blocks, extent{free, free + n})
		free = next
	}
	slices.SortFunc(blocks, func(a, b extent) int { return int(a.from) - int(b.from) })
	for i := 1; i < len(blocks); i++ {
		if blocks[i].from < blocks[i-1].to {
			return nil, damagedf("%s at %d: free space twice", what, addr)
		}
	}
	return names, nil
}
