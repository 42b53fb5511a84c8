package app

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/version"
	"github.com/gatewarden/gatewarden/rules"
	"github.com/gatewarden/gatewarden/store"
)

// tracing sends the guard's own traces: one for each breach, from the tick that saw it
// over what was decided to each call to the outside, and one for some of the batches that
// come in. A nil tracing sends nothing.
//
// The ids of a breach's trace are made from what the breach is: its SLO, severity and
// beginning. So actions that are begun minutes later, or taken back after a restart,
// are in the same trace, and nothing of it has to be kept.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	logger   *slog.Logger
	started  time.Time

	every   uint64 // one batch of so many has a trace; 0 is none
	batches atomic.Uint64

	mu   sync.Mutex
	told map[trace.SpanID]bool // spans that were sent under ids of their own
}

// maxTold bounds told: after so many it forgets, and the worst of it is a span sent twice.
const maxTold = 10_000

// exportWithin bounds one export, and what a stop waits for the last.
const exportWithin = 3 * time.Second

// newTracing returns the way to the collector of traces, nil when none is configured.
// Nothing is sent before there is a span.
func newTracing(ctx context.Context, cfg rules.Tracing, started time.Time, logger *slog.Logger) (*tracing, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	transport, err := transport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	endpoint := cfg.Endpoint
	if u, err := url.Parse(endpoint); err == nil && strings.Trim(u.Path, "/") == "" {
		endpoint = u.JoinPath("v1", "traces").String() // where OTLP has them
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(endpoint), otlptracehttp.WithTimeout(exportWithin)}
	if c := transport.TLSClientConfig; c != nil {
		options = append(options, otlptracehttp.WithTLSClientConfig(&tls.Config{RootCAs: c.RootCAs, MinVersion: c.MinVersion}))
	}
	if len(cfg.Headers) > 0 {
		headers := make(map[string]string, len(cfg.Headers))
		for name, value := range cfg.Headers {
			headers[name] = value.Reveal()
		}
		options = append(options, otlptracehttp.WithHeaders(headers))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("setting up the way to %s: %w", cfg.Endpoint, err)
	}
	t := &tracing{logger: logger, started: started, told: map[trace.SpanID]bool{}}
	if cfg.Batches > 0 {
		t.every = uint64(1 / float64(cfg.Batches))
	}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // what is not to be sent gets no span
		sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithBatcher(&reporting{SpanExporter: exporter, logger: logger}, sdktrace.WithBatchTimeout(time.Second), sdktrace.WithExportTimeout(exportWithin)),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "gatewarden"), attribute.String("service.version", version.Get().Version))),
	)
	t.tracer = t.provider.Tracer("github.com/gatewarden/gatewarden")
	return t, nil
}

// reporting logs when traces cannot be sent, once until they can again: the library would
// write to a logger of the whole process.
type reporting struct {
	sdktrace.SpanExporter
	logger  *slog.Logger
	failing atomic.Bool
}

// ExportSpans never fails: what could not be sent is gone.
func (r *reporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	if failing := err != nil; r.failing.Swap(failing) != failing {
		if failing {
			r.logger.Warn("traces cannot be sent; those of now are lost, the guard goes on", "error", err)
		} else {
			r.logger.Info("traces are sent again")
		}
	}
	return nil
}

// close sends what is left.
func (t *tracing) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, exportWithin)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// batch begins the span of a batch, if this one is to have one. end is given what became
// of its records.
func (t *tracing) batch(ctx context.Context, source string, records int) (inside context.Context, end func(store.Added)) {
	if t == nil || t.every == 0 || t.batches.Add(1)%t.every != 0 {
		return ctx, func(store.Added) {}
	}
	ctx, span := t.tracer.Start(ctx, "ingest", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("gatewarden.source", source), attribute.Int("gatewarden.records", records)))
	return ctx, func(a store.Added) {
		for _, f := range fates(a) {
			if f.n > 0 {
				span.SetAttributes(attribute.Int("gatewarden.records."+f.name, f.n))
			}
		}
		span.End()
	}
}

// verdicts sends a span for every change of a verdict that a tick found. began is when the
// tick did.
func (t *tracing) verdicts(ctx context.Context, events []gatewarden.Event, began time.Time) {
	if t == nil {
		return
	}
	for i := range events {
		e := &events[i]
		attributes := trace.WithAttributes(
			attribute.String("gatewarden.slo", e.Name), attribute.String("gatewarden.state", e.State),
			attribute.String("gatewarden.severity", e.Severity), attribute.String("gatewarden.reason", e.Reason))
		var at context.Context
		if trigger, ok := breachOf(e); ok {
			at = t.root(ctx, &trigger, began, attributes)
		} else {
			var span trace.Span
			at, span = t.tracer.Start(ctx, e.State+" "+e.Name, trace.WithTimestamp(began), attributes)
			span.End()
		}
		t.logger.InfoContext(at, "a verdict has changed", "name", e.Name, "state", e.State, "severity", e.Severity, "reason", e.Reason)
	}
}

