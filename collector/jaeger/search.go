package jaeger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// dialect is one of Jaeger's query APIs.
type dialect interface {
	// services is the path that lists services, and known whether an answer is one to it.
	services() string
	known(w *collector.Walker) (bool, error)
	// search is the path of a search, and query its parameters.
	search() string
	query(service string, from, to time.Time, limit int) url.Values
	// read adds the spans of an answer, and returns how many traces they are of.
	read(b *collector.SpanBatch, w *collector.Walker) (traces int, err error)
	// nothing reports whether a status other than 200 says that there are no traces.
	nothing(status int, body string) bool
}

// errUnknown says that an answer is not of the API that was asked.
var errUnknown = errors.New("the answer is not that of a Jaeger")

// learn finds out which API there is, the newer one first.
func (s *Source) learn(ctx context.Context) (dialect, error) {
	var errs []error
	for _, d := range []dialect{v3{}, v1{}} {
		resp, err := s.get(ctx, d.services(), nil)
		if err != nil {
			return nil, err
		}
		known := resp.StatusCode == http.StatusOK
		if known {
			known, err = d.known(collector.NewWalker(resp.Body))
		}
		_ = resp.Body.Close()
		if err == nil && known {
			return d, nil
		}
		errs = append(errs, fmt.Errorf("%s answers with %d and no list of services", d.services(), resp.StatusCode))
	}
	return nil, gatewarden.Errorf(gatewarden.Unavailable, "%s: %w", s.settings.URL, errors.Join(append(errs, errUnknown)...)).
		WithHint("url is the address of Jaeger's page, with its base path if it has one")
}

// search asks for the traces of a window.
func (s *Source) search(ctx context.Context, b *collector.SpanBatch, service string, from, to time.Time) (traces int, err error) {
	resp, err := s.get(ctx, s.dialect.search(), s.dialect.query(service, from, to, s.settings.Limit))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		if err == nil && s.dialect.nothing(resp.StatusCode, string(text)) {
			return 0, nil
		}
		return 0, gatewarden.Errorf(gatewarden.Unavailable, "Jaeger answers a search with %d: %s", resp.StatusCode, collector.Name(strings.TrimSpace(string(text))))
	}
	traces, err = s.dialect.read(b, collector.NewWalker(resp.Body))
	if err != nil {
		err = fmt.Errorf("reading Jaeger's answer: %w", err)
	}
	return traces, err
}

// get asks for a path below the URL. The body is within the limit.
func (s *Source) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	u, err := url.Parse(s.settings.URL)
	if err != nil {
		return nil, fmt.Errorf("the url of Jaeger: %w", err)
	}
	u = u.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking Jaeger: %w", err)
	}
	for name, value := range s.settings.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = value.Reveal()
		}
		req.Header.Set(name, value.Reveal())
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &limited{resp.Body, int64(s.settings.MaxBody)}
	return resp, nil
}

// limited is a body that ends with an error when it is longer than the limit.
type limited struct {
	io.ReadCloser
	left int64
}

// Read reads up to the limit.
func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("the answer is larger than max_body: %w", collector.ErrTooManySpans)
	}
	n, err := l.ReadCloser.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// v3 is the API under /api/v3.
type v3 struct{}

func (v3) services() string { return "api/v3/services" }

func (v3) known(w *collector.Walker) (known bool, err error) {
	err = w.Object(func(name string) error {
		known = known || name == "services"
		return w.Skip()
	})
	return known, err
}

func (v3) search() string { return "api/v3/traces" }

// query names the limit twice: by its name of 1.76, where it must be there, and by the
// newer one.
func (v3) query(service string, from, to time.Time, limit int) url.Values {
	return url.Values{
		"query.service_name":   {service},
		"query.start_time_min": {from.UTC().Format(time.RFC3339Nano)},
		"query.start_time_max": {to.UTC().Format(time.RFC3339Nano)},
		"query.num_traces":     {strconv.Itoa(limit)},
		"query.searchDepth":    {strconv.Itoa(limit)},
	}
}

// read takes one object after the other: an answer may be a stream of them.
func (v3) read(b *collector.SpanBatch, w *collector.Walker) (traces int, err error) {
	for first := true; first || w.More(); first = false {
		err := w.Object(func(name string) error {
			if name != "result" {
				return w.Skip()
			}
			return b.ReadOTLP(w)
		})
		if err != nil {
			return tracesOf(b), err
		}
	}
	return tracesOf(b), nil
}

func (v3) nothing(status int, body string) bool {
	return status == http.StatusNotFound && strings.Contains(body, "No traces found")
}

func tracesOf(b *collector.SpanBatch) int {
	ids := map[string]bool{}
	for i := range b.Spans {
		ids[b.Spans[i].TraceID] = true
	}
	return len(ids)
}
