package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced makes a span of each request that is made within one, and tells the peer of it in
// the words of W3C (traceparent), so that what the peer does can be found in the same trace.
// Queries are not shown, because parameters of a job may be secrets; nor are paths, when
// they may be, as that of a webhook often is.
type traced struct {
	next       http.RoundTripper
	secretPath bool
}

// RoundTrip sends a copy of req with the trace's context.
func (t traced) RoundTrip(req *http.Request) (*http.Response, error) {
	around := trace.SpanFromContext(req.Context())
	if !around.IsRecording() {
		return t.next.RoundTrip(req)
	}
	shown := url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path}
	if t.secretPath {
		shown.Path = ""
	}
	ctx, span := around.TracerProvider().Tracer("github.com/gatewarden/gatewarden").Start(req.Context(), req.Method, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(
			attribute.String("http.request.method", req.Method), attribute.String("url.full", shown.String()),
			attribute.String("server.address", req.URL.Hostname())))
	defer span.End()
	req = req.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		span.SetStatus(codes.Error, "no answer")
		return nil, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", resp.StatusCode))
	if resp.StatusCode >= 400 {
		span.SetStatus(codes.Error, http.StatusText(resp.StatusCode))
	}
	return resp, nil
}

// traceIDs adds the ids of the span that a line is logged in.
type traceIDs struct{ slog.Handler }

// Handle is slog.Handler's.
func (h traceIDs) Handle(ctx context.Context, r slog.Record) error {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", s.TraceID().String()), slog.String("span_id", s.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is slog.Handler's.
func (h traceIDs) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceIDs{h.Handler.WithAttrs(attrs)}
}

// WithGroup is slog.Handler's.
func (h traceIDs) WithGroup(name string) slog.Handler { return traceIDs{h.Handler.WithGroup(name)} }
