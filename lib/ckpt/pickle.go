package ckpt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Values of a pickle beside nil, bool, int64, float64 and string.
type (
	tuple []any
	list  struct{ items []any }
	dict  struct{ items []item }
	item  struct{ key, value any }
	// global is a class or function by its name; none is ever called.
	global struct{ module, name string }
	// opaque is what nothing is known of: an object of a foreign class, a set, a long text or number.
	opaque struct{ what string }
)

// get returns what a dictionary has under a text, nil if nothing. Later entries replace earlier ones.
func (d *dict) get(key string) any {
	for i := len(d.items) - 1; i >= 0; i-- {
		if name, ok := d.items[i].key.(string); ok && name == key {
			return d.items[i].value
		}
	}
	return nil
}

// maxText is the longest text of a pickle that is kept: a data set that somebody saved beside the weights must not fill the memory.
const maxText = 1 << 16

const maxProtocol = 5

// Opcodes of the pickle machine, protocols 2 to 5 (Python's pickletools tells what each does).
const (
	markOp            = '('
	stopOp            = '.'
	popOp             = '0'
	popMarkOp         = '1'
	dupOp             = '2'
	floatOp           = 'G'
	int4Op            = 'J'
	int1Op            = 'K'
	int2Op            = 'M'
	noneOp            = 'N'
	persidOp          = 'Q'
	reduceOp          = 'R'
	string4Op         = 'T'
	string1Op         = 'U'
	unicode4Op        = 'X'
	appendOp          = 'a'
	buildOp           = 'b'
	globalOp          = 'c'
	appendsOp         = 'e'
	get1Op            = 'h'
	get4Op            = 'j'
	put1Op            = 'q'
	put4Op            = 'r'
	setItemOp         = 's'
	tupleOp           = 't'
	setItemsOp        = 'u'
	emptyListOp       = ']'
	emptyDictOp       = '}'
	emptyTupleOp      = ')'
	bytes4Op          = 'B'
	bytes1Op          = 'C'
	protoOp           = 0x80
	newObjectOp       = 0x81
	tuple1Op          = 0x85
	tuple2Op          = 0x86
	tuple3Op          = 0x87
	trueOp            = 0x88
	falseOp           = 0x89
	long1Op           = 0x8a
	long4Op           = 0x8b
	unicode1Op        = 0x8c
	unicode8Op        = 0x8d
	bytes8Op          = 0x8e
	emptySetOp        = 0x8f
	addItemsOp        = 0x90
	frozenSetOp       = 0x91
	newObjectKeywords = 0x92
	stackGlobalOp     = 0x93
	memoizeOp         = 0x94
	frameOp           = 0x95
	byteArray8Op      = 0x96
)

// widths are the bytes of the number behind an opcode: a value, a length or a place.
var widths = [256]int{
	int1Op: 1, int2Op: 2, int4Op: 4, long1Op: 1, long4Op: 4, put1Op: 1, put4Op: 4, get1Op: 1, get4Op: 4, frameOp: 8,
	string1Op: 1, bytes1Op: 1, unicode1Op: 1, string4Op: 4, bytes4Op: 4, unicode4Op: 4, unicode8Op: 8, bytes8Op: 8, byteArray8Op: 8,
}

// unpickler runs the machine of Python's pickle without Python: it builds values, and objects only through call and persistent, which know
// all that may be built.
type unpickler struct {
	in         *bufio.Reader
	at         int64 // byte of the file
	op         int64 // where the current opcode is
	call       func(f global, args tuple) (any, error)
	persistent func(id any) (any, error)

	stack []any
	marks []int
	memo  map[uint32]any
}

var (
	errStack = errors.New("the stack is empty")
	errType  = errors.New("a value of another kind is on the stack")
)

// run reads one pickle, up to its end.
func (u *unpickler) run() (any, error) {
	u.stack, u.marks, u.memo = nil, nil, map[uint32]any{}
	for {
		u.op = u.at
		code, err := u.byte()
		if err == nil && code == stopOp {
			var v any
			if v, err = u.pop(); err == nil {
				return v, nil
			}
		} else if err == nil {
			err = u.step(code)
		}
		if err != nil {
			return nil, fmt.Errorf("pickle, byte %d, opcode 0x%02x: %w", u.op, code, err)
		}
	}
}

func (u *unpickler) step(code byte) error {
	known, err := u.atom(code)
	if !known {
		known, err = u.text(code)
	}
	if !known {
		known, err = u.container(code)
	}
	if !known {
		known, err = u.object(code)
	}
	if !known {
		return errors.New("unknown opcode")
	}
	return err
}

