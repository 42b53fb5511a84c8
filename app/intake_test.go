package app

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/store"
)

func TestSilenceIsAnnouncedOnceAndItsEndToo(t *testing.T) {
	now := noon
	reg := prometheus.NewRegistry()
	in := newIntake(store.New(store.Config{}, reg), func() time.Time { return now }, time.Minute, reg)
	in.expect("httplog", "httplog", noon)
	record := func() {
		if err := in.Accept(t.Context(), "httplog", []gatewarden.Record{{At: now, Status: 200, Weight: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for second := range 600 {
		now = noon.Add(time.Duration(second) * time.Second)
		if second == 90 || second == 100 || second == 400 {
			record()
		}
		for _, e := range in.events(now) {
			got = append(got, now.Format("04:05 ")+e.State+": "+e.Reason)
		}
	}
	want := []string{
		"01:01 blind: it has delivered nothing yet",
		"01:30 seeing: records arrive again",
		"02:41 blind: it has delivered nothing for 1m1s (the limit is 1m)",
		"06:40 seeing: records arrive again",
		"07:41 blind: it has delivered nothing for 1m1s (the limit is 1m)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheFutureSaysNothingAboutLag(t *testing.T) {
	reg := prometheus.NewRegistry()
	in := newIntake(store.New(store.Config{}, reg), func() time.Time { return noon }, time.Minute, reg)
	err := in.Accept(t.Context(), "httplog", []gatewarden.Record{
		{At: noon.Add(time.Hour), Status: 200, Weight: 1}, {At: noon.Add(-2 * time.Second), Status: 200, Weight: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if v := in.views(noon)[0]; v.LagSeconds != 2 || v.Records != 2 || v.Silent {
		t.Errorf("%+v", v)
	}
}

func TestWhatIsShownOfASourceStaysAsItIs(t *testing.T) {
	now := noon
	reg := prometheus.NewRegistry()
	in := newIntake(store.New(store.Config{}, reg), func() time.Time { return now }, time.Minute, reg)
	in.count(t.Context(), "httplog", []gatewarden.Record{{At: now, Status: 200, Weight: 1}})
	shown := in.views(now)[0]
	now = noon.Add(time.Second)
	in.count(t.Context(), "httplog", []gatewarden.Record{{At: now, Status: 200, Weight: 1}})
	if !shown.LastRecord.Equal(noon) {
		t.Error("it changes with the next record: a race with whoever writes it to a client")
	}
}
