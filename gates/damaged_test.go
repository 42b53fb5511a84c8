package gates

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestADamagedRunIsKeptForAWhile boots on a run that cannot be read, again and again.
func TestADamagedRunIsKeptForAWhile(t *testing.T) {
	for name, blob := range map[string][]byte{"no run at all": []byte("{"), "its parts are lost": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, canaryOf("orders"))
			var log bytes.Buffer
			w.logger = slog.New(slog.NewTextHandler(&log, nil))
			w.disk.blobs["orders-x"] = blob
			said := func() int { return strings.Count(log.String(), "runs of canaries are damaged and left out") }
			kept := func() bool { _, ok := w.disk.blobs["orders-x"]; return ok }
			for life := 1; life <= 3; life++ { // a restart does not begin the time anew
				w.boot()
				if w.pass(5*time.Second, "orders", 1, false); w.tickErr != nil {
					t.Fatal(w.tickErr)
				}
				if said() != life || !strings.Contains(log.String(), "orders-x") || !strings.Contains(log.String(), "gatewarden gate CANARY") {
					t.Errorf("in life %d the log says %s", life, log.String())
				}
				w.now = w.now.Add(2 * 24 * time.Hour)
			}
			w.now = t0.Add(keepDamaged - time.Second)
			if w.pass(500*time.Millisecond, "orders", 1, false); !kept() {
				t.Error("it is gone already")
			}
			w.now = t0.Add(keepDamaged)
			if w.pass(5*time.Second, "orders", 1, false); kept() || w.disk.blobs[damagedName] != nil {
				t.Errorf("it is still there: %v, %s", kept(), w.disk.blobs[damagedName])
			}
			if w.boot(); said() != 3 {
				t.Errorf("the log says %s", log.String())
			}
		})
	}
}

// TestADamagedRunKeepsNoGuardFromStarting has a store that can be read and not be written.
func TestADamagedRunKeepsNoGuardFromStarting(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.disk.blobs["orders-x"], w.disk.blobs[damagedName] = []byte("{"), []byte("[")
	w.disk.broken = errors.New("the disk is full")
	w.boot()
	w.pass(5*time.Second, "orders", 0, false)
	w.disk.broken = nil
	w.tickErr = nil
	if w.pass(5*time.Second, "orders", 0, false); w.tickErr != nil || !strings.Contains(string(w.disk.blobs[damagedName]), "orders-x") {
		t.Errorf("what is known is not written down: %s, %v", w.disk.blobs[damagedName], w.tickErr)
	}
}

// TestARunThatCanBeReadAgainIsNoMoreDamaged is of a guard that was set back to an older version
// for a while.
func TestARunThatCanBeReadAgainIsNoMoreDamaged(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	run := w.start("orders", "")
	w.pass(5*time.Second, "orders", 1, false)
	good := w.disk.blobs[run.ID]
	w.disk.blobs[run.ID] = bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1)
	w.boot()
	w.pass(5*time.Second, "orders", 0, false)
	if w.disk.blobs[damagedName] == nil {
		t.Fatal("it is not known to be damaged")
	}
	w.disk.blobs[run.ID] = good
	w.boot()
	if w.pass(5*time.Second, "orders", 0, false); w.disk.blobs[damagedName] != nil || w.disk.blobs[run.ID] == nil {
		t.Errorf("it is still known as damaged: %s", w.disk.blobs[damagedName])
	}
	w.run(run.ID)
}

// TestEveryDamagedBlobGoesInTheEnd draws starts at any time, by clocks that go back too.
func TestEveryDamagedBlobGoesInTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c"}
		var note []byte
		at := t0
		for range rapid.IntRange(1, 8).Draw(t, "starts") {
			at = at.Add(time.Duration(rapid.IntRange(-100, 200).Draw(t, "hours")) * time.Hour)
			var d damaged
			d.restore(note)
			for _, name := range names {
				d.find(name, errors.New("damaged"))
			}
			d.settle(at)
			for _, name := range d.expired(at) {
				names = slices.DeleteFunc(names, func(n string) bool { return n == name })
			}
			for name, since := range d.since {
				if since.After(at) || at.Sub(since) >= keepDamaged {
					t.Fatalf("at %s %s is kept since %s", at, name, since)
				}
			}
			note, _ = json.Marshal(d.since)
		}
	})
}
