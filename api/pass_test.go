package api

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden"
)

// led is a guard that another one leads, "" for none.
type led struct {
	by atomic.Value
	at *url.URL // where it leads; by its name unless set
}

// at returns a guard that is led by one with that address.
func at(address string) *led {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // of a server that is there
	}
	g := &led{at: u}
	g.by.Store("guard-1")
	return g
}

func (g *led) Leader() (string, *url.URL, error) {
	name := g.by.Load().(string)
	if name == "" {
		return "", nil, gatewarden.Errorf(gatewarden.Unavailable, "no guard leads at the moment")
	}
	return name, cmp.Or(g.at, &url.URL{Scheme: "http", Host: name + ":8080"}), nil
}

func (g *led) Ready() error                 { return nil }
func (g *led) Reload(context.Context) error { return nil }

func TestARequestThatWasPassedOnToWhoIsDeadIsLetGoWhenAnotherLeads(t *testing.T) {
	for sentence, then := range map[string]string{"another leads": "guard-3", "nobody leads": ""} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &led{}
				g.by.Store("guard-1")
				// A machine that accepts and then has no power: nothing comes, nothing is closed.
				transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					go func() { _, _ = io.Copy(io.Discard, there) }()
					return here, nil
				}}
				h := NewPasser("guard-2", g, nil, transport, slog.New(slog.DiscardHandler)).Handler()
				w, done := httptest.NewRecorder(), make(chan struct{})
				go func() {
					defer close(done)
					h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/events?follow=true", nil))
				}()
				time.Sleep(time.Hour)
				select {
				case <-done:
					t.Fatalf("while guard-1 leads it is let go: %d %s", w.Code, w.Body)
				default:
				}
				changed := time.Now()
				g.by.Store(then)
				<-done
				if took := time.Since(changed); took > 2*time.Second {
					t.Errorf("it took %s", took)
				}
				if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "it leads no more") {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		})
	}
}

// A guard that is stopped cancels what it has passed on. Who ordered something must not take
// that for done.
func TestWhatAGuardThatStopsHadPassedOnIsNotAnswered200(t *testing.T) {
	arrived := make(chan struct{})
	leader := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done() // it hangs
	}))
	defer leader.Close()
	follower := httptest.NewUnstartedServer(NewPasser("guard-2", at(leader.URL), nil, http.DefaultTransport, slog.New(slog.DiscardHandler)).Handler())
	serving, stop := context.WithCancelCause(t.Context())
	follower.Config.BaseContext = func(net.Listener) context.Context { return serving }
	follower.Start()
	defer follower.Close()
	go func() {
		<-arrived
		stop(errors.New("this guard is stopping"))
	}()
	resp, err := http.Post(follower.URL+"/api/v1/actions/x/revert", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "this guard is stopping") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// A stream in its middle is cut, not ended: its reader knows that there is more.
func TestAStreamThatIsPassedOnIsCutWhenAnotherLeads(t *testing.T) {
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = newStream(w, "application/x-ndjson").write("%s\n", `{"seq":7}`)
		<-r.Context().Done()
	}))
	defer leader.Close()
	g := at(leader.URL)
	follower := httptest.NewServer(NewPasser("guard-2", g, nil, http.DefaultTransport, slog.New(slog.DiscardHandler)).Handler())
	defer follower.Close()
	resp, err := http.Get(follower.URL + "/api/v1/events?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "{\"seq\":7}\n" {
		t.Fatalf("%q, %v", line, err)
	}
	g.by.Store("guard-3")
	if line, err := lines.ReadString('\n'); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", line, err)
	}
}
