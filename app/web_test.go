package app

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// The password of ada is open sesame: htpasswd -nBC 4 ada.
const users = "basic_auth_users: {ada: \"$2a$04$1M0aVZ/9dnrTYGWBYVRdteR2b.A2R0ByAmsJkhZAvGz2rDINhcjn2\"}\n"

func TestTokensBesideUsersAndWithout(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token := write("token", "s3cret\n")
	tokens := map[string]string{"jenkins": token}
	plain, withUsers := write("plain.yaml", "{}\n"), write("users.yaml", users)
	for sentence, c := range map[string]struct {
		web                             rules.Web
		nobody, bearer, stranger, basic int
	}{
		"tokens alone":        {rules.Web{TokenFiles: tokens}, 401, 200, 401, 401},
		"with a web file":     {rules.Web{TokenFiles: tokens, ConfigFile: plain}, 401, 200, 401, 401},
		"beside users":        {rules.Web{TokenFiles: tokens, ConfigFile: withUsers}, 401, 200, 401, 200},
		"users alone":         {rules.Web{ConfigFile: withUsers}, 401, 401, 401, 200},
		"nothing of all that": {rules.Web{}, 200, 200, 200, 200},
	} {
		t.Run(sentence, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") })}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = serveWeb(l, server, c.web, slog.New(slog.DiscardHandler))
			}()
			defer func() { _ = server.Close(); <-done }()
			ask := func(prepare func(*http.Request)) int {
				req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+"/api/v1/status", nil)
				if err != nil {
					t.Fatal(err)
				}
				prepare(req)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				return resp.StatusCode
			}
			got := [4]int{
				ask(func(*http.Request) {}),
				ask(func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") }),
				ask(func(r *http.Request) { r.Header.Set("Authorization", "Bearer guess") }),
				ask(func(r *http.Request) { r.SetBasicAuth("ada", "open sesame") }),
			}
			if want := [4]int{c.nobody, c.bearer, c.stranger, c.basic}; got != want {
				t.Errorf("nobody, a bearer, a bearer of another, a user: %v, want %v", got, want)
			}
		})
	}
}

func TestATokenIsReadAnewAndMustBeThereAtTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	err := serveWeb(nil, &http.Server{}, rules.Web{TokenFiles: map[string]string{"jenkins": file}}, slog.New(slog.DiscardHandler))
	if gatewarden.ErrorCode(err) != gatewarden.Invalid {
		t.Errorf("without the file: %v", err)
	}
	for _, text := range []string{"one", "another\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readTokens(map[string]string{"jenkins": file})
		if err != nil || got["jenkins"]+"\n" != text && got["jenkins"] != text {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestTheDoctorLooksForTokens(t *testing.T) {
	wants(t, examine(t, "web: {token_files: {jenkins: nowhere}}", rulesOfOrders), "fail: web.token_files.jenkins: open ")
}

// A secret that is being renewed may be away for a moment. Who bears it is to come again, and
// who is not let in fills no log with that.
func TestWhileATokenCannotBeReadItsBearerIsToTryAgain(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"jenkins": filepath.Join(dir, "jenkins"), "grafana": filepath.Join(dir, "grafana")}
	for name, file := range files {
		if err := os.WriteFile(file, []byte("of-"+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") })}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serveWeb(l, server, rules.Web{TokenFiles: files}, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	ask := func(token string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+"/api/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := ask("of-jenkins"); got != 200 {
		t.Errorf("before: %d", got)
	}
	if err := os.Remove(files["jenkins"]); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if got := ask("of-jenkins"); got != http.StatusServiceUnavailable {
			t.Fatalf("while it is away: %d", got)
		}
	}
	if err := os.WriteFile(files["jenkins"], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask("of-jenkins"); got != http.StatusServiceUnavailable {
		t.Errorf("while it is being written: %d", got)
	}
	if got := ask("of-grafana"); got != 200 {
		t.Errorf("who bears the other meanwhile: %d", got)
	}
	_ = server.Close()
	<-done
	// One for each ten seconds that these took.
	if n := strings.Count(log.String(), "level=ERROR"); n == 0 || n > 20 {
		t.Errorf("%d errors in the log:\n%s", n, &log)
	}
}

func TestATokenHasOneName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := serveWeb(nil, &http.Server{}, rules.Web{TokenFiles: map[string]string{"jenkins": file, "grafana": file}}, slog.New(slog.DiscardHandler))
	if gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), "grafana and jenkins have the same token") {
		t.Errorf("the same token twice: %v", err)
	}
}

// TestAWebConfigurationThatCannotBeUsedIsNamed takes what people paste: the hash of an
// example, a password, a key that is not there.
func TestAWebConfigurationThatCannotBeUsedIsNamed(t *testing.T) {
	for sentence, text := range map[string]string{
		"the example's hash":       "basic_auth_users: {ada: $2y$10$...}",
		"a password and no hash":   "basic_auth_users: {ada: correct horse}",
		"a key that is misspelled": "basic_auth_user: {ada: x}",
		"a certificate not there":  "tls_server_config: {cert_file: server.crt, key_file: server.key}",
	} {
		t.Run(sentence, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "web.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			err = serveWeb(l, &http.Server{}, rules.Web{ConfigFile: file}, slog.New(slog.DiscardHandler))
			if gatewarden.ErrorCode(err) != gatewarden.Invalid || !strings.Contains(err.Error(), "web.config_file: "+file) || !strings.Contains(err.Error(), "htpasswd -nBC") {
				t.Errorf("%v", err)
			}
			wants(t, examine(t, "web: {config_file: "+file+"}", rulesOfOrders), "host/files fail: web.config_file: "+file)
		})
	}
}
