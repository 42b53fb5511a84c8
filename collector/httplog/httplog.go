// Package httplog takes what Kong's http-log plugin posts. It is one of the sources
// under collector: a body comes in over the ingest listener, is decoded whole, is
// handed to the sink, and only then does Kong hear a 200 and forget it.
//
// Kong sends a batch again after any other answer, for a minute by default, and also
// after an answer that got lost. That is why nothing of a body that is not entirely
// good is counted, and why the store drops repeats by request id.
package httplog

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("httplog", DefaultSettings(), New) }

// Source is the handler of one path of the ingest listener.
type Source struct {
	settings Settings
	name     string
	sink     collector.Sink
	log      *slog.Logger
	metrics  *metrics
	decoders *collector.Pool
	bodies   bodies
	buffered atomic.Int64 // bytes of the bodies that are being received or counted
	quiet    collector.Quiet
	now      func() time.Time
}

// New makes a source and puts it on env's mux. It returns an error with the code
// Conflict when the path is taken.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	metrics, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "httplog: cannot register metrics: %w", err)
	}
	s := &Source{
		settings: settings,
		name:     env.Name,
		sink:     env.Sink,
		log:      env.Log,
		metrics:  metrics,
		decoders: collector.NewPool(collector.Limits{MaxRecords: settings.MaxBatch}, env.Headers),
		now:      time.Now,
	}
	if err := handle(env.Mux, settings.Path, s); err != nil {
		return nil, err
	}
	return s, nil
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
	batch, err := s.serve(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.metrics.answered(http.StatusOK)
	w.Header()["Content-Type"] = jsonType
	// An answer that does not arrive makes Kong send the batch again.
	_, _ = w.Write(batch.answer(make([]byte, 0, 64)))
}

var jsonType = []string{"application/json"}

// Post counts a body that is at hand and appends the answer; see posts.Handler. It is
// false when the body is not to be answered with a 200: what was counted of it all the same
// is known by its ids when it comes again.
func (s *Source) Post(ctx context.Context, body, answer []byte, client net.Addr) ([]byte, bool) {
	if int64(len(body)) > int64(s.settings.MaxBody) {
		return answer, false
	}
	batch, err := s.take(ctx, body, client.String)
	if err != nil {
		return answer, false
	}
	s.metrics.received.Add(float64(len(body)))
	s.metrics.answered(http.StatusOK)
	return batch.answer(answer), true
}

// Buffer lends memory for a body of n bytes; see posts.Handler.
func (s *Source) Buffer(n int) (data []byte, free func()) {
	const step = 64 << 10 // bodies are of many sizes, and their memory is used again
	size := int64(n+step-1) / step * step
	if int64(n) > int64(s.settings.MaxBody) {
		return nil, nil
	}
	b := s.bodies.get()
	free = func() {
		s.buffered.Add(-b.reserved)
		s.bodies.put(b)
	}
	if err := b.grow(size, s); err != nil {
		free()
		return nil, nil
	}
	return b.data[:n:n], free
}

// counted is what became of a body.
type counted struct{ accepted, rejected int }

