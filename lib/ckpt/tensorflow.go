package ckpt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"

	"hpcbert/lib/fault"
)

// Numbers of TensorFlow's index, a table as LevelDB's.
const (
	footerBytes = 48
	tableMagic  = 0xdb4775248b80fb57
	maxIndex    = 256 << 20 // bytes of an index that are believed
)

// bundleTypes are TensorFlow's DataType numbers.
var bundleTypes = map[uint64]string{1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 9: "I64", 10: "BOOL", 14: "BF16", 17: "U16", 19: "F16", 22: "U32", 23: "U64"}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// unmask takes back what LevelDB does to a stored CRC.
func unmask(crc uint32) uint32 {
	crc -= 0xa282ead8
	return crc>>17 | crc<<15
}

// openTensorFlow reads the index of a checkpoint of TensorFlow (V2, a tensor bundle); the data are in the files beside it.
func (s *Source) openTensorFlow(f *os.File, size int64) error {
	s.Kind = "TensorFlow"
	if size > maxIndex {
		return fmt.Errorf("an index of %d bytes", size)
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	entries, err := tableEntries(data)
	if err != nil {
		return fault.WithHint(err, "the index is damaged or cut off, or not one of TensorFlow: fetch it again")
	}
	shards := map[uint64]*storage{}
	count := uint64(1)
	for _, e := range entries {
		if e.key == "" {
			if count, err = shardCount(e.value); err != nil {
				return err
			}
		} else if err := s.addBundle(e, count, shards); err != nil {
			return fmt.Errorf("tensor %q: %w", e.key, err)
		}
	}
	return nil
}

type entry struct {
	key   string
	value []byte
}

func tableEntries(data []byte) ([]entry, error) {
	if len(data) < footerBytes || binary.LittleEndian.Uint64(data[len(data)-8:]) != tableMagic {
		return nil, errors.New("no table's end")
	}
	footer := reader{data: data[len(data)-footerBytes:]}
	footer.varint() // the meta index: start
	footer.varint() // and length
	index, err := block(data, footer.varint(), footer.varint())
	if err != nil || footer.bad {
		return nil, errors.Join(errors.New("index block"), err)
	}
	var all []entry
	for _, e := range index {
		handle := reader{data: e.value}
		start, length := handle.varint(), handle.varint()
		entries, err := block(data, start, length)
		if err != nil || handle.bad {
			return nil, errors.Join(fmt.Errorf("block at byte %d", start), err)
		}
		all = append(all, entries...)
	}
	return all, nil
}

// block decodes a block: entries that share the start of their key with the one before, a list of restarts, a type and a CRC.
func block(data []byte, start, length uint64) ([]entry, error) {
	if start > uint64(len(data)) || length > uint64(len(data))-start || uint64(len(data))-start-length < 5 || length < 4 {
		return nil, fmt.Errorf("%d bytes from byte %d on, in an index of %d", length, start, len(data))
	}
	body, trailer := data[start:start+length], data[start+length:][:5]
	if got := crc32.Checksum(data[start:start+length+1], castagnoli); got != unmask(binary.LittleEndian.Uint32(trailer[1:])) {
		return nil, fmt.Errorf("its CRC-32C at byte %d does not fit", start+length+1)
	}
	if trailer[0] != 0 {
		return nil, fmt.Errorf("compressed in form %d, which checkpoints are not", trailer[0])
	}
	restarts := uint64(binary.LittleEndian.Uint32(body[length-4:]))
	if restarts > (length-4)/4 {
		return nil, fmt.Errorf("%d restarts in %d bytes", restarts, length)
	}
	in := reader{data: body[:length-4-4*restarts]}
	var entries []entry
	var key []byte
	for len(in.data) > 0 && !in.bad {
		shared, own, value := in.varint(), in.varint(), in.varint()
		if shared > uint64(len(key)) {
			return nil, errors.New("a key shares more than there is")
		}
		key = append(key[:shared:shared], in.take(own)...)
		entries = append(entries, entry{string(key), in.take(value)})
	}
	if in.bad {
		return nil, errors.New("an entry is cut off")
	}
	return entries, nil
}

// reader takes numbers and bytes off data; what is not there makes it bad.
type reader struct {
	data []byte
	bad  bool
}

func (r *reader) varint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.data)) {
		r.bad, r.data = true, nil
		return nil
	}
	taken := r.data[:n]
	r.data = r.data[n:]
	return taken
}

