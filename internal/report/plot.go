package report

import (
	"math"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// plot is the evidence of a run over time, as it is drawn. Instants are seconds since
// the start, evidence is a common logarithm within [low, high].
type plot struct {
	points     []plotPoint // in the order of time, at most mostPoints
	shares     []shareFrom // where the configured share changes; none when it is not known
	end        float64     // in seconds, above 0
	low, high  float64
	failNeeded float64
	passNeeded float64
	passes     bool // there is evidence for a pass to draw
}

type plotPoint struct{ at, fail, pass float64 }

type shareFrom struct{ at, share float64 }

// A plot shows evidence from a tenth to a bit above what is needed: how far below a run
// once was does not matter, nor how far beyond.
const (
	plotLow    = -1
	plotAbove  = 0.4
	mostPoints = 400
	mostShares = 100
	// What no judge says is not drawn.
	mostNeeded = 20
	longestRun = 366 * 24 * time.Hour
)

// newPlot returns the plot of a run, nil when there is nothing to draw.
func newPlot(run *gatewarden.Run) *plot {
	v := run.Verdict
	if v == nil || v.Needed <= 0 || v.PassNeeded <= 0 || max(v.Needed, v.PassNeeded) > mostNeeded {
		return nil
	}
	p := &plot{
		low: plotLow, high: max(v.Needed, v.PassNeeded) + plotAbove, failNeeded: v.Needed, passNeeded: v.PassNeeded,
		passes: slices.ContainsFunc(v.Checks, func(c gatewarden.CheckEvidence) bool { return c.Pass != nil }),
	}
	for _, point := range run.Trail {
		p.add(point.At.Sub(run.StartedAt), point.Fail, point.Pass, point.Share)
	}
	if run.EndedAt == nil || !v.At.After(*run.EndedAt) {
		p.add(v.At.Sub(run.StartedAt), v.Evidence, v.PassEvidence(), v.Split.Configured)
	}
	if len(p.points) < 2 {
		return nil
	}
	p.end = p.points[len(p.points)-1].at
	if p.end <= 0 {
		return nil
	}
	p.thin()
	return p
}

// add takes a point that is later than those before; others are left out.
func (p *plot) add(since time.Duration, fail, pass, share float64) {
	at := since.Seconds()
	if at < 0 || since > longestRun || (len(p.points) > 0 && at <= p.points[len(p.points)-1].at) || math.IsNaN(fail+pass) {
		return
	}
	p.points = append(p.points, plotPoint{at, fail, pass})
	if share > 0 && share <= 1 && len(p.shares) < mostShares && (len(p.shares) == 0 || p.shares[len(p.shares)-1].share != share) {
		if len(p.shares) == 0 {
			at = 0 // the first one holds from the start
		}
		p.shares = append(p.shares, shareFrom{at, share})
	}
}

// thin leaves out points that are too close together to be seen apart; the last stays.
func (p *plot) thin() {
	if len(p.points) <= mostPoints {
		return
	}
	last, gap := p.points[len(p.points)-1], p.end/mostPoints
	kept := make([]plotPoint, 0, mostPoints+2)
	next := 0.0
	for _, point := range p.points[:len(p.points)-1] {
		if point.at >= next {
			kept, next = append(kept, point), max(next+gap, point.at)
		}
	}
	kept = append(kept, last)
	p.points = kept
}

// x returns the place of an instant in [0, 1].
func (p *plot) x(at float64) float64 { return min(max(at/p.end, 0), 1) }

// y returns the place of evidence in [0, 1], from below. What is outside is drawn at the
// edge.
func (p *plot) y(evidence float64) float64 {
	return min(max((evidence-p.low)/(p.high-p.low), 0), 1)
}

// ticks returns round distances of time for about so many marks, the start left out.
func (p *plot) ticks(about int) []time.Duration {
	steps := []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	}
	end := time.Duration(p.end * float64(time.Second))
	step := 24 * time.Hour
	for _, s := range steps {
		if end/s <= time.Duration(about) {
			step = s
			break
		}
	}
	for end/step > time.Duration(about) {
		step *= 2
	}
	var marks []time.Duration
	for at := step; at <= end; at += step {
		marks = append(marks, at)
	}
	return marks
}
