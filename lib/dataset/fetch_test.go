package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hpcbert/lib/fault"
)

// body is the file of all faults: 40 KB that differ everywhere.
var body = func() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 40000; i++ {
		fmt.Fprintf(&b, "line %d of the file\n", i)
	}
	return b.Bytes()
}()

var newer = bytes.ReplaceAll(body, []byte("the file"), []byte("the newer file"))

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// recorder is a Fetcher that does not wait, and what happened to it.
type recorder struct {
	Fetcher
	waits    []time.Duration
	warnings []string
}

// newRecorder returns one that is patient: a busy machine must not pass for a server that stalls.
func newRecorder() *recorder { return newRecorderOf(10 * time.Second) }

func newRecorderOf(stall time.Duration) *recorder {
	r := &recorder{}
	r.Fetcher = Fetcher{Client: NewClient(Proxy{}, stall), Agent: "test", Tries: 3, Stall: stall, Least: 64,
		Wait:   func(ctx context.Context, d time.Duration) error { r.waits = append(r.waits, d); return ctx.Err() },
		Jitter: func() float64 { return 0 },
		Now:    func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
		Warn:   func(format string, a ...any) { r.warnings = append(r.warnings, fmt.Sprintf(format, a...)) }}
	return r
}

// host is a server whose n-th request, from 0, is answered by a step; the last step answers all further ones.
type host struct {
	*httptest.Server
	mu     sync.Mutex
	ranges []string // of the requests
}

type step func(w http.ResponseWriter, r *http.Request)

func newHost(t *testing.T, steps ...step) *host {
	h := &host{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		n := min(len(h.ranges), len(steps)-1)
		h.ranges = append(h.ranges, r.Header.Get("Range"))
		h.mu.Unlock()
		steps[n](w, r)
	}))
	t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	return h
}

// asked returns the ranges of the requests so far; one that the client gave up may still be coming in.
func (h *host) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ranges)
}

// serve answers as a good server does.
func serve(data []byte, etag string) step {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "file.txt", time.Time{}, bytes.NewReader(data))
	}
}

// withoutRanges answers every request with the whole file.
func withoutRanges(data []byte) step {
	return func(w http.ResponseWriter, r *http.Request) { w.Write(data) }
}

// raw answers with these bytes, whatever they are, and hangs up.
func raw(reply string) step {
	return func(w http.ResponseWriter, r *http.Request) {
		connection, out, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		out.WriteString(reply)
		out.Flush()
		connection.Close()
	}
}

// cut is a good reply that breaks off after n bytes.
func cut(data []byte, n int) step {
	return raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: %d\r\n\r\n%s", len(data), data[:n]))
}

// cutRange serves at most n bytes of what is asked for.
func cutRange(n int) step {
	return func(w http.ResponseWriter, r *http.Request) {
		start, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n", len(body))
		if start > 0 {
			head = fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n", start, len(body)-1, len(body), len(body)-start)
		}
		raw(head+"ETag: \"1\"\r\n\r\n"+string(body[start:min(start+n, len(body))]))(w, r)
	}
}

// pieceOfRange answers with at most n bytes of the range asked for, and says so, as HTTP allows.
func pieceOfRange(n int) step {
	return func(w http.ResponseWriter, r *http.Request) {
		start, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
		end := min(start+n, len(body))
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(body)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(body[start:end])
	}
}

// stall sends n bytes and then nothing until the client goes away.
func stall(n int) step {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body[:n])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// drip sends a byte now and then for ever.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	for i := range body {
		w.Write(body[i : i+1])
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func status(code int, header ...string) step {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, "<html>sorry</html>")
	}
}

func redirect(to string) step {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// anew redirects to the same server, which takes the next step then.
func anew(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }

// changedRange goes on with another file, whatever mark the client knows.
func changedRange(w http.ResponseWriter, r *http.Request) {
	r.Header.Del("If-Range")
	serve(newer, `"2"`)(w, r)
}

// changedDateRange is changedRange of a server that marks versions by date alone.
func changedDateRange(w http.ResponseWriter, r *http.Request) {
	r.Header.Del("If-Range")
	http.ServeContent(w, r, "file.txt", time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), bytes.NewReader(newer))
}

// unmarkedRange goes on with a longer file and says nothing of its version.
func unmarkedRange(w http.ResponseWriter, r *http.Request) {
	r.Header.Del("If-Range")
	http.ServeContent(w, r, "file.txt", time.Time{}, bytes.NewReader(newer))
}