// fields calls f for each field of a protocol buffer: number, its value where it is a number, its bytes where it has some.
func fields(data []byte, f func(field, value uint64, raw []byte)) error {
	in := reader{data: data}
	for len(in.data) > 0 {
		tag := in.varint()
		var value uint64
		var raw []byte
		switch tag & 7 {
		case 0:
			value = in.varint()
		case 1:
			raw = in.take(8)
		case 2:
			raw = in.take(in.varint())
		case 5:
			if raw = in.take(4); raw != nil {
				value = uint64(binary.LittleEndian.Uint32(raw))
			}
		default:
			in.bad = true
		}
		if in.bad {
			return errors.New("its entry is damaged")
		}
		f(tag>>3, value, raw)
	}
	return nil
}

func shardCount(header []byte) (count uint64, err error) {
	var endian uint64
	err = fields(header, func(field, value uint64, _ []byte) {
		switch field {
		case 1:
			count = value
		case 2:
			endian = value
		}
	})
	if err == nil && (endian != 0 || count < 1 || count > 1<<16) {
		err = fmt.Errorf("index header: %d data files, endianness %d", count, endian)
	}
	return count, err
}

// bundle is a BundleEntryProto.
type bundle struct {
	dtype, shard, offset, size, crc uint64
	shape                           []int
	sliced                          bool
}

func readBundle(value []byte) (b bundle, err error) {
	var inner error
	err = fields(value, func(field, n uint64, raw []byte) {
		switch field {
		case 1:
			b.dtype = n
		case 2:
			inner = fields(raw, func(field, _ uint64, dim []byte) {
				if field == 2 {
					b.shape = append(b.shape, 0)
					inner = errors.Join(inner, fields(dim, func(field, n uint64, _ []byte) {
						if field == 1 {
							b.shape[len(b.shape)-1] = int(n)
						}
					}))
				}
			})
		case 3:
			b.shard = n
		case 4:
			b.offset = n
		case 5:
			b.size = n
		case 6:
			b.crc = n
		case 7:
			b.sliced = true
		}
	})
	return b, errors.Join(err, inner)
}

// slots are what optimisers keep beside a variable.
var slots = []string{"adam_m", "adam_v", "Momentum", "Adam", "Adam_1"}

func (s *Source) addBundle(e entry, count uint64, shards map[uint64]*storage) error {
	b, err := readBundle(e.value)
	if err != nil {
		return err
	}
	dtype := bundleTypes[b.dtype]
	if dtype == "" || b.sliced || e.key == "global_step" || slices.Contains(slots, path.Base(e.key)) {
		return nil
	}
	if b.shard >= count {
		return fmt.Errorf("in data file %d of %d", b.shard, count)
	}
	shard, err := s.dataFile(shards, b.shard, count)
	if err != nil {
		return err
	}
	if b.size > math.MaxInt64 || b.offset > uint64(shard.bytes) || b.size > uint64(shard.bytes)-b.offset {
		return fault.WithHint(fmt.Errorf("%d bytes from byte %d on, %s has %d", b.size, b.offset, shard.where, shard.bytes), "the data file is cut off: fetch it again")
	}
	at := &storage{file: shard.file, where: shard.where, first: int64(b.offset), bytes: int64(b.size)}
	t := &Tensor{Stored: e.key, DType: dtype, Shape: b.shape, storage: at}
	stored := *t
	if path.Base(e.key) == "kernel" && len(b.shape) == 2 { // stored [in, out]
		t.Shape, t.strides = []int{b.shape[1], b.shape[0]}, []int64{1, int64(b.shape[1])}
	}
	if err := s.add(t, shard.bytes); err != nil {
		return err
	}
	if int64(t.Len())*elementSize[dtype] != at.bytes {
		return fmt.Errorf("shape %v does not fill %d bytes", b.shape, at.bytes)
	}
	s.sums = append(s.sums, func() error { return stored.checkCRC(unmask(uint32(b.crc))) })
	return nil
}

func (t *Tensor) checkCRC(want uint32) error {
	sum := crc32.New(castagnoli)
	in, err := t.raw()
	if err != nil {
		return err
	}
	if _, err := io.Copy(sum, in); err != nil {
		return fmt.Errorf("tensor %q: %w", t.Stored, err)
	}
	if sum.Sum32() != want {
		return fmt.Errorf("tensor %q (%s and on): its CRC-32C is %08x, written was %08x", t.Stored, t.Place(0), sum.Sum32(), want)
	}
	return nil
}

// dataFile opens a data file when the first of its tensors comes.
func (s *Source) dataFile(shards map[uint64]*storage, shard, count uint64) (*storage, error) {
	if shards[shard] != nil {
		return shards[shard], nil
	}
	f, err := os.Open(fmt.Sprintf("%s.data-%05d-of-%05d", strings.TrimSuffix(s.Name, ".index"), shard, count))
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, f)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	shards[shard] = &storage{file: f, where: f.Name(), bytes: info.Size()}
	return shards[shard], nil
}
