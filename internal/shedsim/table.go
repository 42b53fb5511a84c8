package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// figures are what the table says of one run.
type figures struct {
	first     float64       // goodput in the first 30 s of the overload, share of the capacity
	rest      float64       // from then on to its end
	converged time.Duration // until 10 s on end have at least 90 % of the capacity
	bad       float64       // share of bad events from 30 s on
	freed     time.Duration // from the end of the overload to the limit being taken away
	writes    int
}

func mean(list []float64) (sum float64) {
	for _, v := range list {
		sum += v / float64(len(list))
	}
	return sum
}

// never stands for what did not happen.
const never = time.Duration(1<<63 - 1)

func figuresOf(s *scenario, o *outcome) figures {
	from, to := int(s.from/time.Second), int(s.to/time.Second)
	f := figures{
		first: mean(o.goodput[from : from+30]), rest: mean(o.goodput[from+30 : to]), bad: mean(o.bad[from+30 : to]),
		converged: never, freed: never, writes: o.writes,
	}
	for i := from + 10; i <= to; i++ {
		if mean(o.goodput[i-10:i]) >= 0.9 {
			f.converged = time.Duration(i-10-from) * time.Second
			break
		}
	}
	if o.freed > s.to {
		f.freed = o.freed - s.to
	}
	return f
}

func find(only string) []*scenario {
	return slices.DeleteFunc(scenarios(), func(s *scenario) bool { return only != "" && s.key != only })
}

func printTable(ctx context.Context, w io.Writer, only, kind string, seed uint64, runs int) error {
	fmt.Fprintln(w, "| scenario | limit | first 30 s | after that | converged | bad | freed | writes |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, s := range find(only) {
		for _, how := range strategies() {
			if kind != "" && how.name != kind {
				continue
			}
			all := make([]figures, runs)
			for i := range all {
				o, err := simulate(ctx, s, how, seed+uint64(i))
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.key, how.name, err)
				}
				all[i] = figuresOf(s, o)
			}
			row(w, s, how, all)
		}
	}
	return nil
}

// row prints the worst of some runs.
func row(w io.Writer, s *scenario, how strategy, all []figures) {
	worst := all[0]
	for _, f := range all[1:] {
		worst.first, worst.rest = min(worst.first, f.first), min(worst.rest, f.rest)
		worst.converged, worst.freed = max(worst.converged, f.converged), max(worst.freed, f.freed)
		worst.bad, worst.writes = max(worst.bad, f.bad), max(worst.writes, f.writes)
	}
	fmt.Fprintf(w, "| %s | %s | %.0f %% | %.0f %% | %s | %.1f %% | %s | %d |\n", s.name, how.name,
		100*worst.first, 100*worst.rest, span(worst.converged), 100*worst.bad, span(worst.freed), worst.writes)
}

func span(d time.Duration) string {
	if d == never {
		return "never"
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

func printTrace(ctx context.Context, w io.Writer, only string, seed uint64) error {
	for _, s := range find(only) {
		o, err := simulate(ctx, s, strategies()[len(strategies())-1], seed)
		if err != nil {
			return err
		}
		for i := range o.goodput {
			fmt.Fprintf(w, "%4d s  goodput %4.0f %%  limit %4.0f %%  bad %4.0f %%\n", i, 100*o.goodput[i], 100*o.limits[i], 100*o.bad[i])
		}
		for _, e := range o.events {
			fmt.Fprintf(w, "%s %s %s: %s\n", e.At.Format("04:05.0"), e.Name, e.State, e.Reason)
		}
	}
	return nil
}