// endless sends the file again and again, without a length.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		w.Write(body)
		w.(http.Flusher).Flush()
	}
}

// longRange sends more than the range that it announces.
func longRange(w http.ResponseWriter, r *http.Request) {
	raw(fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes 1000-%d/%d\r\n\r\n%s", len(body)-1, len(body), append(body[1000:], body...)))(w, r)
}

func corrupt(data []byte) []byte {
	out := bytes.Clone(data)
	out[len(out)/2] ^= 1
	return out
}

const page = "<!DOCTYPE html>\n<html><body>Please log in to the network</body></html>"

// Every fault ends in the right file or a clear error with a hint.
func TestFaults(t *testing.T) {
	known := Content{SHA256: sum(body)}
	sized := Content{Size: int64(len(body))}
	lines := Content{Format: "text", Records: bytes.Count(body, []byte("\n"))}
	good := serve(body, `"1"`)
	for _, c := range []struct {
		name    string
		content Content
		steps   []step
		want    []byte // the file; nil = failure
		fault   string // in the error
		ranges  string // of the requests, "" = not checked
	}{
		{"nothing wrong", known, []step{good}, body, "", "[]"},
		{"nothing known", Content{}, []step{good}, body, "", "[]"},
		{"cut once", known, []step{cut(body, 1000), good}, body, "", "[ bytes=1000-]"},
		{"cut once, no checksum", lines, []step{cut(body, 1000), good}, body, "", "[ bytes=1000-]"},
		{"cut again and again, a bit further each time", known, []step{cutRange(5000)}, body, "", ""},
		{"cut at once, always", known, []step{cut(body, 0)}, nil, "the connection broke: unexpected EOF", "[  ]"},
		{"cut at the same place, always", known, []step{cut(body, 100)}, nil, "the connection broke: unexpected EOF", ""},
		{"cut in a reply without length", known, []step{raw("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + string(body[:700])), good}, body, "", "[ bytes=700-]"},
		{"cut unseen, size known", sized, []step{raw("HTTP/1.0 200 OK\r\n\r\n" + string(body[:700])), good}, body, "", "[ ]"},
		{"cut unseen, always, lines known", lines, []step{raw("HTTP/1.0 200 OK\r\n\r\n" + string(body[:700]))}, nil, "records, want", ""},
		{"silent: stalls once", known, []step{stall(2000), good}, body, "", "[ bytes=2000-]"},
		{"silent: stalls always", known, []step{stall(0)}, nil, "the server stopped sending: fewer than 64 bytes in 300ms", ""},
		{"silent: answers nothing", known, []step{func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, nil, "timeout awaiting response headers", ""},
		{"silent: slow drip", known, []step{drip}, nil, "the server stopped sending: fewer than 64 bytes in 300ms", ""},
		{"silent: slow drip once", known, []step{drip, good}, body, "", ""},
		{"corrupt once", known, []step{serve(corrupt(body), `"1"`), good}, body, "", "[ ]"},
		{"corrupt always", known, []step{serve(corrupt(body), `"1"`)}, nil, "its sha256 is " + sum(corrupt(body)) + ", want " + sum(body), "[ ]"},
		{"first half corrupt, then cut", known, []step{cut(append(bytes.Repeat([]byte("x"), 50), body[50:]...), 500), good}, body, "", "[ bytes=500- ]"},
		{"redirected", known, []step{anew, anew, good}, body, "", ""},
		{"redirected in a circle", known, []step{anew}, nil, "redirected 10 times, in a circle or to nowhere", ""},
		{"redirected to another protocol", known, []step{redirect("ftp://localhost/file")}, nil, "redirected from http to ftp://localhost/file, which is refused", ""},
		{"redirected to a file of this machine", known, []step{redirect("file:///etc/hostname")}, nil, "which is refused", ""},
		{"refuses ranges", known, []step{cut(body, 1000), withoutRanges(body)}, body, "", "[ bytes=1000-]"},
		{"refuses ranges with an error", known, []step{cut(body, 1000), status(416), good}, body, "", "[ bytes=1000- ]"},
		{"range that makes no sense", known, []step{cut(body, 1000), status(206, "Content-Range", "all of it")}, nil, `a range "all of it" that makes no sense`, ""},
		{"range from elsewhere", known, []step{cut(body, 1000), status(206, "Content-Range", "bytes 5-9/40000"), good}, body, "", "[ bytes=1000- ]"},
		{"ranges in pieces", known, []step{cut(body, 10000), pieceOfRange(16000)}, body, "", "[ bytes=10000- bytes=26000-]"},
		{"ranges in pieces, nothing known", Content{}, []step{cut(body, 10000), pieceOfRange(16000)}, body, "", "[ bytes=10000- bytes=26000-]"},
		{"changed meanwhile", Content{}, []step{cut(body, 1000), serve(newer, `"2"`)}, newer, "", "[ bytes=1000-]"},
		{"changed meanwhile, and goes on with the new file", Content{}, []step{cut(body, 1000), changedRange}, newer, "", "[ bytes=1000- ]"},
		{"changed meanwhile, known by its date", Content{}, []step{raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nLast-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:1000])), changedDateRange}, newer, "", "[ bytes=1000- ]"},
		{"changed meanwhile, known by its size", Content{}, []step{cut(body, 1000), unmarkedRange}, newer, "", "[ bytes=1000- ]"},
		{"changed meanwhile, checksum known", known, []step{cut(body, 1000), serve(newer, `"2"`)}, nil, "its sha256 is " + sum(newer), ""},
		{"no mark of the version, no checksum", Content{}, []step{raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:1000])), good}, body, "", "[ ]"},
		{"400", known, []step{status(400)}, nil, "the server answers 400 Bad Request", "[]"},
		{"401", known, []step{status(401)}, nil, "the server answers 401 Unauthorized", "[]"},
		{"407", known, []step{status(407)}, nil, "the server answers 407 Proxy Authentication Required", "[]"},
		{"408 once", known, []step{status(408), good}, body, "", ""},
		{"410", known, []step{status(410)}, nil, "the server answers 410 Gone", "[]"},
		{"425 once", known, []step{status(425), good}, body, "", ""},
		{"451", known, []step{status(451)}, nil, "the server answers 451 Unavailable For Legal Reasons", "[]"},
		{"403", known, []step{status(403)}, nil, "the server answers 403 Forbidden", "[]"},
		{"404", known, []step{status(404)}, nil, "the server answers 404 Not Found", "[]"},
		{"500 once", known, []step{status(500), good}, body, "", ""},
		{"502 always", known, []step{status(502)}, nil, "the server answers 502 Bad Gateway", "[  ]"},
		{"503 once", known, []step{status(503, "Retry-After", "7"), good}, body, "", ""},
		{"503 always", known, []step{status(503)}, nil, "the server answers 503 Service Unavailable", "[  ]"},
		{"429 once", known, []step{status(429, "Retry-After", "Mon, 23 Nov 2026 12:00:09 GMT"), good}, body, "", ""},
		{"429 for an hour", known, []step{status(429, "Retry-After", "3600")}, nil, "it asks to come back in 1h0m0s", "[]"},
		{"empty", known, []step{withoutRanges(nil)}, nil, "the server sends an empty file", ""},
		{"empty once", known, []step{withoutRanges(nil), good}, body, "", ""},
		{"empty, nothing known", Content{}, []step{withoutRanges(nil)}, nil, "the server sends an empty file", ""},
		{"204", known, []step{func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }}, nil, "the server answers 204 No Content", ""},
		{"web page", known, []step{withoutRanges([]byte(page))}, nil, "a web page comes instead of the file", "[]"},
		{"web page, nothing known", Content{}, []step{withoutRanges([]byte("\xef\xbb\xbf \n<HTML lang=en>"))}, nil, "a web page comes instead of the file", "[]"},
		{"announces too little", known, []step{raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + string(body))}, nil, "its sha256 is", ""},
		{"announces too little, size known", sized, []step{raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + string(body))}, nil, "the file there has 10 bytes, not " + strconv.Itoa(len(body)), "[]"},
		{"announces too much", known, []step{raw("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 99999\r\n\r\n" + string(body)), good}, body, "", fmt.Sprintf("[ bytes=%d-]", len(body))},
		{"announces too much, always", known, []step{raw("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + string(body))}, nil, "the connection broke: unexpected EOF", ""},
		{"does not end, size known", sized, []step{endless}, nil, fmt.Sprintf("more than %d bytes come", len(body)), "[]"},
		{"range longer than announced", Content{}, []step{cut(body, 1000), longRange}, nil, fmt.Sprintf("more than %d bytes come", len(body)), "[ bytes=1000-]"},
		{"another file", known, []step{serve(newer, `"1"`)}, nil, "its sha256 is " + sum(newer), ""},
		{"another size", sized, []step{serve(newer, `"1"`)}, nil, fmt.Sprintf("the file there has %d bytes, not %d", len(newer), len(body)), "[]"},
		{"no HTTP", known, []step{raw("SSH-2.0-OpenSSH_9.2\r\n")}, nil, "malformed HTTP", ""},
		{"says that it is packed", known, []step{func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "x-gzip")
			w.Write(body)
		}}, body, "", ""},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			h, x := newHost(t, c.steps...), newRecorder()
			if strings.HasPrefix(c.name, "silent") {
				x = newRecorderOf(300 * time.Millisecond)
			}
			part := filepath.Join(t.TempDir(), "file.part")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := x.Fetch(ctx, File{Name: "file.txt", URLs: []string{h.URL + "/file"}, Content: c.content}, part)
			got, _ := os.ReadFile(part)
			switch {
			case c.want != nil && (err != nil || !bytes.Equal(got, c.want)):
				t.Errorf("%d bytes of %d, %v", len(got), len(c.want), err)
			case c.want == nil && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("got %v, want an error with %q", err, c.fault)
			case c.want == nil && (!strings.HasPrefix(err.Error(), "fetch file.txt: "+h.URL) || fault.HintOf(err) == ""):
				t.Errorf("no address or no hint: %v", err)
			}
			if asked := fmt.Sprint(h.asked()); c.ranges != "" && asked != c.ranges {
				t.Errorf("asked for %q, want %q", asked, c.ranges)
			}
			if c.want == nil && len(x.warnings)+1 != len(h.asked()) && !strings.Contains(c.name, "redirected") {
				t.Errorf("%d requests, but told of %q", len(h.asked()), x.warnings)
			}
		})
	}
}

