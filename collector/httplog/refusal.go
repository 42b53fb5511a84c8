package httplog

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/gatewarden/gatewarden"
)

// refusal is an answer other than 200.
type refusal struct {
	status int
	err    error
}

// refuse answers with the error as JSON.
func (s *Source) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) {
	s.metrics.answered(refused.status)
	if due, held := s.quiet.Due(s.now()); due {
		s.log.Warn("refused a body", "source", s.name, "status", refused.status,
			"client", r.RemoteAddr, "err", refused.err, "refused_before_unlogged", held)
	}
	header := w.Header()
	header["Content-Type"] = jsonType
	switch refused.status {
	case http.StatusMethodNotAllowed:
		header.Set("Allow", "POST, PUT, PATCH")
	case http.StatusUnsupportedMediaType:
		header.Set("Accept-Encoding", "gzip, deflate")
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(refused.status)
	var detail struct {
		Code    gatewarden.Code `json:"code"`
		Message string          `json:"message"`
		Hint    string          `json:"hint,omitempty"`
	}
	detail.Code, detail.Message = gatewarden.ErrorCode(refused.err), refused.err.Error()
	if e, ok := errors.AsType[*gatewarden.Error](refused.err); ok {
		detail.Message, detail.Hint = e.Message, e.Hint
	}
	// A client that is gone does not read it.
	_ = json.NewEncoder(w).Encode(map[string]any{"error": detail})
}
