package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/state"
)

// TestAStateKeepsItsName: what guards of one state have put in place has one mark, over their
// restarts, and a guard with a state of its own has another.
func TestAStateKeepsItsName(t *testing.T) {
	enforce := []gatewarden.ActionPolicy{{Mode: gatewarden.ModeObserve}, {Mode: gatewarden.ModeEnforce}}
	marked := func(dir string, policies []gatewarden.ActionPolicy) mark {
		t.Helper()
		s, err := state.Open(t.Context(), state.Config{Dir: dir}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		snapshots, err := s.Snapshots(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var last mark
		for i := range 2 {
			m, err := (&term{App: &App{snapshots: snapshots}}).mark(t.Context(), policies)
			if err != nil || i > 0 && m != last {
				t.Errorf("%v is %v later: %v", last, m, err)
			}
			last = m
		}
		return last
	}
	one, two := t.TempDir(), t.TempDir()
	first, again, other := marked(one, enforce), marked(one, enforce[:1]), marked(two, nil)
	if first.guard == "" || again.guard != first.guard || other.guard == first.guard {
		t.Errorf("names %q, %q, %q", first.guard, again.guard, other.guard)
	}
	if first.observes || !again.observes || !other.observes {
		t.Errorf("%+v, %+v, %+v", first, again, other)
	}
}

// TestADamagedNameIsSaid: what was put in place under the one before is nobody's from then on.
func TestADamagedNameIsSaid(t *testing.T) {
	s, err := state.Open(t.Context(), state.Config{Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	snapshots, err := s.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	name := func() string {
		m, err := (&term{App: &App{snapshots: snapshots, logger: slog.New(slog.NewTextHandler(log, nil))}}).mark(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return m.guard
	}
	first := name()
	if log.Len() > 0 {
		t.Errorf("a state that has no name yet is said to be damaged: %s", log)
	}
	stream, err := s.JetStream().Stream(t.Context(), "OBJ_gatewarden_snapshots")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 1); err != nil { // its only chunk
		t.Fatal(err)
	}
	second := name()
	if second == first || !strings.Contains(log.String(), "the name of the state is damaged") || !strings.Contains(log.String(), second) {
		t.Errorf("%q is %q after the damage, and the log says:\n%s", first, second, log)
	}
	log.Reset()
	if third := name(); third != second || log.Len() > 0 {
		t.Errorf("%q is %q later, and the log says:\n%s", second, third, log)
	}
}
