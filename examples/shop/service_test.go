package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func untraced(h http.Handler) http.Handler { return h }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open serves an instance and returns it with its URL. Its dice always fall on value.
func open(t *testing.T, name, version string, value float64, peers map[string]string) (*service, string) {
	t.Helper()
	s, err := newService(name, version, peers, &http.Client{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	s.chance = func() float64 { return value }
	server := httptest.NewServer(s.handler(untraced))
	t.Cleanup(server.Close)
	return s, server.URL
}

// status returns the status of an answer, 0 when there is none.
func status(t *testing.T, method, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestAVersionHasTheFlawOfItsName(t *testing.T) {
	for version, want := range map[string]int{"v2": 200, "v2-broken": 500, "v2-slow": 200} {
		_, url := open(t, "inventory", version, 0.1, nil)
		if got := status(t, "GET", url+"/inventory", ""); got != want {
			t.Errorf("%s answers %d, want %d", version, got, want)
		}
	}
	// Three of ten fail: where the dice fall on 0.3, it does not.
	if _, url := open(t, "inventory", "v2-broken", 0.3, nil); status(t, "GET", url+"/inventory", "") != 200 {
		t.Error("more than 30 % fail")
	}
}

func TestAnInstanceIsBrokenDeployedAndMended(t *testing.T) {
	_, url := open(t, "payments", "v1", 0.5, nil)
	ask := func(want int) {
		t.Helper()
		if got := status(t, "POST", url+"/payments", `{"amount": 7}`); got != want {
			t.Errorf("payments answers %d, want %d", got, want)
		}
	}
	ask(200)
	if got := status(t, "PUT", url+"/-/faults", `{"errors": 0.6}`); got != 200 {
		t.Fatalf("faults: %d", got)
	}
	ask(500)
	if got := status(t, "PUT", url+"/-/release", `{"version": "v2"}`); got != 200 {
		t.Fatalf("release: %d", got)
	}
	ask(500) // another version does not mend the machine
	if got := status(t, "DELETE", url+"/-/faults", ""); got != 200 {
		t.Fatalf("faults: %d", got)
	}
	ask(200)
	var r release
	if _, err := call(t.Context(), http.DefaultClient, "GET", url+"/-/release", nil, &r); err != nil || r.Version != "v2" {
		t.Errorf("it runs %q, %v", r.Version, err)
	}
}

func TestOrdersNeedTheirPeers(t *testing.T) {
	_, inventory := open(t, "inventory", "v1", 0.5, nil)
	broken, payments := open(t, "payments", "v1", 0.5, nil)
	_, orders := open(t, "orders", "v1", 0.5, map[string]string{"inventory": inventory, "payments": payments})
	if got := status(t, "POST", orders+"/orders", "{}"); got != 200 {
		t.Fatalf("an order: %d", got)
	}
	broken.faults.Store(&faults{Errors: 1})
	if got := status(t, "POST", orders+"/orders", "{}"); got != 502 {
		t.Errorf("an order that cannot be paid: %d, want 502", got)
	}
	if got := status(t, "GET", orders+"/orders", ""); got != 200 {
		t.Errorf("looking needs no payment: %d", got)
	}
}

func TestOrdersOfOperatorsThatMakeNoSenseAreRefused(t *testing.T) {
	s, url := open(t, "orders", "v1", 0.5, nil)
	for sentence, c := range map[string]struct{ path, body string }{
		"no JSON":                    {"/-/faults", "much"},
		"a share beyond 1":           {"/-/faults", `{"errors": 1.5}`},
		"a negative share":           {"/-/faults", `{"slow": -1, "delay_millis": 1}`},
		"slow without a delay":       {"/-/faults", `{"slow": 0.5}`},
		"a delay of a day":           {"/-/faults", `{"slow": 0.5, "delay_millis": 86400000}`},
		"a fault that there is not":  {"/-/faults", `{"error": 1}`},
		"a version without a name":   {"/-/release", `{"version": ""}`},
		"a version that is a script": {"/-/release", `{"version": "v2; rm -r"}`},
		"too much":                   {"/-/release", `{"version": "` + strings.Repeat("v", maxOrder) + `"}`},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := status(t, "PUT", url+c.path, c.body); got != 400 {
				t.Errorf("answer %d, want 400", got)
			}
		})
	}
	if *s.faults.Load() != (faults{}) || s.release.Load().Version != "v1" {
		t.Error("something was changed all the same")
	}
}

func TestCustomersReachNothingButTheService(t *testing.T) {
	_, url := open(t, "orders", "v1", 0.5, nil)
	for _, path := range []string{"/", "/payments", "/ordersx"} {
		if got := status(t, "GET", url+path, ""); got != 404 {
			t.Errorf("%s: %d, want 404", path, got)
		}
	}
	if got := status(t, "POST", url+"/orders", strings.Repeat("x", maxOrder+1)); got != 413 {
		t.Errorf("a huge order: %d, want 413", got)
	}
}

func FuzzFaultsFromOutside(f *testing.F) {
	for _, seed := range []string{`{"errors":0.3}`, `{"slow":1,"delay_millis":60000}`, `{"errors":1e999}`, `[]`, `{`, `{"version":"v2"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s, err := newService("orders", "v1", nil, &http.Client{}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/-/faults", "/-/release"} {
			w := httptest.NewRecorder()
			s.handler(untraced).ServeHTTP(w, httptest.NewRequest("PUT", path, strings.NewReader(body)))
			if w.Code != 200 && w.Code != 400 {
				t.Errorf("PUT %s %q: %d", path, body, w.Code)
			}
		}
		if err := s.faults.Load().check(); err != nil {
			t.Errorf("%q was taken: %v", body, err)
		}
	})
}

func TestSharesAreReadStrictly(t *testing.T) {
	if v, err := share("errors", "30%"); v != 0.3 || err != nil {
		t.Errorf("30%% is %v, %v", v, err)
	}
	for _, text := range []string{"", "%", "30", "-1%", "101%", "NaN%", "x%"} {
		if v, err := share("errors", text); err == nil {
			t.Errorf("%q is taken for %v", text, v)
		}
	}
}

func TestTheChatShowsOneLineAPost(t *testing.T) {
	var shown strings.Builder
	h := chat(&shown)
	post := func(body string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/hooks/alertmanager", strings.NewReader(body)))
		return w.Code
	}
	if got := post("{\"status\":\n \"firing\"}"); got != 200 {
		t.Errorf("answer %d", got)
	}
	if got := post("\x1b[2J"); got != 400 {
		t.Errorf("what is no JSON: %d", got)
	}
	if want := "\"/hooks/alertmanager\" {\"status\":\"firing\"}\n"; shown.String() != want {
		t.Errorf("shown is %q, want %q", shown.String(), want)
	}
}

func TestACallSaysWhatWasAnswered(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusConflict, map[string]string{"message": "taken"})
	}))
	defer server.Close()
	_, err := call(t.Context(), http.DefaultClient, "POST", server.URL+"/x", map[string]int{}, nil)
	e, ok := errors.AsType[statusError](err)
	if !ok || e.status != 409 || !strings.Contains(e.text, "taken") {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := call(ctx, http.DefaultClient, "GET", server.URL, nil, &json.RawMessage{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
