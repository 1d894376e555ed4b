// Package hdf5 reads and writes data sets of integers in HDF5 files, with every type, length and return code checked and with
// HDF5's own words in its errors. It is the only importer of gonum.org/v1/hdf5.
//
// libhdf5 trusts what a file says (1.10.8 divides by a chunk dimension of zero, SIGFPE). So the structures on the way to a data set are
// checked here before libhdf5 follows them, and chunks are unpacked here. Structures with checksums, which only files of the newest
// format have (libver='latest' of h5py: indexes of chunks, groups of more than 8 links), are left to libhdf5 once their checksums are right.
package hdf5

/*
#cgo pkg-config: hdf5
#include <hdf5.h>

// innermost keeps the first entry of an upward walk: the place where the error arose.
static herr_t innermost(unsigned n, const H5E_error2_t *e, void *out) {
	if (n == 0)
		*(const char **)out = e->desc;
	return 0;
}

static const char *h5_reason(void) {
	const char *text = NULL;
	H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, &text);
	return text;
}

static void h5_quiet(void) {
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	H5Eclear2(H5E_DEFAULT);
}
*/
import "C"

import (
	"errors"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"hpcbert/lib/fault"
)

// library serialises all calls into libhdf5, which has one state for the whole process and, as distributions build it, either no
// thread safety or a lock of its own; a lock per file would not do.
var library sync.Mutex

// call runs f with the library to itself, on one thread because HDF5 keeps its error stack per thread, and gives a failure its reason.
func call(f func() error) error {
	library.Lock()
	defer library.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	C.h5_quiet()
	return reason(f())
}

// reason replaces err by what HDF5's error stack says. Every call into the library clears that stack, closing included, so functions
// that close something after a failure ask for the reason first.
func reason(err error) error {
	if err == nil {
		return nil
	}
	if text := C.h5_reason(); text != nil {
		err = explain(C.GoString(text))
	}
	C.h5_quiet()
	return err
}

var systemError = regexp.MustCompile(`errno = \d+, error message = '([^']*)'`)

// explain turns the innermost message of HDF5's error stack into an error with a hint.
func explain(text string) error {
	if m := systemError.FindStringSubmatch(text); m != nil {
		text = strings.ToLower(m[1][:1]) + m[1][1:]
		if strings.Contains(text, "no space") {
			return fault.WithHint(errors.New(text), "free some space or write to another file system")
		}
	}
	err := errors.New(strings.TrimSpace(text))
	switch {
	case strings.Contains(text, "lock"):
		return fault.WithHint(err, "file systems without locks need HDF5_USE_FILE_LOCKING=FALSE in the environment")
	case strings.Contains(text, "inflate") || strings.Contains(text, "checksum") || strings.Contains(text, "version number"):
		return fault.WithHint(err, "the file is damaged: copy or write it again")
	}
	return err
}
