package ckpt

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path"
	"strings"

	"hpcbert/lib/fault"
)

// storageTypes are the element types of PyTorch's storage classes.
var storageTypes = map[string]string{
	"FloatStorage": "F32", "DoubleStorage": "F64", "HalfStorage": "F16", "BFloat16Storage": "BF16", "LongStorage": "I64", "IntStorage": "I32",
	"ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128",
	"UntypedStorage": "U8",
}

// dtypes are PyTorch's names of element types that no storage class stands for.
var dtypes = map[string]string{
	"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8",
	"bool": "BOOL", "complex64": "C64", "complex128": "C128", "uint16": "U16", "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}

// storageView is a storage as a pickle sees it: with a type, and perhaps only a part of it.
type storageView struct {
	storage *storage
	dtype   string
	offset  int64 // elements
}

// torchFile reads the pickles of a file of torch.save and builds tensors, nothing else.
type torchFile struct {
	locate   func(key string, bytes int64) (*storage, error)
	storages map[string]*storageView // by key
}

func newTorchFile(locate func(key string, bytes int64) (*storage, error)) *torchFile {
	return &torchFile{locate: locate, storages: map[string]*storageView{}}
}

func (f *torchFile) unpickler(in io.Reader, at int64) *unpickler {
	return &unpickler{in: bufio.NewReaderSize(in, 1<<16), at: at, call: f.call, persistent: f.persistent}
}

// persistent returns the storage that ("storage", class, key, device, elements[, view]) means.
func (f *torchFile) persistent(id any) (any, error) {
	fields, _ := id.(tuple)
	if len(fields) < 5 || fields[0] != any("storage") {
		return nil, errors.New("a reference to something else than a storage")
	}
	class, _ := fields[1].(global)
	key, named := fields[2].(string)
	count, counted := fields[4].(int64)
	dtype := storageTypes[class.name]
	switch {
	case !named || !counted || count < 0:
		return nil, errType
	case dtype == "" || !strings.HasPrefix(class.module+".", "torch."):
		return &opaque{class.module + "." + class.name}, nil
	case count > math.MaxInt64/elementSize[dtype]:
		return nil, fmt.Errorf("storage %q of %d elements", key, count)
	}
	view := f.storages[key]
	if view == nil {
		at, err := f.locate(key, count*elementSize[dtype])
		if err != nil {
			return nil, err
		}
		view = &storageView{storage: at, dtype: dtype}
		f.storages[key] = view
	}
	if view.dtype != dtype {
		return nil, fmt.Errorf("storage %q is of type %s and of type %s", key, view.dtype, dtype)
	}
	if len(fields) == 6 { // PyTorch before 0.4: a part of another storage, (key, first element, elements)
		if part, ok := fields[5].(tuple); ok && len(part) == 3 {
			offset, ok := part[1].(int64)
			if !ok || offset < 0 {
				return nil, errType
			}
			return &storageView{view.storage, dtype, offset}, nil
		}
	}
	return view, nil
}

// call is all that a pickle can have done: PyTorch's ways to rebuild a tensor, and ordered dictionaries.
func (f *torchFile) call(fn global, args tuple) (any, error) {
	switch fn.module + "." + fn.name {
	case "collections.OrderedDict":
		return orderedDict(args)
	case "torch.Size":
		if len(args) == 1 {
			return args[0], nil
		}
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return rebuild(args, "")
	case "torch._utils._rebuild_tensor_v3":
		if len(args) < 7 {
			return nil, errType
		}
		dtype, _ := args[6].(global)
		return rebuild(args, dtypes[dtype.name])
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) > 0 {
			return args[0], nil
		}
	case "torch._tensor._rebuild_from_type_v2":
		if len(args) == 4 {
			inner, known := args[0].(global)
			if fields, ok := args[2].(tuple); ok && known && inner != fn {
				return f.call(inner, fields)
			}
		}
	}
	return &opaque{fn.module + "." + fn.name}, nil
}

func orderedDict(args tuple) (any, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*list)
	if !ok {
		return nil, errType
	}
	for _, p := range pairs.items {
		pair, ok := p.(tuple)
		if l, isList := p.(*list); isList {
			pair, ok = l.items, true
		}
		if !ok || len(pair) != 2 {
			return nil, errType
		}
		d.items = append(d.items, item{pair[0], pair[1]})
	}
	return d, nil
}

// rebuild makes a tensor of (storage, offset, size, stride, ...). Its place in the file is checked when it is added to a source.
func rebuild(args tuple, dtype string) (any, error) {
	if len(args) < 4 {
		return nil, errType
	}
	view, ok := args[0].(*storageView)
	if !ok {
		return &opaque{"tensor in a storage of unknown type"}, nil
	}
	offset, counted := args[1].(int64)
	sizes, sized := args[2].(tuple)
	strides, strided := args[3].(tuple)
	if !counted || !sized || !strided || len(sizes) != len(strides) || len(sizes) > 64 {
		return nil, errType
	}
	t := &Tensor{DType: view.dtype, storage: view.storage, offset: offset, Shape: []int{}, strides: []int64{}}
	if dtype != "" {
		t.DType = dtype
	}
	if view.offset > 0 {
		if offset < 0 || offset > math.MaxInt64-view.offset {
			return nil, errType
		}
		t.offset += view.offset
	}
	for i := range sizes {
		size, one := sizes[i].(int64)
		stride, two := strides[i].(int64)
		if !one || !two {
			return nil, errType
		}
		t.Shape, t.strides = append(t.Shape, int(size)), append(t.strides, stride)
	}
	return t, nil
}

