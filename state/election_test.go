package state

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewarden/gatewarden"
)

// town is where guards in a synctest bubble vote: a ballot and a voice with faults.
type town struct {
	mu       sync.Mutex
	value    []byte
	revision uint64
	ears     map[int]func([]byte)
	ear      int

	cut      map[string]bool // guards that neither reach the ballot nor are heard
	stuck    map[string]bool // guards that cannot write the ballot, but are heard
	loseNext map[string]bool // guards whose next write is done, but the answer is lost
}

func newTown() *town {
	return &town{ears: make(map[int]func([]byte)), cut: make(map[string]bool), stuck: make(map[string]bool), loseNext: make(map[string]bool)}
}

// set changes a fault.
func (w *town) set(faults map[string]bool, guard string, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	faults[guard] = on
}

// seat is one guard's place in the town.
type seat struct {
	town *town
	name string
}

func (s seat) read(ctx context.Context) ([]byte, uint64, error) {
	s.town.mu.Lock()
	defer s.town.mu.Unlock()
	if s.town.cut[s.name] {
		return nil, 0, s.noAnswer(ctx)
	}
	return slices.Clone(s.town.value), s.town.revision, nil
}

func (s seat) write(ctx context.Context, value []byte, after uint64) (uint64, error) {
	s.town.mu.Lock()
	defer s.town.mu.Unlock()
	if s.town.cut[s.name] || s.town.stuck[s.name] {
		return 0, s.noAnswer(ctx)
	}
	if after != s.town.revision {
		return 0, errOvertaken
	}
	s.town.value = slices.Clone(value)
	s.town.revision++
	if s.town.loseNext[s.name] {
		s.town.loseNext[s.name] = false
		return 0, s.noAnswer(ctx)
	}
	return s.town.revision, nil
}

// noAnswer lasts as long as the caller waits. The town goes on meanwhile.
func (s seat) noAnswer(ctx context.Context) error {
	s.town.mu.Unlock()
	defer s.town.mu.Lock()
	<-ctx.Done()
	return ctx.Err()
}

func (s seat) tell(data []byte) error {
	s.town.mu.Lock()
	defer s.town.mu.Unlock()
	if s.town.cut[s.name] {
		return errors.New("cut off")
	}
	for _, heard := range s.town.ears {
		go heard(data)
	}
	return nil
}

func (s seat) hear(heard func([]byte)) (func(), error) {
	s.town.mu.Lock()
	defer s.town.mu.Unlock()
	s.town.ear++
	ear := s.town.ear
	s.town.ears[ear] = func(data []byte) {
		s.town.mu.Lock()
		deaf := s.town.cut[s.name]
		s.town.mu.Unlock()
		if !deaf {
			heard(data)
		}
	}
	return func() {
		s.town.mu.Lock()
		defer s.town.mu.Unlock()
		delete(s.town.ears, ear)
	}, nil
}

// voter is a guard that runs in a town.
type voter struct {
	*Election
	stop    context.CancelFunc
	resign  chan error // what lead returns
	deposed chan bool  // whether lead's context said so, once for each term
	done    chan struct{}
	err     error // of Run, once done
}

func (w *town) join(ctx context.Context, name string) *voter {
	at := seat{w, name}
	ctx, stop := context.WithCancel(ctx)
	v := &voter{
		Election: newElection(Candidate{Name: name, API: "http://" + name}, at, at, nil),
		stop:     stop, resign: make(chan error), deposed: make(chan bool, 100), done: make(chan struct{}),
	}
	go func() {
		defer close(v.done)
		v.err = v.Run(ctx, func(ctx context.Context) error {
			select {
			case err := <-v.resign:
				return err
			case <-ctx.Done():
				v.deposed <- Deposed(ctx)
				return ctx.Err()
			}
		})
	}()
	return v
}

// inTown runs a test with three guards of which the first leads.
func inTown(t *testing.T, test func(t *testing.T, w *town, a, b, c *voter)) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		a := w.join(t.Context(), "a")
		time.Sleep(time.Second)
		b, c := w.join(t.Context(), "b"), w.join(t.Context(), "c")
		time.Sleep(time.Minute)
		wantLeader(t, "a", a, a, b, c)
		test(t, w, a, b, c)
		for _, v := range []*voter{a, b, c} {
			v.stop()
			<-v.done
		}
	})
}

