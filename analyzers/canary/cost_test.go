//go:build unix

package canary

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// What a second of a run costs in processor time, so that a busy machine does not blur it:
// two hundred runs side by side, with a history, so that their blocks are of one second; in
// all and for each of the four checks, with the check of the split, the intervals and the
// run's figures. The observations are not among it.
func BenchmarkJudgeSecond(b *testing.B) {
	for _, rate := range []float64{10, 200} {
		b.Run(fmt.Sprint(rate, "rps"), func(b *testing.B) {
			const runs = 200
			tr := newTraffic(1)
			tr.rate = rate
			judges := make([]*Judge, runs)
			for i := range judges {
				judges[i], _ = New(DefaultPolicy(), epoch)
				judges[i].SetSplit(epoch, tr.share)
			}
			feed := func(s int) {
				all := collect(tr, s)
				for _, j := range judges {
					for i := range all {
						j.Add(&all[i])
					}
				}
			}
			step := func(s int) {
				at := epoch.Add(time.Duration(s+1) * time.Second)
				for _, j := range judges {
					j.Standing(at)
				}
			}
			for s := -tr.history; s < 60; s++ {
				feed(s)
				step(s)
			}
			var spent time.Duration
			s := 60
			for ; b.Loop(); s++ {
				feed(s)
				began := processorTime(b)
				step(s)
				spent += processorTime(b) - began
			}
			each := float64(spent) / runs / float64(s-60)
			b.ReportMetric(each, "cpu-ns/second")
			b.ReportMetric(each/float64(checkCount), "cpu-ns/check")
		})
	}
}

// processorTime returns how much of it the process has had.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