// openZip reads torch.save's archive: a pickle data.pkl, and a record data/KEY for each storage, none compressed.
func (s *Source) openZip(f *os.File, size int64) error {
	s.Kind = "PyTorch zip"
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return fault.WithHint(fmt.Errorf("zip archive: %w", err), "the file is damaged or cut off: write or fetch it again")
	}
	records := map[string]*storage{}
	var pickle *storage
	var folder string // of all records
	for _, r := range archive.File {
		record, err := zipRecord(f, r, size)
		if err != nil {
			return fmt.Errorf("record %q: %w", r.Name, err)
		}
		records[r.Name] = record
		if path.Base(r.Name) == "data.pkl" && strings.Count(r.Name, "/") <= 1 {
			pickle, folder = record, path.Dir(r.Name)
		}
		s.sums = append(s.sums, func() error { return crc(record, r) })
	}
	if pickle == nil {
		return fault.WithHint(errors.New("a zip archive without data.pkl"), "only PyTorch's archives are read; unpack others first")
	}
	if order := records[path.Join(folder, "byteorder")]; order != nil {
		text, err := io.ReadAll(io.NewSectionReader(f, order.first, min(order.bytes, 16)))
		if err != nil || string(text) != "little" {
			return fmt.Errorf("byte order %q is not supported, only little", text)
		}
	}
	t := newTorchFile(func(key string, bytes int64) (*storage, error) {
		record := records[path.Join(folder, "data", key)]
		if record == nil || record.bytes < bytes {
			return nil, fmt.Errorf("no record %s/data/%s of %d bytes", folder, key, bytes)
		}
		return record, nil
	})
	top, err := t.unpickler(io.NewSectionReader(f, pickle.first, pickle.bytes), 0).run()
	if err != nil {
		return fmt.Errorf("record %s/data.pkl: %w", folder, err)
	}
	return s.addTorch(top, size)
}

func zipRecord(f *os.File, r *zip.File, size int64) (*storage, error) {
	first, err := r.DataOffset()
	if err != nil {
		return nil, err
	}
	if r.Method != zip.Store {
		return nil, errors.New("compressed, which PyTorch's records never are")
	}
	if r.UncompressedSize64 > uint64(size) || first > size-int64(r.UncompressedSize64) {
		return nil, fmt.Errorf("%d bytes from byte %d on, in a file of %d", r.UncompressedSize64, first, size)
	}
	return &storage{file: f, where: f.Name() + ": " + r.Name, first: first, bytes: int64(r.UncompressedSize64)}, nil
}

func crc(record *storage, r *zip.File) error {
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, io.NewSectionReader(record.file, record.first, record.bytes)); err != nil {
		return fmt.Errorf("record %q: %w", r.Name, err)
	}
	if r.CRC32 != 0 && sum.Sum32() != r.CRC32 { // old writers left it out
		return fmt.Errorf("record %q, bytes %d to %d: its CRC-32 is %08x, written was %08x", r.Name, record.first, record.first+record.bytes, sum.Sum32(), r.CRC32)
	}
	return nil
}

// Constants of PyTorch's older form.
const (
	legacyMagic   = "number 6cfc9c46f9206aa85019" // little-endian
	legacyVersion = 1001
)

// openLegacy reads PyTorch's older form: pickles of a magic number, a version, the system's properties, the object and the list of its
// storages' keys; then the storages, each behind its number of elements.
func (s *Source) openLegacy(f *os.File, size int64) error {
	s.Kind = "PyTorch legacy"
	t := newTorchFile(func(key string, bytes int64) (*storage, error) {
		if bytes > size {
			return nil, fmt.Errorf("storage %q of %d bytes in a file of %d", key, bytes, size)
		}
		return &storage{file: f, bytes: bytes}, nil
	})
	u := t.unpickler(io.NewSectionReader(f, 0, size), 0)
	var parts [5]any
	for i := range parts {
		var err error
		if parts[i], err = u.run(); err != nil {
			return err
		}
		if number, ok := parts[0].(*opaque); !ok || number.what != legacyMagic {
			return fault.WithHint(errors.New("a pickle, but not one of torch.save"), "save the weights with torch.save or as safetensors")
		}
	}
	if version, ok := parts[1].(int64); !ok || version != legacyVersion {
		return fmt.Errorf("version %v of PyTorch's older form, known is %d", parts[1], legacyVersion)
	}
	if system, ok := parts[2].(*dict); !ok || system.get("little_endian") != any(true) {
		return errors.New("not little-endian")
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return errors.New("no list of storages")
	}
	if err := t.place(keys, f, u.at, size); err != nil {
		return err
	}
	return s.addTorch(parts[3], size)
}

// place finds the storages, which follow each other from byte at on.
func (f *torchFile) place(keys *list, file *os.File, at, size int64) error {
	for _, k := range keys.items {
		key, _ := k.(string)
		view := f.storages[key]
		if view == nil {
			return fmt.Errorf("storage %q: its type is not known", key)
		}
		count, err := readCount(file, at)
		if err != nil {
			return fmt.Errorf("storage %q: read byte %d: %w", key, at, err)
		}
		at += 8
		if count < 0 || count > (size-at)/elementSize[view.dtype] {
			return fault.WithHint(fmt.Errorf("storage %q: %d elements from byte %d on, in a file of %d", key, count, at, size), "the file is cut off: write or fetch it again")
		}
		s := view.storage
		s.where, s.first, s.bytes = fmt.Sprintf("%s: storage %s", file.Name(), key), at, count*elementSize[view.dtype]
		at += s.bytes
	}
	for key, view := range f.storages {
		if view.storage.first == 0 {
			return fmt.Errorf("storage %q: not in the file", key)
		}
	}
	return nil
}

func readCount(file io.ReaderAt, at int64) (int64, error) {
	u := unpickler{in: bufio.NewReader(io.NewSectionReader(file, at, 8))}
	n, err := u.number(8)
	return int64(n), err
}
