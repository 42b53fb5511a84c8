package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"
)

// figures are what the table says of one run.
type figures struct {
	first     float64       // goodput in the first 30 s of the overload, share of the capacity
	rest      float64       // from then on to its end
	converged time.Duration // until the next 10 s, and all that follows of the overload, have enough
	bad       float64       // share of bad events from 30 s on
	freed     time.Duration // from the end of the overload to the limit being taken away
	writes    int
}

// enough is the share of the capacity from which on a limit has found it.
const enough = 0.9

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
	for i := from; i+10 <= to; i++ {
		if mean(o.goodput[i:i+10]) >= enough && mean(o.goodput[i:to]) >= enough {
			f.converged = time.Duration(i-from) * time.Second
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
	fmt.Fprintln(w, "| overload | limit | goodput in the first 30 s | goodput after that | good at 90 % from | bad after 30 s | let go after | writes to Kong |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, s := range find(only) {
		for _, how := range strategies() {
			if kind != "" && how.name != kind {
				continue
			}
			n := runs
			if !how.adaptive {
				n = 1 // it does nothing, so little varies
			}
			all, err := repeat(ctx, s, how, seed, n)
			if err != nil {
				return err
			}
			row(w, s, how, all)
		}
	}
	return nil
}

// repeat simulates with some seeds, as many at once as there are processors.
func repeat(ctx context.Context, s *scenario, how strategy, seed uint64, runs int) ([]figures, error) {
	all, errs := make([]figures, runs), make([]error, runs)
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	var work sync.WaitGroup
	for i := range all {
		free <- struct{}{}
		work.Go(func() {
			defer func() { <-free }()
			o, err := simulate(ctx, s, how, seed+uint64(i))
			if err != nil {
				errs[i] = fmt.Errorf("%s, %s: %w", s.key, how.name, err)
				return
			}
			all[i] = figuresOf(s, o)
		})
	}
	work.Wait()
	return all, errors.Join(errs...)
}

// column returns one figure of some runs, in order.
func column[T cmp.Ordered](all []figures, of func(*figures) T) []T {
	list := make([]T, len(all))
	for i := range all {
		list[i] = of(&all[i])
	}
	slices.Sort(list)
	return list
}

// row prints the mean of what has one, with the worst of the runs in brackets, and the
// median of the times.
func row(w io.Writer, s *scenario, how strategy, all []figures) {
	first := column(all, func(f *figures) float64 { return f.first })
	rest := column(all, func(f *figures) float64 { return f.rest })
	bad := column(all, func(f *figures) float64 { return f.bad })
	converged := column(all, func(f *figures) time.Duration { return f.converged })
	freed := column(all, func(f *figures) time.Duration { return f.freed })
	writes := column(all, func(f *figures) int { return f.writes })
	last := len(all) - 1
	spoilt, limits := "-", "- | -"
	if how.fixed == 0 { // the 429s of a limit that is not the guard's are no failures to the SLI
		spoilt = fmt.Sprintf("%.1f %% (%.1f %%)", 100*mean(bad), 100*bad[last])
	}
	if how.adaptive {
		limits = fmt.Sprintf("%s (%s) | %d (%d)", span(freed[last/2]), span(freed[last]), writes[last/2], writes[last])
	}
	fmt.Fprintf(w, "| %s | %s | %.0f %% (%.0f %%) | %.0f %% (%.0f %%) | %s (%s) | %s | %s |\n", s.name, how.name,
		100*mean(first), 100*first[0], 100*mean(rest), 100*rest[0], span(converged[last/2]), span(converged[last]), spoilt, limits)
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
