package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

const defaultServer = "http://127.0.0.1:8080"

// client asks a running guard.
type client struct {
	base  string
	http  *http.Client
	token gatewarden.Secret // sent as a bearer, unless it is unset
}

// statusError is an answer that is none of the guard's: that of a proxy before it, or of
// something else altogether.
type statusError struct {
	status int
	text   string
}

func (e statusError) Error() string { return e.text }

// addServer adds the flags that say where the guard is and what lets us in, and returns a
// constructor for the client that is to be called once flags are parsed.
func addServer(cmd *cobra.Command) func() (*client, error) {
	authorize := addToken(cmd)
	server := cmd.PersistentFlags().String("server", cmp.Or(os.Getenv("GATEWARDEN_SERVER"), defaultServer),
		"`URL` of the guard's API, or $GATEWARDEN_SERVER")
	return func() (*client, error) {
		u, err := url.Parse(*server)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, fmt.Errorf("--server %q is not a URL: write it as %s", *server, defaultServer)
		}
		c := &client{base: strings.TrimSuffix(*server, "/"), http: &http.Client{}}
		return c, authorize(c)
	}
}

// addToken adds the flag for a token, and returns a function that gives it to a client
// once flags are parsed.
func addToken(cmd *cobra.Command) func(*client) error {
	file := cmd.PersistentFlags().String("token-file", "", "`FILE` with a token that is sent as a bearer")
	return func(c *client) error {
		if *file == "" {
			return nil
		}
		raw, err := os.ReadFile(*file)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		token := strings.TrimSpace(string(raw))
		if token == "" || strings.ContainsAny(token, "\r\n") {
			return fmt.Errorf("--token-file %s: the file must hold one token, on one line", *file)
		}
		if u, err := url.Parse(c.base); err == nil && u.User != nil {
			return fmt.Errorf("--token-file and a user in the address of --server exclude each other")
		}
		c.token = gatewarden.NewSecret(token)
		return nil
	}
}

// mostAnswer is how many bytes of an answer are read. A run with its trail takes some
// tens of thousands.
const mostAnswer = 16 << 20

// send sends body as JSON, nothing when it is nil, and decodes the answer into v. The
// caller bounds the time.
func (c *client) send(ctx context.Context, method, path string, body, v any) error {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return err
		}
	}
	resp, err := c.do(ctx, method, path, raw)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostAnswer)).Decode(v); err != nil {
		return fmt.Errorf("reading the guard's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// get asks for path and decodes the answer into v.
func (c *client) get(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("reading the guard's answer to GET %s: %w", path, err)
	}
	return nil
}

// post sends an order in the name of by. It is done when the guard says so: an answer without
// a word is none.
func (c *client) post(ctx context.Context, path, by, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return c.send(ctx, http.MethodPost, path, map[string]string{"by": by, "reason": reason}, &struct{}{})
}

// do sends a request and turns an error answer into an error.
func (c *client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // what is asked for, and where, stands before it
		}
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "the guard at %s does not answer: %w", c.shown(), err).
			WithHint("is it running there? --server or $GATEWARDEN_SERVER says where it is")
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var e api.ErrorBody
	if json.Unmarshal(raw, &e) != nil || e.Error.Message == "" {
		return nil, c.foreign(resp, method, path)
	}
	return nil, &gatewarden.Error{Code: e.Error.Code, Message: e.Error.Message, Hint: e.Error.Hint}
}

// foreign is the error for an answer that has not the form of the guard's errors.
func (c *client) foreign(resp *http.Response, method, path string) error {
	switch {
	case (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden) && !c.token.IsZero():
		return gatewarden.Errorf(gatewarden.Invalid, "%s does not accept the token of --token-file (it answers %s)", c.shown(), resp.Status)
	case resp.StatusCode == http.StatusUnauthorized:
		return gatewarden.Errorf(gatewarden.Invalid, "%s wants a user and a password: write them into the address, http://USER:PASSWORD@HOST:PORT", c.shown())
	}
	return statusError{resp.StatusCode, fmt.Sprintf("%s answers %s to %s %s: is that a gatewarden?", c.shown(), resp.Status, method, path)}
}

// shown is where the guard is, as it may be printed: without the password.
func (c *client) shown() string {
	u, err := url.Parse(c.base)
	if err != nil {
		return "the given address" // addServer has parsed it already
	}
	return u.Redacted()
}