// What is here of a file is kept whatever comes in the place of the rest: the next run goes on with it.
func TestKeptForLater(t *testing.T) {
	for _, c := range []struct {
		name string
		then step
	}{
		{"web page", withoutRanges([]byte(page))},
		{"nothing", withoutRanges(nil)},
		{"another size", serve(newer, `"2"`)},
		{"403", status(403)}, {"404", status(404)}, {"503", status(503)},
		{"circle", anew},
		{"no HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			part := filepath.Join(t.TempDir(), "file.part")
			f := File{Name: "f", Content: Content{Size: int64(len(body)), Format: "text"}}
			broken := c.then
			h := newHost(t, cut(body, 1000), func(w http.ResponseWriter, r *http.Request) { broken(w, r) })
			f.URLs = []string{h.URL}
			if err := newRecorder().Fetch(t.Context(), f, part); err == nil {
				t.Error("no error")
			}
			broken = serve(body, `"1"`)
			if err := newRecorder().Fetch(t.Context(), f, part); err != nil {
				t.Error(err)
			}
			if asked := h.asked(); asked[len(asked)-1] != "bytes=1000-" {
				t.Errorf("asked for %q", asked)
			}
		})
	}
}

// The next address is taken when one fails for good, and goes on with what came from the first when a checksum finds mixtures.
func TestMirrors(t *testing.T) {
	known := Content{SHA256: sum(body)}
	for _, c := range []struct {
		name    string
		content Content
		first   step
		want    string // ranges asked of the second one
	}{
		{"refused", known, status(403), "[]"},
		{"not there", known, status(404), "[]"},
		{"busy", known, status(503), "[]"},
		{"web page", known, withoutRanges([]byte(page)), "[]"},
		{"corrupt", known, serve(corrupt(body), `"1"`), "[]"},
		{"cut, checksum known", known, cut(body, 1000), "[bytes=1000-]"},
		{"cut, no checksum", Content{}, cut(body, 1000), "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second, x := newHost(t, c.first), newHost(t, serve(body, `"1"`)), newRecorder()
			part := filepath.Join(t.TempDir(), "file.part")
			err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{first.URL, second.URL}, Content: c.content}, part)
			if got, _ := os.ReadFile(part); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if asked := fmt.Sprint(second.asked()); asked != c.want {
				t.Errorf("asked the second one for %q, want %q", asked, c.want)
			}
		})
	}
}