// wantLeader checks that the given guard leads, alone, and that those who know say so.
func wantLeader(t *testing.T, name string, leader *voter, know ...*voter) {
	t.Helper()
	synctest.Wait()
	if !leader.Leads() {
		t.Errorf("%s does not lead", name)
	}
	for _, v := range know {
		if v != leader && v.Leads() {
			t.Errorf("%s leads too", v.me.Name)
		}
		if who, _, ok := v.Leader(); !ok || who.Name != name || who.API != "http://"+name {
			t.Errorf("%s says that %v leads (%t), want %s", v.me.Name, who, ok, name)
		}
	}
}

// other returns the one of two that leads, and how long it took.
func other(t *testing.T, within time.Duration, x, y *voter) (*voter, time.Duration) {
	t.Helper()
	begun := time.Now()
	for time.Since(begun) <= within {
		synctest.Wait()
		switch {
		case x.Leads() && y.Leads():
			t.Fatal("both lead")
		case x.Leads():
			return x, time.Since(begun)
		case y.Leads():
			return y, time.Since(begun)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("neither leads after %s", within)
	return nil, 0
}

func TestElectionWhoResignsIsFollowedAtOnce(t *testing.T) {
	inTown(t, func(t *testing.T, _ *town, a, b, c *voter) {
		a.resign <- nil
		next, took := other(t, 500*time.Millisecond, b, c)
		t.Logf("%s leads after %s", next.me.Name, took)
		time.Sleep(time.Minute)
		wantLeader(t, next.me.Name, next, a, b, c)
	})
}

func TestElectionWhoEndsIsFollowedAtOnce(t *testing.T) {
	inTown(t, func(t *testing.T, _ *town, a, b, c *voter) {
		a.stop()
		if <-a.done; a.err != nil {
			t.Error(a.err)
		}
		if <-a.deposed {
			t.Error("ending looked like being deposed")
		}
		other(t, 500*time.Millisecond, b, c)
	})
}

func TestElectionWhoFailsIsFollowedAtOnceAndSaysWhy(t *testing.T) {
	inTown(t, func(t *testing.T, _ *town, a, b, c *voter) {
		broken := errors.New("broken")
		a.resign <- broken
		if <-a.done; !errors.Is(a.err, broken) {
			t.Error(a.err)
		}
		other(t, 500*time.Millisecond, b, c)
	})
}

func TestElectionWhoIsCutOffStepsDownAndIsFollowed(t *testing.T) {
	inTown(t, func(t *testing.T, w *town, a, b, c *voter) {
		begun := time.Now()
		w.set(w.cut, "a", true)
		next, took := other(t, 5*time.Second, b, c)
		if took < silence-beatPause {
			t.Errorf("taken over after %s already", took)
		}
		if !<-a.deposed {
			t.Error("the context of one who was cut off does not say that it is deposed")
		}
		if took := time.Since(begun); took > confirmWithin+ballotTimeout {
			t.Errorf("stepped down after %s", took)
		}
		w.set(w.cut, "a", false)
		time.Sleep(time.Minute)
		wantLeader(t, next.me.Name, next, a, b, c)
	})
}

func TestElectionWhoSeesThatItWasDeposedStepsDownAtOnce(t *testing.T) {
	inTown(t, func(t *testing.T, w *town, a, b, c *voter) {
		w.set(w.cut, "a", true)
		next, _ := other(t, 5*time.Second, b, c)
		w.set(w.cut, "a", false)
		begun := time.Now()
		if !<-a.deposed {
			t.Error("not deposed")
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("it took %s", took)
		}
		time.Sleep(10 * time.Second)
		wantLeader(t, next.me.Name, next, a, b, c)
	})
}

func TestElectionALostAnswerDeposesNobody(t *testing.T) {
	inTown(t, func(t *testing.T, w *town, a, b, c *voter) {
		for range 5 {
			w.set(w.loseNext, "a", true)
			time.Sleep(10 * time.Second)
			wantLeader(t, "a", a, a, b, c)
		}
		select {
		case <-a.deposed:
			t.Error("there was another term")
		default:
		}
	})
}

func TestElectionALostAnswerToWhoTakesTheBallotIsFoundOut(t *testing.T) {
	inTown(t, func(t *testing.T, w *town, a, b, c *voter) {
		w.set(w.loseNext, "b", true)
		w.set(w.loseNext, "c", true)
		a.resign <- nil
		next, _ := other(t, 5*time.Second, b, c)
		time.Sleep(time.Minute)
		wantLeader(t, next.me.Name, next, a, b, c)
	})
}

func TestElectionABallotThatNobodyCanWriteDeposesNobodyForAWhile(t *testing.T) {
	inTown(t, func(t *testing.T, w *town, a, b, c *voter) {
		// As in an election of the servers: heartbeats are heard, the ballot cannot be written.
		for _, name := range []string{"a", "b", "c"} {
			w.set(w.stuck, name, true)
		}
		time.Sleep(10 * time.Second)
		wantLeader(t, "a", a, a, b, c)
		time.Sleep(5 * time.Second)
		if a.Leads() || b.Leads() || c.Leads() {
			t.Error("somebody leads without a ballot")
		}
		for _, name := range []string{"a", "b", "c"} {
			w.set(w.stuck, name, false)
		}
		time.Sleep(10 * time.Second)
		leaders := 0
		for _, v := range []*voter{a, b, c} {
			if v.Leads() {
				leaders++
			}
		}
		if leaders != 1 {
			t.Errorf("%d lead afterwards", leaders)
		}
	})
}

func TestElectionOnesOwnLastLifeIsTakenOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		w.value, _ = json.Marshal(term{Candidate: Candidate{Name: "a"}, Token: "of a life that ended with a crash"})
		w.revision = 7
		a := w.join(t.Context(), "a")
		synctest.Wait()
		wantLeader(t, "a", a, a)
		a.stop()
		<-a.done
	})
}

