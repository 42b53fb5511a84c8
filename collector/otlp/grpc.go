package otlp

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // registers itself: what senders compress with
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// raw is a message as it came, or as it is to go.
type raw []byte

// codec leaves messages as they are: decodeProtobuf reads them.
type codec struct{}

// Name is that of the codec whose place it takes.
func (codec) Name() string { return "proto" }

// Marshal is encoding.Codec's.
func (codec) Marshal(v any) ([]byte, error) {
	m, ok := v.(raw)
	if !ok {
		return nil, fmt.Errorf("a %T is no message of this service", v)
	}
	return m, nil
}

// Unmarshal is encoding.Codec's. The bytes are the caller's only until it returns.
func (codec) Unmarshal(data []byte, v any) error {
	m, ok := v.(*raw)
	if !ok {
		return fmt.Errorf("a %T is no message of this service", v)
	}
	*m = append(raw(nil), data...)
	return nil
}

// service is opentelemetry-proto's trace_service.proto.
func (s *Source) service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Export",
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				return s.export(ctx, decode)
			},
		}},
		Metadata: "opentelemetry/proto/collector/trace/v1/trace_service.proto",
	}
}

// enter is asked before anything of a call's message is read: it takes a slot for the call
// and bounds its time, so that neither many nor slow senders take all memory or all slots.
func (s *Source) enter(ctx context.Context, _ *tap.Info) (context.Context, error) {
	leave, err := s.feed.Enter()
	if err != nil {
		s.feed.Refused("", err)
		return nil, status.Error(codeOf(err), textOf(err))
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Duration(s.settings.Timeout)) // to receive, and to count
	context.AfterFunc(ctx, func() { cancel(); leave() })
	return ctx, nil
}

// export answers one call.
func (s *Source) export(ctx context.Context, decode func(any) error) (any, error) {
	var body raw
	if err := decode(&body); err != nil {
		return nil, err
	}
	b, err := s.feed.Take(ctx, body, decodeProtobuf)
	if err != nil {
		return nil, s.refuseCall(ctx, err)
	}
	return raw(partialSuccess(b.Rejected, b.Reason)), nil
}

func (s *Source) refuseCall(ctx context.Context, err error) error {
	from := ""
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
	}
	s.feed.Refused(from, err)
	return status.Error(codeOf(err), textOf(err))
}