// breachOf returns what actions that answer the breach are triggered by, and false when
// the event is not the beginning of one.
func breachOf(e *gatewarden.Event) (gatewarden.Trigger, bool) {
	t := gatewarden.Trigger{Kind: e.Type, Name: e.Name, Since: e.At, Reason: e.Reason}
	if e.State != gatewarden.Breach.String() || t.Severity.UnmarshalText([]byte(e.Severity)) != nil {
		return t, false
	}
	if e.SLO != nil {
		for _, a := range e.SLO.Alerts {
			if a.Severity == t.Severity && a.Since != nil {
				t.Since = *a.Since
			}
		}
	}
	return t, true
}

// call begins the span of one call of an executor: the part of the breach's trace that it
// belongs to is found by the action's trigger. Requests that are made with inside are parts
// of it.
func (t *tracing) call(ctx context.Context, a *gatewarden.Action, call string) (inside context.Context, end func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	ctx = t.root(ctx, &a.Trigger, a.Trigger.Since, trace.WithAttributes(attribute.String("gatewarden.reason", a.Trigger.Reason)))
	ctx = t.decision(ctx, a)
	ctx, span := t.tracer.Start(ctx, call+" "+string(a.Spec.Kind), trace.WithAttributes(
		attribute.String("gatewarden.action", a.ID), attribute.String("gatewarden.policy", a.Policy),
		attribute.String("gatewarden.kind", string(a.Spec.Kind)), attribute.String("gatewarden.status", string(a.Status))))
	return ctx, func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
			t.logger.WarnContext(ctx, "a call has failed", "action", a.ID, "call", call, "error", err)
		} else {
			t.logger.InfoContext(ctx, "a call was made", "action", a.ID, "call", call, "kind", a.Spec.Kind)
		}
		span.End()
	}
}

// root returns a context within the first span of a trigger's trace, and sends that span
// unless it was sent before: by this life of the program or, when the trigger is older, by
// an earlier one.
func (t *tracing) root(ctx context.Context, trigger *gatewarden.Trigger, began time.Time, options ...trace.SpanStartOption) context.Context {
	traceID, spanID := idsOf(string(trigger.Kind), trigger.Name, trigger.Severity.String(), trigger.Since.UTC().Format(time.RFC3339Nano))
	name := "breach " + trigger.Name
	if trigger.Kind == gatewarden.EventGate {
		name = "run of " + trigger.Name
	}
	return t.once(ctx, trace.SpanContext{}, wanted{traceID, spanID}, trigger.Since.Before(t.started), name, append(options, trace.WithTimestamp(began))...)
}

// decision is the span of what was decided: one for an action, with its calls in it.
func (t *tracing) decision(ctx context.Context, a *gatewarden.Action) context.Context {
	parent := trace.SpanContextFromContext(ctx)
	_, spanID := idsOf("action", a.ID)
	return t.once(ctx, parent, wanted{parent.TraceID(), spanID}, a.PlannedAt.Before(t.started), "decide "+a.Policy+" "+string(a.Spec.Kind), trace.WithAttributes(
		attribute.String("gatewarden.action", a.ID), attribute.Int("gatewarden.step", a.Step), attribute.String("gatewarden.mode", string(a.Mode))))
}

// once returns a context within a span of given ids, and sends the span if nobody has.
func (t *tracing) once(ctx context.Context, parent trace.SpanContext, w wanted, earlier bool, name string, options ...trace.SpanStartOption) context.Context {
	at := trace.NewSpanContext(trace.SpanContextConfig{TraceID: w.trace, SpanID: w.span, TraceFlags: trace.FlagsSampled, Remote: true})
	t.mu.Lock()
	sent := t.told[w.span]
	if len(t.told) >= maxTold {
		clear(t.told)
	}
	t.told[w.span] = true
	t.mu.Unlock()
	if !sent && !earlier {
		_, span := t.tracer.Start(context.WithValue(trace.ContextWithSpanContext(ctx, parent), wanted{}, w), name, options...)
		span.End()
	}
	return trace.ContextWithRemoteSpanContext(ctx, at)
}

// wanted are ids that a span must have; an empty one is the key of its context.
type wanted struct {
	trace trace.TraceID
	span  trace.SpanID
}

// idsOf makes ids of what something is.
func idsOf(parts ...string) (traceID trace.TraceID, spanID trace.SpanID) {
	h := sha256.New()
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(p))) // a hash takes everything
		h.Write([]byte(p))
	}
	sum := h.Sum(nil)
	return trace.TraceID(sum[:16]), trace.SpanID(sum[16:24])
}

// ids makes ids: those that the context wants, else random ones.
type ids struct{}

// NewIDs is sdktrace.IDGenerator's.
func (ids) NewIDs(ctx context.Context) (traceID trace.TraceID, spanID trace.SpanID) {
	if w, ok := ctx.Value(wanted{}).(wanted); ok {
		return w.trace, w.span
	}
	binary.BigEndian.PutUint64(traceID[:8], rand.Uint64())
	binary.BigEndian.PutUint64(traceID[8:], rand.Uint64()|1)
	return traceID, ids{}.NewSpanID(ctx, traceID)
}

// NewSpanID is sdktrace.IDGenerator's.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) (spanID trace.SpanID) {
	if w, ok := ctx.Value(wanted{}).(wanted); ok {
		return w.span
	}
	binary.BigEndian.PutUint64(spanID[:], rand.Uint64()|1)
	return spanID
}
