package collector

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// SpanLimits bound what senders of spans may do.
type SpanLimits struct {
	MaxBody  ByteSize      // of one body, compressed and decompressed
	MaxSpans int           // in one body
	AtOnce   int           // bodies that are being received or counted
	Timeout  time.Duration // to receive a body, and again to count it
}

// DefaultSpanLimits returns the limits that fit Kong, which sends up to 200 spans at once
// and gives up after 6 s, and collectors, which send some thousands.
func DefaultSpanLimits() SpanLimits {
	return SpanLimits{MaxBody: 4 * MiB, MaxSpans: 20_000, AtOnce: 16, Timeout: 5 * time.Second}
}

// Validate returns an error with the code Invalid for limits that cannot work.
func (l SpanLimits) Validate(kind string) error {
	if l.MaxBody < ShortestLimit || l.MaxSpans <= 0 || l.AtOnce <= 0 || l.Timeout <= 0 {
		return gatewarden.Errorf(gatewarden.Invalid, "%s: max_body must be at least %s; max_spans, max_requests and timeout above zero", kind, ShortestLimit)
	}
	return nil
}

// SpanFeed is what the sources share to which spans are sent: limits, the way to the sink,
// metrics. It is safe for concurrent use.
type SpanFeed struct {
	name    string
	sink    Spans
	log     *slog.Logger
	limits  SpanLimits
	slots   chan struct{} // one for each body
	metrics *spanMetrics
	quiet   Quiet
	now     func() time.Time
}

// NewSpanFeed returns the feed of a source.
func NewSpanFeed(env Env, limits SpanLimits) (*SpanFeed, error) {
	metrics, err := newSpanMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "%s: cannot register metrics: %w", env.Name, err)
	}
	return &SpanFeed{
		name: env.Name, sink: env.SpanSink(), log: env.Log.With("source", env.Name), limits: limits,
		slots: make(chan struct{}, limits.AtOnce), metrics: metrics, now: time.Now,
	}, nil
}

// Why a body is not taken.
var (
	ErrBusy         = errors.New("as many bodies as the limit allows are being received")
	ErrBodyTooLarge = errors.New("the body is larger than the limit")
	errEncoding     = errors.New("unknown Content-Encoding")
)

// Enter takes a slot, without waiting, and returns what gives it back. The error is
// ErrBusy when there is none.
func (f *SpanFeed) Enter() (leave func(), err error) {
	select {
	case f.slots <- struct{}{}:
		return func() { <-f.slots }, nil
	default:
		return nil, ErrBusy
	}
}

// Take decodes a body and hands its spans on.
func (f *SpanFeed) Take(ctx context.Context, body []byte, decode func(*SpanBatch, []byte) error) (*SpanBatch, error) {
	f.metrics.received.Add(float64(len(body)))
	b := &SpanBatch{Max: f.limits.MaxSpans}
	if err := decode(b, body); err != nil {
		return nil, err
	}
	return b, f.Deliver(ctx, b)
}

// Deliver hands the spans of a batch on. The error has the code Unavailable.
func (f *SpanFeed) Deliver(ctx context.Context, b *SpanBatch) error {
	ctx, cancel := context.WithTimeout(ctx, f.limits.Timeout)
	defer cancel()
	if err := f.sink.AcceptSpans(ctx, f.name, b.Spans); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "the spans were not counted: %w", err).WithHint("send them again")
	}
	f.metrics.accepted.Add(float64(len(b.Spans)))
	f.metrics.rejected.Add(float64(b.Rejected))
	if b.Rejected > 0 {
		if due, held := f.quiet.Due(f.now()); due {
			f.log.Warn("left out spans", "spans", b.Rejected, "because", b.Reason, "times_before_unlogged", held)
		}
	}
	return nil
}

// Refused counts a body that was not taken, and logs why.
func (f *SpanFeed) Refused(client string, err error) {
	f.metrics.refused.Inc()
	if due, held := f.quiet.Due(f.now()); due {
		f.log.Warn("refused a body with spans", "client", client, "err", err, "refused_before_unlogged", held)
	}
}

// Receive reads the body of a request, decompressed.
func (f *SpanFeed) Receive(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(f.limits.MaxBody)
	if r.ContentLength > limit {
		return nil, ErrBodyTooLarge
	}
	control := http.NewResponseController(w)
	// Not every ResponseWriter has deadlines; the server's own have.
	_ = control.SetReadDeadline(f.now().Add(f.limits.Timeout))
	plain, err := decompress(r.Header.Values("Content-Encoding"), http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(plain, limit+1))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || int64(len(body)) > limit {
		return nil, ErrBodyTooLarge
	}
	_ = control.SetReadDeadline(time.Time{}) // it must not strike while the spans are being counted
	return body, err
}

// decompress returns a reader of what r holds. Deflate is zlib by the standard, and bare
// deflate by those who read the name and not the standard.
func decompress(encodings []string, r io.Reader) (io.Reader, error) {
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(encodings, ","))); encoding {
	case "", "identity":
		return r, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(r)
	case "deflate", "zlib":
		buffered := bufio.NewReader(r)
		head, err := buffered.Peek(2)
		if err != nil {
			return nil, fmt.Errorf("deflate: %w", err)
		}
		if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 { // RFC 1950
			return zlib.NewReader(buffered)
		}
		return flate.NewReader(buffered), nil
	default:
		return nil, fmt.Errorf("%w %q", errEncoding, Name(encoding))
	}
}

// SpanStatus returns the status of HTTP that an error of Receive, Enter or Take means: what
// may work later is 503, so that it is sent again.
func SpanStatus(err error) int {
	switch {
	case errors.Is(err, ErrBusy), gatewarden.ErrorCode(err) == gatewarden.Unavailable:
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrBodyTooLarge), errors.Is(err, ErrTooManySpans):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errEncoding):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	default:
		return http.StatusBadRequest
	}
}