// atom knows numbers, constants, and what moves the stack.
func (u *unpickler) atom(code byte) (bool, error) {
	switch code {
	case protoOp:
		version, err := u.byte()
		if err == nil && version > maxProtocol {
			err = fmt.Errorf("pickle protocol %d", version)
		}
		return true, err
	case frameOp:
		_, err := u.number(widths[code])
		return true, err
	case noneOp:
		u.push(nil)
	case trueOp, falseOp:
		u.push(code == trueOp)
	case int1Op, int2Op:
		n, err := u.number(widths[code])
		return true, u.pushed(int64(n), err)
	case int4Op:
		n, err := u.number(widths[code])
		return true, u.pushed(int64(int32(n)), err)
	case floatOp:
		var raw [8]byte
		err := u.fill(raw[:])
		return true, u.pushed(math.Float64frombits(binary.BigEndian.Uint64(raw[:])), err)
	case long1Op, long4Op:
		n, err := u.number(widths[code])
		if err != nil {
			return true, err
		}
		return true, u.long(n)
	case markOp:
		u.marks = append(u.marks, len(u.stack))
	case popOp:
		_, err := u.pop()
		return true, err
	case popMarkOp:
		_, err := u.popMark()
		return true, err
	case dupOp:
		v, err := u.top()
		return true, u.pushed(v, err)
	default:
		return false, nil
	}
	return true, nil
}

// long reads a whole number of n bytes; what does not fit into int64 is kept as opaque, with its bytes in hex if they are few.
func (u *unpickler) long(n uint64) error {
	if n > 8 {
		v, err := u.string(n)
		if text, ok := v.(string); ok {
			v = &opaque{fmt.Sprintf("number %x", text)}
		}
		return u.pushed(v, err)
	}
	var raw [8]byte
	if err := u.fill(raw[:n]); err != nil {
		return err
	}
	v := int64(binary.LittleEndian.Uint64(raw[:]))
	if n > 0 {
		shift := 64 - 8*n
		v = v << shift >> shift // the sign
	}
	u.push(v)
	return nil
}

// text knows texts and bytes, which are kept alike.
func (u *unpickler) text(code byte) (bool, error) {
	switch code {
	case string1Op, bytes1Op, unicode1Op, string4Op, bytes4Op, unicode4Op, unicode8Op, bytes8Op, byteArray8Op:
		n, err := u.number(widths[code])
		if err != nil {
			return true, err
		}
		v, err := u.string(n)
		return true, u.pushed(v, err)
	}
	return false, nil
}

// string reads n bytes; long ones are skipped.
func (u *unpickler) string(n uint64) (any, error) {
	if n <= maxText {
		raw := make([]byte, n)
		err := u.fill(raw)
		return string(raw), err
	}
	if n > math.MaxInt64 {
		return nil, io.ErrUnexpectedEOF
	}
	skipped, err := io.CopyN(io.Discard, u.in, int64(n))
	u.at += skipped
	return &opaque{fmt.Sprintf("text of %d bytes", n)}, unexpected(err)
}

// container knows tuples, lists, dictionaries and sets.
func (u *unpickler) container(code byte) (bool, error) {
	switch code {
	case emptyTupleOp:
		u.push(tuple(nil))
	case emptyListOp:
		u.push(&list{})
	case emptyDictOp:
		u.push(&dict{})
	case emptySetOp:
		u.push(&opaque{"set"})
	case tuple1Op, tuple2Op, tuple3Op:
		items, err := u.popN(int(code-tuple1Op) + 1)
		return true, u.pushed(tuple(items), err)
	case tupleOp:
		items, err := u.popMark()
		return true, u.pushed(tuple(items), err)
	case frozenSetOp:
		_, err := u.popMark()
		return true, u.pushed(&opaque{"set"}, err)
	case appendOp, setItemOp:
		items, err := u.popN(1 + strings.IndexByte("as", code))
		if err != nil {
			return true, err
		}
		return true, u.extend(items, code == setItemOp)
	case appendsOp, setItemsOp, addItemsOp:
		items, err := u.popMark()
		if err != nil {
			return true, err
		}
		return true, u.extend(items, code == setItemsOp)
	default:
		return false, nil
	}
	return true, nil
}

