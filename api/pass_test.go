package api

import (
	"context"
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
type led struct{ by atomic.Value }

func (g *led) Leader() (string, *url.URL, error) {
	name := g.by.Load().(string)
	if name == "" {
		return "", nil, gatewarden.Errorf(gatewarden.Unavailable, "no guard leads at the moment")
	}
	return name, &url.URL{Scheme: "http", Host: name + ":8080"}, nil
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
