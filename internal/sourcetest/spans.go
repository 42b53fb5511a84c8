package sourcetest

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/gatewarden/gatewarden"
)

// Spans keeps the spans that it is given.
type Spans struct {
	Hold chan struct{} // unless nil, nothing is taken before it is closed
	Err  error         // unless nil, nothing is taken

	mu  sync.Mutex
	all []gatewarden.Span
}

// AcceptSpans keeps the spans.
func (s *Spans) AcceptSpans(_ context.Context, _ string, spans []gatewarden.Span) error {
	if s.Hold != nil {
		<-s.Hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err == nil {
		s.all = append(s.all, spans...)
	}
	return s.Err
}

// All returns the spans that have come.
func (s *Spans) All() []gatewarden.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// CheckSpans fails the test unless spans are what a source may hand in, at most so many.
func CheckSpans(t *testing.T, spans []gatewarden.Span, most int) {
	t.Helper()
	if len(spans) > most {
		t.Errorf("%d spans, where there may be %d", len(spans), most)
	}
	trace, span := regexp.MustCompile("^[0-9a-f]{32}$"), regexp.MustCompile("^[0-9a-f]{16}$")
	for _, s := range spans {
		good := trace.MatchString(s.TraceID) && span.MatchString(s.ID) && (s.Parent == "" || span.MatchString(s.Parent)) &&
			s.TraceID != "00000000000000000000000000000000" && s.ID != "0000000000000000" && s.Parent != "0000000000000000" &&
			s.Service != "" && s.Duration >= 0 && s.Start.Unix() >= 0 && s.Status >= 0 && s.Status < 1000 && s.Kind != ""
		for _, text := range []string{s.Service, s.Version, s.Operation, s.Peer} {
			good = good && utf8.ValidString(text) && len(text) < 1024
		}
		if !good {
			t.Errorf("this is no span to hand in: %+v", s)
		}
	}
}

// Gather returns what a registry has.
func Gather(t *testing.T, reg *prometheus.Registry) []*dto.MetricFamily {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}
