package dataset

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hpcbert/lib/fault"
)

var errStalled = errors.New("the server stopped sending")

// try makes one request for what part lacks and appends what comes. It returns nil when the file is whole as far as the server tells.
func (x *Fetcher) try(ctx context.Context, address string, f File, part string) error {
	have, known := x.resumable(address, f, part)
	if f.Size > 0 && have == f.Size {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := x.request(ctx, address, have, known)
	if err != nil {
		return refusal{err}
	}
	reply, err := x.Client.Do(request)
	if err != nil {
		return classify(err)
	}
	defer reply.Body.Close()
	start, seen, err := x.begin(reply, have, known, f)
	if err == nil && !(seen.Size == have && start == have && have > 0) {
		seen.URL = address
		t := &transfer{Fetcher: x, file: f, body: reply.Body, part: part, start: start, seen: seen, total: cmp.Or(seen.Size, f.Size)}
		err = t.receive(ctx, cancel)
	}
	if errors.Is(err, errStale) {
		discard(part)
	}
	return err
}

// resumable returns how much of the file is here and may be gone on from, and what the server said of it. Without a checksum that would
// find a mixture of two files, the server must be the same and have a mark of the version.
func (x *Fetcher) resumable(address string, f File, part string) (int64, state) {
	have, err := sizeOf(part)
	s := readState(part)
	if err != nil || f.Size > 0 && have > f.Size || !f.summed() && (s.URL != address || s.validator() == "") {
		discard(part)
		return 0, state{}
	}
	if s.URL != address {
		s = state{}
	}
	return have, s
}

func (x *Fetcher) request(ctx context.Context, address string, have int64, known state) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if r.URL.Scheme == "file" {
		if err := openable(r.URL.Path); err != nil {
			return nil, err
		}
	}
	r.Header.Set("User-Agent", x.Agent)
	r.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		if v := known.validator(); v != "" {
			r.Header.Set("If-Range", v)
		}
	}
	return r, nil
}

// openable says why a file of this machine cannot be had, in its own words.
func openable(name string) error {
	f, err := os.Open(name)
	if err != nil {
		why := err.(*os.PathError).Err
		if errors.Is(err, os.ErrNotExist) {
			return absent{why}
		}
		return why
	}
	return f.Close()
}

// classify tells failures of the connection that another try will not mend.
func classify(err error) error {
	if outer, ok := err.(*url.Error); ok {
		err = outer.Err // it would name the address once more
	}
	var certificate *tls.CertificateVerificationError
	var plain tls.RecordHeaderError // of a server that speaks no TLS
	var address *net.AddrError
	var name *net.DNSError
	if errors.As(err, &certificate) || errors.As(err, &plain) || errors.As(err, &address) || errors.As(err, &name) && name.IsNotFound ||
		errors.Is(err, errRedirected) || errors.Is(err, http.ErrSchemeMismatch) {
		return refusal{err}
	}
	return err
}

// errStale is the error of a server that goes on with another file than the one begun.
var errStale = errors.New("the file has changed at the source")

// begin judges the head of a reply: the position at which its body belongs, and what it says of the whole file.
func (x *Fetcher) begin(reply *http.Response, have int64, known state, f File) (start int64, seen state, err error) {
	seen = state{ETag: reply.Header.Get("ETag"), Modified: reply.Header.Get("Last-Modified")}
	switch reply.StatusCode {
	case http.StatusOK:
		seen.Size = max(reply.ContentLength, 0)
	case http.StatusPartialContent:
		if start, seen.Size, err = contentRange(reply.Header.Get("Content-Range")); err != nil {
			return 0, seen, refusal{err}
		}
		if start != have || known.contradicts(seen) {
			return 0, seen, errStale
		}
		seen = state{ETag: cmp.Or(seen.ETag, known.ETag), Modified: cmp.Or(seen.Modified, known.Modified), Size: cmp.Or(seen.Size, known.Size)}
	case http.StatusRequestedRangeNotSatisfiable:
		// The whole file is here, or it was a longer one.
		if _, seen.Size, err = contentRange(reply.Header.Get("Content-Range")); err == nil && seen.Size == have {
			return have, seen, nil
		}
		return 0, seen, errStale
	default:
		return 0, seen, x.statusError(reply)
	}
	if f.Size > 0 && seen.Size > 0 && seen.Size != f.Size {
		err := fmt.Errorf("the file there has %d bytes, not %d", seen.Size, f.Size)
		return 0, seen, refusal{fault.WithHint(err, "the source has changed, or something on the way alters it: --from names another one")}
	}
	return start, seen, nil
}

// contentRange reads "bytes 10-19/20" and "bytes */20".
func contentRange(header string) (start, total int64, err error) {
	value, found := strings.CutPrefix(header, "bytes ")
	span, size, slash := strings.Cut(value, "/")
	if found && slash {
		if size != "*" {
			total, err = strconv.ParseInt(size, 10, 64)
		}
		if first, _, dash := strings.Cut(span, "-"); dash && err == nil {
			start, err = strconv.ParseInt(first, 10, 64)
		}
	}
	if !found || !slash || err != nil {
		return 0, 0, fmt.Errorf("the server answers with a range %q that makes no sense", header)
	}
	return start, total, nil
}

