package api

import (
	"context"
	"net/http"
)

// done is the answer of a steering request that was carried out.
type done struct {
	Done string `json:"done"`
}

// steer returns a handler that reads who asks and does what is asked.
func steer(word string, do func(ctx context.Context, id string, o order) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		o, err := readOrder(r)
		if err != nil {
			return nil, err
		}
		return done{word}, do(r.Context(), r.PathValue("id"), o)
	}
}

func (s *Server) approve(ctx context.Context, id string, o order) error {
	return s.guard.Approve(ctx, id, o.By)
}

func (s *Server) reject(ctx context.Context, id string, o order) error {
	return s.guard.Reject(ctx, id, o.By, o.Reason)
}

func (s *Server) revert(ctx context.Context, id string, o order) error {
	return s.guard.Revert(ctx, id, o.By)
}

func (s *Server) pause(ctx context.Context, _ string, o order) error {
	return s.guard.Pause(ctx, o.By, o.Reason)
}

func (s *Server) resume(ctx context.Context, _ string, o order) error {
	return s.guard.Resume(ctx, o.By)
}

func (s *Server) reload(r *http.Request) (any, error) {
	return done{"reloaded"}, s.guard.Reload(r.Context())
}
