package gates

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

func TestAReportReadsAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g gathering
		var want []observed
		for range rapid.IntRange(1, 3).Draw(t, "definitions") {
			c := canaryOf(rapid.String().Draw(t, "canary"))
			s := shown{feed: newFeed(&c, nil)}
			for range rapid.IntRange(1, 5).Draw(t, "observations") {
				s.observations = append(s.observations, drawObservation(t))
			}
			g.shown = append(g.shown, s)
			want = append(want, observed{canary: c.Name, print: s.feed.print, observations: s.observations})
		}
		at := time.Unix(0, rapid.Int64Range(0, 7e18).Draw(t, "at"))
		got, err := parseReport(g.message(at))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.seen, cmp.AllowUnexported(observed{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if again, err := parseReport(g.message(at)); err != nil || again.number == got.number {
			t.Fatalf("two reports have the number %x, %v", got.number, err)
		}
	})
}

// reportOf returns a report about one request of the canary orders.
func reportOf(at time.Time, id string) []byte {
	o := NewObserver(newDisk())
	o.SetCanaries([]gatewarden.Canary{canaryOf("orders")})
	r := o.Batch(at)
	r.Add(record("orders", gatewarden.TrackCanary, at, true, id))
	return r.Message()
}

func TestADamagedReportIsRefusedWhole(t *testing.T) {
	w := newWorld(t, canaryOf("orders"))
	w.start("orders", "")
	good := reportOf(t0, "a")
	sealed := func(body []byte) []byte { return binary.LittleEndian.AppendUint32(slices.Clip(body), checksum(body)) }
	body := good[:len(good)-checksumSize]
	for sentence, message := range map[string][]byte{
		"nothing":                       nil,
		"a checksum of nothing":         make([]byte, checksumSize),
		"cut short":                     good[:len(good)-1],
		"a bit that flipped":            append([]byte{good[0], good[1] ^ 1}, good[2:]...),
		"another version":               sealed(append([]byte{reportVersion + 1}, body[1:]...)),
		"something after its end":       sealed(append(slices.Clip(body), 0)),
		"an end too early":              sealed(body[:len(body)-1]),
		"more requests than bytes":      sealed(append(binary.AppendUvarint(append([]byte{reportVersion}, make([]byte, 9)...), 1<<40), body[10:]...)),
		"a request of the year 2262":    reportWith(t, time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)),
		"a request from before Unix":    reportWith(t, time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)),
		"a message of the log":          appendSection(beginMessage(1), nil),
		"a sealed message without data": sealed([]byte{reportVersion}),
	} {
		if err := w.book.Observed(t.Context(), w.now, message); gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	if v, err := w.book.Canary("orders"); err != nil || v.Tracks[gatewarden.TrackCanary].Requests != 0 {
		t.Errorf("of what was refused %d requests count, %v", v.Tracks[gatewarden.TrackCanary].Requests, err)
	}
	if err := w.book.Observed(t.Context(), w.now, good); err != nil {
		t.Errorf("what they were made of: %v", err)
	}
}

// reportWith returns a report about a request of an instant that no Observer lets pass.
func reportWith(t *testing.T, at time.Time) []byte {
	t.Helper()
	c := canaryOf("orders")
	g := gathering{shown: []shown{{feed: newFeed(&c, nil), observations: []gatewarden.Observation{{At: at}}}}}
	return g.message(t0)
}

func FuzzParseReport(f *testing.F) {
	f.Add(reportOf(t0, "a"), false)
	f.Add(reportOf(t0, strings.Repeat("a", 300)), true)
	f.Add([]byte{}, false)
	f.Add([]byte{reportVersion}, true)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal { // else the checksum keeps everything else from being looked at
			data = binary.LittleEndian.AppendUint32(slices.Clip(data), checksum(data))
		}
		r, err := parseReport(data)
		if err != nil {
			if gatewarden.ErrorCode(err) != gatewarden.Invalid {
				t.Fatalf("it is refused with %q: %v", gatewarden.ErrorCode(err), err)
			}
			return
		}
		// What can be read can be told to the judges and be written into the log.
		entries := make([]entry, 0, len(r.seen))
		for _, o := range r.seen {
			entries = append(entries, entry{run: o.canary, advanced: t0, observations: o.observations})
		}
		sections, err := parseMessage(appendSection(beginMessage(1), entries))
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range sections[0].entries {
			if diff := cmp.Diff(entries[i].observations, e.observations); diff != "" {
				t.Fatalf("the log reads otherwise (-told +read):\n%s", diff)
			}
		}
	})
}
