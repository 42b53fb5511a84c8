// Command bench prints the tables of `make bench` that need a whole guard: how soon
// an outage is answered, how fast a log replays, what the guard weighs. What one
// package can show by itself is in its own benchmarks.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// tables are the names that -table takes, in the order in which they are printed.
var tables = []struct {
	name  string
	print func(context.Context) error
}{
	{"ingest", ingest},
	{"files", files},
	{"exactly", exactly},
	{"steady", steady},
	{"detection", detection},
	{"enforced", enforced},
	{"replay", replayHour},
	{"weight", weight},
	{"guards", guards},
}

func main() {
	only := flag.String("table", "", "print only this table: "+names())
	server := flag.String("serve", "", "be this server of the ingest table, which starts itself with it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if *server != "" {
		err = serve(ctx, *server)
	} else {
		err = printTables(ctx, *only)
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// names are those of the tables.
func names() string {
	var all []string
	for _, t := range tables {
		all = append(all, t.name)
	}
	return strings.Join(all, ", ")
}

// printTables prints the table of that name, or all for "".
func printTables(ctx context.Context, only string) error {
	found := false
	for _, t := range tables {
		if only != "" && only != t.name {
			continue
		}
		found = true
		if err := t.print(ctx); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if !found {
		return fmt.Errorf("there is no table %q", only)
	}
	return nil
}

// heading begins a table.
func heading(title, note string) {
	fmt.Printf("\n%s\n%s\n%s\n\n", title, strings.Repeat("=", len(title)), note)
}

// spread prints the least, the middle and the most of some durations.
func spread(name string, d []time.Duration) {
	if len(d) == 0 {
		fmt.Printf("  %-52s none\n", name)
		return
	}
	slices.Sort(d)
	fmt.Printf("  %-52s n=%d  min %.2fs  median %.2fs  p90 %.2fs  max %.2fs\n", name, len(d),
		d[0].Seconds(), d[len(d)/2].Seconds(), d[len(d)*9/10].Seconds(), d[len(d)-1].Seconds())
}