// All reasons are told when no address helps.
func TestNoMirrorHelps(t *testing.T) {
	first, second, x := newHost(t, status(403)), newHost(t, status(404)), newRecorder()
	err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{first.URL, second.URL}}, filepath.Join(t.TempDir(), "f"))
	want := "fetch f: " + first.URL + ": the server answers 403 Forbidden; " + second.URL + ": the server answers 404 Not Found"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPauses(t *testing.T) {
	for _, c := range []struct {
		name   string
		steps  []step
		jitter float64
		want   string
	}{
		{"twice as long each time", []step{status(500), status(500), serve(body, "")}, 0, "[1s 2s]"},
		{"less by chance", []step{status(500), status(500), serve(body, "")}, 0.5, "[750ms 1.5s]"},
		{"as the server asks", []step{status(503, "Retry-After", "7"), serve(body, "")}, 0.5, "[7s]"},
		{"until the time that the server names", []step{status(429, "Retry-After", "Mon, 23 Nov 2026 12:00:09 GMT"), serve(body, "")}, 0, "[9s]"},
		{"a time that has passed", []step{status(429, "Retry-After", "Mon, 23 Nov 2026 11:00:09 GMT"), serve(body, "")}, 0, "[1s]"},
		{"a time that makes no sense", []step{status(503, "Retry-After", "soon"), serve(body, "")}, 0, "[1s]"},
		{"progress begins anew", []step{status(500), status(500), cut(body, 1000), serve(body, `"1"`)}, 0, "[1s 2s 1s]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, x := newHost(t, c.steps...), newRecorder()
			x.Jitter = func() float64 { return c.jitter }
			err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{h.URL}}, filepath.Join(t.TempDir(), "f"))
			if waits := fmt.Sprint(x.waits); err != nil || waits != c.want {
				t.Errorf("waited %s, want %s; %v", waits, c.want, err)
			}
		})
	}
}

