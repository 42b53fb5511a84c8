package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/gatewarden/gatewarden/analyzers/canary"
)

// curve is one rollout of the picture.
type curve struct{ key, label, colour string }

// The picture's rollouts: one of each, not chosen among others.
func curves() []curve {
	return []curve{
		{"aa", "healthy", "#2f9e44"},
		{"errors-10", "errors 0.1 -> 1 %", "#e03131"},
		{"late-errors", "the same from 10 min on", "#f08c00"},
		{"latency-20", "latency +20 %", "#1971c2"},
		{"errors-3", "errors 0.1 -> 0.3 %", "#9c36b5"},
	}
}

// The picture's measures: what is shown, and how large.
const (
	pictureSeconds          = 900
	pictureLow, pictureHigh = -1.0, 2.5 // evidence as a common logarithm
	pictureWidth            = 720
	pictureHeight           = 320
	pictureLeft, pictureTop = 48, 16
)

func pictureX(t int) float64 { return pictureLeft + float64(t)*pictureWidth/pictureSeconds }

func pictureY(evidence float64) float64 {
	e := min(max(evidence, pictureLow), pictureHigh)
	return pictureTop + (pictureHigh-e)*pictureHeight/(pictureHigh-pictureLow)
}

// draw returns the evidence for a fail over time as an SVG.
func draw(p canary.Policy, seed uint64) []byte {
	var w bytes.Buffer
	fmt.Fprintf(&w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		pictureWidth+pictureLeft+180, pictureHeight+pictureTop+40)
	fmt.Fprintf(&w, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	for e := pictureLow; e <= 2; e++ {
		line(&w, 0, pictureSeconds, e, "#dee2e6", "")
		fmt.Fprintf(&w, `<text x="%d" y="%.0f" text-anchor="end">%g</text>`+"\n", pictureLeft-6, pictureY(e)+4, e)
	}
	line(&w, 0, pictureSeconds, 2, "#495057", "6 4")
	fmt.Fprintf(&w, `<text x="%.0f" y="%.0f" text-anchor="end">needed for a fail at a false alarm of 1 %%</text>`+"\n", pictureX(pictureSeconds), pictureY(2)-6)
	for t := 0; t <= pictureSeconds; t += 300 {
		fmt.Fprintf(&w, `<text x="%.0f" y="%d" text-anchor="middle">%d min</text>`+"\n", pictureX(t), pictureTop+pictureHeight+18, t/60)
	}
	fmt.Fprintf(&w, `<text x="%d" y="%d">evidence for a fail, as a common logarithm</text>`+"\n", pictureLeft, pictureTop+pictureHeight+34)
	for i, c := range curves() {
		fmt.Fprintf(&w, `<polyline fill="none" stroke="%s" stroke-width="1.6" points="%s"/>`+"\n", c.colour, points(p, c.key, seed))
		fmt.Fprintf(&w, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", pictureLeft+pictureWidth+10, pictureTop+20+20*i, c.colour, c.label)
	}
	fmt.Fprintln(&w, "</svg>")
	return w.Bytes()
}

func line(w *bytes.Buffer, from, to int, evidence float64, colour, dashes string) {
	fmt.Fprintf(w, `<line x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="%s"/>`+"\n",
		pictureX(from), pictureX(to), pictureY(evidence), pictureY(evidence), colour, dashes)
}

// points judges one rollout and returns its evidence, every third second, until it fails.
func points(p canary.Policy, key string, seed uint64) string {
	var b bytes.Buffer
	for _, s := range append(healthyScenarios(), badScenarios()...) {
		if s.key != key {
			continue
		}
		r, w := newRollout(s, seedOf(seed, key, 0)), newShipped(p, s)
		for t := -s.history; t < pictureSeconds; t++ {
			failed := w.see(r.next(t))
			if t < 0 || t%3 != 0 && !failed {
				continue
			}
			_, evidence := w.judge.Standing(epoch.Add(time.Duration(t+1) * time.Second))
			fmt.Fprintf(&b, "%.1f,%.1f ", pictureX(t+1), pictureY(evidence))
			if failed {
				break
			}
		}
	}
	return b.String()
}
