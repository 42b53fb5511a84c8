package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"syscall"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/app"
	"github.com/gatewarden/gatewarden/internal/loglines"
	"github.com/gatewarden/gatewarden/rules"
)

const (
	replayRate = 1000
	replaySpan = time.Hour
)

// replayHour prints how long an hour of log takes to replay on one core.
func replayHour(ctx context.Context) error {
	heading("Replaying an hour", fmt.Sprintf("%d requests/s for %s over 10 services, the shop's rules, one core (GOMAXPROCS=1).\nThe log is generated on the same core and piped in; what that costs alone is shown.", replayRate, replaySpan))
	set, problems := rules.LoadRules([]string{"examples/shop/rules"})
	if err := problems.Err(); err != nil {
		return err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))

	before := cpu()
	size, err := writeHour(io.Discard)
	if err != nil {
		return err
	}
	generating := cpu() - before

	before, began := cpu(), time.Now()
	r, w := io.Pipe()
	go func() {
		_, err := writeHour(w)
		w.CloseWithError(err)
	}()
	summary, err := app.Replay(ctx, app.ReplayOptions{
		Rules: set, Inputs: []app.ReplayInput{{Name: "generated", R: r}}, Logger: slog.New(slog.DiscardHandler),
		Event: func(gatewarden.Event) error { return nil }, Broken: func(err error) { fmt.Println("  broken:", err) },
	})
	if err != nil {
		return err
	}
	replaying := cpu() - before
	fmt.Printf("  %-28s %d records, %.2f GB\n", "log", summary.Records, float64(size)/1e9)
	fmt.Printf("  %-28s %.1f s wall, %.1f s CPU\n", "replayed in", time.Since(began).Seconds(), replaying.Seconds())
	fmt.Printf("  %-28s %.1f s CPU\n", "of which generating it", generating.Seconds())
	fmt.Printf("  %-28s %.0f records per CPU-second\n", "the replay by itself", float64(summary.Records)/(replaying-generating).Seconds())
	return nil
}

// writeHour writes the log and returns its size.
func writeHour(w io.Writer) (size int64, err error) {
	lines := loglines.NewWriter()
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var buf []byte
	names := []string{"orders", "payments", "inventory", "recommendations", "search", "basket", "users", "prices", "stock", "mail"}
	total := int(replaySpan.Seconds()) * replayRate
	for i := range total {
		status := 200
		if i%1009 == 0 {
			status = 500 // 0.1 %
		}
		buf = lines.Append(buf, loglines.Line{
			ID: uint64(i), At: begin.Add(time.Duration(i) * time.Second / replayRate), Service: names[i%len(names)], Status: status, Millis: 3 + i%97,
		})
		buf = append(buf, '\n')
		if len(buf) > 256<<10 || i == total-1 {
			n, err := w.Write(buf)
			if size += int64(n); err != nil {
				return size, err
			}
			buf = buf[:0]
		}
	}
	return size, nil
}

// cpu returns the processor time, user and system, that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
