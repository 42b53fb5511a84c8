// Package zipkin takes spans in Zipkin's JSON, version 2, as Kong's zipkin plugin and many
// tracing libraries post them. It is one of the sources under collector.
//
// It answers as a Zipkin server does: 202 and nothing else when the spans are taken, 400
// with a text when the body is broken. Kong's plugin sends a body again that is answered
// with 500 or above, so 503 says that it is to come again.
package zipkin

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("zipkin", DefaultSettings(), New) }

// Settings are those of one zipkin source.
type Settings struct {
	Path        string              `yaml:"path"` // on the ingest listener
	MaxBody     collector.ByteSize  `yaml:"max_body"`
	MaxSpans    int                 `yaml:"max_spans"`
	MaxRequests int                 `yaml:"max_requests"`
	Timeout     gatewarden.Duration `yaml:"timeout"`
}

// DefaultSettings returns what holds where the configuration is silent.
func DefaultSettings() Settings {
	l := collector.DefaultSpanLimits()
	return Settings{Path: "/api/v2/spans", MaxBody: l.MaxBody, MaxSpans: l.MaxSpans, MaxRequests: l.AtOnce, Timeout: gatewarden.Duration(l.Timeout)}
}

func (s *Settings) limits() collector.SpanLimits {
	return collector.SpanLimits{MaxBody: s.MaxBody, MaxSpans: s.MaxSpans, AtOnce: s.MaxRequests, Timeout: time.Duration(s.Timeout)}
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if !strings.HasPrefix(s.Path, "/") || strings.ContainsAny(s.Path, " \t{}?#") {
		return gatewarden.Errorf(gatewarden.Invalid, "zipkin: path %q is not a path", s.Path).WithHint("write one such as /api/v2/spans")
	}
	return s.limits().Validate("zipkin")
}

// Source is the handler of one path of the ingest listener.
type Source struct{ feed *collector.SpanFeed }

// New makes a source and puts it on env's mux. It returns an error with the code Conflict
// when the path is taken.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	feed, err := collector.NewSpanFeed(env, settings.limits())
	if err != nil {
		return nil, err
	}
	s := &Source{feed}
	return s, handle(env.Mux, settings.Path, s)
}

// handle puts h on the mux, whose way of saying that a pattern is taken is to panic.
func handle(mux collector.Mux, path string, h http.Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = gatewarden.Errorf(gatewarden.Conflict, "the path %s cannot be listened on: %v", path, p).
				WithHint("give each source on the ingest listener a path of its own")
		}
	}()
	mux.Handle(path, h)
	return nil
}

// Run waits until ctx is done: the ingest listener does the work.
func (s *Source) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// ServeHTTP answers one post.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST spans here", http.StatusMethodNotAllowed)
		return
	}
	if err := s.take(w, r); err != nil {
		s.feed.Refused(r.RemoteAddr, err)
		status := collector.SpanStatus(err)
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (s *Source) take(w http.ResponseWriter, r *http.Request) error {
	leave, err := s.feed.Enter()
	if err != nil {
		return err
	}
	defer leave()
	body, err := s.feed.Receive(w, r)
	if err != nil {
		return err
	}
	_, err = s.feed.Take(r.Context(), body, decode)
	return err
}

// decode adds the spans of a list.
func decode(b *collector.SpanBatch, body []byte) error {
	w := collector.NewWalker(bytes.NewReader(body))
	if err := w.Array(func() error { return span(b, w) }); err != nil {
		return err
	}
	return w.End()
}

// draft is a span while it is read.
type draft struct {
	collector.SpanDraft
	timestamp, duration uint64 // microseconds
	host, port          string // of the other side
	proxied, try        bool   // it is of Kong's plugin, and one try of its balancer
}

func span(b *collector.SpanBatch, w *collector.Walker) error {
	if err := b.Begin(); err != nil {
		return err
	}
	var d draft
	if err := w.Object(func(name string) error { return d.field(w, name) }); err != nil {
		return err
	}
	d.finish()
	b.End(&d.SpanDraft)
	b.Resource(d.Service, d.Version)
	return nil
}

func (d *draft) field(w *collector.Walker, name string) (err error) {
	switch name {
	case "traceId":
		d.TraceID, err = w.ID(collector.TraceDigits, true)
	case "id":
		d.ID, err = w.ID(collector.SpanDigits, true)
	case "parentId":
		d.Parent, err = w.ID(collector.SpanDigits, true)
	case "name":
		d.Operation, err = w.Text()
	case "kind":
		var kind string
		kind, err = w.Text()
		d.Attribute("span.kind", kind)
	case "timestamp":
		d.timestamp, err = w.Number()
	case "duration":
		d.duration, err = w.Number()
	case "localEndpoint":
		return w.Object(func(name string) (err error) {
			if name != "serviceName" {
				return w.Skip()
			}
			d.Service, err = w.Text()
			d.Service = collector.Name(d.Service)
			return err
		})
	case "remoteEndpoint":
		return w.Object(func(name string) error { return d.remote(w, name) })
	case "tags":
		return w.Object(func(name string) error { return d.tag(w, name) })
	default:
		return w.Skip()
	}
	return err
}

func (d *draft) remote(w *collector.Walker, name string) (err error) {
	switch name {
	case "ipv4":
		d.host, err = w.Text()
	case "ipv6":
		var host string
		if host, err = w.Text(); d.host == "" {
			d.host = host
		}
	case "port":
		d.port, err = w.Text()
	default:
		return w.Skip()
	}
	return err
}

// tag reads a tag, whose value is a string. The tag error is there when there was one,
// whatever it says.
func (d *draft) tag(w *collector.Walker, name string) error {
	value, err := w.Text()
	switch name {
	case "error":
		d.Error = d.Error || value != "false"
	case "kong.service":
		d.proxied = true
	case "kong.balancer.try":
		d.try = true
	case "service.name", "span.kind":
		// the span itself says these
	default:
		d.Attribute(name, value)
	}
	return err
}

// finish makes of what was read what a span has. Kong's plugin has one span for the whole
// of what was proxied, which names the target that was tried last, and one for each try:
// these are the calls.
func (d *draft) finish() {
	if d.timestamp <= math.MaxInt64/1000 && d.duration <= math.MaxInt64/2000 {
		d.Nanos = [2]uint64{d.timestamp * 1000, (d.timestamp + d.duration) * 1000}
	}
	if d.proxied && !d.try {
		return
	}
	d.Attribute("net.peer.ip", d.host)
	if _, err := strconv.ParseUint(d.port, 10, 16); err == nil {
		d.Attribute("net.peer.port", d.port)
	}
}