func TestElectionWhoComesLaterDisturbsNobody(t *testing.T) {
	inTown(t, func(t *testing.T, w *town, a, b, c *voter) {
		d := w.join(t.Context(), "d")
		time.Sleep(time.Minute)
		wantLeader(t, "a", a, a, b, c, d)
		d.stop()
		<-d.done
	})
}

func TestElectionWhoHasTheNameOfAnotherIsRefusedAndTheOtherSaysSo(t *testing.T) {
	inTown(t, func(t *testing.T, w *town, a, b, c *voter) {
		var said strings.Builder
		b.logger = slog.New(slog.NewTextHandler(&said, nil))
		at := seat{w, "another machine"}
		second := newElection(Candidate{Name: "b", API: "http://second"}, at, at, nil)
		err := second.single(t.Context())
		if gatewarden.ErrorCode(err) != gatewarden.Conflict || !strings.Contains(err.Error(), "http://b") || !strings.Contains(err.Error(), "state.name") {
			t.Errorf("a second b is let in: %v", err)
		}
		synctest.Wait()
		if n := strings.Count(said.String(), "give each guard its own state.name"); n != 1 || !strings.Contains(said.String(), "http://second") {
			t.Errorf("b has complained %d times: %s", n, &said)
		}
		wantLeader(t, "a", a, a, b, c)
	})
}

func TestElectionTwoOfOneNameThatStartTogetherAreNotBothLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		errs := make(chan error)
		for range 2 {
			go func() { errs <- newElection(Candidate{Name: "b"}, seat{w, "b"}, seat{w, "b"}, nil).single(t.Context()) }()
		}
		if first, second := <-errs, <-errs; first == nil && second == nil {
			t.Error("both are let in")
		}
	})
}

func TestElectionWhoComesBackAfterItsDeathIsLetInWithinASecond(t *testing.T) {
	inTown(t, func(t *testing.T, w *town, a, b, c *voter) {
		b.stop() // as kill -9 does: nothing is told any more
		<-b.done
		begun := time.Now()
		again := newElection(Candidate{Name: "b"}, seat{w, "b"}, seat{w, "b"}, nil)
		if err := again.single(t.Context()); err != nil || time.Since(begun) > time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

func TestElectionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElection(Candidate{Name: "a"}, nil, nil, nil)
		if _, _, ok := e.Leader(); ok || e.Leads() {
			t.Error("it leads before it runs")
		}
		ctx, stop := context.WithCancel(t.Context())
		err := e.Run(ctx, func(ctx context.Context) error {
			if who, _, ok := e.Leader(); !e.Leads() || !ok || who.Name != "a" {
				t.Error("it does not lead")
			}
			stop()
			<-ctx.Done()
			return ctx.Err()
		})
		if err != nil || e.Leads() {
			t.Error(err, e.Leads())
		}
	})
}
