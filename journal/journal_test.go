package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// testServer is a JetStream on a folder, in this process.
func testServer(t *testing.T, dir string) (jetstream.JetStream, func()) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, SyncAlways: true, JetStreamMaxStore: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		conn.Close()
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	t.Cleanup(stop)
	return js, stop
}

func openJournal(t *testing.T, js jetstream.JetStream, cfg Config) *Journal {
	t.Helper()
	j, err := Open(t.Context(), js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// sloEvent is the i-th event of a test about an SLO.
func sloEvent(i int) gatewarden.Event {
	return gatewarden.Event{At: noon.Add(time.Duration(i) * time.Second), Type: gatewarden.EventSLO, Name: fmt.Sprintf("slo-%d", i%2), State: "breach", Reason: fmt.Sprint(i)}
}

// actionEvent is about an action of a ladder.
func actionEvent(ladder string, status gatewarden.ActionStatus) gatewarden.Event {
	id := ladder + "-1"
	return gatewarden.Event{
		At: noon, Type: gatewarden.EventAction, Name: id, State: string(status), Reason: "because",
		Action: &gatewarden.Action{ID: id, Ladder: ladder, Policy: "p", Step: 1, Status: status, PlannedAt: noon, Memo: json.RawMessage(`{"a":1}`)},
	}
}

func ladderEvent(name, state string) gatewarden.Event {
	return gatewarden.Event{At: noon, Type: gatewarden.EventAction, Name: name, State: state, Reason: "because"}
}

func mustAppend(t *testing.T, j *Journal, events ...gatewarden.Event) {
	t.Helper()
	for _, e := range events {
		if _, err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func reasons(t *testing.T, j *Journal, q Query) string {
	t.Helper()
	events, err := j.Events(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, e.Reason)
	}
	return strings.Join(got, " ")
}

func TestQueries(t *testing.T) {
	js, _ := testServer(t, t.TempDir())
	journals := map[string]*Journal{
		"in memory":                    NewMemory(),
		"durable, all in memory":       openJournal(t, js, Config{}),
		"durable, little of it in RAM": nil,
	}
	js2, _ := testServer(t, t.TempDir())
	journals["durable, little of it in RAM"] = openJournal(t, js2, Config{Memory: 2})
	for name, j := range journals {
		t.Run(name, func(t *testing.T) {
			for i := 1; i <= 7; i++ {
				mustAppend(t, j, sloEvent(i))
			}
			mustAppend(t, j, actionEvent("l", gatewarden.ActionStarted))
			for want, q := range map[string]Query{
				"1 2 3 4 5 6 7 because": {},
				"7 because":             {After: 6},
				"1 2 3 4 5 6 7":         {Type: gatewarden.EventSLO},
				"6 7":                   {Type: gatewarden.EventSLO, Limit: 2},
				"1 3 5 7":               {Name: "slo-1"},
				"5 7":                   {Name: "slo-1", Limit: 2},
				"":                      {After: 8},
				"3":                     {Name: "slo-1", After: 2, Limit: 9, Type: gatewarden.EventSLO},
				"because":               {Type: gatewarden.EventAction},
			} {
				if want == "3" {
					want = "3 5 7"
				}
				if got := reasons(t, j, q); got != want {
					t.Errorf("%+v: got %q, want %q", q, got, want)
				}
			}
			if j.Last() != 8 {
				t.Errorf("last is %d", j.Last())
			}
		})
	}
}

func TestWhatWasAppendedIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	js, stop := testServer(t, dir)
	j := openJournal(t, js, Config{})
	mustAppend(t, j, sloEvent(1), actionEvent("l", gatewarden.ActionStarted), ladderEvent("l", gatewarden.LadderEnded))
	before, err := j.Events(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	js, _ = testServer(t, dir)
	j = openJournal(t, js, Config{})
	after, err := j.Events(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if e, err := j.Append(t.Context(), sloEvent(4)); e.Seq != 4 || err != nil {
		t.Errorf("the next one: %d, %v", e.Seq, err)
	}
}

func TestADeposedGuardCannotWrite(t *testing.T) {
	js, _ := testServer(t, t.TempDir())
	old := openJournal(t, js, Config{})
	mustAppend(t, old, sloEvent(1))
	next := openJournal(t, js, Config{})
	mustAppend(t, next, sloEvent(2))
	for range 2 {
		if _, err := old.Append(t.Context(), sloEvent(3)); gatewarden.ErrorCode(err) != gatewarden.Conflict {
			t.Errorf("the old holder got %v", err)
		}
	}
	mustAppend(t, next, sloEvent(4))
	if got := reasons(t, next, Query{}); got != "1 2 4" {
		t.Errorf("the journal has %q", got)
	}
}

func TestAPublishWhoseAnswerWasLostCountsOnce(t *testing.T) {
	js, _ := testServer(t, t.TempDir())
	j := openJournal(t, js, Config{})
	mustAppend(t, j, sloEvent(1))
	// The first attempt reached the stream, its answer did not come back.
	data, err := encode(new(sloEvent(2)))
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("%s-%d", j.log.writer, j.log.number+1)
	if _, err := js.Publish(t.Context(), subjectPrefix+"slo", data, jetstream.WithMsgID(id)); err != nil {
		t.Fatal(err)
	}
	if e, err := j.Append(t.Context(), sloEvent(2)); err != nil || e.Seq != 2 {
		t.Errorf("got %d, %v", e.Seq, err)
	}
	// One that was given up and came through all the same is taken in.
	if data, err = encode(new(sloEvent(3))); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), subjectPrefix+"slo", data, jetstream.WithMsgID(j.log.writer+"-given-up")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, sloEvent(4))
	if got := reasons(t, j, Query{}); got != "1 2 3 4" {
		t.Errorf("the journal has %q", got)
	}
}

func TestAnAppendThatIsCancelledIsNotInDoubt(t *testing.T) {
	js, stop := testServer(t, t.TempDir())
	j := openJournal(t, js, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Append(ctx, sloEvent(1)); err != nil && gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Error(err)
	}
	mustAppend(t, j, sloEvent(2))
	if got := reasons(t, j, Query{Limit: 1}); got != "2" {
		t.Errorf("the journal ends in %q", got)
	}
	stop()
	if _, err := j.Append(t.Context(), sloEvent(3)); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("without a server: %v", err)
	}
}

func TestDamagedAndForeignMessagesAreReportedAndPassedOver(t *testing.T) {
	js, _ := testServer(t, t.TempDir())
	mustAppend(t, openJournal(t, js, Config{}), sloEvent(1))
	for _, data := range []string{"", "{", "\xff\xfe", "[]", `{"type":"slo"}`, `{"at":"2026-11-21T12:00:00Z","type":"slo","name":"x"}`} {
		if _, err := js.Publish(t.Context(), subjectPrefix+"slo", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(t.Context(), subjectPrefix+"not.ours", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	reg := prometheus.NewRegistry()
	j := openJournal(t, js, Config{Logger: slog.New(slog.NewTextHandler(&lines, nil)), Registerer: reg})
	mustAppend(t, j, sloEvent(2))
	if got := reasons(t, j, Query{}); got != "1 2" {
		t.Errorf("the journal has %q", got)
	}
	if got := testutil.ToFloat64(j.metrics.damaged); got != 7 {
		t.Errorf("%v damaged messages counted, want 7", got)
	}
	if !strings.Contains(lines.String(), "seq=8") || !strings.Contains(lines.String(), "not.ours") {
		t.Errorf("the log does not name them:\n%s", lines.String())
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
}

func TestAJournalWithABrokenBlockOpens(t *testing.T) {
	dir := t.TempDir()
	js, stop := testServer(t, dir)
	j := openJournal(t, js, Config{})
	for i := range 50 {
		mustAppend(t, j, sloEvent(i))
	}
	stop()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream/*/streams", streamName, "msgs/*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no block found: %v, %v", blocks, err)
	}
	data, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		data[len(data)/2+i] ^= 0x5a
	}
	if err := os.WriteFile(blocks[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	js, stop = testServer(t, dir)
	j = openJournal(t, js, Config{})
	events, err := j.Events(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) == 0 || len(events) >= 50 {
		t.Errorf("%d of 50 events are readable", len(events))
	}
	mustAppend(t, j, sloEvent(51), sloEvent(52))
	stop()
	js, _ = testServer(t, dir)
	reopened := openJournal(t, js, Config{})
	mustAppend(t, reopened, sloEvent(53))
	if got := reasons(t, reopened, Query{Limit: 3}); got != "51 52 53" {
		t.Errorf("afterwards the journal ends in %q", got)
	}
}

func TestInvalidEventsAreRefused(t *testing.T) {
	big := sloEvent(1)
	big.Reason = strings.Repeat("x", maxEvent)
	endless := sloEvent(1)
	endless.SLO = &gatewarden.SLOEvidence{SLI: math.NaN()}
	spaced := sloEvent(1)
	spaced.Type = "a.b"
	nameless := actionEvent("", gatewarden.ActionStarted)
	j := NewMemory()
	for name, e := range map[string]gatewarden.Event{
		"nothing": {}, "too big": big, "not a number": endless, "a type that is no word": spaced, "no ladder": nameless,
	} {
		if _, err := j.Append(t.Context(), e); gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTrimKeepsWhatIsNotFinished(t *testing.T) {
	for name, c := range map[string]struct {
		unfinished []gatewarden.Event
		end        []gatewarden.Event
	}{
		"an action in place": {[]gatewarden.Event{actionEvent("l", gatewarden.ActionApplied)}, []gatewarden.Event{actionEvent("l", gatewarden.ActionReverted), ladderEvent("l", gatewarden.LadderEnded)}},
		"a pause":            {[]gatewarden.Event{ladderEvent(gatewarden.GuardName, gatewarden.GuardPaused)}, []gatewarden.Event{ladderEvent(gatewarden.GuardName, gatewarden.GuardResumed)}},
	} {
		t.Run(name, func(t *testing.T) {
			js, _ := testServer(t, t.TempDir())
			j := openJournal(t, js, Config{Memory: 1})
			mustAppend(t, j, sloEvent(1), sloEvent(2))
			mustAppend(t, j, c.unfinished...)
			mustAppend(t, j, sloEvent(3), sloEvent(4))
			later := time.Now().Add(100 * 24 * time.Hour)
			// The one who trims need not be the one who wrote.
			j = openJournal(t, js, Config{Memory: 1})
			if err := j.Trim(t.Context(), later); err != nil {
				t.Fatal(err)
			}
			if got := reasons(t, j, Query{}); got != "because 3 4" {
				t.Errorf("with something unfinished: %q", got)
			}
			mustAppend(t, j, c.end...)
			if err := j.Trim(t.Context(), later); err != nil {
				t.Fatal(err)
			}
			reopened := openJournal(t, js, Config{})
			if got := reasons(t, reopened, Query{}); got != "" {
				t.Errorf("when all is finished: %q", got)
			}
			mustAppend(t, reopened, sloEvent(9))
			if want := uint64(5 + len(c.end) + 1); reopened.Last() != want {
				t.Errorf("positions start over: %d, want %d", reopened.Last(), want)
			}
		})
	}
}

// Whether the file is there is seen by looking, and nobody writes that it went while the guard was down.
func TestAPauseByAFileKeepsNothing(t *testing.T) {
	js, _ := testServer(t, t.TempDir())
	j := openJournal(t, js, Config{Memory: 1})
	mustAppend(t, j, sloEvent(1), ladderEvent(gatewarden.PauseFileName, gatewarden.GuardPaused), sloEvent(2))
	j = openJournal(t, js, Config{Memory: 1})
	if err := j.Trim(t.Context(), time.Now().Add(100*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := reasons(t, openJournal(t, js, Config{}), Query{}); got != "" {
		t.Errorf("left is %q", got)
	}
}

func TestTrimByAgeAndBySize(t *testing.T) {
	js, _ := testServer(t, t.TempDir())
	j := openJournal(t, js, Config{Memory: 1, MaxBytes: 20_000})
	for i := range 5 {
		mustAppend(t, j, sloEvent(i))
	}
	if err := j.Trim(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := reasons(t, j, Query{}); got != "0 1 2 3 4" {
		t.Errorf("nothing is too old or too much, but left is %q", got)
	}
	for i := range 45 {
		e := sloEvent(i)
		e.Severity = strings.Repeat("x", 1000)
		mustAppend(t, j, e)
	}
	for range 3 {
		if err := j.Trim(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	info, err := j.log.stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Bytes > 20_000 || info.State.Msgs < 10 {
		t.Errorf("%d bytes in %d messages are left of a limit of 20000", info.State.Bytes, info.State.Msgs)
	}
}

func TestFollowersGetThePastAndThenThePresent(t *testing.T) {
	js, _ := testServer(t, t.TempDir())
	j := openJournal(t, js, Config{Memory: 4})
	const n = 300
	for i := range 10 {
		mustAppend(t, j, sloEvent(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	got := make([]int, 3)
	for f := range got {
		wg.Go(func() {
			q := Query{}
			for got[f] < n {
				for e, err := range j.Follow(ctx, q) {
					if err != nil { // cut off: go on from there
						if gatewarden.ErrorCode(err) != gatewarden.Unavailable {
							t.Error(err)
							return
						}
						break
					}
					if e.Seq != q.After+1 {
						t.Errorf("after %d came %d", q.After, e.Seq)
					}
					q.After = e.Seq
					if got[f]++; got[f] == n {
						break
					}
				}
				if ctx.Err() != nil {
					t.Error("no end")
					return
				}
			}
		})
	}
	for i := 10; i < n; i++ {
		mustAppend(t, j, sloEvent(i))
	}
	wg.Wait()
}

func TestAFollowerThatIsTooSlowIsToldSo(t *testing.T) {
	js, _ := testServer(t, t.TempDir())
	j := openJournal(t, js, Config{Memory: 4})
	mustAppend(t, j, sloEvent(1))
	var last uint64
	var end error
	for e, err := range j.Follow(t.Context(), Query{}) {
		if err != nil {
			end = err
			continue
		}
		last = e.Seq
		if last == 1 {
			for i := range 20 {
				mustAppend(t, j, sloEvent(i))
			}
		}
	}
	if last != 1 || gatewarden.ErrorCode(end) != gatewarden.Unavailable || !strings.Contains(end.Error(), "since=1") {
		t.Errorf("it got up to %d and then %v", last, end)
	}
}

func TestAFollowerOfAnotherJournalBeginsAtTheBeginning(t *testing.T) {
	j := NewMemory()
	for i := range 3 {
		mustAppend(t, j, sloEvent(i))
	}
	for after, want := range map[uint64][]uint64{2: {3}, 4: {1, 2, 3}, 5000: {1, 2, 3}} {
		var got []uint64
		for e, err := range j.Follow(t.Context(), Query{After: after}) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, e.Seq); e.Seq == 3 {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %d (-want +got):\n%s", after, diff)
		}
	}
}

func TestAFollowerEndsWithItsContext(t *testing.T) {
	j := NewMemory()
	mustAppend(t, j, sloEvent(1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range j.Follow(ctx, Query{}) {
		if err != nil {
			t.Error(err)
		}
		cancel()
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("it ended by itself")
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []gatewarden.Event{sloEvent(1), actionEvent("l", gatewarden.ActionApplied), ladderEvent("l", gatewarden.LadderEnded)} {
		data, err := encode(&e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"at":"0001-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"type":"slo","name":"\ud800","state":"x","reason":1,"at":"2026-11-21T12:00:00+23:59"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decode(data)
		if err != nil {
			return
		}
		// What is taken in can be written again, and means the same.
		again, err := encode(&e)
		if err != nil {
			if len(data) < maxEvent/8 {
				t.Fatalf("decoded but not encoded: %v", err)
			}
			return
		}
		if back, err := decode(again); err != nil || back.Name != e.Name || !back.At.Equal(e.At) {
			t.Fatalf("%+v became %+v: %v", e, back, err)
		}
	})
}

// BenchmarkAppend is one durable event, fsync included.
func BenchmarkAppend(b *testing.B) {
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: b.TempDir(), SyncAlways: true})
	if err != nil {
		b.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(10 * time.Second) {
		b.Fatal("the server does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	j, err := Open(b.Context(), js, Config{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := j.Append(b.Context(), actionEvent("l", gatewarden.ActionApplied)); err != nil {
			b.Fatal(err)
		}
	}
}
