package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// tracing joins the spans of one order into a trace: Kong begins it, W3C headers carry
// it on. Without an address to export to, headers are carried on and nothing is kept.
type tracing struct {
	provider *sdktrace.TracerProvider
	options  []otelhttp.Option
}

// newTracing exports spans to an OTLP endpoint over HTTP, such as http://jaeger:4318,
// in the name of a service. Call close at the end.
func newTracing(ctx context.Context, endpoint, service string) (*tracing, error) {
	attributes := resource.NewSchemaless(attribute.String("service.name", service))
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(attributes)}
	if endpoint != "" {
		exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"))
		if err != nil {
			return nil, fmt.Errorf("exporting traces to %s: %w", endpoint, err)
		}
		options = append(options, sdktrace.WithBatcher(exporter))
	}
	t := &tracing{provider: sdktrace.NewTracerProvider(options...)}
	t.options = []otelhttp.Option{
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " " + r.URL.Path }),
	}
	return t, nil
}

// wrap gives every request a span.
func (t *tracing) wrap(h http.Handler) http.Handler {
	return otelhttp.NewHandler(h, "shop", t.options...)
}

// client returns a client whose requests carry the trace on.
func (t *tracing) client() *http.Client {
	return &http.Client{Transport: otelhttp.NewTransport(&http.Transport{MaxIdleConnsPerHost: 64}, t.options...)}
}

// close sends the last spans, or gives up after five seconds.
func (t *tracing) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return t.provider.Shutdown(ctx)
}
