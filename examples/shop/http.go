package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// callTimeout is how long one call of an administrative interface may take.
const callTimeout = 10 * time.Second

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 4 << 20

// statusError is an answer that is no success.
type statusError struct {
	status int
	text   string
}

func (e statusError) Error() string { return e.text }

// call sends body as JSON, nothing when it is nil, and decodes the answer into v unless
// that is nil. It returns the answer's headers. A status above 299 is a statusError.
func call(ctx context.Context, client *http.Client, method, to string, body, v any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, to, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return do(client, req, v)
}

// do sends a request and decodes the answer, as call does.
func do(client *http.Client, req *http.Request, v any) (http.Header, error) {
	what := req.Method + " " + req.URL.Redacted()
	resp, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the address stands before it already
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: reading the answer: %w", what, err)
	}
	if resp.StatusCode > 299 {
		text := strings.TrimSpace(string(raw[:min(len(raw), 500)]))
		return nil, statusError{resp.StatusCode, fmt.Sprintf("%s: %s: %s", what, resp.Status, text)}
	}
	if v == nil {
		return resp.Header, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("%s: the answer is not what was expected: %w", what, err)
	}
	return resp.Header, nil
}

// listenAndServe serves h on an address until ctx ends; requests under way get five
// seconds then.
func listenAndServe(ctx context.Context, addr string, h http.Handler, logger *slog.Logger) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	logger.Info("listening", "address", l.Addr().String())
	return serve(ctx, l, h)
}

// serve serves h on l until ctx ends.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 64 << 10}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		server.Close() // whoever is not served by now is cut off
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// pause lets time pass, or returns the error of a ctx that ended meanwhile.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
