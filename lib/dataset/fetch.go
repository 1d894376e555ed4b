package dataset

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"hpcbert/lib/fault"
	"hpcbert/lib/stream"
)

// Fetcher downloads files. An interrupted download goes on where it ended, in this run or a later one.
type Fetcher struct {
	Client *http.Client
	Agent  string        // User-Agent
	Tries  int           // in a row that bring nothing new, at one address
	Stall  time.Duration // a try ends when fewer than Least bytes came in this time
	Least  int64

	Wait   func(context.Context, time.Duration) error // Sleep, but in tests
	Jitter func() float64                             // 0 to below 1
	Now    func() time.Time

	Warn     func(format string, a ...any) // what went wrong on the way
	Progress func(done, total int64)       // bytes of the file; total 0 when unknown; may be nil
}

const (
	firstPause   = time.Second
	longestPause = time.Minute
	mostPatience = 10 * time.Minute // with a server that says when to come back
)

// redacted is an address without its password.
func redacted(address string) string {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		return u.Redacted()
	}
	return address
}

// Sleep waits for d or the end of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refusal is an error that another try at the same address would not mend.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// local is an error of this machine, which no other address would mend.
type local struct{ error }

func (l local) Unwrap() error { return l.error }

// busy is an error of a server that says when to come back.
type busy struct {
	error
	after time.Duration
}

// absent is the refusal of a place that does not have the file.
type absent struct{ error }

func (a absent) Unwrap() error { return a.error }

// Fetch downloads f to the file part, from the first of its addresses that has it, and checks it. What part holds of an earlier run is
// used; on failure it stays for the next one.
func (x *Fetcher) Fetch(ctx context.Context, f File, part string) error {
	var all failures
	for _, address := range f.URLs {
		err := x.from(ctx, address, f, part)
		if err == nil {
			os.Remove(stateName(part))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var here local
		if errors.As(err, &here) {
			return fmt.Errorf("fetch %s: %w", f.Name, stream.DiskFull(err))
		}
		all = append(all, err)
	}
	return fault.WithHint(fmt.Errorf("fetch %s: %w", f.Name, all), "%s", hintFor(all[0]))
}

// failures are the errors of a file that no address gave, one for each.
type failures []error

func (f failures) Error() string {
	var reasons []string
	for _, err := range f {
		reasons = append(reasons, err.Error())
	}
	return strings.Join(reasons, "; ")
}

func (f failures) Unwrap() []error { return f }

// from tries one address until the file is here, it is refused, or too many tries in a row bring nothing.
func (x *Fetcher) from(ctx context.Context, address string, f File, part string) error {
	furthest, _ := sizeOf(part)
	bad, shown := 0, redacted(address)
	for fruitless := 0; ; {
		err := x.try(ctx, address, f, part)
		if err == nil {
			if err = f.Content.verify(ctx, part); err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err() // nothing is known of what is here
			}
			err = fault.WithHint(err, wrongHint)
			discard(part)
			furthest = 0
			if bad++; bad == 2 || strings.HasPrefix(address, "file:") { // a wrong file of this machine stays wrong
				return fmt.Errorf("%s: %w", shown, err)
			}
		}
		err = fmt.Errorf("%s: %w", shown, err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var no refusal
		var here local
		if errors.As(err, &no) || errors.As(err, &here) {
			return err
		}
		have, _ := sizeOf(part)
		if fruitless++; have > furthest {
			furthest, fruitless = have, 0
		}
		if fruitless >= x.Tries {
			return err
		}
		pause, wait := x.pause(err, fruitless)
		if wait != nil {
			return fmt.Errorf("%w: %w", err, wait)
		}
		x.Warn("%v: trying again in %.1f s, from byte %d", err, pause.Seconds(), have)
		if err := x.Wait(ctx, pause); err != nil {
			return err
		}
	}
}

// pause returns how long to wait before the next try: as the server asks, else twice as long each time, less up to half by chance so that
// many clients do not come back at once.
func (x *Fetcher) pause(err error, fruitless int) (time.Duration, error) {
	var b busy
	if errors.As(err, &b) && b.after > 0 {
		if b.after > mostPatience {
			return 0, fmt.Errorf("it asks to come back in %s", b.after.Round(time.Second))
		}
		return b.after, nil
	}
	d := min(firstPause<<min(max(fruitless-1, 0), 10), longestPause)
	return d - time.Duration(x.Jitter()*float64(d)/2), nil
}

// hintFor tells the user what to do about a failed download.
func hintFor(err error) string {
	if hint := fault.HintOf(err); hint != "" {
		return hint
	}
	var b busy
	var dns *net.DNSError
	var connection *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &b):
		return "the source is busy: the same command later goes on from here; --from names another mirror"
	case errors.As(err, &certificate):
		return "a proxy that reads along must have its certificate in the system's store; SSL_CERT_FILE names one"
	case errors.As(err, &connection) && connection.Op == "proxyconnect":
		return "the proxy cannot be reached: are HTTPS_PROXY and HTTP_PROXY right?"
	case errors.As(err, &dns):
		return "behind a proxy, set HTTPS_PROXY and HTTP_PROXY; without a network, fetch it elsewhere and give the folder with --from"
	}
	return "the same command goes on from here; --from DIR or URL names another source, HTTPS_PROXY and HTTP_PROXY are obeyed"
}

// state is what is known of a file of which the beginning is here.
type state struct {
	URL      string `json:"url"`
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"last_modified,omitempty"`
	Size     int64  `json:"size,omitempty"` // of the whole file
}

func stateName(part string) string { return part + ".json" }

func readState(part string) (s state) {
	if data, err := os.ReadFile(stateName(part)); err == nil {
		if json.Unmarshal(data, &s) != nil {
			return state{}
		}
	}
	return s
}

func (s state) write(part string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return stream.WriteFile(stateName(part), data)
}

// validator returns what If-Range may carry: a strong ETag, or a date.
func (s state) validator() string {
	if s.ETag != "" && !strings.HasPrefix(s.ETag, "W/") {
		return s.ETag
	}
	return s.Modified
}

// contradicts tells whether a later reply is about another version of the file.
func (s state) contradicts(later state) bool {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	if s.Size > 0 && later.Size > 0 && s.Size != later.Size {
		return true
	}
	return differ(s.ETag, later.ETag) || s.ETag == "" && differ(s.Modified, later.Modified)
}

func discard(part string) {
	os.Remove(part)
	os.Remove(stateName(part))
}

func sizeOf(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