// A run that was interrupted is gone on with by the next one.
func TestResumeInLaterRun(t *testing.T) {
	h, x := newHost(t, stall(3000), serve(body, `"1"`)), newRecorder()
	x.Stall = time.Hour
	part := filepath.Join(t.TempDir(), "file.part")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x.Progress = func(done, total int64) {
		if done == 3000 && total == int64(len(body)) {
			cancel()
		}
	}
	f := File{Name: "f", URLs: []string{h.URL}, Content: Content{SHA256: sum(body)}}
	if err := x.Fetch(ctx, f, part); err != context.Canceled {
		t.Fatalf("got %v", err)
	}
	if size, _ := sizeOf(part); size != 3000 {
		t.Errorf("%d bytes kept", size)
	}
	if err := newRecorder().Fetch(t.Context(), f, part); err != nil {
		t.Error(err)
	}
	if asked := fmt.Sprint(h.asked()); asked != "[ bytes=3000-]" {
		t.Errorf("asked for %q", asked)
	}
}

// What an earlier run left may be anything.
func TestLeftovers(t *testing.T) {
	for _, c := range []struct {
		name, part, state string
		content           Content
	}{
		{"longer than the file", string(newer), "", Content{Size: int64(len(body)), SHA256: sum(body)}},
		{"longer than the file, size unknown", string(newer), "", Content{SHA256: sum(body)}},
		{"as long as the file, but another", strings.Repeat("x", len(body)), "", Content{Size: int64(len(body)), SHA256: sum(body)}},
		{"another beginning", "xxxx", "", Content{SHA256: sum(body)}},
		{"whole", string(body), "", Content{Size: int64(len(body)), SHA256: sum(body)}},
		{"whole, size unknown", string(body), "", Content{SHA256: sum(body)}},
		{"of another address, no checksum", "xxxx", `{"url":"http://elsewhere/","etag":"\"1\""}`, Content{}},
		{"without state, no checksum", "xxxx", "", Content{}},
		{"with a broken state", "xxxx", "{", Content{}},
		{"empty", "", "", Content{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, x := newHost(t, serve(body, `"1"`)), newRecorder()
			part := filepath.Join(t.TempDir(), "file.part")
			os.WriteFile(part, []byte(c.part), 0o666)
			if c.state != "" {
				os.WriteFile(stateName(part), []byte(c.state), 0o666)
			}
			err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{h.URL}, Content: c.content}, part)
			if got, _ := os.ReadFile(part); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if left, _ := filepath.Glob(part + "*"); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestConnections(t *testing.T) {
	gone := newHost(t, serve(body, ""))
	gone.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(serve(body, "")))
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	downgrade := httptest.NewTLSServer(http.HandlerFunc(redirect(newHost(t, serve(body, "")).URL)))
	defer downgrade.Close()
	plain := newHost(t, serve(body, "")).URL
	for _, c := range []struct {
		name, address, fault, hint string
		trust                      *httptest.Server
		again                      int // tries behind the first
	}{
		{"nobody there", gone.URL, "connection refused", "--from", nil, 2},
		{"certificate of nobody", secure.URL, "certificate", "SSL_CERT_FILE", nil, 0},
		{"trusted certificate", secure.URL, "", "", secure, 0},
		{"no TLS", strings.Replace(plain, "http:", "https:", 1), "server gave HTTP response to HTTPS client", "--from", nil, 0},
		{"redirected from https to http", downgrade.URL, "redirected from https to http", "--from", downgrade, 0},
		{"no such port", "http://localhost:99999/", "invalid port", "--from", nil, 0},
		{"a password is not told", strings.Replace(gone.URL, "http://", "http://me:secret@", 1), "http://me:xxxxx@", "--from", nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newRecorder()
			if c.trust != nil {
				x.Client.Transport.(*http.Transport).TLSClientConfig = c.trust.Client().Transport.(*http.Transport).TLSClientConfig
			}
			err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{c.address}}, filepath.Join(t.TempDir(), "f"))
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault) || !strings.Contains(fault.HintOf(err), c.hint)) {
				t.Errorf("got %v, hint %q", err, fault.HintOf(err))
			}
			if len(x.waits) != c.again || strings.Contains(fmt.Sprint(x.warnings), "secret") {
				t.Errorf("%d more tries, want %d: %q", len(x.waits), c.again, x.warnings)
			}
		})
	}
}

