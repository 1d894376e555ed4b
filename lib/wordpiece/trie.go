package wordpiece

import "slices"

// trie finds the longest piece at the start of some bytes. It is a double array: the child of node n by byte c is node base(n)+c if that
// names n as its parent. Node 0 is the root.
type trie []node

type node struct {
	base   int32
	parent int32 // -1 for a free node
	id     int32 // of the piece that ends here, -1 for none
}

// newTrie builds the trie of the pieces that ids names.
func newTrie(ids map[string]int32) trie {
	keys := make([]string, 0, len(ids))
	for key := range ids {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b := trieBuilder{nodes: trie{{parent: 0, id: -1}}, free: 1}
	b.room(0)
	b.grow(0, keys, 0, ids)
	return b.nodes
}

type trieBuilder struct {
	nodes trie
	free  int32 // no node before it is free
	loose int32 // from this base on most nodes are free
}

// grow builds what hangs below a node: keys, sorted, that share their first depth bytes.
func (b *trieBuilder) grow(at int32, keys []string, depth int, ids map[string]int32) {
	if len(keys) > 0 && len(keys[0]) == depth {
		b.nodes[at].id = ids[keys[0]]
		keys = keys[1:]
	}
	var labels []byte
	for _, key := range keys {
		if n := len(labels); n == 0 || labels[n-1] != key[depth] {
			labels = append(labels, key[depth])
		}
	}
	if len(labels) == 0 {
		return
	}
	base := b.place(labels)
	b.nodes[at].base = base
	for _, c := range labels {
		b.nodes[base+int32(c)].parent = at
	}
	for _, c := range labels {
		n := 1
		for n < len(keys) && keys[n][depth] == c {
			n++
		}
		b.grow(base+int32(c), keys[:n], depth+1, ids)
		keys = keys[n:]
	}
}

// place returns a base at which all labels meet free nodes.
func (b *trieBuilder) place(labels []byte) int32 {
	const patience = 64 // tries in the dense part, so that building takes linear time
	for b.free < int32(len(b.nodes)) && b.nodes[b.free].parent >= 0 {
		b.free++
	}
	base := max(0, b.free-int32(labels[0]))
	for tries := 0; ; tries++ {
		if tries == patience {
			base = max(base, b.loose)
		}
		b.room(base)
		if !slices.ContainsFunc(labels, func(c byte) bool { return b.nodes[base+int32(c)].parent >= 0 }) {
			if tries >= patience {
				b.loose = base
			}
			return base
		}
		base++
	}
}

// room makes nodes for any child of a node with that base; those without children have base 0.
func (b *trieBuilder) room(base int32) {
	for int(base)+256 > len(b.nodes) {
		b.nodes = append(b.nodes, node{parent: -1, id: -1})
	}
}

// longest returns the id of the longest piece that word starts with, and the piece's length; length 0 when there is none.
func (t trie) longest(word []byte) (id int32, length int) {
	at, base := int32(0), t[0].base
	for i, c := range word {
		next := base + int32(c)
		n := &t[next]
		if n.parent != at {
			break
		}
		at, base = next, n.base
		if n.id >= 0 {
			id, length = n.id, i+1
		}
	}
	return id, length
}