// extend adds items to the container on top of the stack. Those of an opaque object are dropped.
func (u *unpickler) extend(items []any, pairs bool) error {
	v, err := u.top()
	if err != nil {
		return err
	}
	switch c := v.(type) {
	case *opaque:
		return nil
	case *list:
		if pairs {
			return errType
		}
		c.items = append(c.items, items...)
		return nil
	case *dict:
		if !pairs || len(items)%2 == 1 {
			return errType
		}
		for i := 0; i < len(items); i += 2 {
			c.items = append(c.items, item{items[i], items[i+1]})
		}
		return nil
	}
	return errType
}

// object knows names, calls and the memo.
func (u *unpickler) object(code byte) (bool, error) {
	switch code {
	case globalOp:
		module, err := u.line()
		if err != nil {
			return true, err
		}
		name, err := u.line()
		return true, u.pushed(global{module, name}, err)
	case stackGlobalOp:
		names, err := u.popN(2)
		if err != nil {
			return true, err
		}
		module, one := names[0].(string)
		name, two := names[1].(string)
		if !one || !two {
			return true, errType
		}
		u.push(global{module, name})
	case reduceOp, newObjectOp, newObjectKeywords:
		return true, u.apply(code == newObjectKeywords)
	case buildOp: // what is built keeps no attributes
		_, err := u.popN(1)
		return true, err
	case persidOp:
		id, err := u.pop()
		if err != nil {
			return true, err
		}
		v, err := u.persistent(id)
		return true, u.pushed(v, err)
	default:
		return u.remember(code)
	}
	return true, nil
}

// apply builds what a function gives, or a class, without calling either.
func (u *unpickler) apply(keywords bool) error {
	if keywords {
		if _, err := u.pop(); err != nil {
			return err
		}
	}
	pair, err := u.popN(2)
	if err != nil {
		return err
	}
	args, ok := pair[1].(tuple)
	if !ok {
		return errType
	}
	f, ok := pair[0].(global)
	if !ok { // a function that a foreign object has made
		u.push(&opaque{"object"})
		return nil
	}
	v, err := u.call(f, args)
	return u.pushed(v, err)
}

func (u *unpickler) remember(code byte) (bool, error) {
	switch code {
	case put1Op, put4Op:
		key, err := u.number(widths[code])
		if err != nil {
			return true, err
		}
		u.memo[uint32(key)], err = u.top()
		return true, err
	case memoizeOp:
		v, err := u.top()
		u.memo[uint32(len(u.memo))] = v
		return true, err
	case get1Op, get4Op:
		key, err := u.number(widths[code])
		if err != nil {
			return true, err
		}
		v, ok := u.memo[uint32(key)]
		if !ok {
			return true, fmt.Errorf("nothing is remembered as %d", key)
		}
		u.push(v)
		return true, nil
	}
	return false, nil
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

func (u *unpickler) pushed(v any, err error) error {
	if err == nil {
		u.push(v)
	}
	return err
}

// floor is where the part of the stack above the last mark starts.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

func (u *unpickler) top() (any, error) {
	if len(u.stack) <= u.floor() {
		return nil, errStack
	}
	return u.stack[len(u.stack)-1], nil
}

func (u *unpickler) pop() (any, error) {
	v, err := u.popN(1)
	if err != nil {
		return nil, err
	}
	return v[0], nil
}

// popN takes n values off; the caller may keep them.
func (u *unpickler) popN(n int) ([]any, error) {
	first := len(u.stack) - n
	if first < u.floor() {
		return nil, errStack
	}
	return u.cut(first), nil
}

func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, errors.New("no mark is on the stack")
	}
	first := u.floor()
	u.marks = u.marks[:len(u.marks)-1]
	return u.cut(first), nil
}

func (u *unpickler) cut(first int) []any {
	items := append([]any(nil), u.stack[first:]...)
	clear(u.stack[first:])
	u.stack = u.stack[:first]
	return items
}

func (u *unpickler) byte() (byte, error) {
	c, err := u.in.ReadByte()
	if err == nil {
		u.at++
	}
	return c, unexpected(err)
}

func (u *unpickler) fill(p []byte) error {
	n, err := io.ReadFull(u.in, p)
	u.at += int64(n)
	return unexpected(err)
}

// number reads an unsigned number of so many bytes.
func (u *unpickler) number(width int) (uint64, error) {
	var raw [8]byte
	err := u.fill(raw[:width])
	return binary.LittleEndian.Uint64(raw[:]), err
}

// line reads a name up to the end of its line.
func (u *unpickler) line() (string, error) {
	var line []byte
	for len(line) <= maxText {
		c, err := u.byte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return string(line), nil
		}
		line = append(line, c)
	}
	return "", errors.New("a name without end")
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
