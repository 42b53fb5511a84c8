package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// result is what the judges did to one rollout: for each the second of the rollback, 0
// for none.
type result struct {
	rolledBack []int
	loose      int // the shipped judge at a false alarm of 5 %
	pass       int // when it passed, 0 if it did not or had rolled back
}

// table runs the scenarios and prints them.
func table(ctx context.Context, c *settings, stdout, stderr io.Writer) error {
	judges := entries(c.policy)
	if c.ownOnly {
		judges = judges[:1]
	}
	fmt.Fprintf(stdout, "canarysim: seed %d, %d healthy and %d bad rollouts of %d min, false alarm %g, false pass %g, delay %s, warm-up %s\n",
		c.seed, c.healthy, c.bad, c.minutes, c.policy.FalseAlarm, c.policy.FalsePass, c.policy.Delay, c.policy.WarmUp)
	started := time.Now()
	for _, group := range []struct {
		scenarios []*scenario
		rollouts  int
		header    func(io.Writer, []entry)
		row       func(io.Writer, *scenario, []entry, []result)
	}{
		{c.scenarios[0], c.healthy, healthyHeader, healthyRow},
		{c.scenarios[1], c.bad, badHeader, badRow},
	} {
		group.header(stdout, judges)
		for _, s := range group.scenarios {
			if c.only != "" && !slices.Contains(strings.Split(c.only, ","), s.key) {
				continue
			}
			results, err := rollouts(ctx, c, s, judges, group.rollouts)
			if err != nil {
				return err
			}
			group.row(stdout, s, judges, results)
			fmt.Fprintf(stderr, "%s: %s\n", time.Since(started).Round(time.Second), s.key)
		}
	}
	return nil
}

// rollouts simulates a scenario n times. Each rollout has its own seed, so neither the
// other scenarios nor the number of workers change it.
func rollouts(ctx context.Context, c *settings, s *scenario, judges []entry, n int) ([]result, error) {
	results := make([]result, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range max(c.workers, 1) {
		workers.Go(func() {
			for i := range next {
				results[i] = simulate(newRollout(s, seedOf(c.seed, s.key, i)), judges, c.minutes*60)
			}
		})
	}
	defer workers.Wait()
	defer close(next)
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return results, nil
}

// seedOf mixes the seed, the scenario and the rollout's number.
func seedOf(seed uint64, key string, i int) uint64 {
	for _, b := range []byte(key) {
		seed = (seed ^ uint64(b)) * 1099511628211
	}
	return (seed ^ uint64(i)) * 0x9e3779b97f4a7c15
}

// simulate runs one rollout past all judges.
func simulate(r *rollout, judges []entry, seconds int) result {
	res := result{rolledBack: make([]int, len(judges))}
	running := make([]judge, len(judges))
	for i, e := range judges {
		if !e.oracle || r.bad && !(e.errors && r.odds == 1) {
			running[i] = e.prepare(r.scenario)
		}
	}
	own := running[0].(*shipped)
	var minutes gatherer
	left := len(running)
	for t := -r.history; t < seconds && left > 0; t++ {
		s := r.next(t)
		if len(judges) > 1 {
			s.minute = minutes.see(s)
		}
		left = 0
		for i, j := range running {
			if j == nil || judges[i].oracle && t < r.onset {
				continue
			}
			if j.see(s) {
				res.rolledBack[i] = t + 1
				running[i] = nil
			} else {
				left++
			}
		}
	}
	res.loose, res.pass = own.loose, own.pass
	if res.loose == 0 {
		res.loose = res.rolledBack[0]
	}
	return res
}

func healthyHeader(w io.Writer, judges []entry) {
	fmt.Fprint(w, "\nFalse rollbacks, share of rollouts\n\n| scenario | gatewarden | at 5 % | passes: share, median / p90 s |")
	for _, e := range judges[1:] {
		if !e.oracle {
			fmt.Fprintf(w, " %s |", e.name)
		}
	}
	fmt.Fprintln(w, "\n|---|---|---|---|"+strings.Repeat("---|", max(len(judges)-3, 0)))
}

func healthyRow(w io.Writer, s *scenario, judges []entry, results []result) {
	n := float64(len(results))
	var loose, false0 float64
	var passes []int
	for _, r := range results {
		if r.rolledBack[0] > 0 {
			false0++
		}
		if r.loose > 0 {
			loose++
		}
		if r.pass > 0 {
			passes = append(passes, r.pass)
		}
	}
	fmt.Fprintf(w, "| %s | **%.3f** | %.3f | %.3f, %s |", s.name, false0/n, loose/n, float64(len(passes))/n, quantiles(passes, len(passes)))
	for i, e := range judges[1:] {
		if e.oracle {
			continue
		}
		var rolled float64
		for _, r := range results {
			if r.rolledBack[i+1] > 0 {
				rolled++
			}
		}
		fmt.Fprintf(w, " %.3f |", rolled/n)
	}
	fmt.Fprintln(w)
}

func badHeader(w io.Writer, judges []entry) {
	fmt.Fprint(w, "\nBad canaries: share found, median / p90 delay in s from the onset (> is not within the rollout)\n\n| scenario | gatewarden | at 5 % | passed first |")
	for _, e := range judges[1:] {
		fmt.Fprintf(w, " %s |", e.name)
	}
	fmt.Fprintln(w, "\n|---|---|---|---|"+strings.Repeat("---|", len(judges)-1))
}

func badRow(w io.Writer, s *scenario, judges []entry, results []result) {
	var passed float64
	loose := make([]int, len(results))
	for i, r := range results {
		loose[i] = r.loose
		if r.pass > 0 && (r.rolledBack[0] == 0 || r.pass < r.rolledBack[0]) {
			passed++
		}
	}
	fmt.Fprintf(w, "| %s | **%s** | %s | %.3f |", s.name, found(column(results, 0), s.onset), found(loose, s.onset), passed/float64(len(results)))
	for i, e := range judges[1:] {
		if e.errors && s.odds == 1 {
			fmt.Fprint(w, " - |")
			continue
		}
		fmt.Fprintf(w, " %s |", found(column(results, i+1), s.onset))
	}
	fmt.Fprintln(w)
}

func column(results []result, i int) []int {
	at := make([]int, len(results))
	for k, r := range results {
		at[k] = r.rolledBack[i]
	}
	return at
}

// found sums up when a judge rolled back. What came before the onset was no finding.
func found(at []int, onset int) string {
	var delays []int
	early := 0
	for _, t := range at {
		switch {
		case t > onset:
			delays = append(delays, t-onset)
		case t > 0:
			early++
		}
	}
	share, n := float64(len(delays))/float64(len(at)), len(at)-early
	text := quantiles(delays, n)
	if share < 1 {
		text = fmt.Sprintf("%.2f: %s", share, text)
	}
	if early > 0 {
		text += fmt.Sprintf(" (%.2f before the onset)", float64(early)/float64(len(at)))
	}
	return text
}

// quantiles returns "median / p90" of n values of which those that are missing are
// beyond all others.
func quantiles(values []int, n int) string {
	slices.Sort(values)
	pick := func(q float64) string {
		if i := int(math.Ceil(q*float64(n))) - 1; i >= 0 && i < len(values) {
			return strconv.Itoa(values[i])
		}
		return ">"
	}
	return pick(0.5) + " / " + pick(0.9)
}
