package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// sourceSettings are a source's settings as they hold: what is written, else the default of
// the source's kind. The source's own checks have passed: what is read of them here is of the
// right shape, or absent.
type sourceSettings map[string]any

func settingsOf(s rules.Source) sourceSettings {
	m, written := map[string]any{}, map[string]any{}
	for _, f := range factories() {
		if f.Kind != s.Kind {
			continue
		}
		text, err := yaml.Marshal(f.Defaults)
		if err != nil || yaml.Unmarshal(text, &m) != nil {
			return nil // settings are made to be YAML
		}
	}
	if err := s.Decode(&written); err != nil {
		return nil // the loader has said so
	}
	maps.Copy(m, written)
	return m
}

func (m sourceSettings) text(key string) string { return text(m[key]) }

func (m sourceSettings) texts(key string) []string {
	list, _ := m[key].([]any)
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = text(v)
	}
	return texts
}

// login names the keys that a peer of this kind has for who asks.
func (m sourceSettings) login() string {
	var ways []string
	for _, way := range []struct{ key, words string }{
		{"password_file", "a user and password_file"}, {"token_file", "a token_file"}, {"api_key_file", "an api_key_file"}, {"headers", "headers: {Authorization: …}"},
	} {
		if _, has := m[way.key]; has {
			ways = append(ways, way.words)
		}
	}
	return strings.Join(ways, ", or ")
}

// httpPeer is one that is asked over HTTP, with what its source sends along.
type httpPeer struct {
	base      string
	login     string // the keys by which its source may log in
	transport http.RoundTripper
	header    http.Header
}

// newHTTPPeer makes one of a source's settings, in the words that sources share. dir is
// the folder that paths are meant from.
func newHTTPPeer(m sourceSettings, dir string) (*httpPeer, error) {
	path := func(key string) string {
		p := m.text(key)
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	t, err := transport(path("ca_file"))
	if err != nil {
		return nil, err
	}
	if cert := path("cert_file"); cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, path("key_file"))
		if err != nil {
			return nil, fmt.Errorf("reading cert_file: %w", err)
		}
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	urls := append([]string{m.text("url")}, m.texts("urls")...) // nodes of one cluster: any of them
	base := urls[max(slices.IndexFunc(urls, func(u string) bool { return u != "" }), 0)]
	p := &httpPeer{base: strings.TrimSuffix(base, "/"), login: m.login(), transport: t, header: http.Header{"Accept": {"application/json"}}}
	read := func(key string) (string, error) {
		return secret(gatewarden.NewSecret(m.text(key)), path(key+"_file"))
	}
	password, err := read("password")
	if err != nil {
		return nil, err
	}
	token, err := read("token")
	if err != nil {
		return nil, err
	}
	key, err := read("api_key")
	if err != nil {
		return nil, err
	}
	switch {
	case key != "":
		p.header.Set("Authorization", "ApiKey "+key)
	case token != "":
		p.header.Set("Authorization", "Bearer "+token)
	case m.text("user") != "":
		r := http.Request{Header: p.header}
		r.SetBasicAuth(m.text("user"), password)
	}
	if tenant := m.text("tenant"); tenant != "" {
		p.header.Set("X-Scope-OrgID", tenant)
	}
	headers, _ := m["headers"].(map[string]any)
	for name, value := range headers {
		p.header.Set(name, text(value))
	}
	return p, nil
}

// mostOfAPeer is how many bytes are read of an answer.
const mostOfAPeer = 8 << 20

// get asks and decodes the answer into v. An answer that is no JSON, or whose status is
// not 200, is an error.
func (p *httpPeer) get(ctx context.Context, path string, query url.Values, v any) error {
	address := p.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header = p.header
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "%s does not answer: %w", withoutUser(p.base), plainNet(err)).
			WithHint("curl %s%s   # is it up, and does the way lead there from here?", withoutUser(p.base), path)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostOfAPeer))
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "the answer of %s%s was cut: %w", withoutUser(p.base), path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return p.refusal(path, resp, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "%s%s answers no JSON", withoutUser(p.base), path).
			WithHint("curl %s%s   # is url the right one, with its path?", withoutUser(p.base), path)
	}
	return nil
}

// refusedLogin is the code of an answer that whoever asked may not have.
const refusedLogin = gatewarden.Conflict

// refusal is the error for a status that is not 200, with what the peer says of it.
func (p *httpPeer) refusal(path string, resp *http.Response, body []byte) error {
	var said struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	why := ""
	if json.Unmarshal(body, &said) == nil {
		why = said.Message
		if len(said.Error) > 0 && len(said.Error) < 500 {
			why = strings.Trim(string(said.Error), `"`)
		}
	}
	if why != "" {
		why = ": " + why
	}
	err := gatewarden.Errorf(gatewarden.Invalid, "%s%s answers %s%s", withoutUser(p.base), path, resp.Status, why)
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		err.Code = refusedLogin
		return err.WithHint("write %s for one that may read this", p.login)
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed:
		err.Code = gatewarden.NotFound
	case resp.StatusCode >= http.StatusInternalServerError:
		err.Code = gatewarden.Unavailable
	}
	return err
}
