package stdin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/internal/sourcetest"
)

func TestEveryLineCountsAndTheGuardGoesOn(t *testing.T) {
	capture, err := os.ReadFile("../testdata/kong/tcp-log.bin")
	if err != nil {
		t.Fatal(err)
	}
	const record = `{"latencies":{"request":5},"started_at":1795293551908,"response":{"status":200}}`
	for name, c := range map[string]struct {
		in   io.Reader
		want int
	}{
		"what Kong writes":         {strings.NewReader(string(capture)), 13},
		"no line end at the end":   {strings.NewReader(record + "\n" + record), 2},
		"another program's output": {strings.NewReader("starting\n" + record + "\nstopping\n"), 1},
		"nothing":                  {strings.NewReader(""), 0},
		"it cannot be read on":     {io.MultiReader(strings.NewReader(record+"\n"), iotest.ErrReader(errors.New("torn"))), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := &sourcetest.Sink{}
				source, err := New(collector.Env{Name: "stdin", Sink: got, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, DefaultSettings(), c.in)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- source.Run(ctx) }()
				synctest.Wait()
				if got.Count() != c.want {
					t.Errorf("%d records, want %d", got.Count(), c.want)
				}
				select {
				case err := <-ended:
					t.Errorf("it ended with its input: %v", err)
				default:
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestALineLimitThatIsTooLow(t *testing.T) {
	s := Settings{MaxLine: 10}
	if err := s.Validate(); gatewarden.ErrorCode(err) != gatewarden.Invalid {
		t.Errorf("it says %v", err)
	}
}
