package gates

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

func TestTheCallersAuthorizationIsSentAsItIs(t *testing.T) {
	var got http.Header
	var body string
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r.Header.Clone(), string(b)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	to := gatewarden.Callback{URL: server.URL + "/webhook-step/abc", Authorization: gatewarden.NewSecret("s3cret: raw")}
	run := gatewarden.Run{ID: "orders-1", Canary: "orders", State: gatewarden.RunPass, Reason: "fine", Callback: &to}
	if err := newCaller(nil).Notify(t.Context(), to, run); err != nil {
		t.Fatal(err)
	}
	if got.Get("Authorization") != "s3cret: raw" || got.Get("Content-Type") != "application/json" {
		t.Errorf("the header is %v", got)
	}
	var sent gatewarden.Run
	if err := json.Unmarshal([]byte(body), &sent); err != nil || sent.State != gatewarden.RunPass || strings.Contains(body, "s3cret") || strings.Contains(body, "webhook-step") {
		t.Errorf("the body is %s, %v", body, err)
	}
	for _, status = range []int{202, 204, 302, 403, 500} {
		err := newCaller(nil).Notify(t.Context(), to, run)
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %v", status, err)
		}
	}
	server.Close()
	if err := newCaller(nil).Notify(t.Context(), to, run); err == nil || strings.Contains(err.Error(), "abc") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("an unreachable one: %v", err)
	}
}

// listener is a Notifier that takes a while, and says what the test wants.
type listener struct {
	mu    sync.Mutex
	tries []time.Time
	takes time.Duration
	until int // tries that fail
}

func (l *listener) Notify(ctx context.Context, to gatewarden.Callback, _ gatewarden.Run) error {
	l.mu.Lock()
	l.tries = append(l.tries, time.Now())
	tries := len(l.tries)
	l.mu.Unlock()
	if to.Authorization.Reveal() != "s3cret" {
		return errors.New("the secret is lost")
	}
	select {
	case <-time.After(l.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if tries <= l.until {
		return errors.New("202")
	}
	return nil
}

// ended returns a world whose run is over and has a callback.
func ended(t *testing.T, l *listener) (*world, gatewarden.Run) {
	w := newWorld(t, canaryOf("orders"))
	w.now = time.Now()
	w.book.cfg.Notify = l
	run, _, err := w.book.Start(t.Context(), w.now, Request{
		Canary: "orders", Key: "k", Callback: &gatewarden.Callback{URL: "http://jenkins/webhook-step/abc", Authorization: gatewarden.NewSecret("s3cret")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.book.Override(t.Context(), w.now, run.ID, gatewarden.RunPass, "ada", ""); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // the first try is under way or over
	return w, run
}

// live ticks in the bubble's time.
func (w *world) live(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(500 * time.Millisecond)
		w.now = time.Now()
		w.tickErr = cmp.Or(w.book.Tick(w.t.Context(), w.now), w.book.Keep(w.t.Context(), w.now), w.tickErr)
		synctest.Wait()
	}
}

func TestACallbackIsTriedWithPausesUntilItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{until: 3}
		w, run := ended(t, l)
		began := w.now
		w.live(time.Minute)
		if len(l.tries) != 4 {
			t.Fatalf("it was tried %d times, want 4", len(l.tries))
		}
		for i := 1; i < 4; i++ {
			if pause := l.tries[i].Sub(l.tries[i-1]); pause < time.Second<<i {
				t.Errorf("the pause before try %d is %s", i+1, pause)
			}
		}
		if l.tries[0].Sub(began) > time.Second {
			t.Errorf("the first try came after %s", l.tries[0].Sub(began))
		}
		if got := testutil.ToFloat64(w.book.metrics.callbacks.WithLabelValues(callDelivered)); got != 1 {
			t.Errorf("%v were delivered", got)
		}
		w.boot()
		w.book.cfg.Notify = l
		w.live(10 * time.Second)
		if len(l.tries) != 4 {
			t.Error("it is called again after a restart")
		}
		if got := w.run(run.ID).Callback; got.URL != "http://jenkins" || got.Authorization.String() != gatewarden.Redacted {
			t.Errorf("the run shows the callback as %+v", got)
		}
	})
}

func TestACallbackThatNobodyTakesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{until: 1000}
		w, _ := ended(t, l)
		var said strings.Builder
		w.book.cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
		w.live(10 * time.Minute)
		tries := len(l.tries)
		if took := l.tries[tries-1].Sub(l.tries[0]); tries != callTries || took < 4*time.Minute || took > 5*time.Minute {
			t.Errorf("it was tried %d times, the last one after %s", tries, took)
		}
		if !strings.Contains(said.String(), "given up") || strings.Contains(said.String(), "abc") || strings.Contains(said.String(), "s3cret") {
			t.Errorf("the log says:\n%s", said.String())
		}
	})
}

func TestACallbackDoesNotHoldUpTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{takes: time.Hour}
		w, _ := ended(t, l)
		before := time.Now()
		if err := w.book.Tick(t.Context(), before); err != nil || !time.Now().Equal(before) {
			t.Errorf("the tick took %s, %v", time.Since(before), err)
		}
		w.live(5 * time.Second)
		if len(l.tries) != 1 {
			t.Errorf("%d tries are under way at once", len(l.tries))
		}
		if err := w.book.Close(t.Context()); err != nil { // ends the call, or the bubble would not end
			t.Error(err)
		}
	})
}

func TestACallbackIsMadeAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{until: 1}
		w, _ := ended(t, l)
		w.live(time.Second)
		w.boot()
		w.book.cfg.Notify = l
		w.live(10 * time.Second)
		if len(l.tries) != 2 {
			t.Errorf("it was tried %d times, want 2", len(l.tries))
		}
	})
}