// statusError is the error of a reply that is no file.
func (x *Fetcher) statusError(reply *http.Response) error {
	err := fmt.Errorf("the server answers %s", reply.Status)
	switch code := reply.StatusCode; {
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return busy{err, retryAfter(reply.Header.Get("Retry-After"), x.Now())}
	case passing(code):
		return err
	case code == http.StatusProxyAuthRequired:
		return refusal{fault.WithHint(err, proxyHint)}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return refusal{fault.WithHint(err, "it refuses this machine or its proxy: set HTTPS_PROXY, or fetch the file elsewhere and give its folder with --from")}
	case code == http.StatusNotFound || code == http.StatusGone:
		return refusal{absent{fault.WithHint(err, "it is not there, or no longer: --from DIR or URL names another source")}}
	}
	return refusal{err}
}

// passing tells statuses of which another try may know nothing.
func passing(code int) bool {
	return code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500
}

// retryAfter reads seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// transfer is the body of one reply on its way to a file.
type transfer struct {
	*Fetcher
	file     File
	body     io.Reader
	part     string
	start    int64 // where the body belongs
	seen     state // what the server says of the file
	total    int64 // bytes of the whole file, 0 when unknown
	received atomic.Int64
}

// receive writes the body to part from position start on. A body that comes too slowly is cut off by a watchman.
func (t *transfer) receive(ctx context.Context, cancel context.CancelCauseFunc) error {
	var watch sync.WaitGroup
	done := make(chan struct{})
	watch.Go(func() { t.watch(done, cancel) })
	err := t.write()
	close(done)
	watch.Wait()
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w: fewer than %d bytes in %v", errStalled, t.Least, t.Stall)
	}
	if have := t.start + t.received.Load(); err == nil && have < t.seen.Size { // a server may give a part of the range that it is asked for
		return fmt.Errorf("the server ends the file at byte %d of %d", have, t.seen.Size)
	}
	return err
}

// write looks at the beginning of the body before it touches what is here of the file: an error in its place costs nothing of that.
func (t *transfer) write() error {
	in := bufio.NewReaderSize(t.body, 1<<18)
	beginning, err := in.Peek(512)
	if err := t.checkBeginning(beginning, err); err != nil {
		return err
	}
	out, err := os.OpenFile(t.part, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return local{err}
	}
	defer out.Close()
	if err := out.Truncate(t.start); err != nil {
		return local{err}
	}
	if _, err := out.Seek(t.start, io.SeekStart); err != nil {
		return local{err}
	}
	if err := t.seen.write(t.part); err != nil { // not before the bytes of another version are gone
		return local{err}
	}
	if err := t.copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return local{err}
	}
	return nil
}

// checkBeginning tells a web page, or nothing at all, from a file. err is what ended the first read.
func (t *transfer) checkBeginning(beginning []byte, err error) error {
	switch {
	case len(beginning) == 0 && err != nil && err != io.EOF:
		return fmt.Errorf("the connection broke: %w", err)
	case len(beginning) == 0 && t.start == 0:
		return fault.WithHint(errors.New("the server sends an empty file"), "try again later; --from DIR or URL names another source")
	case t.start == 0 && t.file.Format != "html" && isPage(beginning):
		err := errors.New("a web page comes instead of the file")
		return refusal{fault.WithHint(err, "a proxy or login page answers, or the file has moved: look at the address in a browser, set HTTPS_PROXY, or use --from")}
	}
	return nil
}

// copy copies the body, and no more than the file can have.
func (t *transfer) copy(out io.Writer, in io.Reader) error {
	buffer := make([]byte, 1<<18)
	most := cmp.Or(t.total, t.file.most)
	for {
		n, err := in.Read(buffer)
		if have := t.start + t.received.Load() + int64(n); most > 0 && have > most {
			return refusal{fmt.Errorf("%w: more than %d bytes come", errStale, most)}
		}
		if _, err := out.Write(buffer[:n]); err != nil {
			return local{err}
		}
		if done := t.start + t.received.Add(int64(n)); t.Progress != nil {
			t.Progress(done, t.total)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the connection broke: %w", err)
		}
	}
}

// watch cuts off a transfer that is too slow.
func (t *transfer) watch(done <-chan struct{}, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(t.Stall)
	defer tick.Stop()
	before := int64(0)
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now := t.received.Load()
		if now-before < t.Least {
			cancel(errStalled)
			return
		}
		before = now
	}
}

func isPage(beginning []byte) bool {
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(beginning[:min(len(beginning), 512)], []byte("\xef\xbb\xbf")), " \t\r\n"))
	return bytes.HasPrefix(text, []byte("<!doctype html")) || bytes.HasPrefix(text, []byte("<html")) || bytes.HasPrefix(text, []byte("<head"))
}