// A name that does not exist is asked for once at each mirror; a name server that is out of order, again.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		fault *net.DNSError
		again int
	}{
		{&net.DNSError{Err: "no such host", Name: "data.example", IsNotFound: true}, 0},
		{&net.DNSError{Err: "server misbehaving", Name: "data.example", IsTemporary: true}, 4},
	} {
		x := newRecorder()
		x.Client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: c.fault}
		}
		err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{"http://data.example/a", "http://data.example/b"}}, filepath.Join(t.TempDir(), "f"))
		hint := fault.HintOf(err)
		if err == nil || strings.Count(err.Error(), c.fault.Err) != 2 || len(x.waits) != c.again || !strings.Contains(hint, "--from") || !strings.Contains(hint, "HTTPS_PROXY") {
			t.Errorf("%d more tries, want %d; %v, hint %s", len(x.waits), c.again, err, hint)
		}
	}
}

// An error of this machine ends the search: no other address would mend it.
func TestLocalFault(t *testing.T) {
	h, x := newHost(t, serve(body, "")), newRecorder()
	err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{h.URL, h.URL}}, filepath.Join(t.TempDir(), "missing", "f"))
	if err == nil || !strings.Contains(err.Error(), "no such file or directory") || len(h.asked()) != 1 {
		t.Errorf("%d requests, %v", len(h.asked()), err)
	}
}

func TestProxy(t *testing.T) {
	var asked string
	proxy := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		serve(body, "")(w, r)
	})
	direct := newHost(t, serve(body, ""))
	for _, c := range []struct {
		name, address string
		proxy         Proxy
		want          string
	}{
		{"through the proxy", "http://data.example/file", Proxy{HTTP: proxy.URL}, "http://data.example/file"},
		{"past the proxy", direct.URL, Proxy{HTTP: proxy.URL, No: "*"}, ""},
	} {
		asked = ""
		x := newRecorder()
		x.Client = NewClient(c.proxy, time.Second)
		if err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{c.address}}, filepath.Join(t.TempDir(), "f")); err != nil || asked != c.want {
			t.Errorf("%s: the proxy was asked for %q, want %q; %v", c.name, asked, c.want, err)
		}
	}
}

