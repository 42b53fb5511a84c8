package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// heard keeps the Authorization of each request.
type heard struct {
	mu   sync.Mutex
	said []string
}

func (h *heard) note(r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, r.Header.Get("Authorization"))
}

// first returns what the first request since the last call was authorized by.
func (h *heard) first(t *testing.T) string {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.said) == 0 {
		t.Fatal("nothing was asked")
	}
	defer func() { h.said = nil }()
	return h.said[0]
}

func TestATargetOfAuditIsGivenTheSecretOfNow(t *testing.T) {
	var h heard
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.note(r)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/api/annotations" {
			_, _ = io.WriteString(w, `[]`)
			return
		}
		_, _ = io.WriteString(w, `{"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"hits":{"hits":[]}}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "secret")
	es, secretNow := rules.AuditElasticsearch{URL: server.URL, DataStream: "audit", Guard: "g"}, gatewarden.NewSecret("plain")
	for sentence, c := range map[string]struct {
		audit func() rules.Audit
		want  string
	}{
		"a user with a password": {func() rules.Audit {
			e := es
			e.User, e.Password = "ada", secretNow
			return rules.Audit{Elasticsearch: &e}
		}, "Basic YWRhOnBsYWlu"},
		"a user with a password in a file": {func() rules.Audit {
			e := es
			e.User, e.PasswordFile = "ada", file
			return rules.Audit{Elasticsearch: &e}
		}, "Basic YWRhOm5ldw=="},
		"a key": {func() rules.Audit {
			e := es
			e.APIKey = secretNow
			return rules.Audit{Elasticsearch: &e}
		}, "ApiKey plain"},
		"a key in a file": {func() rules.Audit {
			e := es
			e.APIKeyFile = file
			return rules.Audit{Elasticsearch: &e}
		}, "ApiKey new"},
		"nothing": {func() rules.Audit { return rules.Audit{Elasticsearch: &es} }, ""},
		"a token of Grafana": {func() rules.Audit {
			return rules.Audit{Grafana: &rules.AuditGrafana{URL: server.URL, Token: secretNow}}
		}, "Bearer plain"},
		"a token of Grafana, in a file": {func() rules.Audit { return rules.Audit{Grafana: &rules.AuditGrafana{URL: server.URL, TokenFile: file}} }, "Bearer new"},
		"a user of Grafana, with a password in a file": {func() rules.Audit {
			return rules.Audit{Grafana: &rules.AuditGrafana{URL: server.URL, User: "ada", PasswordFile: file}}
		}, "Basic YWRhOm5ldw=="},
		"no token of Grafana": {func() rules.Audit { return rules.Audit{Grafana: &rules.AuditGrafana{URL: server.URL}} }, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			a := c.audit()
			target, err := auditTarget(&a) // before the file is there: the guard starts without it
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("new\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(file)
			if _, err := target.Mark(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := h.first(t); got != c.want {
				t.Errorf("it was told %q, want %q", got, c.want)
			}
		})
	}
}

func TestCredentialsOfAuditGoNowhereElse(t *testing.T) {
	var elsewhere heard
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.note(r)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
	}))
	defer server.Close()
	target, err := auditTarget(&rules.Audit{Elasticsearch: &rules.AuditElasticsearch{
		URL: server.URL, DataStream: "audit", Guard: "g", APIKey: gatewarden.NewSecret("key"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Mark(t.Context()); err == nil {
		t.Error("an answer of somebody else is taken")
	}
	if got := elsewhere.first(t); got != "" {
		t.Errorf("who is somewhere else was told %q", got)
	}
}

func TestAChangeOfAuditNeedsARestart(t *testing.T) {
	with := func(url, token string) *rules.Config {
		c := rules.Defaults()
		c.Audit = []rules.Audit{{Grafana: &rules.AuditGrafana{URL: url, Token: gatewarden.NewSecret(token)}}}
		return c
	}
	for sentence, c := range map[string]struct {
		before, after *rules.Config
		want          []string
	}{
		"nothing changed":      {with("http://g", "a"), with("http://g", "a"), nil},
		"another address":      {with("http://g", "a"), with("http://h", "a"), []string{"audit"}},
		"another secret":       {with("http://g", "a"), with("http://g", "b"), []string{"audit"}},
		"a target that is new": {rules.Defaults(), with("http://g", "a"), []string{"audit"}},
	} {
		if diff := cmp.Diff(c.want, needRestart(c.before, c.after)); diff != "" {
			t.Errorf("%s: -want +got\n%s", sentence, diff)
		}
	}
}
