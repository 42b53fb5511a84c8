package store

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

func TestWhatIsVouchedForCovers(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	asked := Meter{Series: gatewarden.Series{Signal: "prometheus:1"}}
	requests := Meter{Series: gatewarden.Series{Service: "orders"}}
	slow := Meter{Series: requests.Series, SLI: gatewarden.SLI{Kind: gatewarden.SLILatency, Threshold: 300 * time.Millisecond, Of: gatewarden.OfUpstream}}
	meters := []Meter{asked, requests, slow}
	s := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	s.Configure(meters)
	s.Add(nil, now, nil)

	s.Watched(hour(-2), hour(0))
	s.Vouch(asked, hour(-8), hour(-4))
	s.Vouch(requests, hour(-6), hour(-1)) // an hour of it was watched, too
	s.Vouch(Meter{Series: gatewarden.Series{Service: "nobody's"}}, hour(-8), hour(0))
	cases := map[string]struct {
		meter Meter
		want  float64 // hours of the last ten
	}{
		"watching covers no signal":                    {asked, 4},
		"watched and vouched for counts once":          {requests, 6},
		"another sli of the series is not vouched for": {slow, 2},
		"nobody vouches for what nobody asks for":      {Meter{Series: gatewarden.Series{Service: "nobody's"}}, 2},
	}
	check := func(t *testing.T, s *Store) {
		t.Helper()
		for name, c := range cases {
			got := s.Count(c.meter.Series, &c.meter.SLI, hour(-10), hour(0)).Coverage * 10
			var until [1]gatewarden.Count
			s.Counter(c.meter.Series, &c.meter.SLI).Until(hour(0), []time.Duration{10 * time.Hour}, until[:])
			if math.Abs(got-c.want) > 1e-9 || math.Abs(until[0].Coverage*10-c.want) > 1e-9 {
				t.Errorf("%s: Count has %.3f hours, Until %.3f, want %.0f", name, got, until[0].Coverage*10, c.want)
			}
		}
	}
	check(t, s)

	message := s.Drain()
	snapshot, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("after a restart from the log", func(t *testing.T) {
		again := New(Config{}, prometheus.NewRegistry())
		again.Configure(meters)
		for range 2 { // once more changes nothing
			if err := again.Apply(message, ever); err != nil {
				t.Fatal(err)
			}
		}
		check(t, again)
	})
	t.Run("after a restart from a snapshot", func(t *testing.T) {
		again := New(Config{}, prometheus.NewRegistry())
		again.Configure(meters)
		if err := again.Restore(snapshot, ever); err != nil {
			t.Fatal(err)
		}
		check(t, again)
	})
	t.Run("a meter that went and came has no past", func(t *testing.T) {
		s.Configure(meters[1:])
		s.Configure(meters)
		if got := s.Count(asked.Series, &asked.SLI, hour(-10), hour(0)).Coverage; got != 0 {
			t.Errorf("its coverage is %v", got)
		}
	})
}

// A Counter that was there before anybody vouched sees it.
func TestACounterSeesWhatIsVouchedForLater(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	asked := Meter{Series: gatewarden.Series{Signal: "prometheus:1"}}
	s := New(Config{}, prometheus.NewRegistry())
	s.Configure([]Meter{asked})
	c := s.Counter(asked.Series, &asked.SLI)
	if got := c.Count(now.Add(-time.Hour), now).Coverage; got != 0 {
		t.Fatalf("%v is covered at first", got)
	}
	s.Vouch(asked, now.Add(-time.Hour), now)
	if got := c.Count(now.Add(-time.Hour), now).Coverage; got != 1 {
		t.Errorf("%v is covered then", got)
	}
}