// A proxy for https is asked to connect: one that does not is named, and asked again only if that may help.
func TestProxyRefuses(t *testing.T) {
	for _, c := range []struct {
		code, asked int
		hint        string
	}{
		{407, 1, "NAME:PASSWORD"}, {403, 1, "--from"}, {503, 3, "--from"}, {0, 0, "are HTTPS_PROXY and HTTP_PROXY right?"},
	} {
		refusing, x := newHost(t, status(c.code)), newRecorder()
		x.Client = NewClient(Proxy{HTTPS: refusing.URL}, time.Second)
		if c.code == 0 {
			refusing.Close()
		}
		err := x.Fetch(t.Context(), File{Name: "f", URLs: []string{"https://data.example/file"}}, filepath.Join(t.TempDir(), "f"))
		want := fmt.Sprintf("the proxy answers %d %s", c.code, http.StatusText(c.code))
		if c.code == 0 {
			want = "proxyconnect tcp: dial tcp"
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(fault.HintOf(err), c.hint) || len(refusing.asked()) != c.asked {
			t.Errorf("%d requests, want %d; %v, hint %s", len(refusing.asked()), c.asked, err, fault.HintOf(err))
		}
	}
}

func TestProxySettings(t *testing.T) {
	for _, c := range []struct {
		address string
		good    bool
	}{
		{"", true}, {"http://proxy:3128", true}, {"proxy:3128", true}, {"https://me:secret@proxy", true}, {"socks5://proxy:1080", true},
		{"ftp://proxy", false}, {"http://", false}, {"http://me:secret@[", false}, {"://", false},
	} {
		for name, set := range map[string]string{"HTTP_PROXY": "HTTP_PROXY", "https_proxy": "HTTPS_PROXY"} {
			err := ProxyOf(func(v string) string { return map[string]string{name: c.address}[v] }).Check()
			if (err == nil) != c.good || err != nil && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), set) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("%s=%s: %v", name, c.address, err)
			}
		}
	}
}

func TestFileAddress(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a b#c%d.txt")
	if err := os.WriteFile(name, body, 0o666); err != nil {
		t.Fatal(err)
	}
	base, err := addressOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(t.TempDir(), "part")
	os.WriteFile(part, body[:1000], 0o666)
	if err := newRecorder().Fetch(t.Context(), File{Name: "f", URLs: []string{below(base, "a b#c%d.txt")}, Content: Content{SHA256: sum(body)}}, part); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(part); !bytes.Equal(got, body) {
		t.Errorf("%d bytes", len(got))
	}
}

// A wrong file of this machine is not read twice, and named as it is.
func TestWrongFileOfThisMachine(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "file.txt", "other")
	base, err := addressOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	x := newRecorder()
	err = x.Fetch(t.Context(), File{Name: "f", URLs: []string{below(base, "file.txt")}, Content: Content{SHA256: sum(body)}}, filepath.Join(t.TempDir(), "part"))
	if want := "fetch f: " + base + "/file.txt: its sha256 is " + sum([]byte("other")) + ", want " + sum(body); err == nil || err.Error() != want || len(x.waits) > 0 {
		t.Errorf("got %v after %d waits", err, len(x.waits))
	}
}

func TestBase(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"https://host/a/", "https://host/a"}, {"/a b/c", "file:///a%20b/c"}, {"file:///a/", "file:///a"}, {"ftp://host/a", ""}, {"https://", ""}, {"http://[", ""},
	} {
		if got, err := addressOf(c.in); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %s, %v", c.in, got, err)
		}
	}
}

// A stop while a file is compared with its checksum keeps what is here.
func TestVerifyStops(t *testing.T) {
	part := filepath.Join(t.TempDir(), "file.part")
	f, err := os.Create(part)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 40); err != nil {
		t.Skipf("skipped: no file with holes here: %v", err)
	}
	for _, content := range []Content{{SHA256: sum(body)}, {SHA1: sum(body)}} {
		content.Size = 1 << 40
		os.WriteFile(stateName(part), []byte(`{"url":"http://localhost/f","etag":"\"1\""}`), 0o666)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := newRecorder().Fetch(ctx, File{Name: "f", URLs: []string{"http://localhost/f"}, Content: content}, part)
		cancel()
		if size, _ := sizeOf(part); err == nil || time.Since(start) > time.Second || size != 1<<40 {
			t.Errorf("%+v: after %v: %v, %d bytes kept", content, time.Since(start), err, size)
		}
	}
}
