package promquery

import (
	"compress/gzip"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// clientOf returns the client of a source whose settings are those of change.
func clientOf(t *testing.T, dir string, change func(*Settings)) (*client, error) {
	t.Helper()
	settings := DefaultSettings()
	settings.Timeout = gatewarden.Duration(5 * time.Second)
	change(&settings)
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	made, err := New(collector.Env{
		Name: "prometheus", Dir: dir, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewPedanticRegistry(),
	}, settings)
	if err != nil {
		return nil, err
	}
	return made.(*Source).client, nil
}

// minutes is a grid of three.
func minutes() grid {
	from := time.Unix(1795293720, 0)
	return grid{from, from.Add(2 * time.Minute), time.Minute}
}

const three = `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1795293720,"1"],[1795293780,"2"],[1795293840,"3"]]}]}}`

func TestWhatIsAsked(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got = r
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, three)
		z.Close()
	}))
	defer server.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := clientOf(t, dir, func(s *Settings) {
		s.URL, s.TokenFile, s.Tenant = server.URL+"/select/0/prometheus/", "token", "shop"
		s.Headers = map[string]gatewarden.Secret{"X-Who": gatewarden.NewSecret("gatewarden"), "Host": gatewarden.NewSecret("prometheus.test")}
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.ask(t.Context(), "up", minutes())
	if err != nil || len(l.points) != 3 {
		t.Fatalf("%+v, %v", l, err)
	}
	want := url.Values{
		"query": {"up"}, "start": {"1795293720"}, "end": {"1795293840"}, "step": {"60"}, "timeout": {"5000ms"},
		"partial_response": {"false"}, "deny_partial_response": {"1"}, "nocache": {"1"},
	}
	if got.Method != http.MethodPost || got.URL.Path != "/select/0/prometheus/api/v1/query_range" || got.PostForm.Encode() != want.Encode() || got.Host != "prometheus.test" {
		t.Errorf("%s %s %s of %s", got.Method, got.URL, got.PostForm.Encode(), got.Host)
	}
	for name, value := range map[string]string{"Authorization": "Bearer first", "X-Scope-OrgID": "shop", "X-Who": "gatewarden", "User-Agent": "gatewarden"} {
		if got.Header.Get(name) != value {
			t.Errorf("%s is %q", name, got.Header.Get(name))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("renewed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ask(t.Context(), "up", minutes()); err != nil || got.Header.Get("Authorization") != "Bearer renewed" {
		t.Errorf("with a renewed token: %q, %v", got.Header.Get("Authorization"), err)
	}
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ask(t.Context(), "up", minutes()); err == nil || !strings.Contains(err.Error(), "reading who asks") {
		t.Errorf("without a token: %v", err)
	}
}

func TestBasicAuthentication(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ada" || password != "secret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, three)
	}))
	defer server.Close()
	for password, want := range map[string]string{"secret": "", "wrong": "401"} {
		c, err := clientOf(t, "", func(s *Settings) {
			s.URL, s.User, s.Password = server.URL, "ada", gatewarden.NewSecret(password)
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ask(t.Context(), "up", minutes()); (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wrong")) {
			t.Errorf("%q: %v", password, err)
		}
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, three) }))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	dir := t.TempDir()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.pem", "CERTIFICATE", server.Certificate().Raw)
	cert, key := keyPair(t)
	write("me.pem", "CERTIFICATE", cert)
	write("me.key", "PRIVATE KEY", key)
	for name, c := range map[string]struct {
		ca, cert string
		want     string
	}{
		"all is well":         {"ca.pem", "me", ""},
		"an unknown server":   {"", "me", "certificate"},
		"an unknown client":   {"ca.pem", "", "certificate"},
		"no such authorities": {"none.pem", "", "reading ca_file"},
		"a key is none":       {"me.key", "", "no certificate in PEM"},
		"no such certificate": {"ca.pem", "none", "cert_file"},
	} {
		t.Run(name, func(t *testing.T) {
			asks, err := clientOf(t, dir, func(s *Settings) {
				s.URL, s.CAFile = server.URL, c.ca
				if c.cert != "" {
					s.CertFile, s.KeyFile = c.cert+".pem", c.cert+".key"
				}
			})
			if err == nil {
				_, err = asks.ask(t.Context(), "up", minutes())
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A peer can be slow, half-open or wrong in ways that only a connection has.
func TestPeersThatAreNotWell(t *testing.T) {
	for name, c := range map[string]struct {
		ill  http.HandlerFunc
		want string
	}{
		"half-open": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 300ms"},
		"slow to the end": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		}, "no answer within 300ms"},
		"cut in the middle": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			fmt.Fprint(w, three)
		}, "unexpected EOF"},
		"without end": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, strings.Repeat(" ", 10_000)); err != nil {
					return
				}
			}
		}, "more than max_body"},
		"connections are cut": {func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		}, "EOF"},
		"a page to log in at": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			var well atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm() // a server that has not read the question does not see its asker go
				if !well.Load() {
					c.ill(w, r)
					return
				}
				fmt.Fprint(w, three)
			}))
			defer server.Close()
			asks, err := clientOf(t, "", func(s *Settings) {
				s.URL, s.Timeout, s.MaxBody = server.URL, gatewarden.Duration(300*time.Millisecond), 64*collector.KiB
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = asks.ask(t.Context(), "up", minutes())
			checkProblem(t, err, failed, c.want)
			if err != nil && strings.Contains(err.Error(), server.URL) {
				t.Errorf("it tells the address: %v", err)
			}
			asks.settings.Timeout = gatewarden.Duration(30 * time.Second) // it may be a busy machine
			well.Store(true)
			if _, err := asks.ask(t.Context(), "up", minutes()); err != nil {
				t.Errorf("once it is well again: %v", err)
			}
		})
	}
}
