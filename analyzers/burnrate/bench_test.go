package burnrate

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden/analyzers"
)

// BenchmarkTick judges 1,000 SLOs a second, each on a service of its own rate.
// Count here is two bisections over running totals, which BenchmarkCount measures.
func BenchmarkTick(b *testing.B) {
	const slos = 1000
	for name, bad := range map[string]uint64{"healthy": 0, "all in breach": 1} {
		b.Run(name, func(b *testing.B) {
			l := &ledger{}
			l.fill(start, start.Add(24*time.Hour), 3-bad, bad)
			all := make([]analyzers.Analyzer, slos)
			for i := range all {
				slo := promise()
				slo.Name = fmt.Sprintf("slo-%d", i)
				all[i] = New(slo, l, nil)
			}
			e := analyzers.NewEvaluator(all)
			at := start.Add(24 * time.Hour)
			ctx := context.Background()
			e.Tick(ctx, at)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				l.add(at, 3-bad, bad)
				at = at.Add(time.Second)
				b.StartTimer()
				if r := e.Tick(ctx, at); len(r.Verdicts) != slos {
					b.Fatal("verdicts missing")
				}
			}
		})
	}
}

func BenchmarkCount(b *testing.B) {
	l := &ledger{}
	l.fill(start, start.Add(24*time.Hour), 3, 0)
	var sum uint64
	for b.Loop() {
		sum += l.Count(start.Add(time.Hour), start.Add(2*time.Hour)).Good
	}
	if sum == 0 {
		b.Fatal("counts nothing")
	}
}
