package httplog

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

func TestPostAnswersWhatServeHTTPWouldAnswerWithA200(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxBody, settings.MaxBuffered, settings.MaxBatch = collector.KiB, 4*collector.KiB, 3
	refusing := errors.New("the store is closed")
	for name, c := range map[string]struct {
		body string
		sink error
		want string // "" when net/http is to answer
	}{
		"a record":                   {body: record, want: `{"accepted":1,"rejected":0}`},
		"a batch":                    {body: "[" + record + "," + record + "]", want: `{"accepted":2,"rejected":0}`},
		"something that is no log":   {body: "[" + record + ",7]", want: `{"accepted":1,"rejected":1}`},
		"nothing":                    {},
		"no JSON":                    {body: "hello"},
		"too many records":           {body: "[7,7,7,7]"},
		"a body beyond the limit":    {body: record + string(make([]byte, 1<<10))},
		"a sink that does not count": {body: record, sink: refusing},
	} {
		t.Run(name, func(t *testing.T) {
			sink := sinkFunc(func(context.Context, string, []gatewarden.Record) error { return c.sink })
			s, _, reg := newSource(t, sink, settings)
			answer, ok := s.Post(t.Context(), []byte(c.body), []byte("before "), &net.TCPAddr{})
			if ok != (c.want != "") || ok && string(answer) != "before "+c.want+"\n" {
				t.Errorf("answer %q, %t, want %q", answer, ok, c.want)
			}
			got := gather(t, reg)
			if counted := got["gatewarden_httplog_received_bytes_total"] > 0; counted != ok {
				t.Errorf("received bytes are counted: %t, want %t: net/http counts what it answers", counted, ok)
			}
			if got["gatewarden_httplog_decode_errors_total"] > 0 {
				t.Error("an error is counted that net/http counts again")
			}
		})
	}
}

func TestBuffersAreWithinTheBudget(t *testing.T) {
	settings := DefaultSettings()
	settings.MaxBody, settings.MaxBuffered = 200*collector.KiB, 256*collector.KiB
	s, _, _ := newSource(t, &counter{}, settings)
	if body, _ := s.Buffer(200<<10 + 1); body != nil {
		t.Error("there is memory for a body that is too large")
	}
	for range 3 {
		one, freeOne := s.Buffer(100_000)
		two, freeTwo := s.Buffer(10)
		if len(one) != 100_000 || len(two) != 10 {
			t.Fatalf("buffers of %d and %d bytes, want 100,000 and 10", len(one), len(two))
		}
		if three, _ := s.Buffer(100_000); three != nil {
			t.Error("there is memory beyond the budget")
		}
		freeOne()
		freeTwo()
		if n := s.buffered.Load(); n != 0 {
			t.Errorf("%d bytes are reserved after all", n)
		}
	}
}

func TestPatienceEnds(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *patience, cancel context.CancelFunc)
		want error
	}{
		"by its instant":                    {func(*patience, context.CancelFunc) { time.Sleep(time.Minute) }, context.DeadlineExceeded},
		"with what it is made of":           {func(_ *patience, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"when its use has ended":            {func(p *patience, _ context.CancelFunc) { p.end() }, context.Canceled},
		"not before, when nobody waited":    {func(*patience, context.CancelFunc) {}, nil},
		"for who waited, when its use ends": {func(p *patience, _ context.CancelFunc) { p.Done(); p.end() }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := &patience{Context: parent, until: time.Now().Add(time.Minute)}
				defer p.end()
				if until, ok := p.Deadline(); !ok || !until.Equal(p.until) {
					t.Errorf("its deadline is %s, %t", until, ok)
				}
				c.do(p, cancel)
				synctest.Wait()
				if err := p.Err(); !errors.Is(err, c.want) {
					t.Errorf("it says %v, want %v", err, c.want)
				}
				select {
				case <-p.Done():
					if c.want == nil {
						t.Error("it is done")
					}
				default:
					if c.want != nil {
						t.Error("it is not done")
					}
				}
			})
		})
	}
}

func TestPatienceHasTheSoonerDeadline(t *testing.T) {
	sooner := time.Now().Add(time.Hour)
	parent, cancel := context.WithDeadline(t.Context(), sooner)
	defer cancel()
	p := &patience{Context: parent, until: sooner.Add(time.Hour)}
	if until, _ := p.Deadline(); !until.Equal(sooner) {
		t.Errorf("its deadline is %s, want %s", until, sooner)
	}
}
