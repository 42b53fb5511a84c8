package actions

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// BenchmarkTick is a tick over 1,000 SLOs that name 20 policies, with nothing to do
// and with one ladder in place.
func BenchmarkTick(b *testing.B) {
	for _, word := range []string{"healthy", "outage"} {
		b.Run(word, func(b *testing.B) {
			var policies []gatewarden.ActionPolicy
			for i := range 20 {
				policies = append(policies, policyWith(func(p *gatewarden.ActionPolicy) { p.Name, p.Steps = fmt.Sprint("policy-", i), p.Steps[:1] }))
			}
			var slos []gatewarden.SLO
			var verdicts []gatewarden.Verdict
			at := time.Now()
			for i := range 1000 {
				slos = append(slos, slo(fmt.Sprint("slo-", i), fmt.Sprint("policy-", i%20)))
				verdicts = append(verdicts, verdict(slos[i].Name, "healthy", at))
			}
			verdicts[0] = verdict("slo-0", word, at)
			w := newWorld(policies, slos)
			if err := w.boot(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer w.engine.Close(b.Context())
			for b.Loop() {
				if err := w.engine.Tick(b.Context(), at, verdicts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
