package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

const (
	typeJSON     = "application/json"
	typeProtobuf = "application/x-protobuf"
)

// ServeHTTP answers one post of spans, in the words of OTLP.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		s.plain(w, r, http.StatusMethodNotAllowed, "405 method not allowed, supported: [POST]")
		return
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	decode := map[string]func(*collector.SpanBatch, []byte) error{typeJSON: decodeJSON, typeProtobuf: decodeProtobuf}[kind]
	if err != nil || decode == nil {
		s.plain(w, r, http.StatusUnsupportedMediaType, "415 unsupported media type, supported: [application/json, application/x-protobuf]")
		return
	}
	b, err := s.take(w, r, decode)
	if err != nil {
		s.refuse(w, r, kind, err)
		return
	}
	answer := partialSuccess(b.Rejected, b.Reason)
	if kind == typeJSON {
		answer = partialSuccessJSON(b.Rejected, b.Reason)
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(answer) // one that does not arrive makes the sender send it again
}

func (s *Source) take(w http.ResponseWriter, r *http.Request, decode func(*collector.SpanBatch, []byte) error) (*collector.SpanBatch, error) {
	leave, err := s.feed.Enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	body, err := s.feed.Receive(w, r)
	if err != nil {
		return nil, err
	}
	return s.feed.Take(r.Context(), body, decode)
}

// plain answers with a text, as the reference receiver does where OTLP says nothing.
func (s *Source) plain(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.feed.Refused(r.RemoteAddr, errors.New(text))
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// refuse answers with a google.rpc.Status, as OTLP wants it.
func (s *Source) refuse(w http.ResponseWriter, r *http.Request, kind string, err error) {
	s.feed.Refused(r.RemoteAddr, err)
	status := collector.SpanStatus(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	code, text := codeOf(err), textOf(err)
	if kind == typeProtobuf {
		body := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(code))
		_, _ = w.Write(protowire.AppendString(protowire.AppendTag(body, 2, protowire.BytesType), text))
		return
	}
	_ = json.NewEncoder(w).Encode(struct {
		Code    codes.Code `json:"code"`
		Message string     `json:"message"`
	}{code, text})
}

// textOf says an error without the code of ours.
func textOf(err error) string {
	if e, ok := errors.AsType[*gatewarden.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// codeOf returns the code of gRPC for an error.
func codeOf(err error) codes.Code {
	switch collector.SpanStatus(err) {
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusRequestEntityTooLarge:
		return codes.ResourceExhausted
	case http.StatusRequestTimeout:
		return codes.DeadlineExceeded
	default:
		return codes.InvalidArgument
	}
}

// partialSuccess returns an ExportTraceServiceResponse: empty when nothing was left out.
func partialSuccess(rejected int, reason string) []byte {
	if rejected == 0 {
		return nil
	}
	inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(rejected))
	inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), reason)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner)
}

func partialSuccessJSON(rejected int, reason string) []byte {
	if rejected == 0 {
		return []byte(`{"partialSuccess":{}}`)
	}
	return []byte(`{"partialSuccess":{"rejectedSpans":"` + strconv.Itoa(rejected) + `","errorMessage":` + strconv.Quote(reason) + `}}`)
}

// decodeJSON adds the spans of an ExportTraceServiceRequest in JSON.
func decodeJSON(b *collector.SpanBatch, body []byte) error {
	w := collector.NewWalker(bytes.NewReader(body))
	if err := b.ReadOTLP(w); err != nil {
		return err
	}
	return w.End()
}
