// Package otlp takes spans as OpenTelemetry sends them: over gRPC, and over HTTP in
// protobuf or JSON. It is one of the sources under collector.
//
//	Kong's opentelemetry plugin ──HTTP──┐
//	SDKs, an OpenTelemetry Collector ───┴─ SpanBatch ─→ collector.Spans
//
// It answers as the receiver of Jaeger and of the OpenTelemetry Collector does, with one
// difference: spans whose ids are zeros are left out, and the sender hears how many they
// were (partial success). A body that is broken is refused as a whole, and must not be sent
// again; one that comes when too many are being received is to come again later.
package otlp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("otlp", DefaultSettings(), New) }

// Settings are those of one otlp source.
type Settings struct {
	GRPC           string              `yaml:"grpc"` // address; "" for not at all
	HTTP           string              `yaml:"http"` // address; "" for not at all
	TLS            *collector.TLSFiles `yaml:"tls"`  // of both
	MaxBody        collector.ByteSize  `yaml:"max_body"`
	MaxSpans       int                 `yaml:"max_spans"`
	MaxRequests    int                 `yaml:"max_requests"`
	MaxConnections int                 `yaml:"max_connections"`
	Timeout        gatewarden.Duration `yaml:"timeout"`
}

// DefaultSettings returns what holds where the configuration is silent: OTLP's own ports.
func DefaultSettings() Settings {
	l := collector.DefaultSpanLimits()
	return Settings{
		GRPC: ":4317", HTTP: ":4318", MaxBody: l.MaxBody, MaxSpans: l.MaxSpans, MaxRequests: l.AtOnce, MaxConnections: 256, Timeout: gatewarden.Duration(l.Timeout),
	}
}

func (s *Settings) limits() collector.SpanLimits {
	return collector.SpanLimits{MaxBody: s.MaxBody, MaxSpans: s.MaxSpans, AtOnce: s.MaxRequests, Timeout: time.Duration(s.Timeout)}
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if s.GRPC == "" && s.HTTP == "" {
		return gatewarden.Errorf(gatewarden.Invalid, "otlp: neither grpc nor http has an address").WithHint(`write http: ":4318", or leave the source out`)
	}
	for key, address := range map[string]string{"grpc": s.GRPC, "http": s.HTTP} {
		if address == "" {
			continue
		}
		if err := collector.CheckAddress("otlp", key, address); err != nil {
			return err
		}
	}
	if s.MaxConnections <= 0 {
		return gatewarden.Errorf(gatewarden.Invalid, "otlp: max_connections must be above zero")
	}
	if err := s.limits().Validate("otlp"); err != nil {
		return err
	}
	return s.TLS.Validate("otlp")
}

// Source listens for spans.
type Source struct {
	settings  Settings
	feed      *collector.SpanFeed
	metrics   *metrics
	listeners map[string]net.Listener // by protocol: "grpc", "http"
}

// New makes a source, which listens from then on. The error has the code Conflict when an
// address is taken.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	feed, err := collector.NewSpanFeed(env, settings.limits())
	if err != nil {
		return nil, err
	}
	s := &Source{settings: settings, feed: feed, listeners: map[string]net.Listener{}}
	if s.metrics, err = newMetrics(env.Metrics); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "otlp: cannot register metrics: %w", err)
	}
	for _, l := range []struct {
		protocol, address string
		agreed            []string
	}{{"grpc", settings.GRPC, []string{"h2"}}, {"http", settings.HTTP, []string{"http/1.1"}}} {
		if l.address == "" {
			continue
		}
		listener, err := collector.Listen(env, l.address, settings.TLS, l.agreed...)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.listeners[l.protocol] = collector.Limited(listener, collector.Limit{
			Most: settings.MaxConnections, Refused: s.metrics.connections, Log: env.Log.With("source", env.Name), Now: time.Now,
		})
	}
	return s, nil
}

// Addr returns where it listens for a protocol ("grpc" or "http"), nil when it does not.
func (s *Source) Addr(protocol string) net.Addr {
	if l, ok := s.listeners[protocol]; ok {
		return l.Addr()
	}
	return nil
}

// Close ends a source that never ran.
func (s *Source) Close() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lastMoment is what bodies that are on their way get at a stop.
const lastMoment = time.Second

// Run serves until ctx is done.
func (s *Source) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	errs := make(chan error, len(s.listeners))
	for protocol, l := range s.listeners {
		serving.Go(func() {
			defer cancel() // one that ends ends the other
			if protocol == "grpc" {
				errs <- s.serveGRPC(ctx, l)
			} else {
				errs <- s.serveHTTP(ctx, l)
			}
		})
	}
	serving.Wait()
	close(errs)
	var all []error
	for err := range errs {
		if !errors.Is(err, context.Canceled) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// serveHTTP serves OTLP over HTTP until ctx is done.
func (s *Source) serveHTTP(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/traces", s.ServeHTTP)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 64 << 10,
		WriteTimeout: 2 * time.Minute, // who reads no answer holds no connection for good
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastMoment)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
	}
	return ended(ctx, l, err)
}

// ended explains why serving has ended; that ctx is done needs no explanation.
func ended(ctx context.Context, l net.Listener, err error) error {
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return gatewarden.Errorf(gatewarden.Internal, "otlp: %s no longer listens: %w", l.Addr(), err)
}

// serveGRPC serves OTLP over gRPC until ctx is done.
func (s *Source) serveGRPC(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(
		grpc.ForceServerCodec(codec{}), grpc.MaxRecvMsgSize(int(s.settings.MaxBody)), grpc.MaxConcurrentStreams(uint32(s.settings.MaxRequests)),
		grpc.ConnectionTimeout(10*time.Second), grpc.MaxHeaderListSize(64<<10), grpc.InTapHandle(s.enter),
		// A sender that is gone without a word is found out by this, and one that asks often
		// whether we are there is left to.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	server.RegisterService(s.service(), s)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		last := time.AfterFunc(lastMoment, server.Stop)
		defer last.Stop()
		server.GracefulStop()
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
	}
	return ended(ctx, l, err)
}
