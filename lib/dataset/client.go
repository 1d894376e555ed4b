package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hpcbert/lib/fault"

	"golang.org/x/net/http/httpproxy"
)

const mostRedirects = 10

// Proxy holds the proxy settings as their environment variables have them.
type Proxy struct{ HTTP, HTTPS, No string }

// ProxyOf reads the settings from an environment.
func ProxyOf(getenv func(string) string) Proxy {
	either := func(name string) string { return cmp.Or(getenv(name), getenv(strings.ToLower(name))) }
	return Proxy{HTTP: either("HTTP_PROXY"), HTTPS: either("HTTPS_PROXY"), No: either("NO_PROXY")}
}

var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// Check refuses what is no address of a proxy: every request would fail. The address is not told, as it may hold a password.
func (p Proxy) Check() error {
	for name, address := range map[string]string{"HTTP_PROXY": p.HTTP, "HTTPS_PROXY": p.HTTPS} {
		if address != "" && !strings.Contains(address, "://") {
			address = "http://" + address
		}
		proxy, err := url.Parse(address)
		if address != "" && (err != nil || !slices.Contains(proxySchemes, proxy.Scheme) || proxy.Hostname() == "") {
			return fault.WithHint(fault.Usagef("the environment's %s is not the address of a proxy", name), "as in %s=http://HOST:PORT", name)
		}
	}
	return nil
}

// NewClient returns a client for downloads: through the proxy, with file:// addresses, and no time limit but that silence of the length of
// stall ends a request.
func NewClient(p Proxy, stall time.Duration) *http.Client {
	proxyOf := (&httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: p.No}).ProxyFunc()
	t := &http.Transport{
		Proxy:       func(r *http.Request) (*url.URL, error) { return proxyOf(r.URL) },
		DialContext: (&net.Dialer{Timeout: stall}).DialContext,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, reply *http.Response) error {
			return proxyError(reply)
		},
		TLSHandshakeTimeout:   stall,
		ResponseHeaderTimeout: stall,
		DisableCompression:    true, // sizes, ranges and checksums are those of the stored bytes
		DisableKeepAlives:     true, // files are few and large, and package http logs by itself what comes on idle connections
	}
	t.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}
}

// proxyError is the error of a proxy that does not connect to the server, nil if it does.
func proxyError(reply *http.Response) error {
	code, err := reply.StatusCode, fmt.Errorf("the proxy answers %s", reply.Status)
	switch {
	case code == http.StatusOK:
		return nil
	case code == http.StatusProxyAuthRequired:
		return refusal{fault.WithHint(err, proxyHint)}
	case passing(code):
		return err
	}
	return refusal{fault.WithHint(err, "it does not let this machine through to the server: fetch the file elsewhere and give its folder with --from")}
}

const proxyHint = "it wants a name and a password: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"

var errRedirected = errors.New("redirected")

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) >= mostRedirects {
		return fmt.Errorf("%w %d times, in a circle or to nowhere", errRedirected, len(via))
	}
	if from := via[len(via)-1].URL.Scheme; r.URL.Scheme != from && r.URL.Scheme != "https" {
		return fmt.Errorf("%w from %s to %s, which is refused", errRedirected, from, r.URL.Redacted())
	}
	return nil
}

// addressOf returns the address of a folder or URL given by the user, without a slash at its end.
func addressOf(where string) (string, error) {
	if scheme, _, found := strings.Cut(where, "://"); found {
		u, err := url.Parse(where)
		if err != nil || scheme != "file" && u.Host == "" || scheme != "http" && scheme != "https" && scheme != "file" {
			return "", fmt.Errorf("%q is neither a folder nor an http, https or file address", where)
		}
		return strings.TrimRight(where, "/"), nil
	}
	path, err := filepath.Abs(where)
	if err != nil {
		return "", err
	}
	return "file://" + (&url.URL{Path: path}).EscapedPath(), nil
}

// below returns the address of a path below a base.
func below(base string, path ...string) string {
	return base + (&url.URL{Path: "/" + strings.Join(path, "/")}).EscapedPath()
}