// answer appends what the sender is told of it.
func (c counted) answer(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"accepted":`...), int64(c.accepted), 10)
	b = strconv.AppendInt(append(b, `,"rejected":`...), int64(c.rejected), 10)
	return append(b, "}\n"...)
}

// serve receives, decodes and hands on.
func (s *Source) serve(w http.ResponseWriter, r *http.Request) (counted, *refusal) {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch: // those that the plugin's method can be
	default:
		return counted{}, &refusal{status: http.StatusMethodNotAllowed,
			err: gatewarden.Errorf(gatewarden.Invalid, "%s is not a way to send logs", r.Method).WithHint("use POST, PUT or PATCH")}
	}
	body := s.bodies.get()
	defer s.bodies.put(body)
	defer func() { s.buffered.Add(-body.reserved) }()
	if refused := s.receive(w, r, body); refused != nil {
		return counted{}, refused
	}
	batch, refused := s.take(r.Context(), body.data, func() string { return r.RemoteAddr })
	if refused != nil && refused.status != http.StatusServiceUnavailable {
		s.metrics.decodeErrors.Inc()
	}
	return batch, refused
}

// take decodes a body and hands its records on: all of them, or none.
func (s *Source) take(ctx context.Context, body []byte, client func() string) (counted, *refusal) {
	decoder := s.decoders.Get()
	defer s.decoders.Put(decoder)
	batch, err := decoder.Decode(body)
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, collector.ErrTooMany) {
			status = http.StatusRequestEntityTooLarge
		}
		return counted{}, &refusal{status: status, err: err}
	}
	if len(batch.Records) > 0 {
		ctx := &patience{Context: ctx, until: s.now().Add(time.Duration(s.settings.Timeout))}
		defer ctx.end()
		if err := s.sink.Accept(ctx, s.name, batch.Records); err != nil {
			return counted{}, &refusal{status: http.StatusServiceUnavailable,
				err: gatewarden.Errorf(gatewarden.Unavailable, "the records were not taken: %w", err).WithHint("send them again")}
		}
	}
	s.metrics.accepted.Add(float64(len(batch.Records)))
	if batch.Rejected > 0 {
		s.metrics.rejected.Add(float64(batch.Rejected))
		s.log.Debug("rejected what is no log record of Kong's", "source", s.name, "rejected", batch.Rejected,
			"of", batch.Rejected+len(batch.Records), "reason", batch.Reason, "client", client())
	}
	return counted{accepted: len(batch.Records), rejected: batch.Rejected}, nil
}

// receive reads the body, decompressed, within the limits of size and time.
func (s *Source) receive(w http.ResponseWriter, r *http.Request, body *body) *refusal {
	limit := int64(s.settings.MaxBody)
	if r.ContentLength > limit {
		return s.tooLarge()
	}
	control := http.NewResponseController(w)
	// Not every ResponseWriter has deadlines; the server's own have.
	_ = control.SetReadDeadline(s.now().Add(time.Duration(s.settings.Timeout)))
	limited := http.MaxBytesReader(w, r.Body, limit)
	plain, err := decompress(r.Header.Values("Content-Encoding"), limited)
	if err == nil {
		err = body.fill(plain, r.ContentLength, limit, s)
	}
	s.metrics.received.Add(float64(len(body.data)))
	if err == nil {
		// The deadline must not strike while the records are being counted.
		_ = control.SetReadDeadline(time.Time{})
		return nil
	}
	return s.explain(err)
}

// explain says which status an error in receiving means.
func (s *Source) explain(err error) *refusal {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, errTooLarge):
		return s.tooLarge()
	case errors.Is(err, errBusy):
		return &refusal{status: http.StatusServiceUnavailable,
			err: gatewarden.Errorf(gatewarden.Unavailable, "too many bodies at once").WithHint("send it again later, or raise max_buffered of the source")}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{status: http.StatusRequestTimeout,
			err: gatewarden.Errorf(gatewarden.Invalid, "the body did not arrive within %s", s.settings.Timeout).WithHint("send smaller batches, or raise timeout of the source")}
	case errors.Is(err, errEncoding):
		return &refusal{status: http.StatusUnsupportedMediaType, err: gatewarden.Errorf(gatewarden.Invalid, "%w", err).WithHint("use gzip, deflate or none")}
	default:
		return &refusal{status: http.StatusBadRequest, err: gatewarden.Errorf(gatewarden.Invalid, "the body cannot be read: %w", err).WithHint("it was cut off or damaged on its way; send it again")}
	}
}

func (s *Source) tooLarge() *refusal {
	return &refusal{status: http.StatusRequestEntityTooLarge,
		err: gatewarden.Errorf(gatewarden.Invalid, "the body is larger than %s", s.settings.MaxBody).
			WithHint("lower queue.max_batch_size of the http-log plugin, or raise max_body of the source")}
}
